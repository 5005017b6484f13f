"""Whether transcripts are whole: pure comparisons of journals, events, and the same audio heard
alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from fsbot.bench.scoring import words
from fsbot.bench.speech import SIDES
from fsbot.transcript.records import (
    EndOfTranscript,
    EndOfUtterance,
    Record,
    StartOfSpeech,
    Transcription,
)

EDGE_SECONDS = 0.3
"""How much the borders of the same utterance may differ: those of two runs begin at different
windows, and a word's end is known to some 0.1 s."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An event as the second client had it. resent: it said that it was a repetition."""

    record: Record
    resent: bool


@dataclass(slots=True)
class Comparison:
    """What became of the words that were heard alone. lost: in a stretch of audio that no final
    text covers; unsaid: in an utterance that has a final text but no live text at all; twice:
    stretches with two final texts."""

    words: int = 0
    lost: list[str] = field(default_factory=list)
    unsaid: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    sides: int = 0
    same_sides: int = 0


def flaws_of_journal(records: Sequence[Record]) -> list[str]:
    """What is wrong with a complete journal, in words; empty if it is whole."""
    flaws = []
    if [record.sequence for record in records] != list(range(1, len(records) + 1)):
        flaws.append("the sequence has holes or repetitions")
    ends = sum(isinstance(record, EndOfTranscript) for record in records)
    if ends != 1 or not isinstance(records[-1], EndOfTranscript):
        flaws.append(f"{ends} ends of the transcript")
    for side in SIDES:
        begun = Counter(_numbers(records, StartOfSpeech, side))
        told = Counter(_numbers(records, EndOfUtterance, side))
        final = Counter(each.utterance for each in finals_of(records, side))
        for name, numbers in (("begun", begun), ("ended", told), ("final", final)):
            if sorted(numbers.elements()) != list(range(1, len(begun) + 1)):
                flaws.append(f"{side}: utterances {name}: {dict(numbers)}")
    return flaws


def flaws_of_events(sent: Sequence[Sent], journal: Sequence[Record]) -> list[str]:
    """Every record at least once, as the journal has it; what was there before says so."""
    flaws = []
    seen: set[int] = set()
    for each in sent:
        number = each.record.sequence
        if number in seen and not each.resent:
            flaws.append(f"{number} came again and does not say so")
        seen.add(number)
        if number > len(journal) or each.record != journal[number - 1]:
            flaws.append(f"{number} is not what the journal has")
    if absent := {record.sequence for record in journal} - seen:
        flaws.append(f"never came: {sorted(absent)}")
    return flaws


def compare_call(name: str, heard: Sequence[Record], alone: Sequence[Record]) -> Comparison:
    """A call in the run against the same recording alone, both sides."""
    found = Comparison()
    for side in SIDES:
        finals, reference = finals_of(heard, side), finals_of(alone, side)
        _compare_side(f"{name}/{side}", finals, reference, live_of(heard, side), found)
    return found


def summed(comparisons: Iterable[Comparison]) -> Comparison:
    """Of all calls."""
    total = Comparison()
    for each in comparisons:
        total.words += each.words
        total.sides += each.sides
        total.same_sides += each.same_sides
        total.lost += each.lost
        total.unsaid += each.unsaid
        total.twice += each.twice
    return total


def finals_of(records: Iterable[Record], side: str) -> list[Transcription]:
    return [each for each in _transcriptions(records, side) if each.is_final]


def live_of(records: Iterable[Record], side: str) -> list[Transcription]:
    return [each for each in _transcriptions(records, side) if not each.is_final and each.text]


def text_of(transcriptions: Iterable[Transcription]) -> str:
    return " ".join(each.text for each in transcriptions if each.text)


def _compare_side(
    name: str,
    finals: Sequence[Transcription],
    reference: Sequence[Transcription],
    live: Sequence[Transcription],
    found: Comparison,
) -> None:
    found.sides += 1
    found.same_sides += words(text_of(finals)) == words(text_of(reference))
    said = {each.utterance for each in live}
    for final in reference:
        for word, middle in _words_at(final):
            found.words += 1
            covering = [each for each in finals if _covers(each, middle)]
            if not covering:
                found.lost.append(f"{name} {middle:.1f} s: {word}")
            elif not any(each.utterance in said or not each.text for each in covering):
                found.unsaid.append(f"{name} {middle:.1f} s: {word}")
    ordered = sorted(finals, key=lambda each: each.audio_start)
    for before, after in pairwise(ordered):
        if before.audio_end > after.audio_start + EDGE_SECONDS:
            found.twice.append(f"{name} {after.audio_start:.1f} to {before.audio_end:.1f} s")


def _covers(final: Transcription, moment: float) -> bool:
    return final.audio_start - EDGE_SECONDS <= moment <= final.audio_end + EDGE_SECONDS


def _words_at(final: Transcription) -> list[tuple[str, float]]:
    """Its words, each with the second of the audio that it is around."""
    shift = final.audio_start - final.start
    return [
        (word.word, (word.start_time + word.end_time) / 2 + shift)
        for alternative in final.alternatives[:1]
        for word in alternative.words
    ]


def _transcriptions(records: Iterable[Record], side: str) -> list[Transcription]:
    return [each for each in records if isinstance(each, Transcription) and each.side == side]


def _numbers(
    records: Iterable[Record], kind: type[StartOfSpeech | EndOfUtterance], side: str
) -> list[int]:
    return [
        each.utterance
        for each in records
        if isinstance(each, kind)
        and each.side == side
        and not (isinstance(each, StartOfSpeech) and each.confirmed)
    ]


def by_call(records: Iterable[Record]) -> Mapping[str, list[Record]]:
    """Records of several calls, each in its order."""
    calls: dict[str, list[Record]] = {}
    for record in records:
        calls.setdefault(record.call_uuid, []).append(record)
    return calls
