"""What the engine says about one stream. All times are seconds of that stream's audio."""

from collections.abc import Sequence
from dataclasses import dataclass

UNSPACED_LANGUAGES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Written without spaces between words (as in openai-whisper's tokenizer)."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word as spoken, with the punctuation that belongs to it.

    start, end: seconds; probability: mean probability of its tokens, 0 to 1; tokens: Whisper's,
    blanks included.
    """

    text: str
    start: float
    end: float
    probability: float
    tokens: tuple[int, ...] = ()

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


def joined(words: Sequence[Word], language: str) -> str:
    """The words as one text."""
    return blank(language).join(word.text for word in words)


def blank(language: str) -> str:
    """What stands between two words."""
    return "" if language in UNSPACED_LANGUAGES else " "


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Speech began at `at`; a new utterance is open.

    echo: it sounds like the other side's voice coming back.
    """

    utterance: int
    at: float
    echo: bool = False


@dataclass(frozen=True, slots=True)
class SpeechCertain:
    """The speech that began at `at` is no cough, no click and no echo."""

    utterance: int
    at: float


@dataclass(frozen=True, slots=True)
class WordsCommitted:
    """The live text of an utterance grew, or the guess beyond it changed.

    words: newly committed, never altered again; spoken: all committed so far, these included;
    tentative: may change; heard_until: second up to which the audio was decoded; speech_final: the
    utterance is over and these are its last live words.
    """

    utterance: int
    words: tuple[Word, ...]
    spoken: tuple[Word, ...]
    tentative: tuple[Word, ...]
    heard_until: float
    speech_final: bool
    language: str


@dataclass(frozen=True, slots=True)
class AudioCovered:
    """An update or the final text of an utterance has heard the audio as far as `until`."""

    utterance: int
    until: float


@dataclass(frozen=True, slots=True)
class UtteranceEnded:
    """The end of the utterance was decided when the stream's audio had reached `decided_at`.

    last_speech: where its last speech ended. probability: that the speaker has finished, 0 to 1.
    """

    utterance: int
    last_speech: float
    decided_at: float
    probability: float


@dataclass(frozen=True, slots=True)
class UtteranceFinal:
    """The whole utterance decoded once more, its words replacing the live text.

    start, end: from the first sound of speech to where its end was decided, the silence in between
    included; revised: the text differs from the live text.
    """

    utterance: int
    words: tuple[Word, ...]
    start: float
    end: float
    revised: bool
    language: str


@dataclass(frozen=True, slots=True)
class LanguageDoubted:
    """The first utterances sound like another language than the one they are read in, which was
    given and stays. probability: of the language heard, 0 to 1."""

    utterance: int
    read_in: str
    heard: str
    probability: float

    def __str__(self) -> str:
        return (
            f"sounds like {self.heard} ({self.probability:.0%}) and is read as {self.read_in}: "
            "set engine.language, fsbot_language in the dialplan, or auto"
        )


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """Everything fed before `finish` has been transcribed; nothing follows."""

    duration: float


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """The engine could not go on with this stream; nothing follows."""

    reason: str


StreamEvent = (
    SpeechStarted
    | SpeechCertain
    | WordsCommitted
    | AudioCovered
    | UtteranceEnded
    | UtteranceFinal
    | LanguageDoubted
    | StreamEnded
    | StreamFailed
)
"""What the engine says about one stream, in the order in which it happens."""
