"""The case accuracy: word errors of final and live text, lost turns, repetitions, comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fsbot.bench.report import CaseReport, Figure, limited
from fsbot.bench.scoring import (
    WordErrors,
    compare,
    errors_by_part,
    final_text,
    live_text,
    lost_turns,
    repetitions,
    words,
)
from fsbot.bench.speech import SIDES, Reading
from fsbot.bench.workshop import Workshop
from fsbot.transcript.records import Record, parse

YARDSTICKS = {"fr": (45.9, 442), "en": (18.7, 332), "long": (28.2, 0)}
"""Per set: word error rate in per cent of openai-whisper offline, and the words it was measured
on (BASELINE.md); with other words there is nothing to compare."""

FINAL_ABOVE, LIVE_ABOVE = 3.0, 8.0
PIECE_WORDS = 10
"""Readings have no turns: their text is compared in pieces of so many words."""


@dataclass(frozen=True, slots=True)
class TrackText:
    """One track: what was said, turn by turn, and what was heard. Keys of `heard`: final, live."""

    name: str
    parts: tuple[str, ...]
    heard: dict[str, str]

    def errors(self, heard: str) -> list[WordErrors]:
        return errors_by_part(self.parts, heard)


def accuracy(workshop: Workshop) -> CaseReport:
    """Every set of calls by its language, and the readings."""
    figures: list[Figure] = []
    tracks: dict[str, list[TrackText]] = {}
    lost_by_set: dict[str, list[str]] = {}
    if workshop.calls:
        played = workshop.played_once(workshop.point)
        for call in workshop.calls:
            records = played.calls[call.name].records
            for side in SIDES:
                parts = tuple(turn.text for turn in call.turns_of(side))
                heard = {"final": final_text(records, side), "live": live_text(records, side)}
                track = TrackText(f"{call.name}/{side}", parts, heard)
                tracks.setdefault(call.language, []).append(track)
            lost_by_set.setdefault(call.language, []).extend(
                f"{call.name}/{turn.side} {turn.speech_start:.2f}: {turn.text}"
                for turn in lost_turns(call.turns, records)
            )
    if workshop.readings:
        tracks["long"] = _read_aloud(workshop)
    details: dict[str, object] = {"lost_turns": lost_by_set}
    for name, found in tracks.items():
        figures += _figures(name, found, workshop)
        if name in lost_by_set:
            figures.append(Figure(f"{name}: turns lost", len(lost_by_set[name])))
    details["texts"] = {track.name: track.heard for found in tracks.values() for track in found}
    details["repetitions"] = {
        track.name: runs for found in tracks.values() for track in found if (runs := _runs(track))
    }
    return CaseReport(
        "accuracy",
        "openai-whisper's BasicTextNormalizer, errors summed over tracks; "
        f"{workshop.point.summary}; intervals: paired bootstrap over turns, 95 %",
        tuple(figures),
        details,
    )


def _figures(name: str, tracks: Sequence[TrackText], workshop: Workshop) -> list[Figure]:
    figures = []
    total = sum(len(words(part)) for track in tracks for part in track.parts)
    yardstick, measured_on = YARDSTICKS.get(name, (0.0, 0))
    known = name == "long" or total == measured_on
    for kind, above in (("final", FINAL_ABOVE), ("live", LIVE_ABOVE)):
        errors = WordErrors()
        for track in tracks:
            for part in track.errors(track.heard[kind]):
                errors.errors += part.errors
                errors.words += part.words
        title = f"{name}: {kind} word error rate, of {errors.words} words"
        if known:
            limit = yardstick + above
            target = f"<= {limit:.1f} % ({yardstick} + {above:g})"
            figures.append(limited(title, errors.rate, "%", limit, target))
        else:
            figures.append(Figure(title, errors.rate, "%"))
        figures += _comparisons(name, kind, tracks, workshop)
    count = sum(len(_runs(track)) for track in tracks)
    figures.append(limited(f"{name}: n-grams three times in a row", count, "", 0, "0"))
    return figures


def _comparisons(
    name: str, kind: str, tracks: Sequence[TrackText], workshop: Workshop
) -> list[Figure]:
    """Rows of the other systems whose output of these tracks is there."""
    figures = []
    other = workshop.other
    if other is not None:
        known = other.readings if name == "long" else other.calls
        texts = {track: made.text for track, made in known.items()}
        figures += _comparison(f"{name}: {kind}", other.name, tracks, kind, texts)
    if workshop.earlier is not None:
        texts = {track: heard[kind] for track, heard in workshop.earlier.items()}
        figures += _comparison(f"{name}: {kind}", "earlier report", tracks, kind, texts)
    return figures


def _comparison(
    title: str, other: str, tracks: Sequence[TrackText], kind: str, texts: dict[str, str]
) -> list[Figure]:
    shared = [track for track in tracks if track.name in texts]
    ours = [part for track in shared for part in track.errors(track.heard[kind])]
    theirs = [part for track in shared for part in track.errors(texts[track.name])]
    difference = compare(ours, theirs)
    if difference is None:
        return []
    rate = 100 * sum(part.errors for part in theirs) / max(1, sum(part.words for part in theirs))
    return [
        Figure(f"{title}, {other}: word error rate ({len(shared)} tracks)", rate, "%"),
        Figure(f"{title}, ours minus {other}", str(difference)),
    ]


def _runs(track: TrackText) -> list[str]:
    said = " ".join(track.parts)
    return [run for heard in track.heard.values() for run in repetitions(heard, said)]


def _read_aloud(workshop: Workshop) -> list[TrackText]:
    """The readings through `fsbot transcribe`, all of one language in one go."""
    found = []
    for language in sorted({reading.language for reading in workshop.readings}):
        chosen = [reading for reading in workshop.readings if reading.language == language]
        seconds = sum(reading.seconds for reading in chosen)
        arguments = [
            *("transcribe", *(str(reading.sound.resolve()) for reading in chosen)),
            *("--format", "jsonl", "--language", language),
            *workshop.point.flags,
        ]
        title = f"{len(chosen)} readings, {seconds:.0f} s"
        printed = workshop.run("fsbot", arguments, title, seconds / 2)
        records: dict[str, list[Record]] = {}
        for record in map(parse, printed.splitlines()):
            records.setdefault(record.call_uuid, []).append(record)
        for reading, told in zip(chosen, records.values(), strict=True):
            found.append(_reading_text(reading, told))
    return found


def _reading_text(reading: Reading, records: Sequence[Record]) -> TrackText:
    said = reading.text.split()
    pieces = [said[at : at + PIECE_WORDS] for at in range(0, len(said), PIECE_WORDS)]
    heard = {"final": final_text(records, "caller"), "live": live_text(records, "caller")}
    return TrackText(reading.name, tuple(map(" ".join, pieces)), heard)
