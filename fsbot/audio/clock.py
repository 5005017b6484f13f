"""Which wall-clock time belongs to a position in a recording.

A recording is not a clock: a held or paused leg's file stops growing and goes on later without
filler, a stalled machine loses 0.1 to 0.2 s at a time, and 240 s of call come out as 239.2 to
239.8 s of audio (FACTS.md 0.7 and 2). What is certain is how large the file was at its mtime.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left

HOLE_SECONDS = 0.25
"""A write later than this is taken for a hole at once; the longest harmless gap seen is 0.1 s."""

DRIFT_SECONDS = 0.05
"""Smaller shifts than this are jitter."""

SETTLING_SECONDS = 1.0
"""How long a shift must last: a writer that was only late has caught up long before."""


class RecordingClock:
    """Maps seconds of one generation of a recording to Unix time, from (size, mtime) pairs.

    The wall time of a position is the position plus an offset which is constant between holes.
    No audio is in the file before it was spoken, so the offset is the smallest (mtime - audio)
    of a stretch: bursts of a buffered recording (the file catches up at each) and late writes
    are not holes. Where a buffered recording's hole lies within its burst cannot be known; it is
    put at the burst's start.

    Once a hole is found, positions before it keep their wall time for ever; the latest second
    may still move while it is uncertain whether the writer was late or audio is missing. Memory:
    16 bytes per hole or 0.05 s of drift, at most one drift step per second.

    For a file on another host (NFS) mtime is that host's clock: both need NTP.
    """

    def __init__(self, byte_rate: int) -> None:
        """`byte_rate` in bytes per second (`PcmFormat.byte_rate`). ValueError unless positive."""
        if byte_rate <= 0:
            raise ValueError(f"byte rate {byte_rate} is not positive")
        self._byte_rate = byte_rate
        # Segment i covers positions starts[i] < seconds <= starts[i + 1].
        self._starts = array("d")
        self._offsets = array("d")
        self._settled_at = -math.inf
        self._size = 0
        self._window_start = 0.0
        self._window_opened = math.inf
        self._window_offset = math.inf

    @property
    def segments(self) -> int:
        """Stretches of constant offset found so far; 1 for a recording without holes."""
        return len(self._starts)

    def observe(self, size: int, mtime: float) -> None:
        """At Unix time `mtime` the recording held `size` bytes.

        Raises ValueError if the recording shrank: a truncated recording needs a new clock.
        """
        if size < self._size:
            raise ValueError(f"recording shrank from {self._size} to {size} bytes")
        if size == self._size:
            return
        before = self._size / self._byte_rate
        offset = mtime - size / self._byte_rate
        self._size = size
        if not self._starts:
            self._open(0.0, offset, mtime)
        elif offset > self._offsets[-1] + HOLE_SECONDS:
            self._open(before, offset, mtime)
        elif mtime < self._settled_at:
            self._settle(offset)
        else:
            self._follow_drift(before, offset, mtime)

    def wall(self, seconds: float) -> float:
        """Unix time at which the audio up to `seconds` of the recording was in the file.

        For a buffered recording, at which it would have been there without the buffer. Positions
        beyond the last observation are extrapolated. Raises ValueError before the first one.
        """
        if not self._starts:
            raise ValueError("nothing of the recording has been seen yet")
        return seconds + self._offsets[max(0, bisect_left(self._starts, seconds) - 1)]

    def _open(self, start: float, offset: float, mtime: float) -> None:
        self._starts.append(start)
        self._offsets.append(offset)
        self._settled_at = mtime + SETTLING_SECONDS
        self._window_opened = self._window_offset = math.inf

    def _settle(self, offset: float) -> None:
        self._offsets[-1] = min(self._offsets[-1], offset)
        while len(self._offsets) > 1 and self._offsets[-1] <= self._offsets[-2] + DRIFT_SECONDS:
            del self._starts[-1], self._offsets[-1]
            self._settled_at = -math.inf

    def _follow_drift(self, before: float, offset: float, mtime: float) -> None:
        if self._window_opened == math.inf:
            self._window_start, self._window_opened = before, mtime
        self._window_offset = min(self._window_offset, offset)
        if mtime - self._window_opened >= SETTLING_SECONDS:
            if abs(self._window_offset - self._offsets[-1]) > DRIFT_SECONDS:
                self._starts.append(self._window_start)
                self._offsets.append(self._window_offset)
            self._window_opened = self._window_offset = math.inf
