"""One running bot per directory of transcripts, and per directory of recordings.

Two bots on one directory would write into the same journals and ask for the same recordings. So a
bot locks a file in each of its directories with flock(2). The kernel ends the lock together with
the process, however that ends, and the lock is the file's: a symbolic link or a bind mount to the
directory leads to the same one. The file's text says who holds the lock.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import stat
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

import gevent
import structlog
from pydantic import BaseModel, ValidationError

from fsbot.catalogue import MASK, all_settings
from fsbot.errors import UserError
from fsbot.hub import in_thread
from fsbot.settings import Settings

log = structlog.get_logger("fsbot.claims")

What = Literal["transcripts", "recordings"]

WAIT_SECONDS = 5.0
"""How long a new bot waits for another one that is ending, such as one that was just killed."""

RETRY_SECONDS = 0.1
WATCH_SECONDS = 5.0

_FILE_MODE = 0o644
"""Everybody who may enter the directory may see who holds it, and lock it when it is free."""

_DIRECTORY_MODE = 0o750
_MOST_BYTES = 4096


class Holder(BaseModel):
    """The process that holds a lock, as it wrote itself down."""

    pid: int
    host: str
    since: str
    command: str

    @classmethod
    def this_process(cls) -> Self:
        return cls(
            pid=os.getpid(),
            host=platform.node(),
            since=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            command=shown_command(sys.argv),
        )

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}: {self.command}"


@dataclass(slots=True)
class _Place:
    what: What
    directory: Path
    descriptor: int | None = None
    """Of the locked file; None while it is not locked."""
    impossible: bool = False
    """It was said that this directory cannot be locked."""

    @property
    def file(self) -> Path:
        return lock_file(self.directory, self.what)


class Claims:
    """The locks of one bot."""

    def __init__(self, places: Sequence[tuple[What, Path]]) -> None:
        self._places = [_Place(what, directory) for what, directory in places]

    @classmethod
    def of(cls, settings: Settings) -> Claims:
        return cls(
            [
                ("transcripts", settings.transcripts.directory),
                ("recordings", settings.recordings.directory),
            ]
        )

    @property
    def whole(self) -> bool:
        """Every directory is locked, so that no other bot works there."""
        return all(place.descriptor is not None for place in self._places)

    def take(self) -> None:
        """Lock what is not locked yet; a directory of recordings that does not exist is left out.

        Waits at most WAIT_SECONDS for another bot. Raises UserError, which names it, and holds
        nothing then. A directory that cannot be locked (a file system without locks, no right to
        write) is told in the log, once.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        for place in self._places:
            while not self._try(place):
                if time.monotonic() > deadline:
                    self.release()
                    raise _refusal(place)
                gevent.sleep(RETRY_SECONDS)

    def release(self) -> None:
        """Let another bot work there. May be repeated."""
        for place in self._places:
            if place.descriptor is not None:
                with suppress(OSError):
                    os.ftruncate(place.descriptor, 0)  # refused if it is open for reading only
                os.close(place.descriptor)
                place.descriptor = None

    def watch(self) -> None:
        """Lock anew, for ever, where somebody has deleted the directory or the file in it."""
        while True:
            gevent.sleep(WATCH_SECONDS)
            for place in self._places:
                if not in_thread(self._try, place):
                    log.error(
                        "another fsbot works in the same directory: stop one of them",
                        what=place.what,
                        directory=str(place.directory),
                        other=str(holder(place.directory, place.what)),
                    )

    def _try(self, place: _Place) -> bool:
        """False: another process holds the lock."""
        if place.descriptor is not None:
            if _is(place.file, place.descriptor):
                return True
            os.close(place.descriptor)
            place.descriptor = None
        try:
            if place.what == "transcripts":
                place.directory.mkdir(parents=True, exist_ok=True, mode=_DIRECTORY_MODE)
            elif not place.directory.is_dir():
                return True
            place.descriptor = _locked(place.file)
        except OSError as error:
            if not place.impossible:
                log.warning(
                    "the directory cannot be locked: let no other fsbot work in it",
                    what=place.what,
                    directory=str(place.directory),
                    reason=error.strerror,
                )
            place.impossible = True
            return True
        return place.descriptor is not None


def lock_file(directory: Path, what: What) -> Path:
    """The file that a bot locks. Its name is neither a journal's nor a recording's."""
    return directory / f".fsbot-{what}.lock"


def holder(directory: Path, what: What) -> Holder | None:
    """The bot that works in a directory; None if there is none, or if it is not known which."""
    try:
        descriptor = os.open(
            lock_file(directory, what), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with suppress(OSError, ValidationError):
            return Holder.model_validate_json(os.read(descriptor, _MOST_BYTES))
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return None


def shown_command(arguments: Sequence[str]) -> str:
    """A command line without its secrets and on one line, for files and messages."""
    secret = {setting.flag for setting in all_settings() if setting.secret}
    shown: list[str] = []
    for number, argument in enumerate(arguments):
        flag, given, _ = argument.partition("=")
        if number and arguments[number - 1] in secret:
            shown.append(MASK)
        elif flag in secret and given:
            shown.append(f"{flag}={MASK}")
        else:
            shown.append(Path(argument).name if number == 0 else argument)
    return " ".join(shown)


def _locked(path: Path) -> int | None:
    """A descriptor of the file, made if it is missing, with the lock on it; None if another
    process holds the lock. Raises OSError."""
    while True:
        descriptor, writable = _opened(path)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file", str(path))
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            if writable:
                text = json.dumps(Holder.this_process().model_dump(), ensure_ascii=False)
                with suppress(OSError):  # a full disk
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, text.encode(errors="replace")[:_MOST_BYTES], 0)
        except BaseException:
            with suppress(OSError):
                os.close(descriptor)
            raise
        if _is(path, descriptor):
            return descriptor
        os.close(descriptor)  # somebody has deleted the file before it was locked


def _opened(path: Path) -> tuple[int, bool]:
    """A descriptor of a file, and whether it may be written to. Raises OSError."""
    # Never waits: it may be a pipe.
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | flags, _FILE_MODE)
        with suppress(OSError):
            os.fchmod(descriptor, _FILE_MODE)  # whatever the umask was
    except OSError as error:
        # Locked it can be all the same: another user's, or on a file system that is read-only.
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) or not path.exists():
            raise
        return os.open(path, os.O_RDONLY | flags), False
    return descriptor, True


def _is(path: Path, descriptor: int) -> bool:
    """Whether the file that is open is the one of that name."""
    with suppress(OSError):
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    return False


def _refusal(place: _Place) -> UserError:
    other = holder(place.directory, place.what)
    name = f"another fsbot ({other})" if other else "another fsbot"
    return UserError(
        f"{name} keeps its {place.what} in {place.directory}",
        "Stop that one first, or give this one directories of its own (transcripts.directory and "
        "recordings.directory). `fsbot show`, `export`, `grep`, `watch` and `doctor` work beside "
        "it.",
    )
