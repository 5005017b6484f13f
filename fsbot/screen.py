"""What `fsbot demo` shows: a call's words as they are committed, and what came of it in figures."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fsbot.engine.events import blank
from fsbot.log import printable
from fsbot.transcript.records import (
    EndOfTranscript,
    EndOfUtterance,
    Failure,
    Record,
    SideName,
    StartOfTranscript,
    Transcription,
)

if TYPE_CHECKING:
    from fsbot.engine.scheduler import EngineTimes

COLOURS = {"caller": "cyan", "callee": "magenta"}


class Screen(AbstractContextManager["Screen"], Protocol):
    """Shows one call."""

    def show(self, record: Record) -> None:
        """Take in the call's next record."""

    def tick(self) -> None:
        """Some time has passed."""


def make_screen(console: Console, seconds: float) -> Screen:
    """One that redraws on a terminal, one that only adds lines anywhere else.

    `seconds`: length of the call.
    """
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveScreen(console, seconds)
    return PlainScreen(console)


class PlainScreen:
    """A line for every record with words, written at once: what a log or a pipe gets."""

    def __init__(self, console: Console) -> None:
        self._file = console.file

    def __enter__(self) -> Screen:
        self._write("Call time, side, words as they are committed; = is the final text.")
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, record: Record) -> None:
        match record:
            case Transcription(text=text) if text:
                mark = "=" if record.is_final else " "
                said = f"{record.side} {mark} {printable(text)}"
                self._write(f"{clock(record.emission_time):>7} {said}")
            case Failure():
                self._write(f"{clock(record.emission_time):>7} {printable(record.message)}")
            case _:
                pass

    def tick(self) -> None:
        pass

    def _write(self, line: str) -> None:
        print(line, file=self._file, flush=True)


@dataclass(slots=True)
class OpenUtterance:
    """One without its final text: the live text so far, and the guess beyond it."""

    start: float
    side: SideName
    live: str = ""
    tentative: str = ""

    def grow(self, record: Transcription) -> None:
        """By a record of the utterance that is not final."""
        between = blank(record.language_code) if self.live and record.text else ""
        self.live += between + printable(record.text)
        self.tentative = printable(record.tentative)

    @property
    def words(self) -> Text:
        """In the colour of the side, the guess dimmed."""
        words = Text(self.live, style=COLOURS[self.side])
        if self.live and self.tentative:
            words.append(" ")
        return words.append(self.tentative, style="dim italic")


class LiveScreen:
    """Final texts above; below them the utterances that are being spoken, and the call's clock."""

    def __init__(self, console: Console, seconds: float) -> None:
        self._console = console
        self._seconds = seconds
        self._answered_at = 0.0
        self._open: dict[tuple[SideName, int], OpenUtterance] = {}
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, record: Record) -> None:
        match record:
            case StartOfTranscript():
                self._answered_at = record.answered_at
            case Transcription(is_final=True):
                self._open.pop((record.side, record.utterance), None)
                self.tick()
                self._console.print(_line(record.start, record.side, Text(printable(record.text))))
            case Transcription():
                key = record.side, record.utterance
                self._open.setdefault(key, OpenUtterance(record.start, record.side)).grow(record)
                self.tick()
            case Failure():
                self._console.print(Text(printable(record.message), style="yellow"))
            case _:
                pass

    def tick(self) -> None:
        lines = [
            _line(said.start, said.side, said.words)
            for said in sorted(self._open.values(), key=lambda said: said.start)
        ]
        self._live.update(Group(*lines, self._clock()), refresh=True)

    def _clock(self) -> Text:
        if not self._answered_at:
            return Text("ringing …", style="dim")
        now = time.time() - self._answered_at
        if now <= self._seconds:
            return Text(f"{clock(now)} of {clock(self._seconds)}", style="green")
        return Text("the call is over, its last words are being read", style="dim")


def _line(start: float, side: SideName, words: Text) -> Table:
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_column(justify="right", width=6)
    line.add_column(width=6)
    line.add_column()
    line.add_row(Text(clock(start), style="dim"), Text(side, style=f"bold {COLOURS[side]}"), words)
    return line


def clock(seconds: float) -> str:
    """Minutes, seconds and tenths: 0:09.5."""
    tenths = max(0, round(seconds * 10))
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"


class AboveScreen(io.TextIOBase):
    """A stream for log lines that share the terminal with a LiveScreen. Any thread may write."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> int:
        self._console.print(Text(text), end="")
        return len(text)


@dataclass(slots=True)
class Tally:
    """What a call's records say in figures."""

    finals: list[Transcription] = field(default_factory=list)
    live_delays: list[float] = field(default_factory=list)
    silences: list[float] = field(default_factory=list)
    speech_ends: dict[tuple[SideName, int], float] = field(default_factory=dict)
    end_reason: str = ""
    duration: float = 0.0
    words: dict[SideName, int] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        match record:
            case Transcription(is_final=True):
                self.finals.append(record)
            case Transcription(text=text) if text:
                self.live_delays.append(record.latency_ms / 1000)
            case EndOfUtterance():
                self.silences.append(record.silence)
                self.speech_ends[record.side, record.utterance] = record.end
            case EndOfTranscript():
                self.end_reason = record.reason
                self.duration = record.duration
                self.words = record.words
            case _:
                pass

    @property
    def final_delays(self) -> list[float]:
        """Seconds from the end of each utterance's speech to its final text."""
        return [
            final.emission_time - self.speech_ends.get((final.side, final.utterance), final.end)
            for final in self.finals
        ]

    def lines(self, times: EngineTimes) -> Iterator[str]:
        """The summary. `times`: of the engine that did the work."""
        sides = ", ".join(f"{side} {count}" for side, count in self.words.items())
        work = times.listening + times.updating + times.closing
        factor = work / times.audio if times.audio else 0.0
        yield _row("words", f"{sum(self.words.values())} ({sides}), {len(self.finals)} utterances")
        yield _row("call", f"{self.duration:.1f} s, ended by {self.end_reason}")
        yield _row("real-time factor", f"{factor:.2f} s of work per second of each side")
        yield _row("live words", f"{_typical(self.live_delays)} after they were spoken")
        silence = f", {median(self.silences):.2f} s of it silence" if self.silences else ""
        yield _row("final text", f"{_typical(self.final_delays)} after the end of speech{silence}")


def _row(name: str, value: str) -> str:
    return f"{name:<18}{value}"


def _typical(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    return f"{median(seconds):.2f} s (p50), {max(seconds):.2f} s (max)"
