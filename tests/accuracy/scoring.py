"""Word errors and lost turns: what a transcript is held against, and how."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jiwer
from whisper.normalizers import BasicTextNormalizer

from fsbot.transcript.records import Record, Transcription

SHARED = Path(__file__).parents[3] / "shared" / "speech"
"""Recorded calls with known text, where they lie beside the project."""

MOST_TURNS_PER_RECORD = 2

_normalised = BasicTextNormalizer()


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said, and when it could be heard; seconds of the call."""

    side: str
    speech_start: float
    speech_end: float
    text: str


@dataclass(frozen=True, slots=True)
class Reference:
    """One recorded call."""

    sound: Path
    language: str
    turns: tuple[Turn, ...]

    def text(self, side: str) -> str:
        """All that a side said."""
        return " ".join(turn.text for turn in self.turns if turn.side == side)


def references(pattern: str = "*") -> list[Reference]:
    """The calls whose name matches the shell pattern, by name; none without ../shared."""
    found = []
    for path in sorted((SHARED / "calls").glob(f"{pattern}.json")):
        call = json.loads(path.read_text(encoding="utf-8"))
        turns = (
            Turn(turn["side"], turn["speech_start"], turn["speech_end"], turn["text"])
            for turn in call["turns"]
        )
        found.append(Reference(path.with_suffix(".flac"), call["lang"], tuple(turns)))
    return found


def words(text: str) -> list[str]:
    """The words that count: lower case, no punctuation (openai-whisper's basic normaliser)."""
    return _normalised(text).split()


@dataclass(slots=True)
class WordErrors:
    """Errors and reference words, summed over texts."""

    errors: int = 0
    words: int = 0

    def add(self, reference: str, heard: str) -> None:
        """Count one text."""
        wanted, got = words(reference), words(heard)
        self.words += len(wanted)
        if wanted:
            aligned = jiwer.process_words(" ".join(wanted), " ".join(got))
            self.errors += aligned.substitutions + aligned.deletions + aligned.insertions
        else:
            self.errors += len(got)

    @property
    def rate(self) -> float:
        """Word error rate in per cent."""
        return 100 * self.errors / max(1, self.words)

    def __str__(self) -> str:
        return f"{self.rate:5.1f} % ({self.errors}/{self.words})"


def live_text(records: Iterable[Record], side: str) -> str:
    """What was committed of a side while it spoke."""
    return " ".join(
        record.text
        for record in records
        if isinstance(record, Transcription) and record.side == side and not record.is_final
    )


def final_records(records: Iterable[Record], side: str) -> list[Transcription]:
    """The final texts of a side, in the order of their start."""
    finals = [
        record
        for record in records
        if isinstance(record, Transcription) and record.side == side and record.is_final
    ]
    return sorted(finals, key=lambda record: record.start)


def lost_turns(turns: Sequence[Turn], records: Sequence[Record]) -> list[Turn]:
    """Turns without a final record that covers half of their speech and shares a word with them.

    One record serves two turns at most.
    """
    served: Counter[tuple[str, int]] = Counter()
    lost = []
    for turn in turns:
        for record in final_records(records, turn.side):
            covered = min(record.end, turn.speech_end) - max(record.start, turn.speech_start)
            key = (record.side, record.utterance)
            if (
                covered >= (turn.speech_end - turn.speech_start) / 2
                and set(words(record.text)) & set(words(turn.text))
                and served[key] < MOST_TURNS_PER_RECORD
            ):
                served[key] += 1
                break
        else:
            lost.append(turn)
    return lost


@dataclass(slots=True)
class Report:
    """The score of several transcripts of one language."""

    final: WordErrors = field(default_factory=WordErrors)
    live: WordErrors = field(default_factory=WordErrors)
    by_side: dict[str, WordErrors] = field(default_factory=dict)
    turns: int = 0
    lost: list[tuple[str, Turn]] = field(default_factory=list)

    def add(self, reference: Reference, records: Sequence[Record]) -> None:
        """Score one call."""
        for side in ("caller", "callee"):
            final = " ".join(record.text for record in final_records(records, side))
            self.final.add(reference.text(side), final)
            self.by_side.setdefault(side, WordErrors()).add(reference.text(side), final)
            self.live.add(reference.text(side), live_text(records, side))
        self.turns += len(reference.turns)
        lost = lost_turns(reference.turns, records)
        self.lost += [(reference.sound.stem, turn) for turn in lost]

    def lines(self, name: str) -> list[str]:
        """The report for people."""
        sides = ", ".join(f"{side} {errors}" for side, errors in self.by_side.items())
        return [
            f"{name}: final text {self.final} ({sides})",
            f"{name}: live text  {self.live}",
            f"{name}: {len(self.lost)} of {self.turns} turns lost",
            *(
                f"    {call} {turn.side} {turn.speech_start:.2f}-{turn.speech_end:.2f} {turn.text}"
                for call, turn in self.lost
            ),
        ]
