"""Between threads and the gevent hub: posting work into it, and watching who holds it up.

gevent's own monitor thread was measured and not used: with a limit of 50 ms it found 4 of 20
holds of 60 ms and 13 of 20 of 80 ms, none in a hub callback (where posted work runs), it cannot
tell a stall of the machine, and one report walks the whole heap with the GIL held (69 ms with
torch loaded).
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, ParamSpec, TypeVar

import gevent
import greenlet  # type: ignore[import-untyped]
import structlog

log = structlog.get_logger("fsbot.hub")

DRAIN_SECONDS = 0.01
"""Posted work that takes longer lets the loop turn once before the rest."""


P = ParamSpec("P")
R = TypeVar("R")


def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """`function(…)` run in one of the hub's threads, while its greenlet waits: for disks, which
    may take their time. Returns or raises what it does."""

    def outcome() -> tuple[R, None] | tuple[None, Exception]:
        # gevent's thread pool prints what its functions raise, expected or not.
        try:
            return function(*args, **kwargs), None
        except Exception as error:
            return None, error

    result, error = gevent.get_hub().threadpool.apply(outcome)
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]


class HubBridge:
    """Runs callables in the hub that other threads post, in the order of posting.

    Make it in the hub's thread. Callables run in the hub itself and must not block (`Event.set`,
    `Queue.put_nowait`, `spawn` are fine); what one raises is logged and the next one runs.
    """

    def __init__(self) -> None:
        self._queue: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._closing = threading.Lock()
        self._closed = False
        self._wakeup = gevent.get_hub().loop.async_()
        self._wakeup.start(self._drain)

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        """Have `callback(*args)` run in the hub soon. From any thread; dropped after `close`."""
        self.try_post(callback, *args)

    def try_post(self, callback: Callable[..., object], *args: Any) -> bool:
        """The same; False if it was dropped."""
        with self._closing:
            if not self._closed:
                self._queue.append((callback, args))
                self._wakeup.send()
            return not self._closed

    def close(self) -> None:
        """Run what was posted so far and take no more. In the hub's thread."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._wakeup.stop()
            self._wakeup.close()
        while self._queue:
            self._run_next()

    def _drain(self) -> None:
        give_way_at = time.monotonic() + DRAIN_SECONDS
        while self._queue:
            self._run_next()
            if time.monotonic() >= give_way_at:
                with self._closing:
                    if not self._closed:
                        self._wakeup.send()
                return

    def _run_next(self) -> None:
        callback, args = self._queue.popleft()
        try:
            callback(*args)
        except Exception:
            # Whatever one callback does wrong, what was posted after it still has to run.
            name = getattr(callback, "__qualname__", repr(callback))
            log.exception("posted callback failed", callback=name)


@dataclass(frozen=True, slots=True)
class Delays:
    """Lateness in seconds over a window."""

    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, delays: Sequence[float]) -> Delays:
        """The quantiles of `delays`; all 0 if there are none."""
        ranked = sorted(delays) or [0.0]
        last = len(ranked) - 1
        return cls(ranked[last // 2], ranked[round(last * 0.99)], ranked[last])


@dataclass(frozen=True, slots=True)
class Hold:
    """Something held the hub for over the threshold.

    `stack` is innermost first, "function (file:line)"; it and `greenlet` are empty if the hold
    ended before it could be looked at.
    """

    ended_at: float
    """Unix time."""
    held: float
    """Seconds."""
    greenlet: str
    stack: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HubReport:
    """What the watchdog saw in its window, in seconds."""

    ticks: int
    hub: Delays
    """How late its greenlet woke."""
    control: Delays
    """How late the plain thread woke: what this machine does to everybody."""
    held: Delays
    """The part of `hub` that this process's hub thread is to blame for."""
    holds: tuple[Hold, ...]


@dataclass(frozen=True, slots=True)
class _Sample:
    """What the hub's thread was doing when the tick begun at `began` was overdue."""

    began: float
    greenlet: str
    stack: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Tick:
    began: float
    ended: float
    late: float
    worked: float
    """Seconds of CPU the hub's thread used from `began` to `ended`."""
    sample: _Sample | None


class HubWatchdog:
    """A greenlet that measures how late it wakes, beside a thread that does the same.

    Lateness that the control thread shares is the machine's, unless the hub's thread was
    computing all that time: then it held the GIL. (A GIL held by a third thread can't be told
    from a stall of the machine.) When the greenlet is overdue, the control thread looks at the
    hub thread's stack, and each hold over `threshold` is logged with the greenlet's name and
    the function. Costs 0.6 % of a core in a process that sleeps otherwise, nearly all of it the
    100 wake-ups a second, and 0.3 microseconds per switch of greenlets.
    """

    def __init__(
        self, *, period: float = 0.02, threshold: float = 0.05, window: float = 60.0
    ) -> None:
        """Start watching the current thread's hub.

        All in seconds: time between two looks, what counts as a hold, and how much of the past
        `report` covers.
        """
        self._period = period
        self._threshold = threshold
        size = max(1, round(window / period))
        self._hub_late: deque[float] = deque(maxlen=size)
        self._control_late: deque[float] = deque(maxlen=size)
        self._held: deque[float] = deque(maxlen=size)
        self._holds: deque[Hold] = deque(maxlen=100)
        self._control_stalls: deque[tuple[float, float]] = deque(maxlen=100)
        self._unjudged: deque[_Tick] = deque(maxlen=100)
        self._closed = False
        self._hub = gevent.get_hub()
        self._thread = threading.get_ident()
        self._active: object = None
        self._ticked = self._control_woke = time.monotonic()
        self._sample: _Sample | None = None
        self._previous_trace = greenlet.settrace(self._trace)
        self._greenlet = gevent.spawn(self._watch)
        self._greenlet.name = "hub watchdog"
        self._control = threading.Thread(target=self._watch_machine, name="hub control")
        self._control.daemon = True
        self._control.start()

    def report(self) -> HubReport:
        """What was seen in the window, or since `reset`."""
        return HubReport(
            ticks=len(self._held),
            hub=Delays.of(self._hub_late),
            control=Delays.of(list(self._control_late)),
            held=Delays.of(self._held),
            holds=tuple(self._holds),
        )

    def reset(self) -> None:
        """Begin a new window."""
        for seen in (self._hub_late, self._control_late, self._held, self._holds):
            seen.clear()

    def close(self) -> None:
        """Stop watching; `report` goes on answering. In the hub's thread."""
        if not self._closed:
            self._closed = True
            greenlet.settrace(self._previous_trace)
            self._active = None
            self._greenlet.kill()
            self._control.join()

    def _trace(self, event: str, args: Any) -> None:
        self._active = args[1]
        if self._previous_trace is not None:
            self._previous_trace(event, args)

    def _watch(self) -> None:
        began, worked = time.monotonic(), time.thread_time()
        while True:
            self._ticked = began
            gevent.sleep(self._period)
            ended, works = time.monotonic(), time.thread_time()
            late = max(0.0, ended - began - self._period)
            sample, self._sample = self._sample, None
            if sample is not None and sample.began != began:
                sample = None
            self._unjudged.append(_Tick(began, ended, late, works - worked, sample))
            began, worked = ended, works
            # The control thread may wake later from the same stall than the hub did.
            while self._unjudged and self._unjudged[0].ended <= self._control_woke:
                self._judge(self._unjudged.popleft())

    def _judge(self, tick: _Tick) -> None:
        shared = sum(
            max(0.0, min(until, tick.ended) - max(since, tick.ended - tick.late))
            for since, until in tuple(self._control_stalls)  # the control thread adds to it
        )
        held = min(tick.late, max(tick.late - shared, tick.worked - self._period, 0.0))
        self._hub_late.append(tick.late)
        self._held.append(held)
        if held <= self._threshold:
            return
        sample = tick.sample or _Sample(tick.began, "", ())
        ended_at = time.time() - (time.monotonic() - tick.ended)
        self._holds.append(Hold(ended_at, held, sample.greenlet, sample.stack))
        log.warning(
            "hub held",
            held_ms=round(held * 1000),
            late_ms=round(tick.late * 1000),
            machine_ms=round(shared * 1000),
            greenlet=sample.greenlet,
            where=sample.stack,  # structlog takes `stack` for a text of its own
        )

    def _watch_machine(self) -> None:
        while not self._closed:
            began = time.monotonic()
            # A real sleep of this thread: nothing is monkey-patched.
            time.sleep(self._period)
            now = time.monotonic()
            late = max(0.0, now - began - self._period)
            self._control_late.append(late)
            if late > self._period / 10:
                self._control_stalls.append((now - late, now))
            self._control_woke = now
            ticked = self._ticked
            overdue = now - ticked - self._period > self._threshold / 2
            if overdue and self._sample is None:
                frame = sys._current_frames().get(self._thread)
                self._sample = _Sample(ticked, self._name_active(), _describe(frame))

    def _name_active(self) -> str:
        active = self._active
        if active is self._hub:
            return "hub callback"
        return str(getattr(active, "name", "main"))


def _describe(frame: FrameType | None) -> tuple[str, ...]:
    stack: list[str] = []
    while frame is not None and len(stack) < 20:
        code = frame.f_code
        file = code.co_filename.rpartition("/")[2]
        stack.append(f"{code.co_qualname} ({file}:{frame.f_lineno})")
        frame = frame.f_back
    return tuple(stack)
