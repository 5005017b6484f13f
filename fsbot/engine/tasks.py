"""What a stream wants to be inferred."""

from dataclasses import dataclass

from fsbot.engine.final import Speech
from fsbot.engine.utterance import Utterance

SEARCH_START = 0.2
"""Seconds after a preview was lined up within which a search for a better text may begin: it is
over then when the silence has become long enough to end the utterance."""


@dataclass(frozen=True, slots=True)
class Update:
    """Decode the open utterance as far as `upto`, a second of the stream.

    since: when it was lined up, of time.monotonic.
    """

    utterance: Utterance
    upto: float
    since: float

    @property
    def covers(self) -> float:
        """Second of the stream up to which nothing is left to be said when it is done."""
        return self.upto


@dataclass(frozen=True, slots=True)
class Preview:
    """Speech has paused: decode the utterance as if it were over, which it may be."""

    utterance: Utterance
    speech: Speech
    since: float

    @property
    def upto(self) -> float:
        return self.speech.audio_end

    @property
    def covers(self) -> float:
        return self.upto

    @property
    def search_until(self) -> float:
        """Moment of time.monotonic after which nobody waits for a better text."""
        return self.since + SEARCH_START


@dataclass(frozen=True, slots=True)
class Close:
    """The utterance is over: its last live words, and its final text.

    decided_at: second of the stream.
    """

    utterance: Utterance
    speech: Speech
    decided_at: float
    since: float

    @property
    def upto(self) -> float:
        return self.speech.audio_end

    @property
    def covers(self) -> float:
        return self.decided_at


Task = Update | Preview | Close
