"""The audio of one stream, as far as it is still needed."""

import numpy as np
from numpy.typing import NDArray

from fsbot.audio.pcm import SAMPLE_RATE


class AudioBuffer:
    """The part of a stream's audio that is still needed, addressed by sample of the stream."""

    def __init__(self, start: int = 0) -> None:
        """start: the sample of the stream that comes first."""
        self._buffer = np.zeros(8 * SAMPLE_RATE, dtype=np.float32)
        self.start = self.end = start

    def append(self, samples: NDArray[np.float32]) -> None:
        held = self.end - self.start
        if held + len(samples) > len(self._buffer):
            larger = np.zeros(2 * (held + len(samples)), dtype=np.float32)
            larger[:held] = self._buffer[:held]
            self._buffer = larger
        self._buffer[held : held + len(samples)] = samples
        self.end += len(samples)

    def slice(self, start: int, end: int) -> NDArray[np.float32]:
        """A copy of the samples from `start` to `end`, as far as they are held."""
        first, last = max(0, start - self.start), max(0, min(end, self.end) - self.start)
        return self._buffer[first:last].copy()

    def forget(self, before: int) -> None:
        """Drop samples before the given one, a second or more at a time."""
        surplus = min(before, self.end) - self.start
        if surplus < SAMPLE_RATE:
            return
        held = self.end - self.start
        self._buffer[: held - surplus] = self._buffer[surplus:held].copy()
        self.start += surplus
