"""`fsbot config`: the settings in force and where each value came from."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from fsbot.catalogue import Setting, all_settings, sections
from fsbot.sources import Configuration, Origin


@dataclass(frozen=True, slots=True)
class Row:
    """One setting in force. `value`: as a TOML literal, masked if secret; `unset`: nothing given
    and no default, so that the value, if there is one, is the preset's."""

    setting: Setting
    value: str
    origin: Origin
    unset: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        choices=("table", "plain", "toml"),
        help="table (default on a terminal), plain (default elsewhere: one line per setting) or "
        "toml (a complete fsbot.toml with comments, without the password)",
    )


def run(args: argparse.Namespace, configuration: Configuration) -> int:
    form = args.format or ("table" if sys.stdout.isatty() else "plain")
    if form == "table":
        _print_table(configuration)
    else:
        sys.stdout.write((toml if form == "toml" else plain)(configuration))
    for warning in configuration.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return 0


def rows(configuration: Configuration) -> Iterator[Row]:
    """Every setting in order; chunk, frame_threshold and beams as the engine will use them."""
    pace = configuration.settings.engine.pace
    for setting in all_settings():
        value = getattr(getattr(configuration.settings, setting.section), setting.key)
        in_force = getattr(pace, setting.key, value) if setting.section == "engine" else value
        origin = configuration.origins[setting.name]
        yield Row(setting, setting.shown(in_force), origin, unset=value is None)


def plain(configuration: Configuration) -> str:
    return "".join(
        f"{row.setting.name} = {row.value}  # {row.origin}\n" for row in rows(configuration)
    )


def toml(configuration: Configuration) -> str:
    """A fsbot.toml that loads back to the same settings, but for the password."""
    lines = ["# Settings of fsbot. Environment (FSBOT_SECTION_KEY) and flags take precedence."]
    section = ""
    for row in rows(configuration):
        setting = row.setting
        if setting.section != section:
            section = setting.section
            lines += ["", f"# {sections()[section].__doc__}", f"[{section}]"]
        lines.append(
            f"# {setting.description} ({setting.allowed}; default {setting.shown_default})"
        )
        assignment = f"{setting.key} = {row.value}"
        lines.append(f"# {assignment}" if row.unset or setting.secret else assignment)
    return "\n".join(lines) + "\n"


def _print_table(configuration: Configuration) -> None:
    from rich.table import Table
    from rich.text import Text

    from fsbot.console import OutputConsole

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("setting", "value", "from"):
        table.add_column(title, overflow="fold")
    for row in rows(configuration):
        style = "dim" if row.origin.kind in ("default", "preset") else "bold"
        # Text, never markup: a value with [brackets] is shown as it is.
        table.add_row(row.setting.name, Text(row.value, style), Text(str(row.origin), style))
    OutputConsole(file=sys.stdout).print(table)
