"""Word errors, lost turns, repetitions: what a transcript is held against, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import jiwer
import numpy as np
from whisper.normalizers import BasicTextNormalizer

from fsbot.bench.speech import SIDES, Reference, Turn
from fsbot.transcript.records import Record, Transcription

MOST_TURNS_PER_RECORD = 2

LONGEST_REPEATED = 12
"""Words of an n-gram whose repetition is looked for."""

RESAMPLINGS = 5000

_normalised = BasicTextNormalizer()


def words(text: str) -> list[str]:
    """The words that count: lower case, no punctuation (openai-whisper's basic normaliser)."""
    return str(_normalised(text)).split()


@dataclass(frozen=True, slots=True)
class Alignment:
    """What became of each word of a reference.

    matches: (word of the reference, word heard) where they are equal; wrong: words of the
    reference heard as others, or not at all; inserted: for each word heard too much, the word of
    the reference behind which it was heard (0 also for those before the first).
    """

    matches: tuple[tuple[int, int], ...]
    wrong: tuple[int, ...]
    inserted: tuple[int, ...]

    @property
    def errors(self) -> int:
        return len(self.wrong) + len(self.inserted)


def align(wanted: Sequence[str], got: Sequence[str]) -> Alignment:
    """The alignment with the fewest errors."""
    if not wanted:
        return Alignment((), (), (0,) * len(got))
    matches: list[tuple[int, int]] = []
    wrong: list[int] = []
    inserted: list[int] = []
    aligned = jiwer.process_words(" ".join(wanted), " ".join(got))
    for chunk in aligned.alignments[0]:
        reference = range(chunk.ref_start_idx, chunk.ref_end_idx)
        heard = range(chunk.hyp_start_idx, chunk.hyp_end_idx)
        if chunk.type == "equal":
            matches += zip(reference, heard, strict=True)
        elif chunk.type == "insert":
            inserted += [max(0, chunk.ref_start_idx - 1)] * len(heard)
        else:
            wrong += reference
    return Alignment(tuple(matches), tuple(wrong), tuple(inserted))


@dataclass(slots=True)
class WordErrors:
    """Errors and reference words, summed over texts."""

    errors: int = 0
    words: int = 0

    def add(self, reference: str, heard: str) -> None:
        """Count one text."""
        wanted = words(reference)
        self.words += len(wanted)
        self.errors += align(wanted, words(heard)).errors

    @property
    def rate(self) -> float:
        """Word error rate in per cent."""
        return 100 * self.errors / max(1, self.words)

    def __str__(self) -> str:
        return f"{self.rate:5.1f} % ({self.errors}/{self.words})"


def errors_by_part(parts: Sequence[str], heard: str) -> list[WordErrors]:
    """The errors of a whole text, each laid to the part of the reference that it fell into."""
    lengths = [len(words(part)) for part in parts]
    counted = [WordErrors(0, length) for length in lengths]
    owner = np.repeat(np.arange(len(parts)), lengths)
    aligned = align([word for part in parts for word in words(part)], words(heard))
    for place in (*aligned.wrong, *aligned.inserted):
        counted[int(owner[place]) if len(owner) else 0].errors += 1
    return counted


@dataclass(frozen=True, slots=True)
class Difference:
    """How much higher one system's word error rate is than another's on the same parts: percentage
    points, with the 95 % interval of a paired bootstrap over parts."""

    points: float
    low: float
    high: float
    parts: int

    def __str__(self) -> str:
        interval = f"[{self.low:+.1f}, {self.high:+.1f}]"
        return f"{self.points:+.1f} points {interval}, {self.parts} turns"


def compare(
    ours: Sequence[WordErrors], theirs: Sequence[WordErrors], seed: int = 0
) -> Difference | None:
    """Ours minus theirs, part by part the same text; None without any."""
    words_of = np.array([part.words for part in ours])
    if not words_of.sum():
        return None
    pairs = zip(ours, theirs, strict=True)
    differences = np.array([our.errors - their.errors for our, their in pairs])
    drawn = np.random.default_rng(seed).integers(0, len(ours), (RESAMPLINGS, len(ours)))
    rates = differences[drawn].sum(axis=1) / np.maximum(1, words_of[drawn].sum(axis=1))
    low, high = np.percentile(100 * rates, (2.5, 97.5))
    points = 100 * differences.sum() / words_of.sum()
    return Difference(float(points), float(low), float(high), len(ours))


def repetitions(heard: str, reference: str) -> list[str]:
    """Every run of words that is heard three times or more in a row, and isn't said so."""
    said = set(_runs(words(reference)))
    return [run for run in _runs(words(heard)) if run not in said]


def _runs(text: Sequence[str]) -> Iterable[str]:
    """The n-grams that stand three times in a row, each run of them once."""
    place = 0
    while place < len(text):
        for length in range(1, LONGEST_REPEATED + 1):
            first = text[place : place + length]
            end = place + length
            while len(first) == length and text[end : end + length] == first:
                end += length
            if end - place >= 3 * length:
                yield " ".join(first)
                place = end - 1
                break
        place += 1


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


def final_text(records: Iterable[Record], side: str) -> str:
    """The whole final text of a side."""
    return " ".join(record.text for record in final_records(records, side))


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
        for side in SIDES:
            final = final_text(records, side)
            self.final.add(reference.text(side), final)
            self.by_side.setdefault(side, WordErrors()).add(reference.text(side), final)
            self.live.add(reference.text(side), live_text(records, side))
        self.turns += len(reference.turns)
        lost = lost_turns(reference.turns, records)
        self.lost += [(reference.name, turn) for turn in lost]

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
