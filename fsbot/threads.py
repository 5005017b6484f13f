"""What threads other than the event loop's need: to wait, and to have something done in the loop.

Nothing is monkey-patched: a thread that waits here lets all others run. A thread in which somebody
has called gevent has an event loop of its own (a hub); such a thread waits within that loop, so
that its greenlets and timeouts go on.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, ParamSpec, TypeVar

import gevent
from gevent import get_hub
from gevent._hub_local import get_hub_if_exists

from fsbot.hub import HubBridge

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_local = threading.local()


class Activity:
    """What a thread that runs somebody else's code is at."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.busy_since = 0.0
        """time.monotonic() from which on that code has run without waiting in a method of ours; 0
        while it does not run."""

    @contextmanager
    def current(self) -> Iterator[None]:
        """Have the waits of this thread noted here."""
        before = getattr(_local, "activity", None)
        _local.activity = self
        try:
            yield
        finally:
            _local.activity = before


@contextmanager
def _waiting() -> Iterator[None]:
    activity: Activity | None = getattr(_local, "activity", None)
    if activity is None or not activity.busy_since:
        yield
        return
    activity.busy_since = 0.0
    try:
        yield
    finally:
        activity.busy_since = time.monotonic()


class Latch:
    """Something that happens once: any thread sets it, any thread or greenlet waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._wake: list[Callable[[], object]] = []

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Wake whoever waits. From any thread; never blocks."""
        with self._lock:
            self._is_set = True
            for wake in self._wake:
                wake()
            self._wake.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Until it is set; False if that takes longer than `timeout` seconds."""
        if self._is_set or (timeout is not None and timeout <= 0):
            return self._is_set
        with _waiting():
            if get_hub_if_exists() is None:
                self._wait_in_thread(timeout)
            else:
                self._wait_in_loop(timeout)
        return self._is_set

    def _wait_in_thread(self, timeout: float | None) -> None:
        woken = threading.Event()
        if self._on_set(woken.set):
            try:
                woken.wait(timeout)
            finally:
                self._forget(woken.set)

    def _wait_in_loop(self, timeout: float | None) -> None:
        watcher = get_hub().loop.async_()
        wake = watcher.send
        try:
            if self._on_set(wake):
                with gevent.Timeout(timeout, False):
                    get_hub().wait(watcher)
        finally:
            # Under the lock: no other thread sends to a watcher that is closed.
            self._forget(wake)
            watcher.close()

    def on_set(self, function: Callable[[], object]) -> None:
        """Have a function called when it is set, or now; it must not block."""
        if not self._on_set(function):
            function()

    def _on_set(self, wake: Callable[[], object]) -> bool:
        with self._lock:
            if not self._is_set:
                self._wake.append(wake)
            return not self._is_set

    def _forget(self, wake: Callable[[], object]) -> None:
        with self._lock:
            if wake in self._wake:
                self._wake.remove(wake)


class Mailbox(Generic[T]):
    """A queue between threads, without a limit; `put` never blocks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: deque[T] = deque()
        self._arrival = Latch()

    def put(self, item: T) -> None:
        with self._lock:
            self._items.append(item)
            arrival, self._arrival = self._arrival, Latch()
        arrival.set()

    def clear(self) -> None:
        with self._lock:
            self._items.clear()

    def get(self, timeout: float | None = None) -> T:
        """The oldest item. Raises TimeoutError if none comes within `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                if self._items:
                    return self._items.popleft()
                arrival = self._arrival
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            arrival.wait(left)


class LoopClosed(Exception):
    """The event loop takes no more work: the bot is ending."""


class EventLoop:
    """The event loop of the thread that makes it, as other threads see it."""

    def __init__(self, bridge: HubBridge) -> None:
        self._bridge = bridge
        self._thread = threading.get_ident()

    def post(self, function: Callable[..., object], *args: Any) -> bool:
        """Have `function(*args)`, which must not block, run there; False once it is closed."""
        return self._bridge.try_post(function, *args)

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `function(…)` in a greenlet of the loop, and wait; it returns or raises what that
        does. From any thread; in the loop's own it is simply called. Raises LoopClosed."""
        if threading.get_ident() == self._thread:
            return function(*args, **kwargs)
        done = Latch()
        results: list[R] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(function(*args, **kwargs))
            except BaseException as error:
                errors.append(error)
            finally:
                done.set()

        with _waiting():
            if not self.post(gevent.spawn, run):
                raise LoopClosed
            done.wait()
        if errors:
            raise errors[0]
        return results[0]


def leave_loop() -> None:
    """Take down this thread's own event loop, if something has made one: before the thread ends."""
    if (hub := get_hub_if_exists()) is not None:
        hub.destroy(destroy_loop=True)
