"""What is said in a rehearsed call: two parties' audio, cut into a recording's 20 ms frames."""

from enum import Enum
from pathlib import Path
from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from fsbot.audio.sound_file import SoundReader

FRAME_SECONDS = 0.02
FRAMES_PER_SECOND = 50
BLOCK_FRAMES = 1 << 20
# A party that sends nothing is not zero in a recording, see FACTS.md, section 1.
IDLE_SAMPLE = -1

Party = Literal["caller", "callee"]
Samples = NDArray[np.int16]


class Layout(Enum):
    """Which directions of a leg each channel of a recording holds: r, what the leg says; w, what
    it hears; both, summed.

    A direction that a stereo recording was told to leave out is zero there. A leg whose codec has
    two channels gives every recording two, each with the same directions.
    """

    MIX = ("rw",)
    READ = ("r",)
    WRITE = ("w",)
    STEREO = ("r", "w")
    STEREO_SWAPPED = ("w", "r")
    READ_LEFT = ("r", "")
    READ_RIGHT = ("", "r")
    WRITE_LEFT = ("w", "")
    WRITE_RIGHT = ("", "w")
    MIX_TWICE = ("rw", "rw")
    READ_TWICE = ("r", "r")
    WRITE_TWICE = ("w", "w")

    @property
    def channels(self) -> int:
        return len(self.value)

    @property
    def summed(self) -> "Layout":
        """All of it in one channel."""
        return Layout(("".join(way for way in "rw" if way in "".join(self.value)),))


class Sound:
    """Both parties of a conversation, int16 at one rate.

    `callee` is None where nobody speaks to the caller: the leg is parked, its write side idle.
    Rendered forms are kept, so a hundred calls with the same file resample it once.
    """

    def __init__(self, name: str, rate: int, caller: Samples, callee: Samples | None) -> None:
        self.name = name
        self.rate = rate
        self.caller = caller
        self.callee = callee
        self._rendered: dict[tuple[Party, Layout, int, int], Samples] = {}

    @property
    def seconds(self) -> float:
        return len(self.caller) / self.rate

    @property
    def frames(self) -> int:
        """Length in 20 ms frames, the last one perhaps cut short."""
        return -(-len(self.caller) * FRAMES_PER_SECOND // self.rate)

    def render(self, reads: Party, layout: Layout, codec_rate: int, rate: int) -> Samples:
        """The whole sound as a leg's recording at `rate` Hz, shape (samples, channels).

        `reads` is the party at the far end of the leg: what it says is the leg's read side.
        The sound passes the leg's codec first: no band above half of `codec_rate` survives.
        """
        key = (reads, layout, codec_rate, rate)
        if key not in self._rendered:
            self._rendered[key] = self._render(*key)
        return self._rendered[key]

    def _render(self, reads: Party, layout: Layout, codec_rate: int, rate: int) -> Samples:
        spoken, heard = self._party(reads == "caller"), self._party(reads == "callee")
        voices = {"r": spoken, "w": heard}
        sides = [_summed([voices[way] for way in ways], len(spoken)) for ways in layout.value]
        track = np.stack(sides, axis=1)
        through_codec = _resample(track, self.rate, min(codec_rate, self.rate))
        return _resample(through_codec, min(codec_rate, self.rate), rate)

    def _party(self, is_caller: bool) -> Samples:
        if is_caller:
            return self.caller
        return idle(len(self.caller)) if self.callee is None else self.callee


def _summed(voices: list[Samples], length: int) -> Samples:
    limits = np.iinfo(np.int16)
    total = sum((voice.astype(np.int32) for voice in voices), np.zeros(length, np.int32))
    return np.clip(total, limits.min, limits.max).astype(np.int16)


def _resample(track: Samples, rate: int, new_rate: int) -> Samples:
    if rate == new_rate:
        return track
    resampled: Samples = soxr.resample(track, rate, new_rate)
    return resampled


def idle(samples: int) -> Samples:
    """What a direction without any audio looks like in a recording."""
    return np.full(samples, IDLE_SAMPLE, np.int16)


def frame(track: Samples, index: int, rate: int) -> bytes:
    """20 ms of a rendered track, frame `index` from 0; idle beyond its end."""
    size = int(rate * FRAME_SECONDS)
    cut = track[index * size : (index + 1) * size]
    if len(cut) == size:
        return cut.tobytes()
    return cut.tobytes() + idle_frame(track.shape[1], size - len(cut))


def idle_frame(channels: int, samples: int) -> bytes:
    return idle(samples * channels).tobytes()


def ringback() -> Sound:
    """Early media: the caller is silent and hears the French ringing tone, 440 Hz 1.5 s in 5 s."""
    rate = 8000
    seconds = np.arange(5 * rate) / rate
    tone = np.where(seconds < 1.5, 6000 * np.sin(2 * np.pi * 440 * seconds), 0)
    return Sound("ringback", rate, idle(len(tone)), tone.astype(np.int16))


def load_sound(path: Path, rate: int = 8000, channels: int = 1) -> Sound:
    """Read an audio file: one channel is the caller, of two the left is the caller's.

    `rate` and `channels` say what a headerless `.raw` file (s16le) holds; other files say it
    themselves. Raises UserError, naming the file.
    """
    reader = SoundReader(path, rate, channels) if path.suffix == ".raw" else SoundReader(path)
    blocks = []
    while len(block := reader.read(BLOCK_FRAMES)):
        blocks.append(np.nan_to_num(block, posinf=1.0, neginf=-1.0) * 32768)
    data = np.clip(np.concatenate(blocks), -32768, 32767).astype(np.int16)
    callee = np.ascontiguousarray(data[:, 1]) if data.shape[1] == 2 else None
    return Sound(path.name, reader.rate, np.ascontiguousarray(data[:, 0]), callee)
