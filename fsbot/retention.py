"""Deletes recordings and transcripts that have been kept long enough.

What belongs to the bot is what its journals name: a recording is deleted only if a transcript that
is over announced exactly that path. Every directory is opened before its entries are judged, and
entries are judged and deleted relative to it: no symbolic link below the configured directories is
followed, and none is deleted.
"""

import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import gevent
import structlog
from pydantic import ValidationError

from fsbot.hub import in_thread
from fsbot.switch.recording import RecordingDirectory
from fsbot.switch.uuids import FILE_STEM, UnsafeUuid, file_stem
from fsbot.transcript.delivery import SUFFIX
from fsbot.transcript.records import EndOfTranscript, Failure, StartOfTranscript, parse

log = structlog.get_logger("fsbot.retention")

SWEEP_SECONDS = 3600.0
DAY_SECONDS = 86_400.0

Keep = str | float
"""`on_close`, `forever`, or a number of days."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_JOURNAL = re.compile(rf"({FILE_STEM})\.jsonl")
_OF_INTEREST = tuple(
    f'"kind":"{kind}"'.encode() for kind in ("start_of_transcript", "end_of_transcript", "error")
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a journal says of its recordings."""

    call_uuid: str
    paths: tuple[str, ...]
    """Of all recordings that it announced."""
    ended_at: float | None
    """Unix time of the transcript's end; None if it has none."""
    heard: bool
    """All of the sound became text."""


class Retention:
    """Deletes what is due, at the end of each transcript and in sweeps."""

    def __init__(
        self,
        recordings: RecordingDirectory,
        transcripts: Path,
        keep_recordings: Keep,
        keep_transcripts: Keep,
        in_use: Callable[[], Collection[str]],
        now: Callable[[], float] = time.time,
    ) -> None:
        """in_use: UUIDs of the calls that are up or being written; called in threads too."""
        self._recordings = recordings
        self._transcripts = transcripts
        self._keep_recordings = keep_recordings
        self._keep_transcripts = keep_transcripts
        self._in_use = in_use
        self._now = now

    def run(self) -> None:
        """Sweep at once and every hour, for ever."""
        while True:
            try:
                in_thread(self.sweep)
            except Exception:
                # The calls do not depend on it; the next sweep may find other files.
                log.exception("sweep failed")
            gevent.sleep(SWEEP_SECONDS)

    def settled(self, journal: Path) -> None:
        """A transcript is complete, on disk and delivered. Blocks on the disk; raises nothing."""
        if self._keep_recordings != "on_close":
            return
        try:
            with _opened(journal.parent.parent) as top, _opened(journal.parent.name, top) as day:
                if not self._close(day, journal.name):
                    log.warning("recordings kept, not all was heard", journal=str(journal))
        except OSError as error:
            log.warning("recordings not deleted", journal=str(journal), reason=str(error))

    def sweep(self) -> None:
        """Delete everything that is due. Blocks on the disk; raises OSError."""
        if not self._transcripts.is_dir():
            return
        with _opened(self._transcripts) as top:
            days = sorted(name for name in os.listdir(top) if _DAY.fullmatch(name))
            if self._keep_recordings != "forever":
                self._sweep_recordings(top, days)
            if self._keep_transcripts != "forever":
                self._sweep_transcripts(top, days)

    def _journals(self, day: int) -> Iterator[str]:
        """What may be journals of calls that are over."""
        for name in os.listdir(day):
            found = _JOURNAL.fullmatch(name)
            if found and found[1] not in map(file_stem, self._in_use()):
                yield name

    # Recordings

    def _sweep_recordings(self, top: int, days: list[str]) -> None:
        stems = self._recorded_stems()
        for day_name in days if stems else ():
            with suppress(OSError), _opened(day_name, top) as day:
                for name in self._journals(day):
                    if name.removesuffix(".jsonl") in stems:
                        with _told(name):
                            self._sweep_recordings_of(day, name)

    def _recorded_stems(self) -> set[str]:
        """File stems of legs of which there is a file that may be a recording."""
        with suppress(FileNotFoundError):
            names = os.listdir(self._recordings.local)
            return {found[0] for name in names if (found := self._recordings.identify_name(name))}
        return set()

    def _sweep_recordings_of(self, day: int, name: str) -> None:
        if isinstance(self._keep_recordings, str):
            self._close(day, name)
            return
        kept = _read(day, name)
        if kept is None or kept.ended_at is None:
            return
        if self._now() - kept.ended_at >= self._keep_recordings * DAY_SECONDS:
            self._delete_recordings(day, name, kept)

    def _close(self, day: int, name: str) -> bool:
        """Delete the recordings of a transcript that is over; False if not all of them was
        heard, so that they stay."""
        kept = _read(day, name)
        if kept is None or kept.ended_at is None or not kept.heard:
            return False
        self._delete_recordings(day, name, kept)
        return True

    def _delete_recordings(self, day: int, name: str, kept: Kept) -> None:
        stem = name.removesuffix(".jsonl")
        for path in dict.fromkeys(map(Path, kept.paths)):
            identified = self._recordings.identify_name(path.name)
            if path.parent != self._recordings.local or not identified or identified[0] != stem:
                continue
            with suppress(FileNotFoundError), _opened(self._recordings.local) as directory:
                # Last of all: the leg may have been taken once more.
                if not _is_pending(day, name) and _is_file(directory, path.name):
                    os.unlink(path.name, dir_fd=directory)
                    log.info("recording deleted", call_uuid=kept.call_uuid, path=str(path))

    # Transcripts

    def _sweep_transcripts(self, top: int, days: list[str]) -> None:
        for day_name in days:
            with suppress(OSError), _opened(day_name, top) as day:
                deleted = False
                for name in self._journals(day):
                    with _told(name):
                        if self._is_old(day, name):
                            deleted |= self._delete_transcript(day_name, day, name)
                if deleted:
                    os.rmdir(day_name, dir_fd=top)  # refused unless it is empty

    def _is_old(self, day: int, name: str) -> bool:
        assert not isinstance(self._keep_transcripts, str)
        age = self._now() - os.lstat(name, dir_fd=day).st_mtime
        return age >= self._keep_transcripts * DAY_SECONDS

    def _delete_transcript(self, day_name: str, day: int, name: str) -> bool:
        """With its recordings, which nothing would name any more. False: it is not to go."""
        kept = _read(day, name)
        if kept is None or _is_pending(day, name):
            return False
        self._delete_recordings(day, name, kept)
        os.unlink(name, dir_fd=day)
        log.info("transcript deleted", path=str(self._transcripts / day_name / name))
        return True


@contextmanager
def _opened(directory: Path | str, parent: int | None = None) -> Iterator[int]:
    """A directory; within `parent` no symbolic link. Raises OSError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    if parent is not None:
        flags |= os.O_NOFOLLOW
    descriptor = os.open(directory, flags, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _told(journal: str) -> Iterator[None]:
    """What goes wrong with one file does not keep the others."""
    try:
        yield
    except OSError as error:
        log.warning("not deleted", journal=journal, reason=str(error))


def _is_file(directory: int, name: str) -> bool:
    return stat.S_ISREG(os.lstat(name, dir_fd=directory).st_mode)


def _is_pending(day: int, name: str) -> bool:
    """There is work left on this transcript, or it is being written."""
    try:
        os.lstat(name.removesuffix(".jsonl") + SUFFIX, dir_fd=day)
    except FileNotFoundError:
        return False
    return True


def _read(day: int, name: str) -> Kept | None:
    """What a journal says; None if it is none of the bot's. Raises OSError."""
    if not _is_file(day, name):
        return None
    # Without waiting: it may have become a pipe.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=day)
    with os.fdopen(descriptor, "rb") as file:
        lines = file.read().split(b"\n")
    try:
        call_uuid = parse(lines[0]).call_uuid
        if file_stem(call_uuid) != name.removesuffix(".jsonl"):
            return None
    except (ValidationError, UnsafeUuid):
        return None
    paths: list[str] = []
    ended_at, heard = None, True
    for line in lines:
        if not any(kind in line for kind in _OF_INTEREST):
            continue
        with suppress(ValidationError):
            match parse(line):
                case StartOfTranscript() as start:
                    paths.append(start.path)
                    ended_at = None
                case Failure(error="engine"):
                    heard = False
                case EndOfTranscript() as end:
                    ended_at = end.emitted_at
                    heard = heard and end.reason != "failed"
    return Kept(call_uuid, tuple(paths), ended_at, heard)
