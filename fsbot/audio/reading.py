"""Looking at a recording and reading from it: what may run in a thread of its own."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class FollowError(Exception):
    """A followed file can't be read: `path`, and `reason` in words."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of a recording, in order and without gaps within a generation.

    `offset` is that of `data`, in bytes. At Unix time `mtime` (of the file's host) the file held
    `size` bytes, which may be more than was read. `generation` is 0 and rises by one each time
    the recording begins anew: truncated in place, or replaced by another file at its path.
    """

    offset: int
    data: bytes
    size: int
    mtime: float
    generation: int


class Handle:
    """An open file, closed when its last user lets go: a thread may still be using it.

    Raises OSError for what is not a regular file, symbolic links included.
    """

    __slots__ = ("fd", "identity")

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, OPEN_FLAGS)
        status = os.fstat(self.fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        self.identity = (status.st_dev, status.st_ino)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader is: before byte `offset` of the file, which held `size` at the last read."""

    path: Path
    handle: Handle | None = None
    generation: int = 0
    offset: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """`size` of the file being read, and whether its reader should look (`news`): the path
    leads to another file, or there is an obstacle which the reader has to report."""

    size: int
    news: bool


# gevent's thread pool prints what its functions raise, expected or not; so these return it.


def fetch(
    place: Place, max_bytes: int, *, replaced: bool, refresh: bool
) -> tuple[Place, Chunk | None] | FollowError:
    """At most `max_bytes` at `place`, and the place behind them; no chunk if there are none yet.

    `replaced`: go on with the file now at the path, if it is another one and this one is read to
    its end. `refresh`: the file may be another host's.
    """
    try:
        if refresh:
            _open(place.path)  # NFS asks the server for the size at an open, not at fstat.
        handle = place.handle or Handle(place.path)
        status = os.fstat(handle.fd)
        generation, offset = place.generation, place.offset
        if status.st_size < place.size:
            generation, offset = generation + 1, 0
        data = os.pread(handle.fd, min(max_bytes, max(0, status.st_size - offset)), offset)
    except FileNotFoundError:
        return place, None
    except OSError as error:
        symlink = error.errno == errno.ELOOP
        return FollowError(place.path, "a symbolic link" if symlink else str(error.strerror))
    if not data and replaced:
        there = _open(place.path)
        if there is not None and there.identity != handle.identity:
            anew = Place(place.path, there, generation + 1)
            return fetch(anew, max_bytes, replaced=False, refresh=False)
    place = Place(place.path, handle, generation, offset + len(data), status.st_size)
    chunk = Chunk(offset, data, status.st_size, status.st_mtime, generation) if data else None
    return place, chunk


def look_at_all(places: Sequence[Place]) -> list[Look]:
    """One look at each."""
    return [_look(place) for place in places]


def _look(place: Place) -> Look:
    try:
        handle = place.handle or Handle(place.path)
        there = _open(place.path)
        replaced = there is not None and there.identity != handle.identity
        return Look(os.fstat(handle.fd).st_size, replaced)
    except FileNotFoundError:
        return Look(0, news=False)
    except OSError:
        return Look(place.size, news=True)


def _open(path: Path) -> Handle | None:
    with suppress(OSError):
        return Handle(path)
    return None
