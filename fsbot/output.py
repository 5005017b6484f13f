"""Where a command's result goes: a file whose name says its format, or standard output."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from fsbot.errors import UserError

STANDARD_OUTPUT = "-"


def format_of(
    output: str, given: str | None, default: str, suffixes: Mapping[str, Sequence[str]]
) -> str:
    """The format to write.

    output: the file's name, or `-`. given: by --format; None if it was not. default: for standard
    output and for a name without a suffix. suffixes: formats by the suffix that stands for them,
    without the dot, the first one where none was given. Raises UserError where --format and suffix
    contradict each other, and where neither says it.
    """
    suffix = "" if output == STANDARD_OUTPUT else Path(output).suffix.removeprefix(".").lower()
    formats = suffixes.get(suffix, ())
    if given is not None:
        if formats and given not in formats:
            raise UserError(
                f"--format {given} does not fit --output {output}",
                f"Leave --format out, or give a name that does not end in .{suffix}.",
            )
        return given
    if formats:
        return formats[0]
    if suffix:
        names = ", ".join(f".{each}" for each in suffixes)
        raise UserError(
            f"--output {output} says no format: .{suffix} is none",
            f"Say it by --format, or give a name that ends in {names}.",
        )
    return default


@contextlib.contextmanager
def opened(name: str) -> Iterator[TextIO]:
    """The file of that name, emptied, or standard output for `-`. Raises UserError.

    Text is written as UTF-8 and with the line ends that it has; on a terminal, in the terminal's
    own encoding.
    """
    if name == STANDARD_OUTPUT:
        if isinstance(sys.stdout, TextIOWrapper) and not sys.stdout.isatty():
            sys.stdout.reconfigure(encoding="utf-8", newline="")
        yield sys.stdout
        return
    try:
        file = open(name, "w", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115
    except OSError as error:
        raise UserError(
            f"{name} cannot be written: {error.strerror}", "Give another --output."
        ) from error
    with file:
        yield file


def is_same_file(name: str, other: Path) -> bool:
    """Whether the output of that name is the file that is read; `other` may be `-`."""
    if name == STANDARD_OUTPUT or not os.path.isfile(name):
        return False
    try:
        read = os.fstat(sys.stdin.fileno()) if other == Path("-") else os.stat(other)
    except (OSError, ValueError):
        return False
    return os.path.samestat(os.stat(name), read)
