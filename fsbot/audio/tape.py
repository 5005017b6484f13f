"""All recordings of one call, played one after the other as one stream of audio per side."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
from gevent.event import Event as Flag
from numpy.typing import NDArray

from fsbot.audio.clock import RecordingClock
from fsbot.audio.follower import FollowedFile, Follower
from fsbot.audio.pcm import SAMPLE_RATE, PcmFormat, SideSplitter
from fsbot.audio.reading import Chunk
from fsbot.audio.timeline import Timeline

Pieces = list[NDArray[np.float32]]
"""One array of 16 kHz samples per side, all of the same length."""


class TapeRecording:
    """One recording: its file, and what is known of its end."""

    def __init__(
        self, switch_path: str, file: FollowedFile, fmt: PcmFormat, only: int | None = None
    ) -> None:
        """fmt: of the file. only: the side of the tape, from 0, that both its channels hold."""
        self.switch_path = switch_path
        self.file = file
        self.format = fmt
        self.only = only
        self.complete = False
        self.cut_at: float | None = None
        """Unix time from which on the next recording counts."""


class Tape:
    """The recordings of a call and the timeline they make. Belongs to the hub.

    It goes on after a recording that was cut, and ends with one that was not, or by `end`.
    """

    def __init__(self, rate: int, channels: int) -> None:
        """rate, channels: of all recordings, as asked for."""
        self.format = PcmFormat(rate, channels)
        self.timeline = Timeline()
        self.seconds = 0.0
        """Audio played so far, per side."""
        self._recordings: list[TapeRecording] = []
        self._ended = False
        self._error: Exception | None = None
        self._news = Flag()

    def add(
        self, switch_path: str, path: Path, follower: Follower, only: int | None = None
    ) -> TapeRecording:
        """A recording that is about to be asked for; its file need not be there yet.

        only: the one side, from 0, that its file holds, in two channels; the other is silent.
        """
        fmt = self.format if only is None else PcmFormat(self.format.rate, 2)
        recording = TapeRecording(switch_path, follower.follow(path), fmt, only)
        self._recordings.append(recording)
        self._news.set()
        return recording

    def holds(self, switch_path: str) -> bool:
        """Whether it has that recording."""
        return any(recording.switch_path == switch_path for recording in self._recordings)

    def cut(self, recording: TapeRecording, at: float) -> None:
        """What it holds from Unix time `at` on is no good; another recording goes on from there.

        Of several cuts the earliest counts.
        """
        if recording.cut_at is None or at < recording.cut_at:
            recording.cut_at = at

    def complete(self, switch_path: str) -> None:
        """FreeSWITCH has written all of this file."""
        for recording in self._recordings:
            if recording.switch_path == switch_path:
                recording.complete = True
                recording.file.finish()

    def end(self, error: Exception | None = None) -> None:
        """No recording will be added, even if the last one was cut; `error` is why not."""
        self._ended = True
        self._error = self._error or error
        self._news.set()

    @property
    def latest(self) -> TapeRecording | None:
        return self._recordings[-1] if self._recordings else None

    @property
    def running(self) -> TapeRecording | None:
        """The latest recording, unless it is complete."""
        latest = self.latest
        return latest if latest is not None and not latest.complete else None

    @property
    def unread_seconds(self) -> float:
        """Audio that is in the files and not played yet."""
        return sum(each.file.unread / each.format.byte_rate for each in self._recordings)

    def play(self) -> Iterator[Pieces]:
        """The audio of all recordings as it comes in.

        Waits in its greenlet. Raises FollowError while a file is there but can't be read, and at
        its end what `end` was given.
        """
        for number in count():
            while number == len(self._recordings) and not self._ended:
                self._news.wait()
                self._news.clear()
            if number == len(self._recordings):
                break
            yield from self._play_one(self._recordings[number])
            if self._recordings[number].cut_at is None:
                break
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Let go of all files: what still waits for one comes to its end. May be repeated."""
        for recording in self._recordings:
            recording.complete = True
            recording.file.close()
        self.end()

    def _play_one(self, recording: TapeRecording) -> Iterator[Pieces]:
        splitter = SideSplitter(recording.format)
        clock: RecordingClock | None = None
        generation = 0
        while (chunk := recording.file.read()) is not None:
            if clock is None or chunk.generation != generation:
                if clock is not None:
                    yield self._played(splitter.flush(), recording.only)
                    splitter = SideSplitter(recording.format)
                clock, generation = RecordingClock(recording.format.byte_rate), chunk.generation
                self.timeline.append(clock, self.seconds)
            data = chunk.data
            # Behind a cut the file grows at another rate, which would mislead the clock.
            if not clock.segments or recording.cut_at is None or chunk.mtime < recording.cut_at:
                clock.observe(chunk.size, chunk.mtime)
            if recording.cut_at is not None:
                data = data[: self._bytes_before(recording.cut_at, recording.format, chunk, clock)]
            yield self._played(splitter.feed(data), recording.only)
            if len(data) < len(chunk.data):
                break
        recording.file.close()
        yield self._played(splitter.flush(), recording.only)

    @staticmethod
    def _bytes_before(cut_at: float, fmt: PcmFormat, chunk: Chunk, clock: RecordingClock) -> int:
        start = clock.wall(chunk.offset / fmt.byte_rate)
        frames = max(0, int((cut_at - start) * fmt.rate))
        return frames * fmt.frame_bytes

    def _played(self, pieces: Pieces, only: int | None) -> Pieces:
        if only is not None:
            voice = ((pieces[0] + pieces[1]) / 2).astype(np.float32)
            sides = range(self.format.channels)
            pieces = [voice if side == only else np.zeros_like(voice) for side in sides]
        self.seconds += len(pieces[0]) / SAMPLE_RATE
        return pieces
