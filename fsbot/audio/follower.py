"""Following recordings while FreeSWITCH writes them.

One inotify instance watches the directories of all followed files. Where inotify can't see the
writer (NFS, CIFS, shares of virtual machines) or refuses a watch, the directory is polled. The
patrol finds that out: once a second it looks at every followed file, and growth that no event
has announced switches the file's directory to polling.

What FreeSWITCH does to its files (FACTS.md 0, 2 and 8): CLOSE_WRITE comes 1 ms after CREATE, a
restart on the same path truncates in place, a short recording is deleted, perhaps while it is
still written, and directories are created 0750.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

import gevent
import structlog
from gevent.event import Event
from gevent.threadpool import ThreadPool
from inotify_simple import Event as INotifyEvent
from inotify_simple import INotify, flags, parse_events

from fsbot.audio.reading import Chunk, FollowError, Look, Place, fetch, look_at_all

__all__ = ["Chunk", "FollowError", "FollowedFile", "Follower"]

log = structlog.get_logger("fsbot.audio")

POLL_SECONDS = 0.05
SWEEP_SECONDS = 1.0
CONFIRM_SECONDS = 0.1
"""How long the event of growth that the sweep has seen may still take."""

GATHER_SECONDS = 0.01
"""Rest after taking events. With 32 recordings growing every 20 ms, wake-ups fall from 1,520 to 93
a second and CPU from 13 to 4 % of a core, for 5 ms more delay on average."""

READ_BYTES = 65_536
EVENT_BYTES = 65_536
"""Taken from inotify's queue at a time: about 1,300 events, some 3 ms of the hub."""

APPEARED = flags.CREATE | flags.MOVED_TO
VANISHED = flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT | flags.IGNORED
WATCHED = flags.MODIFY | APPEARED | flags.DELETE_SELF | flags.MOVE_SELF | flags.ONLYDIR

REMEDIES = {
    errno.ENOSPC: "raise the sysctl fs.inotify.max_user_watches",
    errno.EMFILE: "raise the sysctl fs.inotify.max_user_instances, or the limit of open files",
    errno.EACCES: "let the bot's user list the directory (setting recordings.shared_group)",
}

P = ParamSpec("P")
R = TypeVar("R")


class _Directory:
    """A directory with followed files, by name; watched while it has a watch descriptor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, list[FollowedFile]] = {}
        self.watch: int | None = None
        self.blind = False
        """Growth here is not announced: files are elsewhere, and slow or hung at times."""
        self.complaint = 0
        """The last errno of a refused watch that was logged."""

    def __iter__(self) -> Iterator[FollowedFile]:
        for same_path in self.files.values():
            yield from same_path


class FollowedFile:
    """One recording being read, whether it exists yet or not. One greenlet reads it."""

    def __init__(self, path: Path, directory: _Directory, follower: Follower) -> None:
        self.path = path
        self.size = 0
        """Bytes in the file when last looked at, which is at least once a second."""
        self.last_growth = time.time()
        """Unix time of this machine at which it was last seen to have grown (at first: now)."""
        self._directory = directory
        self._follower = follower
        self._place = Place(path)
        self._changed = Event()
        self._drained = False
        self._replaced = False
        self._finished = False
        self._closed = False
        self._announced = False
        self._swept_size: int | None = None

    @property
    def unread(self) -> int:
        """Bytes that were in the file when last looked at, and are not read yet."""
        return 0 if self._closed else max(0, self.size - self._place.offset)

    def read(self, max_bytes: int = READ_BYTES) -> Chunk | None:
        """The next bytes, at most `max_bytes`; waits for them.

        None when all is read after finish(), and after close(). Raises FollowError, at each call
        anew, while the file is there but can't be read: no permission, a symbolic link, not a
        regular file, an input/output error.
        """
        while not self._closed:
            if self._drained:
                self._changed.wait()
            else:
                gevent.sleep(0)  # A long backlog must not hold the hub.
            self._changed.clear()
            finished, self._drained = self._finished, False
            chunk = self._read(max_bytes)
            if chunk is None and finished:
                return None
            at_end = chunk is None or chunk.offset + len(chunk.data) == chunk.size
            self._drained = at_end and not finished and not self._replaced
            if chunk is not None and not self._closed:
                return chunk
        return None

    def finish(self) -> None:
        """Nothing more will be written: let read() come to its end."""
        self._finished = True
        self._changed.set()

    def close(self) -> None:
        """Stop following; a waiting read() returns None. May be repeated."""
        if not self._closed:
            self._closed = True
            self._place = Place(self.path)
            self._changed.set()
            self._follower._forget(self, self._directory)

    def _read(self, max_bytes: int) -> Chunk | None:
        replaced, self._replaced = self._replaced, False
        if self._directory.blind:
            fetched = self._follower._in_pool(
                fetch, self._place, max_bytes, replaced=replaced, refresh=True
            )
        else:
            fetched = fetch(self._place, max_bytes, replaced=replaced, refresh=False)
        if isinstance(fetched, FollowError):
            raise fetched
        if self._closed:
            return None
        self._place, chunk = fetched
        self._note(self._place.size)
        # The old file is read to its end first.
        self._replaced = self._replaced or (replaced and chunk is not None)
        return chunk

    def _note(self, size: int) -> None:
        if size > self.size:
            self.last_growth = time.time()
        self.size = size

    def _announce(self, replaced: bool) -> None:
        self._announced = True
        self._replaced = self._replaced or replaced
        self._changed.set()

    def _sweep(self, place: Place, look: Look) -> bool:
        """Take in what the patrol saw at `place`. True if growth was not announced."""
        known, self._swept_size = self._swept_size, look.size
        announced, self._announced = self._announced, False
        if place is self._place and look.size < place.size:
            # Truncated; it may have grown back before the reader looks.
            self._place = Place(place.path, place.handle, place.generation + 1)
        if look.news or look.size != self.size:
            self._note(look.size)
            self._replaced = self._replaced or look.news
            self._changed.set()
        return known is not None and look.size > known and not announced


class Follower:
    """Follows any number of recordings with one inotify instance. Make one per process.

    Reads of watched directories happen in the hub (page cache, at most `max_bytes`); those of
    directories where inotify is blind, and all looks of the patrol, in two threads of its own,
    so that a hung server stops these files but not the hub.
    """

    def __init__(self) -> None:
        self._directories: dict[Path, _Directory] = {}
        self._watches: dict[int, _Directory] = {}
        self._blind: set[Path] = set()
        self._work = Event()
        hub = gevent.get_hub()
        self._pool = ThreadPool(2, hub)
        self._inotify: INotify | None = None
        try:
            self._inotify = INotify(nonblocking=True)
        except OSError as error:
            _complain("inotify is not to be had, recordings are polled", error)
        else:
            self._readable = hub.loop.io(self._inotify.fileno(), 1)
            self._listener = gevent.spawn(self._listen)
            self._listener.name = "recordings listener"
        self._patrol = gevent.spawn(self._patrol_for_ever)
        self._patrol.name = "recordings patrol"

    def follow(self, path: Path) -> FollowedFile:
        """Start following `path`; neither it nor its directory needs to exist. Never blocks.

        Raises ValueError for a path with a NUL in it.
        """
        path = Path(os.path.abspath(path))
        if "\0" in str(path):
            raise ValueError(f"no file can have the name {path}")
        directory = self._directories.get(path.parent)
        if directory is None:
            directory = self._directories[path.parent] = _Directory(path.parent)
            directory.blind = path.parent in self._blind
            self._work.set()
        file = FollowedFile(path, directory, self)
        directory.files.setdefault(path.name, []).append(file)
        return file

    def is_polled(self, file: FollowedFile) -> bool:
        """Whether the directory of `file` is polled at present instead of watched."""
        return file._directory.watch is None

    def close(self) -> None:
        """Close all followed files and end. May be repeated."""
        self._patrol.kill()
        for directory in list(self._directories.values()):
            for file in list(directory):
                file.close()
        if self._inotify is not None:
            self._listener.kill()
            self._readable.close()
            self._inotify.close()
            self._inotify = None
        # A thread that hangs in a dead server's file is left behind.
        with gevent.Timeout(1, False):
            self._pool.kill()

    def _in_pool(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = self._pool.apply(function, args, kwargs)
        return result

    def _forget(self, file: FollowedFile, directory: _Directory) -> None:
        same_path = directory.files[file.path.name]
        same_path.remove(file)
        if not same_path:
            del directory.files[file.path.name]
        if not directory.files:
            self._unwatch(directory)
            del self._directories[directory.path]

    # Events

    def _listen(self) -> None:
        hub = gevent.get_hub()
        while True:
            hub.wait(self._readable)
            self._take_events()
            gevent.sleep(GATHER_SECONDS)

    def _take_events(self) -> None:
        assert self._inotify is not None
        with suppress(BlockingIOError):
            for event in parse_events(os.read(self._inotify.fileno(), EVENT_BYTES)):
                self._on_event(event)

    def _on_event(self, event: INotifyEvent) -> None:
        if event.mask & flags.Q_OVERFLOW:
            for file in self._files():
                file._announce(replaced=True)
            return
        directory = self._watches.get(event.wd)
        if directory is None:
            return
        for file in directory.files.get(event.name, ()):
            file._announce(bool(event.mask & APPEARED))
        if event.mask & VANISHED:
            self._unwatch(directory)
            self._work.set()

    def _files(self) -> list[FollowedFile]:
        return [file for directory in self._directories.values() for file in directory]

    # Patrol

    def _patrol_for_ever(self) -> None:
        next_sweep = 0.0
        while True:
            if not self._directories:
                self._work.wait()
            self._work.clear()
            sweep = time.monotonic() >= next_sweep
            if sweep:
                next_sweep = time.monotonic() + SWEEP_SECONDS
            self._watch_directories(sweep)
            self._look_at([f for f in self._files() if sweep or f._directory.watch is None])
            polling = any(d.watch is None for d in self._directories.values())
            self._work.wait(POLL_SECONDS if polling else max(0.0, next_sweep - time.monotonic()))

    def _watch_directories(self, sweep: bool) -> None:
        """Add the watches that are missing; in a sweep, see that the others are still the right
        ones: the death of a directory is not announced while an unlinked file of it is open."""
        unsure = [
            d for d in self._directories.values() if not d.blind and (sweep or d.watch is None)
        ]
        if self._inotify is None or not unsure:
            return
        watches = self._in_pool(_add_watches, self._inotify, [d.path for d in unsure])
        for directory, watch in zip(unsure, watches, strict=True):
            if isinstance(watch, OSError):
                self._unwatch(directory)
                self._refused(directory, watch)
            elif watch in self._watches:
                # It is still this one's; or the same directory by another name (a symbolic
                # link), which is polled.
                pass
            elif directory.blind or self._directories.get(directory.path) is not directory:
                self._remove_watch(watch)  # Overtaken by what happened meanwhile.
            else:
                self._unwatch(directory)
                self._watches[watch] = directory
                directory.watch = watch
                for file in directory:
                    file._announce(replaced=True)  # What came before the watch.

    def _refused(self, directory: _Directory, error: OSError) -> None:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, directory.complaint):
            directory.complaint = error.errno or 0
            _complain("inotify refuses a watch, directory is polled", error, directory.path)

    def _look_at(self, files: Sequence[FollowedFile]) -> None:
        if not files:
            return
        places = [file._place for file in files]
        looks = self._in_pool(look_at_all, places)
        suspects = [
            file
            for file, place, look in zip(files, places, looks, strict=True)
            if not file._closed and file._sweep(place, look) and file._directory.watch is not None
        ]
        if suspects:
            gevent.spawn_later(CONFIRM_SECONDS, self._confirm, suspects)

    def _confirm(self, suspects: Sequence[FollowedFile]) -> None:
        if self._inotify is not None:
            self._take_events()
        for file in suspects:
            directory = file._directory
            if not file._announced and not file._closed and directory.watch is not None:
                log.warning(
                    "recordings grow unannounced, directory is polled",
                    directory=str(directory.path),
                    reason="inotify does not see writers on other hosts (NFS, CIFS, VM shares)",
                )
                self._blind.add(directory.path)
                directory.blind = True
                self._unwatch(directory)
                self._work.set()

    def _unwatch(self, directory: _Directory) -> None:
        if directory.watch is not None:
            del self._watches[directory.watch]
            self._remove_watch(directory.watch)
            directory.watch = None

    def _remove_watch(self, watch: int) -> None:
        if self._inotify is not None:
            # The kernel may have removed it already, with its directory.
            with suppress(OSError):
                self._inotify.rm_watch(watch)


def _add_watches(inotify: INotify, paths: Sequence[Path]) -> list[int | OSError]:
    watches: list[int | OSError] = []
    for path in paths:
        try:
            watches.append(inotify.add_watch(path, WATCHED))
        except OSError as error:
            watches.append(error)
    return watches


def _complain(event: str, error: OSError, directory: Path | None = None) -> None:
    log.warning(
        event,
        directory=str(directory or ""),
        reason=error.strerror,
        remedy=REMEDIES.get(error.errno or 0, ""),
    )
