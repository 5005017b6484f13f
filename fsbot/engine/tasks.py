"""What a stream wants to be inferred."""

from dataclasses import dataclass

from fsbot.engine.final import Speech
from fsbot.engine.searches import SEARCH_ROOM
from fsbot.engine.utterance import Utterance


@dataclass(frozen=True, slots=True)
class Update:
    """Decode the open utterance as far as `upto`, a second of the stream.

    since: when it was lined up, on the engine's clock.
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
    """Speech has paused: decode the utterance as if it were over, which it may be.

    patience: seconds until this pause ends any utterance.
    """

    utterance: Utterance
    speech: Speech
    since: float
    patience: float

    @property
    def upto(self) -> float:
        return self.speech.audio_end

    @property
    def covers(self) -> float:
        return self.upto

    @property
    def search_until(self) -> float:
        """Moment at which a search for a better text should be over: the text is unsure, so only
        a long pause ends its utterance, and the search has until then."""
        return self.since + self.patience + SEARCH_ROOM


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

    @property
    def search_until(self) -> float:
        """Moment at which a search for a better text should be over."""
        return self.since + SEARCH_ROOM


Task = Update | Preview | Close
