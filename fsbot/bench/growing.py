"""A recording as a very long call makes it, written faster than real time, with the mtimes of the
real one."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.rehearsal.sound import IDLE_SAMPLE

FRAME = SAMPLE_RATE // 50
"""Samples of 20 ms: FreeSWITCH writes, and loses, whole frames."""

MOST_AT_ONCE = 50
"""Frames: what a reader finds at a time."""

STALL_EVERY = 80.0
STALL_SECONDS = (0.1, 0.22)
"""FACTS.md 2: single stalls lose so much, and 240 s of call come out as 239.2 to 239.8 s."""

HOLD_EVERY = (600.0, 1800.0)
HOLD_SECONDS = (60.0, 240.0)

QUIET_SECONDS = (30.0, 120.0)
"""Between two turns."""

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Clip:
    """One turn. side: column of the recording; speech: second of the clip at which it is heard."""

    side: int
    samples: Samples
    speech: float


@dataclass(frozen=True, slots=True)
class Spoken:
    """A turn as it was written. wall: Unix time at which its first sound was; audio: that second of
    the recording; seconds: to the end of its clip."""

    side: int
    wall: float
    audio: float
    seconds: float


class Truth:
    """When which second of the recording was written."""

    def __init__(self, began: float) -> None:
        self._starts = [0.0]
        self._offsets = [began]

    def missing(self, audio: float, seconds: float) -> None:
        """Behind that second of the recording, so much of the call was not written."""
        self._starts.append(audio)
        self._offsets.append(self._offsets[-1] + seconds)

    def wall(self, audio: float) -> float:
        return audio + self._offsets[max(0, bisect_left(self._starts, audio) - 1)]


class GrowingRecording:
    """Writes a stereo recording step by step. Stalls, holds and turns are drawn from `chance`."""

    def __init__(
        self, path: Path, began: float, clips: Sequence[Clip], chance: np.random.Generator
    ) -> None:
        """began: Unix time of the first sample."""
        self.truth = Truth(began)
        self.spoken: list[Spoken] = []
        self.stalls = self.holds = 0
        self.wall = began
        """Unix time of the simulated call."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        self._frames = 0
        self._clips = clips
        self._chance = chance
        self._stall_at = began + chance.exponential(STALL_EVERY)
        self._hold_at = began + chance.uniform(*HOLD_EVERY)
        self._turn_at = began + 5.0
        self._playing: Clip | None = None
        self._played = 0

    @property
    def seconds(self) -> float:
        """Audio written."""
        return self._frames * FRAME / SAMPLE_RATE

    def grow(self, until: float) -> Iterator[bool]:
        """Write until that Unix time, a piece at a time; True where the call is on hold behind
        that piece, and stays so for a while."""
        while self.wall < until:
            events = (self._stall_at, self._hold_at, self._turn_at, until)
            soonest = min(at for at in events if at > self.wall)
            frames = max(1, min(MOST_AT_ONCE, round((soonest - self.wall) * SAMPLE_RATE / FRAME)))
            self._write(frames)
            held = self.wall >= self._hold_at
            if held:
                self.holds += 1
                self._miss(float(self._chance.uniform(*HOLD_SECONDS)), said=False)
                self._hold_at = self.wall + self._chance.uniform(*HOLD_EVERY)
            yield held
            if self.wall >= self._stall_at:
                self.stalls += 1
                self._miss(float(self._chance.uniform(*STALL_SECONDS)), said=True)
                self._stall_at = self.wall + self._chance.exponential(STALL_EVERY)

    def close(self) -> None:
        os.close(self._file)

    def _write(self, frames: int) -> None:
        if self._playing is None and self.wall >= self._turn_at:
            self._begin_turn()
        piece = np.full((frames * FRAME, 2), IDLE_SAMPLE, np.int16)
        if self._playing is not None:
            said = self._playing.samples[self._played : self._played + len(piece)]
            piece[: len(said), self._playing.side] = said
            self._skip(len(piece))
        self._frames += frames
        self.wall += frames * FRAME / SAMPLE_RATE
        os.write(self._file, piece.tobytes())
        # Before anybody in this hub can look: whoever reads sees the time of the real call.
        os.utime(self._file, (self.wall, self.wall))

    def _begin_turn(self) -> None:
        clip = self._clips[int(self._chance.integers(len(self._clips)))]
        self._playing, self._played = clip, 0
        wall, audio = self.wall + clip.speech, self.seconds + clip.speech
        seconds = len(clip.samples) / SAMPLE_RATE - clip.speech
        self.spoken.append(Spoken(clip.side, wall, audio, seconds))
        self._turn_at = np.inf

    def _skip(self, samples: int) -> None:
        """So much more of the turn has been said."""
        assert self._playing is not None
        self._played += samples
        if self._played >= len(self._playing.samples):
            self._playing = None
            self._turn_at = self.wall + self._chance.uniform(*QUIET_SECONDS)

    def _miss(self, seconds: float, *, said: bool) -> None:
        """Time that is not in the recording. said: a turn goes on meanwhile, and is lost."""
        self.wall += seconds
        self.truth.missing(self.seconds, seconds)
        if said and self._playing is not None:
            self._skip(round(seconds * SAMPLE_RATE))
