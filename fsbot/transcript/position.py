"""How far a transcript has come, from its own records: where each side goes on after a crash."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from fsbot.engine.events import Word, joined
from fsbot.engine.position import OpenUtterance, StreamPosition
from fsbot.transcript.records import (
    EndOfTranscript,
    EndOfUtterance,
    Mark,
    Record,
    SideName,
    StartOfSpeech,
    StartOfTranscript,
    Transcription,
)


@dataclass(slots=True)
class _Utterance:
    number: int
    speech_start: float
    spoken: list[Word] = field(default_factory=list)
    last_speech: float | None = None
    decided_at: float | None = None


class _Side:
    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.closed_until = 0.0
        self.words = 0
        self.language = ""
        self.open: list[_Utterance] = []
        self.closed: _Utterance | None = None

    def take(self, record: StartOfSpeech | EndOfUtterance | Transcription) -> None:
        match record:
            case StartOfSpeech(confirmed=True):
                pass  # it is open already
            case StartOfSpeech():
                self.number = max(self.number, record.utterance)
                self.open.append(_Utterance(record.utterance, record.audio_start))
            case EndOfUtterance():
                for utterance in self._of(record.utterance):
                    utterance.last_speech = record.audio_end
                    utterance.decided_at = record.audio_end + record.silence
            case Transcription(is_final=True):
                self.closed_until = max(self.closed_until, record.audio_end)
                self.words += len(record.alternatives[0].words) if record.alternatives else 0
                self.language = record.language_code
                for utterance in self._of(record.utterance):
                    self.closed = utterance
                self.open = [each for each in self.open if each.number != record.utterance]
            case Transcription():
                self.language = record.language_code
                for utterance in self._of(record.utterance):
                    utterance.spoken += _new_words(record, len(utterance.spoken))

    def _of(self, number: int) -> list[_Utterance]:
        return [each for each in self.open if each.number == number]

    @property
    def position(self) -> StreamPosition:
        """Only the last utterance may go on: one before it without an end was cut where that
        begins."""
        utterances = []
        before = self.closed
        for utterance, following in zip_longest(self.open, self.open[1:]):
            start, last_speech, decided_at = (
                utterance.speech_start,
                utterance.last_speech,
                utterance.decided_at,
            )
            if following is not None:
                # Cut: what follows begins before the cut was decided.
                last_speech = following.speech_start if last_speech is None else last_speech
                decided_at = min(decided_at or math.inf, following.speech_start)
            inherited = []
            if before is not None and before.last_speech in (None, start):
                inherited = [word for word in before.spoken if word.middle >= start]
            utterances.append(
                OpenUtterance(
                    utterance.number,
                    start,
                    tuple(utterance.spoken),
                    last_speech,
                    decided_at,
                    tuple(inherited),
                )
            )
            before = utterance
        return StreamPosition(self.number, self.closed_until, tuple(utterances))


@dataclass(frozen=True, slots=True)
class TranscriptPosition:
    """recordings: the records that announced them; positions, words (of final texts), languages:
    by side. over: the transcript has its end. hidden: stretches in which nothing is to be heard, in
    seconds since the answer; the end of one that goes on is infinite. hiding: the marks that have
    not ended and keep it going. elsewhere: the same stretches of single sides, which another
    transcript has, or nobody heard; covered: of those that go on, the call UUID of that transcript,
    empty if nobody hears the side."""

    recordings: tuple[StartOfTranscript, ...]
    positions: dict[SideName, StreamPosition]
    words: dict[SideName, int]
    languages: dict[SideName, str]
    over: bool
    hidden: tuple[tuple[float, float], ...]
    hiding: tuple[Mark, ...] = ()
    elsewhere: dict[SideName, list[tuple[float, float]]] = field(default_factory=dict)
    covered: dict[SideName, str] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record]) -> "TranscriptPosition":
        """From all records of a transcript, in their order."""
        recordings: list[StartOfTranscript] = []
        sides: dict[SideName, _Side] = {"caller": _Side(), "callee": _Side()}
        hidden: list[tuple[float, float]] = []
        hiding: dict[tuple[str, str, str], Mark] = {}
        elsewhere: dict[SideName, list[tuple[float, float]]] = {"caller": [], "callee": []}
        covered: dict[SideName, str] = {}
        over = False
        for record in records:
            match record:
                case StartOfTranscript():
                    if over:
                        # The leg was taken once more, after a shutdown: on a tape of its own.
                        recordings, hidden, hiding, over = [], [], {}, False
                        elsewhere, covered = {"caller": [], "callee": []}, {}
                        sides = {name: _Side(side.number) for name, side in sides.items()}
                    recordings.append(record)
                case EndOfTranscript():
                    over = True
                case Mark(mark="mask" | "pause", start=start):
                    if not hiding:
                        hidden.append((start, math.inf))
                    hiding[record.leg_uuid, record.reason, record.mark] = record
                case Mark(mark="unmask" | "resume", start=end) if hidden:
                    began = "mask" if record.mark == "unmask" else "pause"
                    hiding.pop((record.leg_uuid, record.reason, began), None)
                    if not record.reason:
                        hiding.clear()  # an earlier version told the end of the last one only
                    if not hiding:
                        hidden[-1] = (hidden[-1][0], end)
                case Mark(mark="joined" | "mute", start=start, sides=named):
                    for side in named:
                        covered[side] = record.party
                        if not elsewhere[side] or elsewhere[side][-1][1] < math.inf:
                            elsewhere[side].append((start, math.inf))
                case Mark(mark="parted" | "unmute", start=end, sides=named):
                    for side in named:
                        covered.pop(side, None)
                        if elsewhere[side]:
                            elsewhere[side][-1] = (elsewhere[side][-1][0], end)
                case StartOfSpeech() | EndOfUtterance() | Transcription():
                    sides[record.side].take(record)
        return cls(
            tuple(recordings),
            {name: side.position for name, side in sides.items()},
            {name: side.words for name, side in sides.items()},
            {name: side.language for name, side in sides.items()},
            over,
            tuple(hidden),
            tuple(hiding.values()),
            elsewhere,
            covered,
        )


def _new_words(record: Transcription, known: int) -> Sequence[Word]:
    """The words that a live record commits: those of its alternative behind the first `known` that
    make up its text."""
    if not record.text or not record.alternatives:
        return []
    shift = record.audio_start - record.start
    found: list[Word] = []
    for word in record.alternatives[0].words[known:]:
        if joined(found, record.language_code) == record.text:
            break
        start, end = word.start_time + shift, word.end_time + shift
        found.append(Word(word.word, start, end, word.confidence))
    return found
