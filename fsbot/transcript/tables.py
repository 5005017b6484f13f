"""Transcripts for programs and spreadsheets: json and csv, one object or row per utterance.

Made from the final texts only: the records with `is_final`.
"""

import csv
import io
import json
from collections.abc import Iterable

from fsbot.transcript.records import Record, Transcription

COLUMNS = ("call_uuid", "side", "start", "end", "language", "text")

BYTE_ORDER_MARK = "\ufeff"
"""Excel takes a csv file for one of the system's old code page without it."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""A cell that begins so is computed by spreadsheets, and can run commands."""


def as_json(records: Iterable[Record]) -> str:
    """An array of objects: COLUMNS, and the words with their times."""
    objects = [
        {
            **dict(zip(COLUMNS, _row(final), strict=True)),
            "words": [word.model_dump() for each in final.alternatives[:1] for word in each.words],
        }
        for final in _finals(records)
    ]
    return json.dumps(objects, ensure_ascii=False, indent=1) + "\n"


def as_csv(records: Iterable[Record]) -> str:
    """A header and rows, after a byte order mark. Text that a spreadsheet would take for a formula
    has an apostrophe before it, which spreadsheets do not show."""
    page = io.StringIO()
    writer = csv.writer(page)
    writer.writerow(COLUMNS)
    writer.writerows(map(_harmless, _row(final)) for final in _finals(records))
    return BYTE_ORDER_MARK + page.getvalue()


def _finals(records: Iterable[Record]) -> list[Transcription]:
    """In order of their start, without those in which nothing was understood."""
    finals = [
        each for each in records if isinstance(each, Transcription) and each.is_final and each.text
    ]
    return sorted(finals, key=lambda final: final.start)


def _row(final: Transcription) -> tuple[str | float, ...]:
    return (
        final.call_uuid,
        final.side,
        final.start,
        final.end,
        final.language_code,
        final.text,
    )


def _harmless(cell: str | float) -> str | float:
    if isinstance(cell, str) and cell.lstrip(" ").startswith(_FORMULA):
        return f"'{cell}"
    return cell
