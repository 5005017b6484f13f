"""Transcripts for people and players: plain text, SubRip (srt) and WebVTT (vtt).

Made from the final texts only: the records with `is_final`. Sources: the W3C's WebVTT, sections
4.1 and 4.2; SubRip has no specification, only players.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from fsbot.transcript.cues import Cue, cues_of, in_turn, printable
from fsbot.transcript.records import (
    Record,
    SideName,
    StartOfSpeech,
    StartOfTranscript,
    Transcription,
)

Form = Literal["text", "srt", "vtt"]


def export(records: Iterable[Record], form: Form) -> Iterator[str]:
    """A whole transcript, from its records in any order, piece by piece. Holds all final texts."""
    sides: set[SideName] = set()
    finals: list[Transcription] = []
    for record in records:
        if isinstance(record, StartOfTranscript):
            sides.update(record.sides)
        elif isinstance(record, Transcription) and record.is_final:
            finals.append(record)
    exporter = Exporter(form, name_sides=len(sides) > 1)
    yield exporter.head
    yield from map(exporter.add, sorted(finals, key=lambda final: final.start))
    yield exporter.end()


class Exporter:
    """Writes final texts one after the other; they must come in order of their start."""

    def __init__(self, form: Form, *, name_sides: bool) -> None:
        """name_sides: whether each passage says whose it is."""
        self._form = form
        self._name_sides = name_sides
        self._count = 0
        self._waiting: list[Cue] = []
        """Cues that one of a later text may cut short, in order of their start."""

    @property
    def head(self) -> str:
        """What comes before the first passage."""
        return "WEBVTT\n\n" if self._form == "vtt" else ""

    def add(self, final: Transcription) -> str:
        """What can be written now that this text has come: passages with their line ends."""
        if self._form == "text":
            return self._passage(final)
        prefix = f"{final.side}: " if self._form == "srt" and self._name_sides else ""
        self._waiting = in_turn([*self._waiting, *cues_of(final, prefix)])
        return self._write(final.start)

    def end(self) -> str:
        """The rest: no text follows."""
        return self._write(math.inf)

    def _passage(self, final: Transcription) -> str:
        text = printable(final.text)
        if not text:
            return ""
        whose = f"{final.side} {timestamp(max(0.0, final.start), '.')} " if self._name_sides else ""
        return f"{whose}{text}\n"

    def _write(self, until: float) -> str:
        """The cues that end before `until`: no text that begins then can change them."""
        ready = [cue for cue in self._waiting if cue.end <= until]
        self._waiting = self._waiting[len(ready) :]
        return "".join(map(self._cue, ready))

    def _cue(self, cue: Cue) -> str:
        self._count += 1
        text = "\n".join(cue.lines)
        if self._form == "srt":
            # An arrow in the text would be taken for the next cue's times.
            times = f"{timestamp(cue.start, ',')} --> {timestamp(cue.end, ',')}"
            return f"{self._count}\n{times}\n{text.replace('-->', '→')}\n\n"
        times = f"{timestamp(cue.start, '.')} --> {timestamp(cue.end, '.')}"
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        voice = f"<v {cue.side}>" if self._name_sides else ""
        return f"{times}\n{voice}{escaped}\n\n"


def timestamp(seconds: float, point: str) -> str:
    """`HH:MM:SS` and milliseconds behind `point`; two digits of hours or more."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{whole:02}{point}{milliseconds:03}"


class StartOrder:
    """Final texts of several sides, which come as they are done, in the order of their start.

    A text is held back while another side may still come with an earlier one: while it has an
    utterance open that began before, or has not been heard as far.
    """

    def __init__(self, sides: Sequence[SideName]) -> None:
        self._heard = dict.fromkeys(sides, 0.0)
        self._open: dict[tuple[SideName, int], float] = {}
        self._held: list[Transcription] = []

    def note(self, record: Record) -> None:
        """Take in any record of the transcript."""
        if isinstance(record, StartOfSpeech):
            self._open[record.side, record.utterance] = record.start
        elif isinstance(record, Transcription) and record.is_final:
            self._open.pop((record.side, record.utterance), None)
            self._held.append(record)

    def heard(self, side: SideName, seconds: float) -> None:
        """Every utterance of `side` that begins before `seconds` has been noted."""
        self._heard[side] = seconds

    def release(self) -> list[Transcription]:
        """The texts that no other can precede any more, in order."""
        limit = min([*self._heard.values(), *self._open.values()])
        self._held.sort(key=lambda final: final.start)
        ready = [final for final in self._held if final.start <= limit]
        self._held = self._held[len(ready) :]
        return ready

    def release_all(self) -> list[Transcription]:
        """The rest, in order: nothing more will be noted."""
        held, self._held = sorted(self._held, key=lambda final: final.start), []
        return held
