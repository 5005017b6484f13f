"""Equal shares for streams whose sound comes faster than the machine reads it."""

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.engine.stream import Stream


class Fairness:
    """How far streams are ahead of each other, so that whoever has got less comes first.

    Taking turns is not enough: the stream whose speaker pauses more needs fewer turns for the same
    sound. Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996), with seconds of sound for
    its bytes: a stream that comes, or comes back, begins beside the one that is furthest behind, so
    that nobody saves up a claim by being idle.

    Streams that skip late updates keep step with what is spoken, and have no lead.
    """

    def __init__(self) -> None:
        self._head_starts: WeakKeyDictionary[Stream, float] = WeakKeyDictionary()
        self._least = 0.0

    def measure(self, streams: Iterable[Stream]) -> None:
        """Take in how far each has got that has sound to be listened to or read."""
        racing = [
            stream
            for stream in streams
            if not stream.skips_late_updates and (stream.at_work or stream.wants_to_listen)
        ]
        for stream in racing:
            before = self._head_starts.get(stream, 0.0)
            self._head_starts[stream] = max(before, self._least - _heard(stream))
        if racing:
            self._least = min(map(self._progress, racing))

    def lead(self, stream: Stream) -> float:
        """Seconds of sound by which a stream is ahead of the one furthest behind, as last measured;
        0 for one that keeps step with what is spoken."""
        return self._progress(stream) - self._least if stream in self._head_starts else 0.0

    def _progress(self, stream: Stream) -> float:
        return self._head_starts[stream] + _heard(stream)


def _heard(stream: Stream) -> float:
    return stream.judged / SAMPLE_RATE
