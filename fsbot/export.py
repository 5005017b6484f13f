"""`fsbot export`: transcripts in the formats of other programs."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from fsbot.errors import UserError
from fsbot.settings import Settings
from fsbot.transcript.exports import Form, export
from fsbot.transcript.library import find, records_of
from fsbot.transcript.records import Record, Transcription
from fsbot.transcript.redaction import Redaction

FORMATS = ("txt", "srt", "vtt", "json", "csv")
COLUMNS = ("call_uuid", "side", "start", "end", "language", "text")


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
        help="default: what the name of --output ends in, else txt; json and csv: one object or "
        "row per utterance, its final text",
    )
    parser.add_argument("--output", metavar="FILE", default="-", help="default: standard output")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """`fsbot export`; returns the exit status. Raises UserError."""
    suffix = Path(args.output).suffix.removeprefix(".")
    form = args.format or (suffix if suffix in FORMATS else "txt")
    path = find(settings.transcripts.directory, args.transcript)
    records = records_of(path, Redaction(settings.transcripts.redact))
    pieces = exported(records, form)
    if args.output == "-":
        sys.stdout.writelines(pieces)
        return 0
    try:
        with open(args.output, "w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
    except OSError as error:
        raise UserError(f"cannot write {args.output}: {error.strerror}") from error
    return 0


def exported(records: Sequence[Record], form: str) -> Iterator[str]:
    """A transcript in one of FORMATS, piece by piece."""
    players: dict[str, Form] = {"txt": "text", "srt": "srt", "vtt": "vtt"}
    if form in players:
        yield from export(records, players[form])
    else:
        finals = [each for each in records if isinstance(each, Transcription) and each.is_final]
        finals.sort(key=lambda final: final.start)
        yield from _as_json(finals) if form == "json" else _as_csv(finals)


def _as_json(finals: Sequence[Transcription]) -> Iterator[str]:
    objects = [
        {
            **dict(zip(COLUMNS, _row(final), strict=True)),
            "words": [word.model_dump() for each in final.alternatives[:1] for word in each.words],
        }
        for final in finals
        if final.text
    ]
    yield json.dumps(objects, ensure_ascii=False, indent=1) + "\n"


def _as_csv(finals: Sequence[Transcription]) -> Iterator[str]:
    page = io.StringIO()
    writer = csv.writer(page)
    writer.writerow(COLUMNS)
    writer.writerows(_row(final) for final in finals if final.text)
    yield page.getvalue()


def _row(final: Transcription) -> tuple[object, ...]:
    return (
        final.call_uuid,
        final.side,
        final.start,
        final.end,
        final.language_code,
        final.text,
    )
