"""Which records of a transcript have had their event confirmed: beside the journal, for a bot that
is killed and comes back."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

SUFFIX = ".pending"


class Delivery:
    """`<call_uuid>.pending` beside a journal holds the number of the last confirmed event, or an
    earlier one: what comes behind it is to be fired again. It is gone when all are confirmed.
    """

    def __init__(self, journal: Path) -> None:
        """Make the file, or read the one that a former run has left. Raises OSError."""
        self._path = journal.with_suffix(SUFFIX)
        with self._open() as file:
            digits = file.read(20).strip()
        self.confirmed = int(digits) if digits.isdigit() else 0
        self._saved = self.confirmed

    def save(self, *, anew: bool = False) -> None:
        """Bring the file up to date, or make it anew. Blocks on the disk; raises OSError."""
        if (number := self.confirmed) != self._saved or anew:
            with self._open() as file:
                # One short write in place: after a crash the old or the new number is there.
                file.write(b"%-19d\n" % number)
            self._saved = number

    def complete(self) -> None:
        """Every event has been confirmed. Blocks on the disk; raises OSError."""
        self._path.unlink(missing_ok=True)

    def _open(self) -> BinaryIO:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(self._path, flags, 0o640), "r+b", buffering=0)


def pending_journals(directory: Path) -> Iterator[Path]:
    """The journals under a transcripts directory that a former run has not seen to their end."""
    for path in sorted(directory.glob(f"*/*{SUFFIX}")):
        journal = path.with_suffix(".jsonl")
        if journal.is_file() and not journal.is_symlink():
            yield journal
        else:
            with suppress(OSError):
                path.unlink()
