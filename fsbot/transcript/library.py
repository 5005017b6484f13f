"""The journals that are there: found by a call's UUID, or gone through one by one."""

from collections.abc import Iterator
from pathlib import Path

from fsbot.errors import UserError
from fsbot.transcript.journal import read_what_is_sound
from fsbot.transcript.records import Record

_MOST_NAMED = 5


def find(transcripts: Path, name: str) -> Path:
    """The journal of a file's name, of a call's UUID, or of the beginning of one.

    Raises UserError where there is none, or more than one.
    """
    if Path(name).is_file():
        return Path(name)
    # Compared as text, never as a pattern or a path: it may hold anything.
    found = [path for path in journals(transcripts) if path.stem.startswith(name)]
    exact = [path for path in found if path.stem == name]
    found = exact or found
    if not found:
        raise UserError(
            f"there is no transcript {name!r} in {transcripts}",
            "Name a file, or a call's UUID or its beginning, below transcripts.directory.",
        )
    if len(found) > 1:
        some = ", ".join(str(path) for path in found[:_MOST_NAMED])
        raise UserError(
            f"{len(found)} transcripts begin with {name!r}: {some}"
            + (", …" if len(found) > _MOST_NAMED else ""),
            "Give more of the UUID, or the file.",
        )
    return found[0]


def journals(transcripts: Path) -> Iterator[Path]:
    """All journals, the oldest day first."""
    yield from sorted(transcripts.glob("????-??-??/*.jsonl"))


def records_of(path: Path) -> list[Record]:
    """A journal's records. Raises UserError."""
    try:
        records = read_what_is_sound(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if not records:
        raise UserError(
            f"{path} holds no records of fsbot", "A journal ends in .jsonl, a record in each line."
        )
    return records
