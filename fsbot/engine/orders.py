"""What the engine can be told of a stream, and the handle that tells it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fsbot.audio.pcm import SAMPLE_RATE, checked_samples
from fsbot.engine.stream import LISTEN_SAMPLES, Stream


class StreamHandle:
    """One side, as the rest of the program sees it. Every method may be called from any thread."""

    def __init__(
        self, tell: "Callable[[Order], None]", stream: Stream, cancelled: threading.Event
    ) -> None:
        self._tell = tell
        self._stream = stream
        self._cancelled = cancelled
        self.begin = self._fed = stream.judged
        """The sample of the stream that is to be fed first: 0, unless it goes on."""

    def feed(self, samples: ArrayLike) -> None:
        """Append 16 kHz mono samples, -1 to 1; they are copied. Raises TypeError and ValueError, as
        `fsbot.audio.pcm.checked_samples` does."""
        checked = checked_samples(samples)
        self._fed += len(checked)
        self._tell(Feed(self._stream, checked))

    def finish(self) -> None:
        """No more will be fed; StreamEnded comes when everything has been transcribed."""
        self._tell(Finish(self._stream))

    def rest(self) -> None:
        """No more will be fed for a while: an utterance that is open is over with what there is."""
        self._tell(Rest(self._stream))

    def cancel(self) -> None:
        """Forget the stream; no further events, not even of an inference that is under way."""
        self._cancelled.set()
        self._tell(Cancel(self._stream))

    @property
    def stream(self) -> Stream:
        """For the engine alone."""
        return self._stream

    @property
    def pending_seconds(self) -> float:
        """Audio fed and not yet listened to, but for what is too short to listen to."""
        unheard = self._fed - self._stream.judged
        return unheard / SAMPLE_RATE if unheard >= LISTEN_SAMPLES else 0.0

    @property
    def transcribed(self) -> float:
        """Second of the stream up to which every word has been dealt with."""
        return self._stream.transcribed


@dataclass(frozen=True, slots=True)
class Open:
    stream: Stream
    beside: Stream | None


@dataclass(frozen=True, slots=True)
class Feed:
    stream: Stream
    samples: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Finish:
    stream: Stream


@dataclass(frozen=True, slots=True)
class Rest:
    stream: Stream


@dataclass(frozen=True, slots=True)
class Cancel:
    stream: Stream


@dataclass(frozen=True, slots=True)
class Answer:
    given: threading.Event


@dataclass(frozen=True, slots=True)
class Stop:
    pass


Order = Open | Feed | Finish | Rest | Cancel | Answer | Stop
