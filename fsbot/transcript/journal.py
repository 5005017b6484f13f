"""One file per call, one record per line; what is in it has been said, once."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from fsbot.transcript.delivery import Delivery
from fsbot.transcript.records import Record, parse

_FILE_MODE = 0o640
_DIRECTORY_MODE = 0o750
_READ_BYTES = 1 << 20


def journal_path(directory: Path, call_uuid: str, answered_at: float) -> Path:
    """`directory/YYYY-MM-DD/<call_uuid>.jsonl`, by the UTC date of answer.

    call_uuid must have passed `fsbot.switch.recording.check_uuid`; a slash raises ValueError.
    """
    if "/" in call_uuid or call_uuid in ("", ".", ".."):
        raise ValueError(f"no file name: {call_uuid[:40]!r}")
    day = datetime.fromtimestamp(answered_at, UTC).date().isoformat()
    return directory / day / f"{call_uuid}.jsonl"


class Journal:
    """The journal of one call, open for appending. Its calls block on the disk."""

    def __init__(self, path: Path) -> None:
        """Create the file, or open one that a former run has left. Raises OSError."""
        for directory in (path.parent.parent, path.parent):
            directory.mkdir(parents=True, exist_ok=True, mode=_DIRECTORY_MODE)
        self.path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, _FILE_MODE)
        self.next_sequence = 1
        """Number of the record that belongs behind those that were there."""
        try:
            self._mend()
            self.delivery = Delivery(path)
        except BaseException:
            self.close()
            raise

    def append(self, record: Record) -> None:
        """Write one record; when this returns, another process that opens the file sees it.

        Raises OSError; then nothing of the record is in the file.
        """
        line = record.model_dump_json().encode() + b"\n"
        size = os.fstat(self._file).st_size
        written = os.write(self._file, line)
        if written < len(line):
            os.ftruncate(self._file, size)
            raise OSError(
                errno.ENOSPC, f"only {written} of {len(line)} bytes written", str(self.path)
            )

    def close(self) -> None:
        """To be called once."""
        os.close(self._file)

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


def read_what_is_sound(path: Path) -> list[Record]:
    """The records of a journal that a crash may have cut short. Raises OSError."""
    records = []
    *lines, _ = path.read_bytes().split(b"\n")  # the last one is empty, or was cut short
    for line in lines:
        with suppress(ValidationError):
            records.append(parse(line))
    return records


def read_journal(path: Path) -> Iterator[Record]:
    """The records of a journal, in order. Raises OSError and pydantic.ValidationError."""
    with path.open("rb") as file:
        for line in file:
            yield parse(line)
