"""What a stream wants to be inferred."""

from dataclasses import dataclass

from fsbot.engine.final import Speech
from fsbot.engine.utterance import Utterance


@dataclass(frozen=True, slots=True)
class Update:
    """Decode the open utterance as far as `upto`, a second of the stream.

    since: when it was lined up, of time.monotonic.
    """

    utterance: Utterance
    upto: float
    since: float


@dataclass(frozen=True, slots=True)
class Preview:
    """Speech has paused: decode the utterance as if it were over, which it may be."""

    utterance: Utterance
    speech: Speech
    since: float


@dataclass(frozen=True, slots=True)
class Close:
    """The utterance is over: its last live words, and its final text.

    decided_at: second of the stream.
    """

    utterance: Utterance
    speech: Speech
    decided_at: float
    since: float


Task = Update | Preview | Close
