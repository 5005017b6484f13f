"""From seconds of a side's audio to the wall clock, over all recordings of its call."""

from bisect import bisect_right

from fsbot.audio.clock import RecordingClock


class Timeline:
    """The recordings of a call laid end to end, as the engine hears them."""

    def __init__(self) -> None:
        self._starts: list[float] = []
        self._clocks: list[RecordingClock] = []

    def append(self, clock: RecordingClock, start: float) -> None:
        """From second `start` of the audio on, a recording with this clock is heard."""
        self._starts.append(start)
        self._clocks.append(clock)

    def wall(self, seconds: float) -> float:
        """Unix time at which the audio up to `seconds` was in its file.

        Raises ValueError before the first audio has been seen.
        """
        if not self._starts:
            raise ValueError("no recording has been heard yet")
        recording = max(0, bisect_right(self._starts, seconds) - 1)
        return self._clocks[recording].wall(seconds - self._starts[recording])
