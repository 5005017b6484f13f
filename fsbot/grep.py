"""`fsbot grep`: who said it, when, in which call."""

from __future__ import annotations

import argparse
import re
from datetime import date

from rich.text import Text

from fsbot.console import OutputConsole
from fsbot.errors import UserError
from fsbot.log import printable
from fsbot.screen import COLOURS, clock
from fsbot.settings import Settings
from fsbot.transcript.journal import read_what_is_sound
from fsbot.transcript.library import all_redacted, journals
from fsbot.transcript.records import Transcription
from fsbot.transcript.redaction import Redaction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `fsbot grep`."""
    parser.add_argument(
        "pattern", metavar="PATTERN", help="a regular expression (Python's), in any case"
    )
    parser.add_argument("--side", choices=("caller", "callee"), help="only what this side said")
    parser.add_argument(
        "--since", metavar="YYYY-MM-DD", type=date.fromisoformat, help="calls of that day on (UTC)"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """`fsbot grep`; 0 if something was found, 1 if not. Raises UserError."""
    try:
        pattern = re.compile(args.pattern, re.IGNORECASE)
    except re.error as error:
        raise UserError(f"no regular expression: {args.pattern!r}: {error}") from error
    console = OutputConsole(highlight=False, soft_wrap=True)
    redaction = Redaction(settings.transcripts.redact)
    found = False
    for path in journals(settings.transcripts.directory):
        if args.since is not None and path.parent.name < args.since.isoformat():
            continue
        for record in all_redacted(read_what_is_sound(path), redaction):
            if not isinstance(record, Transcription) or not record.is_final:
                continue
            if args.side not in (None, record.side) or not pattern.search(record.text):
                continue
            found = True
            where = f"{path.parent.name} {printable(record.call_uuid)} {clock(record.start)}  "
            text = Text(printable(record.text))
            text.highlight_regex(pattern, "bold")
            console.print(
                Text.assemble((where, "dim"), (f"{record.side}  ", COLOURS[record.side]), text)
            )
    return 0 if found else 1
