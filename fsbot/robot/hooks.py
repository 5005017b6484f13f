"""A robot's hooks run here: in threads, watched from the event loop.

A hook may block, and then costs its own conversation alone. What it may not do is hold Python's
interpreter (a long regular expression, a C extension that never lets others run): that stops every
call. Both are told, with the place in the author's code.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import gevent
import structlog

from fsbot.threads import Activity

log = structlog.get_logger("fsbot.robot")

BLOCKED_SECONDS = 5.0
"""A hook that has run for so long, and has waited in no method of its call, is told."""

HELD_SECONDS = 0.25
"""The event loop was late by that much: if a hook was computing meanwhile, it is told."""

HELD_SHARE = 0.25
"""Of that time, on a CPU: less, and the machine is to blame."""

PERIOD_SECONDS = 0.1


class RunningHook:
    """A hook that runs now, in the thread that made this."""

    def __init__(self, call_uuid: str, name: str) -> None:
        self.call_uuid = call_uuid
        self.name = name
        self.activity = Activity()
        self.told_since = 0.0
        """`busy_since` of the stretch that was told as blocking last."""
        self.cpu = self.cpu_seconds()
        self.cpu_at_begin = self.cpu

    def cpu_seconds(self) -> float:
        """CPU that the thread has used; 0 where the system does not tell. While it runs."""
        if sys.platform == "darwin" or sys.platform == "win32":
            return 0.0
        return time.clock_gettime(time.pthread_getcpuclockid(self.activity.thread))


class HookWatch:
    """Watches the hooks of all robots from the event loop in whose thread it was made."""

    def __init__(self, file: Path) -> None:
        """file: the author's, by whose lines a place is named."""
        self._file = str(file)
        self._lock = threading.Lock()
        self._running: set[RunningHook] = set()
        self._greenlet = gevent.spawn(self._watch)
        self._greenlet.name = "robot hook watch"

    def close(self) -> None:
        self._greenlet.kill()

    @contextmanager
    def running(self, call_uuid: str, name: str) -> Iterator[None]:
        """While this thread runs the author's code."""
        hook = RunningHook(call_uuid, name)
        with self._lock:
            self._running.add(hook)
        hook.activity.busy_since = time.monotonic()
        try:
            with hook.activity.current():
                yield
        finally:
            # Before the thread ends: its CPU clock can't be read then.
            with self._lock:
                self._running.discard(hook)

    def _watch(self) -> None:
        while True:
            before = time.monotonic()
            gevent.sleep(PERIOD_SECONDS)
            now = time.monotonic()
            late = now - before - PERIOD_SECONDS
            with self._lock:
                for hook in self._running:
                    self._judge(hook, now, late)

    def _judge(self, hook: RunningHook, now: float, late: float) -> None:
        cpu, hook.cpu = hook.cpu, hook.cpu_seconds()
        busy_since = hook.activity.busy_since
        if not busy_since:
            return
        # On a busy machine a thread has but a share of a CPU.
        if late > HELD_SECONDS and hook.cpu - cpu > max(HELD_SECONDS, late * HELD_SHARE):
            self._tell("robot held up every call", hook, held_seconds=round(late, 2))
        if now - busy_since > BLOCKED_SECONDS and hook.told_since != busy_since:
            hook.told_since = busy_since
            self._tell(
                "robot blocks its conversation",
                hook,
                seconds=round(now - busy_since, 1),
                cpu_seconds=round(hook.cpu - hook.cpu_at_begin, 1),
            )

    def _tell(self, what: str, hook: RunningHook, **figures: float) -> None:
        frame = sys._current_frames().get(hook.activity.thread)
        log.warning(
            what,
            call_uuid=hook.call_uuid,
            hook=hook.name,
            **figures,
            at=place(frame, self._file),
            within=place(frame),
        )


def place(frame: FrameType | None, file: str = "") -> str:
    """`robot.py:12 in on_start`: the innermost line of a stack, in that file if one is named."""
    while frame is not None and file not in ("", frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return ""
    code = frame.f_code
    return f"{Path(code.co_filename).name}:{frame.f_lineno} in {code.co_name}"
