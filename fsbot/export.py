"""`fsbot export`: transcripts in the formats of other programs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from fsbot.output import format_of, opened
from fsbot.settings import Settings
from fsbot.transcript.exports import Form, export
from fsbot.transcript.library import find, records_of
from fsbot.transcript.records import Record
from fsbot.transcript.redaction import Redaction
from fsbot.transcript.tables import as_csv, as_json

FORMATS = ("txt", "srt", "vtt", "json", "csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `fsbot export`."""
    parser.add_argument(
        "transcript",
        metavar="UUID|FILE",
        help="a call's UUID, the beginning of one, or a journal",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="default: what the name of --output ends in, else txt; srt and vtt: cues of two lines "
        "and 7 seconds at most; json and csv: one object or row per utterance, its final text",
    )
    parser.add_argument("--output", metavar="FILE", default="-", help="default: standard output")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """`fsbot export`; returns the exit status. Raises UserError."""
    form = format_of(args.output, args.format, "txt", {each: (each,) for each in FORMATS})
    path = find(settings.transcripts.directory, args.transcript)
    records = records_of(path, Redaction(settings.transcripts.redact))
    with opened(args.output) as file:
        file.writelines(exported(records, form))
    return 0


def exported(records: Sequence[Record], form: str) -> Iterator[str]:
    """A transcript in one of FORMATS, piece by piece."""
    players: dict[str, Form] = {"txt": "text", "srt": "srt", "vtt": "vtt"}
    if form in players:
        yield from export(records, players[form])
    else:
        yield as_json(records) if form == "json" else as_csv(records)
