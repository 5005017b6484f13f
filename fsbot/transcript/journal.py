"""One file per call, one record per line; what is in it has been said, once."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from fsbot.switch.uuids import file_stem
from fsbot.transcript.delivery import Delivery
from fsbot.transcript.records import Record, parse

_FILE_MODE = 0o640
_DIRECTORY_MODE = 0o750
_READ_BYTES = 1 << 20


def journal_path(directory: Path, call_uuid: str, answered_at: float) -> Path:
    """`directory/YYYY-MM-DD/<call_uuid>.jsonl`, by the UTC date of answer; the UUID as
    `fsbot.switch.uuids.file_stem` writes it. Raises UnsafeUuid.
    """
    day = datetime.fromtimestamp(answered_at, UTC).date().isoformat()
    return directory / day / f"{file_stem(call_uuid)}.jsonl"


def line_of(record: Record) -> bytes:
    """A record as it stands in a journal."""
    return record.model_dump_json().encode() + b"\n"


class Journal:
    """The journal of one call, open for appending. Its calls block on the disk."""

    def __init__(self, path: Path) -> None:
        """Create the file, or open one that a former run has left. Raises OSError."""
        _make_directories(path)
        self.path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, _FILE_MODE)
        self._torn_at: int | None = None
        """Where a record begins that was cut short and could not be taken away."""
        self.next_sequence = 1
        """Number of the record that belongs behind those that were there."""
        try:
            self._mend()
            self.delivery = Delivery(path)
            # A run that was killed while the disk was full has fired more than it could write.
            self.next_sequence = max(self.next_sequence, self.delivery.confirmed + 1)
        except BaseException:
            self.close()
            raise

    def append(self, line: bytes) -> None:
        """Write one record, a `line_of`; when this returns, another process that opens
        the file sees it.

        Raises OSError; then nothing of the record counts, and it may be tried again. A journal
        that was deleted meanwhile is made again, with what was in it.
        """
        found = os.fstat(self._file)
        if not found.st_nlink:
            self._make_again()
        if self._torn_at is not None:
            os.ftruncate(self._file, self._torn_at)
            self._torn_at = None
            found = os.fstat(self._file)
        written = os.write(self._file, line)
        if written < len(line):
            self._torn_at = found.st_size
            with suppress(OSError):
                os.ftruncate(self._file, found.st_size)
                self._torn_at = None
            raise OSError(
                errno.ENOSPC, f"only {written} of {len(line)} bytes written", str(self.path)
            )

    def close(self) -> None:
        """To be called once."""
        os.close(self._file)

    def _make_again(self) -> None:
        _make_directories(self.path)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        copy = os.open(self.path, flags, _FILE_MODE)
        try:
            size = os.fstat(self._file).st_size if self._torn_at is None else self._torn_at
            content = os.pread(self._file, size, 0)
            if os.write(copy, content) < size:
                raise OSError(errno.ENOSPC, "the deleted journal has no room", str(self.path))
            self.delivery.save(anew=True)
        except BaseException:
            with suppress(OSError):
                self.path.unlink()
            os.close(copy)
            raise
        os.close(self._file)
        self._file, self._torn_at = copy, None

    def _mend(self) -> None:
        """Take away a line that a crash cut short, and see where the sequence stands.

        Lines that are no records (somebody edited the file) are left alone.
        """
        content = b"".join(iter(lambda: os.read(self._file, _READ_BYTES), b""))
        os.ftruncate(self._file, content.rfind(b"\n") + 1)
        for line in reversed(content.split(b"\n")[:-1]):
            with suppress(ValidationError):
                self.next_sequence = parse(line).sequence + 1
                return


def _make_directories(path: Path) -> None:
    for directory in (path.parent.parent, path.parent):
        directory.mkdir(parents=True, exist_ok=True, mode=_DIRECTORY_MODE)


def read_what_is_sound(path: Path) -> list[Record]:
    """The records of a journal that a crash may have cut short. Raises OSError."""
    records = []
    *lines, _ = path.read_bytes().split(b"\n")  # the last one is empty, or was cut short
    for line in lines:
        with suppress(ValidationError):
            records.append(parse(line))
    return records


def read_journal(path: Path) -> Iterator[Record]:
    """The records of a journal, in order, but for one that is being written at the moment.

    Raises OSError and pydantic.ValidationError.
    """
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield parse(line)
