"""`fsbot watch`: all calls that are up, and what is being said in them, from their journals."""

from __future__ import annotations

import argparse
import os
import signal
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

from fsbot.console import OutputConsole
from fsbot.log import printable
from fsbot.screen import COLOURS, OpenUtterance, clock
from fsbot.settings import Settings
from fsbot.switch.uuids import stem_begins
from fsbot.transcript.delivery import SUFFIX
from fsbot.transcript.library import redacted
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
from fsbot.transcript.redaction import NO_REDACTION, Redaction

LOOK_SECONDS = 0.25
SHOWN_AFTER_END = 10.0
"""Seconds that a call stays on the screen when it is over."""

RECENT_DAYS = 2
"""Of the days before yesterday only the calls are shown that are up when the watch begins."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `fsbot watch`."""
    parser.add_argument(
        "call", metavar="UUID", nargs="?", default="", help="only calls whose UUID begins so"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """`fsbot watch`, until Ctrl-C or SIGTERM; that is how it ends, and 0."""
    # Killed, it would leave the terminal without a cursor and on its second screen.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = OutputConsole(highlight=False)
    redaction = Redaction(settings.transcripts.redact)
    watch = Watch(settings.transcripts.directory, args.call, redaction)
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
            live.update(screen(watch, console.height, console.width), refresh=True)
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
    """What a side said last, and what it is saying: an utterance may begin before the final text of
    the one before."""

    final: str = ""
    open: dict[int, OpenUtterance] = field(default_factory=dict)


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
            side.open.pop(record.utterance, None)
            side.final = record.text or side.final
        else:
            fresh = OpenUtterance(record.start, record.side)
            side.open.setdefault(record.utterance, fresh).grow(record)

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
        said = [Text(printable(side.final))] if side.final else []
        said += [utterance.words for _, utterance in sorted(side.open.items())]
        return Text.assemble((f"  {name}  ", f"bold {COLOURS[name]}"), Text(" ").join(said))


class Watch:
    """Follows the journals of the calls that are up, looked at one by one: a day may hold those of
    ten thousand calls that are over."""

    def __init__(
        self,
        transcripts: Path,
        begins: str = "",
        redaction: Redaction = NO_REDACTION,
        now: Callable[[], float] = time.time,
    ) -> None:
        """begins: of the UUIDs that are watched. redaction: what is taken out of the records."""
        self.transcripts = transcripts
        self._begins = begins
        self._redaction = redaction
        self._now = now
        self._old_days = {path.parent for path in transcripts.glob(f"????-??-??/*{SUFFIX}")}
        self._listed: dict[Path, set[str]] = {}
        self._read: dict[Path, int] = {}
        self._calls: dict[Path, WatchedCall] = {}

    def look(self) -> list[Record]:
        """Take in what the journals have gained; the new records, call by call."""
        fresh: list[Record] = []
        for path in sorted(self._journals()):
            try:
                size = path.stat().st_size
                if size != self._read.get(path, 0):
                    fresh += self._read_on(path, size)
            except FileNotFoundError:
                self._calls.pop(path, None)
            except OSError:
                pass  # it may be readable again at the next look
        for path, call in list(self._calls.items()):
            if call.ended and self._now() - call.changed > SHOWN_AFTER_END:
                del self._calls[path]
        return fresh

    def calls(self) -> list[WatchedCall]:
        """Those that are up, or have just ended; the latest to change first."""
        return sorted(self._calls.values(), key=lambda call: -call.changed)

    def _journals(self) -> set[Path]:
        """Those that are shown, those that are not complete, and those that have just come. A
        restarted bot makes one that it takes up again incomplete."""
        today = datetime.fromtimestamp(self._now(), UTC).date()
        recent = (today - timedelta(days=number) for number in range(RECENT_DAYS))
        found = set(self._calls)
        for day in {self.transcripts / day.isoformat() for day in recent} | self._old_days:
            names = _names(day)
            new = names - self._listed.get(day, names)
            incomplete = {name for name in names if name.endswith(SUFFIX)}
            self._listed[day] = names
            for path in (day / name for name in new | incomplete):
                if path.suffix in (SUFFIX, ".jsonl") and stem_begins(path.stem, self._begins):
                    found.add(path.with_suffix(".jsonl"))
        return found

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
                records.append(redacted(parse(line), self._redaction))
        if records:
            call = self._calls.setdefault(path, WatchedCall(records[0].call_uuid))
            for record in records:
                call.take(record)
        return records


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def screen(watch: Watch, height: int, width: int) -> Group:
    """As many calls as there is room for, each line cut at the screen's edge at its beginning:
    what is being said is at its end."""
    now = time.time()
    calls = watch.calls()
    up = sum(not call.ended for call in calls)
    where = printable(str(watch.transcripts))
    title = Text(f"fsbot watch: {up} calls in {where}", style="reverse")
    title.truncate(width, overflow="ellipsis")
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
