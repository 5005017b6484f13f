"""Watches the room where recordings and transcripts go, and tells before there is none."""

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import gevent
import structlog

from fsbot.hub import in_thread
from fsbot.transcript.ledger import FULL

log = structlog.get_logger("fsbot.disk")

WATCH_SECONDS = 5.0
ENOUGH_AGAIN = 1.1
"""What was low is over when there is so many times the least: it would come and go otherwise."""

_PROBE = bytes(65_536)


class Recording(Protocol):
    """A call, as far as the disk goes."""

    def check_growth(self, now: float, disk_is_full: Callable[[], bool]) -> None:
        """Complain if its recording does not grow and the disk is full."""


@dataclass(slots=True)
class _Place:
    what: str
    directory: Path
    bytes_per_second: int
    """Of one call; 0 where next to nothing is written."""
    low: bool = False


class DiskWatch:
    """Looks at the free space every few seconds, and at recordings that stand still."""

    def __init__(
        self,
        recordings: Path,
        transcripts: Path,
        least_free: int,
        bytes_per_second: int,
        calls: Callable[[], Iterable[Recording]],
        tell: Callable[[str, str], object],
    ) -> None:
        """least_free: bytes below which `tell(error, message)` is called, once until there is
        enough again; bytes_per_second: of the recording of one call.
        """
        self._places = [
            _Place("recordings", recordings, bytes_per_second),
            _Place("transcripts", transcripts, 0),
        ]
        self.free: dict[str, int] = {}
        """Bytes, when last looked at, where recordings and transcripts go."""
        self._least_free = least_free
        self._calls = calls
        self._tell = tell

    def run(self) -> None:
        """Watch, for ever."""
        while True:
            try:
                self.look()
            except Exception:
                # Nobody would be warned of a full disk any more; the next look may succeed.
                log.exception("disk not watched")
            gevent.sleep(WATCH_SECONDS)

    def look(self) -> None:
        """Once. Waits for the disk."""
        seen = set()
        for place in self._places:
            try:
                device, free = in_thread(free_space, place.directory)
            except OSError as error:
                log.warning("free space unknown", what=place.what, reason=str(error))
                continue
            self.free[place.what] = free
            if device not in seen:
                seen.add(device)
                self._judge(place, free)
        self._check_calls()

    def _judge(self, place: _Place, free: int) -> None:
        if not place.low and free < self._least_free:
            place.low = True
            message = (
                f"{free // 10**6} MB free for {place.what} at {place.directory}"
                f"{_hours(free, place.bytes_per_second)}"
            )
            log.warning("disk is getting full", error="disk_low", reason=message)
            self._tell("disk_low", message)
        elif place.low and free >= self._least_free * ENOUGH_AGAIN:
            place.low = False
            log.info("enough room on the disk again", what=place.what, free_mb=free // 10**6)

    def _check_calls(self) -> None:
        answers: list[bool] = []

        def disk_is_full() -> bool:
            if not answers:
                answers.append(in_thread(takes_nothing, self._places[0].directory))
            return answers[0]

        now = time.time()
        for call in list(self._calls()):
            call.check_growth(now, disk_is_full)


def free_space(directory: Path) -> tuple[int, int]:
    """Device and free bytes where `directory` is, or would be made. Raises OSError."""
    there = next(each for each in (directory, *directory.parents) if each.exists())
    found = os.statvfs(there)
    return os.stat(there).st_dev, found.f_bavail * found.f_frsize


def takes_nothing(directory: Path) -> bool:
    """Whether a write there fails for lack of room, as a quota does that statvfs does not see."""
    try:
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            return file.write(_PROBE) < len(_PROBE)
    except OSError as error:
        return error.errno in FULL


def _hours(free: int, bytes_per_second: int) -> str:
    return f": {free / bytes_per_second / 3600:.1f} hours of one call" if bytes_per_second else ""
