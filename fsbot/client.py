"""A client of fsbot's events: the records of calls, as another program gets them from FreeSWITCH.

    with TranscriptClient("127.0.0.1", 8021, "ClueCon") as client:
        for record in client:
            ...                             # fsbot.transcript.records

The client reads the event socket in a thread and an event loop of its own: FreeSWITCH stalls its
other clients for one that does not read. So the program may block between two records, and it need
not know gevent. A greenlet may use the client, too: only that greenlet waits.

The client logs in again when the link breaks. Events that FreeSWITCH delivered meanwhile do not
come back; the journal holds their records.
"""

import atexit
import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar, get_args

import gevent
import structlog
from pydantic import ValidationError

from fsbot.errors import UserError
from fsbot.hub import HubBridge
from fsbot.log import printable
from fsbot.switch.codec import Event
from fsbot.switch.connection import Connection
from fsbot.switch.errors import AuthenticationFailed, ConnectionLost, ConnectionRefused
from fsbot.switch.link import Endpoint, Link
from fsbot.threads import EventLoop, Latch, LoopClosed, Mailbox, leave_loop
from fsbot.transcript.records import EndOfTranscript, Record, parse

log = structlog.get_logger("fsbot.client")

R = TypeVar("R", bound=Record)

MOST_WAITING = 100_000
"""Records that wait for the program; the client drops those that come beyond."""

REMEMBERED_SECONDS = 3600.0
"""Seconds for which a call that has ended is remembered, counted from its last event. A bot that
crashed repeats unconfirmed events when it is back."""

MOST_RUNS = 50_000
"""Runs of sequence numbers that are remembered, of all calls together. A call without holes has
one."""

_REMEDIES: dict[type[BaseException | None], str] = {
    ConnectionRefused: "Start FreeSWITCH with mod_event_socket loaded, or name its host and port "
    "(listen-ip and listen-port in its event_socket.conf.xml).",
    AuthenticationFailed: "Give the password of FreeSWITCH's event_socket.conf.xml.",
}
"""Instead of those that name settings of `fsbot run`."""

_LOGIN_SECONDS = 1.0
"""A login that is under way has so long before `close` breaks it off."""

_LONGEST_UUID = 256
_LONGEST_PROBLEM = 200
_KINDS: dict[type[Any], str] = {
    kind: kind.model_fields["kind"].default for kind in get_args(Record)
}
_SUBCLASSES = frozenset(f"fsbot::{name}" for name in _KINDS.values())


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record, and when it came."""

    at: float
    """Unix seconds at which the client had it."""

    record: Record


class SeenRecords:
    """Which records have come, to tell repetitions. Its memory is bounded, whatever comes."""

    def __init__(
        self, remembered_seconds: float = REMEMBERED_SECONDS, most_runs: int = MOST_RUNS
    ) -> None:
        """remembered_seconds: how long a call is remembered after its end. most_runs: beyond, the
        call of which nothing has come for longest is forgotten."""
        self._remembered_seconds = remembered_seconds
        self._most_runs = most_runs
        self._runs: OrderedDict[str, list[list[int]]] = OrderedDict()
        """By call, the one that was silent longest first: first and last number of each run."""
        self._forget_at: OrderedDict[str, float] = OrderedDict()
        """Calls that have ended, in the order in which they are to be forgotten."""
        self._size = 0
        """Runs of all calls together."""

    def __len__(self) -> int:
        """Calls that are remembered."""
        return len(self._runs)

    def is_new(self, record: Record, now: float) -> bool:
        """Whether this (call_uuid, sequence) comes for the first time; it is remembered then.

        now: monotonic seconds. A record without a call has no number of its own, and is always new.
        """
        self._forget_ended(now)
        if not record.call_uuid:
            return True
        # The UUID of a call that has a transcript is shorter; this bounds what strangers send.
        call = record.call_uuid[:_LONGEST_UUID]
        runs = self._runs.setdefault(call, [])
        self._runs.move_to_end(call)
        before = len(runs)
        is_new = _add(runs, record.sequence)
        self._size += len(runs) - before
        if isinstance(record, EndOfTranscript) or call in self._forget_at:
            self._forget_at[call] = now + self._remembered_seconds
            self._forget_at.move_to_end(call)
        while self._size > self._most_runs:
            self._forget_most_silent()
        return is_new

    def _forget_ended(self, now: float) -> None:
        while self._forget_at and next(iter(self._forget_at.values())) <= now:
            self._forget(next(iter(self._forget_at)))

    def _forget_most_silent(self) -> None:
        call, runs = next(iter(self._runs.items()))
        if len(self._runs) > 1:
            self._forget(call)
        else:
            del runs[0]
            self._size -= 1

    def _forget(self, call: str) -> None:
        self._forget_at.pop(call, None)
        self._size -= len(self._runs.pop(call))


def _add(runs: list[list[int]], number: int) -> bool:
    """Add a number to runs that rise and do not touch; False if it is in one already."""
    index = bisect_right(runs, number, key=lambda run: run[0])
    if index and number <= runs[index - 1][1]:
        return False
    goes_on = index > 0 and runs[index - 1][1] == number - 1
    leads_in = index < len(runs) and runs[index][0] == number + 1
    if goes_on and leads_in:
        runs[index - 1][1] = runs.pop(index)[1]
    elif goes_on:
        runs[index - 1][1] = number
    elif leads_in:
        runs[index][0] = number
    else:
        runs.insert(index, [number, number])
    return True


class TranscriptClient:
    """Receives fsbot's records from a FreeSWITCH, each once.

    Iterate (`for record in client`), or register callbacks by kind (`on`) and call `run`. Every
    method may be called from any thread or greenlet. Several readers share the records: each
    record goes to one of them.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8021,
        password: str = "ClueCon",
        *,
        call_uuid: str | None = None,
        kinds: Collection[type[Record]] = (),
        wait: bool = True,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        """Nothing is opened yet: `open`, `with` or the first read does that.

        host, port, password: of FreeSWITCH's event socket. call_uuid: only the records of this
        call. kinds: only records of these classes; empty: all. wait: whether `open` waits for a
        FreeSWITCH that cannot be reached. on_event: is called with every event of fsbot's as it
        comes, before any of them is dropped, in the client's own thread; it must not block. Raises
        ValueError for a kind that is no record.
        """
        for kind in kinds:
            if kind not in _KINDS:
                raise ValueError(f"no kind of record: {kind!r}")
        self._endpoint = Endpoint(host, port, password)
        self._call_uuid = call_uuid
        self._kinds = tuple(kinds) or tuple(_KINDS)
        self._wait = wait
        self._on_event = on_event
        self._callbacks: dict[type[Any], list[Callable[[Any], object]]] = {}
        self._seen = SeenRecords()
        self._source: Iterator[Event] | None = None
        """Where events come from instead of a FreeSWITCH."""
        self._arrivals: Mailbox[Arrival | None] = Mailbox()
        """None: look whether the client is closed."""
        self._counting = threading.Lock()
        self._waiting = 0
        self._dropped = 0
        self._opening = threading.Lock()
        self._thread: threading.Thread | None = None
        self._link: Link
        self._running: gevent.Greenlet
        self._loop: EventLoop
        self._started = Latch()
        self._opened = Latch()
        """Set after the first login, and when there will be none."""
        self._ended = Latch()
        self._closed = False
        self._failure: BaseException | None = None
        self._lost_at = 0.0

    @classmethod
    def replaying(
        cls,
        events: Iterable[Event],
        *,
        call_uuid: str | None = None,
        kinds: Collection[type[Record]] = (),
    ) -> Self:
        """A client of these ESL events instead of a FreeSWITCH's; its iteration ends with them."""
        client = cls(call_uuid=call_uuid, kinds=kinds)
        client._source = iter(events)
        return client

    # Opening and closing

    def open(self) -> None:
        """Log in and subscribe; returns when events come. Does nothing on an open client.

        Raises UserError, with a remedy, if FreeSWITCH refuses the password or this machine's
        address, and without `wait` also if it cannot be reached. With `wait` it tries on until
        `close`. Raises ValueError on a client that is closed.
        """
        if self._source is not None:
            return
        with self._opening:
            if self._closed:
                raise ValueError("the client is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="transcript client")
                self._thread.daemon = True
                self._thread.start()
                # An event loop that still runs while the interpreter is taken down crashes it.
                atexit.register(self.close)
        self._opened.wait()
        self._check()

    def close(self) -> None:
        """Log out and end all waiting. Records that nobody has read are dropped.

        May be called again, and by a callback. Takes a few seconds at most.
        """
        with self._opening:
            self._closed = True
            thread = self._thread
        self._arrivals.clear()
        self._arrivals.put(None)
        if thread is None:
            return
        atexit.unregister(self.close)
        self._started.wait()
        self._loop.post(gevent.spawn, self._stop)
        if thread is not threading.current_thread():
            self._ended.wait()
            thread.join()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_up(self) -> bool:
        """Logged in, at the moment."""
        return self._started.is_set() and self._link.is_up

    # Reading

    def receive(self, timeout: float | None = None) -> Arrival | None:
        """Wait for the next record, `timeout` seconds at most (None: for ever).

        None if none came in time, or if the client is closed. Opens the client if need be, and
        raises what `open` raises.
        """
        if self._closed:
            return None
        if self._source is not None:
            return next(filter(None, map(self._read, self._source)), None)
        self.open()
        try:
            arrival = self._arrivals.get(timeout)
        except TimeoutError:
            return None
        if arrival is None:
            self._arrivals.put(None)  # for other readers
            self._check()
            return None
        with self._counting:
            self._waiting -= 1
        return arrival

    def arrivals(self, timeout: float | None = None) -> Iterator[Arrival]:
        """Every record with the time of its arrival, until `close`, or until none has come for
        `timeout` seconds. Raises what `open` raises."""
        while (arrival := self.receive(timeout)) is not None:
            yield arrival

    def records(self, timeout: float | None = None) -> Iterator[Record]:
        """Every record, as `arrivals` has them."""
        return (arrival.record for arrival in self.arrivals(timeout))

    def __iter__(self) -> Iterator[Record]:
        return self.records()

    def on(self, kind: type[R], callback: Callable[[R], object]) -> None:
        """Have `run` call `callback(record)` for each record of this class, in the order of `on`.

        Raises ValueError if the class is no record's.
        """
        if kind not in _KINDS:
            raise ValueError(f"no kind of record: {kind!r}")
        self._callbacks.setdefault(kind, []).append(callback)

    def run(self, timeout: float | None = None) -> None:
        """Call the callbacks, in this thread or greenlet, as long as `arrivals` goes on.

        A callback may block. Raises what a callback raises, and what `open` raises.
        """
        for record in self.records(timeout):
            for callback in self._callbacks.get(type(record), ()):
                callback(record)

    # Commands

    def api(self, command: str, timeout: float | None = None) -> str:
        """Run an API command in FreeSWITCH, such as `uuid_kill <uuid>`; its output.

        `-ERR …` is output too: what it means depends on the command. timeout: seconds to wait for
        the reply, 10 if it is None. Raises EslError: while the link is down, if the reply does not
        come in time, or if FreeSWITCH allows no commands. Raises ValueError for a command that is
        not one line.
        """
        if not self._started.is_set():
            raise ConnectionLost("the client is not open")
        try:
            return self._loop.call(self._api, command, timeout)
        except LoopClosed as error:
            raise ConnectionLost("the client is closed") from error

    def _api(self, command: str, timeout: float | None) -> str:
        return self._link.connection.api(command, timeout)

    # The client's own thread

    def _serve(self) -> None:
        bridge = HubBridge()
        self._loop = EventLoop(bridge)
        # The end of a transcript is always asked for: with it a call may be forgotten.
        kinds = dict.fromkeys([*self._kinds, EndOfTranscript])
        self._link = Link(
            self._endpoint,
            (),
            # No `filter Call-UUID`: it would keep HEARTBEAT away, which shows that the link is up.
            [f"fsbot::{_KINDS[kind]}" for kind in kinds],
            on_event=self._handle,
            on_connect=self._connected,
            on_disconnect=self._disconnected,
        )
        self._running = gevent.spawn(self._link.run, fail_fast=not self._wait)
        self._started.set()
        try:
            self._running.get()
        except UserError as error:
            remedy = _REMEDIES.get(type(error.__cause__), error.remedy)
            self._failure = UserError(error.message, remedy, error.exit_code)
        except BaseException as error:
            self._failure = error
        finally:
            bridge.close()
            leave_loop()
            self._arrivals.put(None)
            self._opened.set()
            self._ended.set()

    def _stop(self) -> None:
        self._link.stop()
        self._running.join(_LOGIN_SECONDS)
        self._running.kill()

    def _connected(self, connection: Connection) -> None:
        if self._lost_at:
            log.warning(
                "link to FreeSWITCH is back",
                peer=connection.where,
                seconds_without=round(time.monotonic() - self._lost_at, 1),
            )
        self._opened.set()

    def _disconnected(self, reason: str) -> None:
        # The link itself logs this.
        self._lost_at = time.monotonic()

    def _handle(self, event: Event) -> None:
        arrival = self._read(event)
        if arrival is None:
            return
        with self._counting:
            fits = self._waiting < MOST_WAITING
            self._waiting += fits
        if fits:
            if self._dropped:
                log.warning("records were dropped, the program reads again", count=self._dropped)
                self._dropped = 0
            self._arrivals.put(arrival)
        else:
            if not self._dropped:
                log.warning("dropping records, the program does not read them", most=MOST_WAITING)
            self._dropped += 1

    def _read(self, event: Event) -> Arrival | None:
        """What an event has for the program; None if it is for others, unreadable or repeated."""
        at = time.time()
        if event.subclass not in _SUBCLASSES:
            return None
        if self._on_event is not None:
            self._on_event(event)
        try:
            record = parse(event.body)
        except ValidationError as error:
            log.warning(
                "event without a readable record skipped",
                subclass=event.subclass,
                call_uuid=printable(event.headers.get("Call-UUID")[:_LONGEST_UUID]),
                problem=_described(error),
            )
            return None
        if not self._seen.is_new(record, time.monotonic()):
            return None
        wanted = self._call_uuid in (None, record.call_uuid) and isinstance(record, self._kinds)
        return Arrival(at, record) if wanted else None

    def _check(self) -> None:
        """Raise what has ended the client's thread, if that was a failure."""
        if self._failure is not None:
            raise self._failure


def _described(error: ValidationError) -> str:
    """What is wrong with a record, on one line, without what was said in it."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return printable(f"{where}: {first['msg']}"[:_LONGEST_PROBLEM])
