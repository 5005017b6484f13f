"""One file per call, one record per line; what is in it has been said, once."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from fsbot.transcript.records import Record, parse

_FILE_MODE = 0o640
_DIRECTORY_MODE = 0o750


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
        path.parent.mkdir(parents=True, exist_ok=True, mode=_DIRECTORY_MODE)
        self.path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.fdopen(os.open(path, flags, _FILE_MODE), "a+b", buffering=0)
        self.records = self._whole_lines()

    def append(self, record: Record) -> None:
        """Write one record; when this returns, another process that opens the file sees it.

        Raises OSError; then nothing of the record is in the file.
        """
        line = record.model_dump_json().encode() + b"\n"
        size = os.fstat(self._file.fileno()).st_size
        written = os.write(self._file.fileno(), line)
        if written < len(line):
            os.ftruncate(self._file.fileno(), size)
            raise OSError(f"{self.path}: only {written} of {len(line)} bytes could be written")
        self.records += 1

    def close(self) -> None:
        """May be repeated."""
        self._file.close()

    def _whole_lines(self) -> int:
        """How many records are there; a line that a crash cut short is taken away."""
        self._file.seek(0)
        content = self._file.read()
        os.ftruncate(self._file.fileno(), content.rfind(b"\n") + 1)
        return content.count(b"\n")


def read_journal(path: Path) -> Iterator[Record]:
    """The records of a journal, in order. Raises OSError and pydantic.ValidationError."""
    with path.open("rb") as file:
        for line in file:
            yield parse(line)
