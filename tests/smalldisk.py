"""A real file system of a few kilobytes, in a mount namespace of its own: no root is needed."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A tmpfs. It is reached through /proc, as the test itself is outside of its namespace."""

    def __init__(self, point: Path, kilobytes: int) -> None:
        point.mkdir()
        self._point = point
        self._holder = subprocess.Popen(
            ["unshare", "--map-root-user", "--mount", "sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            self._run(f"mount -t tmpfs -o size={kilobytes}k,mode=700 tmpfs '{point}'")
        except (OSError, AssertionError) as error:
            self.close()
            pytest.skip(f"no file system can be mounted here without being root: {error}")
        self.root = Path(f"/proc/{self._holder.pid}/root{point}")
        self._filler = self.root / "filler"

    def fill(self) -> None:
        """Not one block is left, and not one more file."""
        with self._filler.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    def free(self) -> None:
        """There is room again."""
        self._filler.unlink()

    def make_read_only(self, so: bool) -> None:
        """Nobody may have a file open for writing."""
        self._run(f"mount -o remount,{'ro' if so else 'rw'} '{self._point}'")

    def close(self) -> None:
        self._holder.kill()
        self._holder.communicate()

    def _run(self, command: str) -> None:
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.write(f"{command} 2>&1; echo $?\n")
        self._holder.stdin.flush()
        said = []
        for line in self._holder.stdout:
            said.append(line.strip())
            if line.strip().isdigit():
                break
        assert said[-1:] == ["0"], said


@contextmanager
def small_disk(point: Path, kilobytes: int) -> Iterator[SmallDisk]:
    disk = SmallDisk(point, kilobytes)
    try:
        yield disk
    finally:
        disk.close()
