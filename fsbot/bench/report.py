"""What a benchmark found: figures beside their targets, as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fsbot.errors import UserError

MARKS = {True: ("yes", "green"), False: ("NO", "bold red"), None: ("", "")}


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, or a few words. target: in words; met: None where there is no target, or nothing
    to tell it from."""

    name: str
    value: float | str | None
    unit: str = ""
    target: str = ""
    met: bool | None = None

    @property
    def shown(self) -> str:
        if self.value is None:
            return "—"
        if isinstance(self.value, str):
            return self.value
        digits = 0 if float(self.value).is_integer() or abs(self.value) >= 1000 else 3
        return f"{self.value:.{digits}f} {self.unit}".rstrip()


def limited(
    name: str, value: float | None, unit: str, limit: float, words: str, *, least: bool = False
) -> Figure:
    """A figure with a limit. words: the target, as people say it; least: the limit is the least
    that will do."""
    met = None
    if value is not None:
        met = value >= limit if least else value <= limit
    return Figure(name, value, unit, words, met)


def complaint_figure(complaints: Mapping[str, int], prefix: str = "") -> Figure:
    """What the bot logged as warning or error while it was measured: figures mean little where
    streams have failed."""
    told = ", ".join(f"{event} ({count})" for event, count in complaints.items())
    return Figure(f"{prefix}warnings and errors of the bot", told or "none")


@dataclass(frozen=True, slots=True)
class CaseReport:
    """What one case found. note: how it was measured, in a sentence; details: for the JSON."""

    case: str
    note: str
    figures: tuple[Figure, ...]
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class BenchReport:
    """Everything found so far, and where."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    speech: str
    date: str
    cases: list[CaseReport] = field(default_factory=list)

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def write(self, path: Path) -> None:
        """Raises UserError."""
        try:
            path.write_text(self.as_json(), encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"--json: {path} cannot be written: {error.strerror}", "Give another --json."
            ) from error


def print_case(case: CaseReport, console: Console) -> None:
    """One case as a table."""
    table = Table(title=case.case, title_justify="left", title_style="bold", caption=case.note)
    table.caption_justify = "left"
    for heading in ("figure", "value", "target", "met"):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for figure in case.figures:
        mark, style = MARKS[figure.met]
        table.add_row(Text(figure.name), Text(figure.shown), figure.target, Text(mark, style))
    console.print(table)


def all_met(cases: Sequence[CaseReport]) -> bool:
    """Whether no target was missed."""
    return all(figure.met is not False for case in cases for figure in case.figures)
