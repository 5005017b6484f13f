"""`fsbot show`: a transcript for people, sides and times, in colours on a terminal."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.text import Text

from fsbot.console import OutputConsole
from fsbot.engine.events import UNSPACED_LANGUAGES
from fsbot.log import printable
from fsbot.screen import COLOURS, clock
from fsbot.settings import Settings
from fsbot.transcript.library import find, records_of
from fsbot.transcript.records import (
    EndOfTranscript,
    Failure,
    Mark,
    Record,
    SideName,
    StartOfTranscript,
    Transcription,
)
from fsbot.transcript.redaction import Redaction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `fsbot show`."""
    parser.add_argument(
        "transcripts",
        nargs="+",
        metavar="UUID|FILE",
        help="a call's UUID, the beginning of one, or a journal",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """`fsbot show`; returns the exit status. Raises UserError."""
    console = OutputConsole(highlight=False, soft_wrap=True)
    redaction = Redaction(settings.transcripts.redact)
    for number, name in enumerate(args.transcripts):
        if number:
            console.print()
        path = find(settings.transcripts.directory, name)
        for line in lines(records_of(path, redaction)):
            console.print(line)
    return 0


def lines(records: Sequence[Record]) -> Iterator[Text]:
    """One transcript: what it is of, what was said, in order of time, and how it ended."""
    first = next((each for each in records if isinstance(each, StartOfTranscript)), None)
    yield Text(_title(records[0].call_uuid, first), style="bold")
    said = [*_utterances(records), *_events(records)]
    yield from (line for _, line in sorted(said, key=lambda each: each[0]))
    end = records[-1]
    if isinstance(end, EndOfTranscript):
        words = ", ".join(f"{side} {count} words" for side, count in end.words.items())
        yield Text(f"{end.reason} after {clock(end.duration)}; {words}", style="dim")
    else:
        yield Text("goes on", style="dim")


def _title(uuid: str, start: StartOfTranscript | None) -> str:
    if start is None:
        return printable(uuid)
    answered = datetime.fromtimestamp(start.answered_at).astimezone()
    parties = f"{printable(start.caller) or '?'} → {printable(start.destination) or '?'}"
    return f"{answered:%Y-%m-%d %H:%M:%S}  {parties}  {printable(uuid)}"


def _utterances(records: Sequence[Record]) -> Iterator[tuple[float, Text]]:
    """Final texts; of an utterance that has none yet, the live text."""
    finals: dict[tuple[SideName, int], Transcription] = {}
    live: dict[tuple[SideName, int], list[Transcription]] = {}
    for record in records:
        if isinstance(record, Transcription):
            key = record.side, record.utterance
            if record.is_final:
                finals[key] = record
            else:
                live.setdefault(key, []).append(record)
    for record in finals.values():
        if record.text:
            yield record.start, _line(record.side, record.start, record.text)
    for (side, _), words in ((key, said) for key, said in live.items() if key not in finals):
        blank = "" if words[0].language_code in UNSPACED_LANGUAGES else " "
        text = blank.join(record.text for record in words)
        yield words[0].start, _line(side, words[0].start, f"{text} …")


def _line(side: SideName, start: float, text: str) -> Text:
    return Text.assemble(
        (f"{clock(start):>7}  ", "dim"), (f"{side}  ", COLOURS[side]), printable(text)
    )


def _events(records: Sequence[Record]) -> Iterator[tuple[float, Text]]:
    for record in records:
        match record:
            case Mark():
                party = f" {printable(record.party)}" if record.party else ""
                text = f"{clock(record.start):>7}  {record.mark}{party}"
                yield record.start, Text(text, style="yellow")
            case Failure():
                over = " is over" if record.over else ""
                text = f"{clock(record.emission_time):>7}  {record.error}{over}: "
                message = printable(record.message)
                yield record.emission_time, Text(text + message, style="red")
