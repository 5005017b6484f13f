"""`fsbot watch`: all calls that are up, and what is being said in them, from their journals."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from fsbot.engine.events import UNSPACED_LANGUAGES
from fsbot.log import printable
from fsbot.screen import COLOURS, clock
from fsbot.settings import Settings
from fsbot.transcript.records import (
    EndOfTranscript,
    Failure,
    Mark,
    Record,
    SideName,
    StartOfTranscript,
    Transcription,
    parse,
)

LOOK_SECONDS = 0.25
SHOWN_AFTER_END = 10.0
"""Seconds that a call stays on the screen when it is over."""

RECENT_DAYS = 2
"""Calls that were answered before yesterday are not looked for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `fsbot watch`."""
    parser.add_argument(
        "call", metavar="UUID", nargs="?", default="", help="only calls whose UUID begins so"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """`fsbot watch`, until Ctrl-C; the latter is how it ends."""
    console = Console(highlight=False)
    watch = Watch(settings.transcripts.directory, args.call)
    with suppress(KeyboardInterrupt):
        if console.is_terminal and not console.is_dumb_terminal:
            _show(watch, console)
        else:
            _print(watch)
    return 0


def _show(watch: Watch, console: Console) -> None:
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            watch.look()
            live.update(screen(watch.calls(), console.height, console.width), refresh=True)
            time.sleep(LOOK_SECONDS)


def _print(watch: Watch) -> None:
    """A line for each final text: for a pipe or a file."""
    watch.look()  # what was said before is in `fsbot show`
    while True:
        time.sleep(LOOK_SECONDS)
        for record in watch.look():
            for line in plain_lines(record):
                print(line, flush=True)


def plain_lines(record: Record) -> Iterator[str]:
    """What a record says to whoever reads lines; most say nothing."""
    at = datetime.fromtimestamp(record.emitted_at).astimezone()
    begins = f"{at:%H:%M:%S} {printable(record.call_uuid)}"
    match record:
        case StartOfTranscript(recording=1):
            yield f"{begins} {printable(record.caller)} → {printable(record.destination)}"
        case Transcription(is_final=True) if record.text:
            yield f"{begins} {record.side}: {printable(record.text)}"
        case Mark():
            yield f"{begins} [{record.mark}] {printable(record.party)}".rstrip()
        case Failure():
            yield f"{begins} [{record.error}{' is over' if record.over else ''}]"
        case EndOfTranscript():
            yield f"{begins} [{record.reason}]"


@dataclass(slots=True)
class _Side:
    """What a side said last, and what it is saying."""

    final: str = ""
    live: str = ""
    tentative: str = ""


@dataclass(slots=True)
class WatchedCall:
    """A call as its journal has it so far."""

    uuid: str
    start: StartOfTranscript | None = None
    sides: dict[SideName, _Side] = field(default_factory=dict)
    trouble: str = ""
    ended: str = ""
    changed: float = 0.0

    def take(self, record: Record) -> None:
        """The journal's next record."""
        self.changed = record.emitted_at
        match record:
            case StartOfTranscript():
                self.start, self.ended = self.start or record, ""
            case Transcription():
                self._say(self.sides.setdefault(record.side, _Side()), record)
            case Mark():
                self.trouble = record.mark
            case Failure():
                self.trouble = "" if record.over else f"{record.error}: {record.message}"
            case EndOfTranscript():
                self.ended = record.reason

    def _say(self, side: _Side, record: Transcription) -> None:
        if record.is_final:
            side.final, side.live, side.tentative = record.text or side.final, "", ""
            return
        blank = "" if record.language_code in UNSPACED_LANGUAGES or not side.live else " "
        side.live += f"{blank}{record.text}" if record.text else ""
        side.tentative = record.tentative

    def lines(self, now: float) -> list[Text]:
        """The call on the screen: who and how long, then a line for each side that has spoken."""
        parties, since = "?", self.changed
        if self.start is not None:
            caller, destination = printable(self.start.caller), printable(self.start.destination)
            parties, since = f"{caller or '?'} → {destination or '?'}", self.start.answered_at
        state = f"  {self.ended}" if self.ended else ""
        title = f"{parties}  {clock((self.changed if self.ended else now) - since)}{state}"
        head = Text.assemble((title, "dim" if self.ended else "bold"), (f"  {self._short}", "dim"))
        if self.trouble:
            head.append(f"  {printable(self.trouble)}", style="yellow")
        return [head, *(self._line(name, side) for name, side in sorted(self.sides.items()))]

    @property
    def _short(self) -> str:
        return printable(self.uuid)[:8]

    def _line(self, name: SideName, side: _Side) -> Text:
        said = Text(printable(side.live or side.final), style=COLOURS[name] if side.live else "")
        guess = Text(f" {printable(side.tentative)}" if side.tentative else "", style="dim italic")
        return Text.assemble((f"  {name}  ", f"bold {COLOURS[name]}"), said, guess)


class Watch:
    """Follows the journals as they grow."""

    def __init__(
        self, transcripts: Path, begins: str = "", now: Callable[[], float] = time.time
    ) -> None:
        """begins: of the UUIDs that are watched."""
        self._transcripts = transcripts
        self._begins = begins
        self._now = now
        self._read: dict[Path, int] = {}
        self._calls: dict[Path, WatchedCall] = {}

    def look(self) -> list[Record]:
        """Take in what the journals have gained; the new records, call by call."""
        fresh: list[Record] = []
        for path in self._journals():
            with suppress(OSError):
                size = path.stat().st_size
                if size != self._read.get(path, 0):
                    fresh += self._read_on(path, size)
        for path, call in list(self._calls.items()):
            if call.ended and self._now() - call.changed > SHOWN_AFTER_END:
                del self._calls[path]
        return fresh

    def calls(self) -> list[WatchedCall]:
        """Those that are up, or have just ended; the latest to change first."""
        return sorted(self._calls.values(), key=lambda call: -call.changed)

    def _journals(self) -> Iterator[Path]:
        today = datetime.fromtimestamp(self._now(), UTC).date()
        for days in range(RECENT_DAYS):
            folder = self._transcripts / (today - timedelta(days=days)).isoformat()
            for path in folder.glob("*.jsonl"):
                if path.stem.startswith(self._begins):
                    yield path

    def _read_on(self, path: Path, size: int) -> list[Record]:
        at = self._read.get(path, 0)
        if size < at:
            at = 0  # it was cut, or made anew
        with path.open("rb") as file:
            file.seek(at)
            *lines, rest = file.read().split(b"\n")
            self._read[path] = file.tell() - len(rest)
        records = []
        for line in lines:
            with suppress(ValidationError):
                records.append(parse(line))
        if records:
            call = self._calls.setdefault(path, WatchedCall(records[0].call_uuid))
            for record in records:
                call.take(record)
        return records


def screen(calls: list[WatchedCall], height: int, width: int) -> Group:
    """As many calls as there is room for, each line cut at the screen's edge at its beginning:
    what is being said is at its end."""
    now = time.time()
    up = sum(not call.ended for call in calls)
    title = Text(f"fsbot watch: {up} calls", style="reverse")
    shown: list[Text] = []
    left_out = 0
    for call in calls:
        lines = call.lines(now)
        if len(shown) + len(lines) > height - 3:
            left_out += 1
            continue
        shown += [_fitting(line, width) for line in lines]
    if left_out:
        shown.append(Text(f"{left_out} more", style="dim"))
    return Group(title, *shown)


def _fitting(line: Text, width: int) -> Text:
    """One line of the screen: of a long text the end."""
    if line.cell_len < width:
        return line
    head = line[: min(10, width)]
    tail = line[-(max(1, width - 13)) :]
    while tail.cell_len > max(1, width - 13):
        tail = tail[1:]
    return Text.assemble(head, ("… ", "dim"), tail)
