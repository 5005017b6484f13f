"""One login on FreeSWITCH's event socket: greenswitch's InboundESL, made fit for months of calls.

What greenswitch 0.0.19 gives is the shape: a class to connect, a registry of handlers, one
greenlet that reads and one that runs handlers. What it gets wrong is overridden here, piece by
piece; tests/switch/test_connection_*.py show each failure on the plain class and its absence here.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import gevent
import structlog
from gevent import socket
from gevent.event import AsyncResult
from gevent.event import Event as Flag
from gevent.lock import Semaphore
from greenswitch import InboundESL

from fsbot.switch.codec import Decoder, Event, Message, ProtocolError, encode_command, parse_event
from fsbot.switch.errors import (
    AccessDenied,
    AuthenticationFailed,
    CommandRefused,
    ConnectionLost,
    ConnectionRefused,
    RequestTimeout,
)

log = structlog.get_logger("fsbot.switch")

Handler = Callable[[Event], object]

_READ_BYTES = 64 * 1024
_GOODBYE_SECONDS = 1.0

MOST_QUEUED_BYTES = 64 << 20
"""Events that wait for their handlers; with more the link is dropped."""

_EVENT_OVERHEAD = 1024
"""Bytes that a waiting event takes beside its body."""

_HANDLING_SECONDS = 0.005
"""Events are handled for so long, of CPU, before others have their turn. What is read at once takes
half of it: with less the queue would grow in every flood."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that has no reply yet: who waits for it, when it was sent (monotonic seconds),
    whether it is an `api` command, and what its reply says, if that is known."""

    answer: AsyncResult
    sent_at: float
    is_api: bool
    echo: str = ""

    def fits(self, reply: Message) -> bool:
        """Whether this can be its reply; `api` gets a command/reply if it is not allowed."""
        if reply.content_type == "api/response":
            return self.is_api and self.echo in ("", reply.text.strip())
        return not self.is_api or reply.reply_text.startswith("-ERR")


class Connection(InboundESL):  # type: ignore[misc]  # greenswitch has no types
    """A link from `connect()` to its end; it never comes back (`fsbot.switch.link.Link` does).

    Timeouts are seconds. Any greenlet may send at any time. The reading greenlet only sorts
    frames: replies to whoever waits, events into a queue from which a second greenlet calls the
    handlers, in the order of arrival. Handlers get `fsbot.switch.codec.Event`; they are
    registered as with greenswitch, `register_handle(name, handler)`, where name is an event's
    name, a CUSTOM event's subclass, `log`, `DISCONNECT`, or `*` for events without a handler.
    """

    def __init__(
        self,
        host: str,
        port: int,
        password: str,
        *,
        connect_timeout: float = 5.0,
        request_timeout: float = 10.0,
    ) -> None:
        super().__init__(host, port, password, timeout=connect_timeout)
        self.sock: Any = None  # a gevent socket from connect() on
        self.where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.request_timeout = request_timeout
        self.closed = Flag()
        self.close_reason = ""
        self._commands_sent: deque[Pending] = deque()
        self._queued_bytes = 0
        self._probes = count()
        self._greeting = AsyncResult()
        self._writing = Semaphore()
        self._last_heard = time.monotonic()

    # Opening and closing

    def connect(self) -> None:
        """Open, wait for the greeting, log in.

        Raises ConnectionRefused, AccessDenied, AuthenticationFailed, RequestTimeout or
        ConnectionLost; the socket is closed then.
        """
        self.sock = self._open_socket()
        self._last_heard = time.monotonic()
        self.connected = True
        self.start_event_handlers()
        try:
            late = RequestTimeout(f"{self.where} sends no greeting within {self.timeout:g} s")
            with gevent.Timeout(self.timeout, late):
                self._greeting.get()
            self.authenticate()
        except BaseException:
            # Also a timeout of the caller's, or a kill: nobody else would close the socket.
            self.close("login failed")
            raise

    def _open_socket(self) -> Any:
        late = ConnectionRefused(f"no event socket at {self.where} within {self.timeout:g} s")
        try:
            # One limit over looking up the name and trying all of its addresses, IPv6 and IPv4.
            with gevent.Timeout(self.timeout, late):
                opened = socket.create_connection((self.host, self.port))
        except (OSError, UnicodeError) as error:
            raise ConnectionRefused(f"no event socket at {self.where}: {error}") from error
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened

    def authenticate(self) -> None:
        """Log in. Raises AuthenticationFailed; no message ever shows the password."""
        try:
            reply = self.request(f"auth {self.password}")
        except ValueError as error:
            raise AuthenticationFailed("the password for FreeSWITCH holds a line end") from error
        if reply.reply_text != "+OK accepted":
            raise AuthenticationFailed(f"FreeSWITCH at {self.where} refuses the password")

    def stop(self) -> None:
        """Say goodbye and close. Takes a few seconds at most; a handler may call it."""
        if self.connected:
            with suppress(ConnectionLost, RequestTimeout):
                self.request("exit", timeout=_GOODBYE_SECONDS)
        self.close("closed by this side")
        greenlets = (self._receive_events_greenlet, self._process_events_greenlet)
        others = [g for g in greenlets if g and g is not gevent.getcurrent()]
        gevent.joinall(others, timeout=_GOODBYE_SECONDS)

    def close(self, reason: str) -> None:
        """Drop the link at once and fail every waiting request; events received stay queued.

        Any greenlet may call it; only the first call counts.
        """
        if self.closed.is_set():
            return
        self.close_reason = reason
        self.connected = self._run = False
        self.closed.set()
        if self.sock is not None:
            self.sock.close()
        if not self._greeting.ready():
            self._greeting.set_exception(self._lost())
        while self._commands_sent:
            self._commands_sent.popleft().answer.set_exception(self._lost())
        self._esl_event_queue.put(None)

    def _lost(self) -> ConnectionLost:
        return ConnectionLost(f"the link to {self.where} is down: {self.close_reason or 'not up'}")

    # How the link feels

    @property
    def silence(self) -> float:
        """Seconds since FreeSWITCH last sent a whole frame; its HEARTBEAT comes every 20 s.

        Bytes alone do not count: a frame that is announced too long swallows all that follow it.
        """
        return time.monotonic() - self._last_heard

    @property
    def unanswered(self) -> float:
        """Seconds for which the oldest request has had no reply, given up or not; 0 if none."""
        if not self._commands_sent:
            return 0.0
        return time.monotonic() - self._commands_sent[0].sent_at

    # Sending

    def request(
        self,
        line: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float | None = None,
    ) -> Message:
        """Send a command and wait for its reply, `timeout` seconds in all (None: the default).

        Raises RequestTimeout, ConnectionLost, or ValueError for text that cannot be sent.
        A reply has no number of its own: it belongs to the oldest unanswered command. So a
        request that is given up keeps its place in the queue, and its late reply is dropped.
        Should it never come, every later one would be taken for the reply before it: what is
        asked next is what only one reply fits.
        """
        data = encode_command(line, headers, body)
        seconds = self.request_timeout if timeout is None else timeout
        late = RequestTimeout(f"{self.where} does not answer `{_shown(line)}` in {seconds:g} s")
        answer = AsyncResult()
        with gevent.Timeout(seconds, late):
            with self._writing:
                if not self.connected:
                    raise self._lost()
                is_api = line[:4].lower() == "api "
                self._commands_sent.append(Pending(answer, time.monotonic(), is_api))
                self._write(data)
            try:
                message: Message = answer.get()
            except RequestTimeout:
                gevent.spawn(self._probe)
                raise
            return message

    def _probe(self) -> None:
        """Find out whether a reply is late or lost. Lost: one of these two gets another's, which
        ends the link."""
        with self._writing:
            if not self.connected or any(pending.echo for pending in self._commands_sent):
                return
            echoes = [f"fsbot-{number}" for number in islice(self._probes, 2)]
            for echo in echoes:
                self._commands_sent.append(Pending(AsyncResult(), time.monotonic(), True, echo))
            self._write(b"".join(encode_command(f"api echo {echo}") for echo in echoes))

    def _write(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            self.close(f"sending failed: {error}")
        except BaseException:
            # Half a command is on the wire; whatever followed would be read as its other half.
            self.close("sending took too long")
            raise

    def send(self, data: str) -> Message:
        """greenswitch's name for `request`: one line, the default timeout."""
        return self.request(data)

    def api(self, command: str, timeout: float | None = None) -> str:
        """Run an API command in FreeSWITCH; its output, often ending in a line feed.

        `-ERR …` is output too: what it means depends on the command.
        """
        message = self.request(f"api {command}", timeout=timeout)
        if message.content_type != "api/response":
            raise CommandRefused(f"api {command}", message.reply_text)
        return message.text

    def subscribe(self, events: Sequence[str], subclasses: Sequence[str] = ()) -> None:
        """Ask for events by name, and for CUSTOM events by subclass. Raises CommandRefused."""
        custom = ["CUSTOM", *subclasses] if subclasses else []
        # CUSTOM comes last: FreeSWITCH takes every later word for a subclass.
        line = " ".join(["event plain", *events, *custom])
        reply = self.request(line).reply_text
        if not reply.startswith("+OK"):
            raise CommandRefused(line, reply)

    def send_event(
        self,
        subclass: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float | None = None,
    ) -> str:
        """Fire a CUSTOM event; the Event-UUID that FreeSWITCH gave it.

        Raises CommandRefused without a `+OK`, and ValueError for a header `Unique-ID`: a live
        channel of that id would swallow the event, and FreeSWITCH would say `+OK` all the same.
        """
        if any(name.lower() == "unique-id" for name, _ in headers):
            raise ValueError("a CUSTOM event with Unique-ID is swallowed by the channel")
        reply = self.request(
            "sendevent CUSTOM", [("Event-Subclass", subclass), *headers], body, timeout
        ).reply_text
        if not reply.startswith("+OK "):
            raise CommandRefused("sendevent CUSTOM", reply)
        return reply.removeprefix("+OK ")

    # Receiving

    def receive_events(self) -> None:
        """The reading greenlet: reads at all times, whatever the handlers do.

        FreeSWITCH freezes its other clients while it waits for one that does not read.
        """
        decoder = Decoder()
        try:
            while data := self.sock.recv(_READ_BYTES):
                decoder.feed(data)
                while self._run and (message := decoder.next_message()):
                    self._last_heard = time.monotonic()
                    self.handle_event(message)
                gevent.sleep(0)  # recv does not yield while data is there
            self.close("closed by FreeSWITCH")
        except OSError as error:
            self.close(f"reading failed: {error}")
        except ProtocolError as error:
            self.close(f"unreadable: {error}")

    def handle_event(self, message: Message) -> None:
        """Sort one frame; nothing here waits. Raises ProtocolError for a reply to no request, or to
        another one: all later replies would go to the wrong requests."""
        match message.content_type:
            case "auth/request":
                self._greeting.set()
            case "text/rude-rejection":
                self._greeting.set_exception(
                    AccessDenied(f"FreeSWITCH at {self.where} refuses this machine's address")
                )
            case "command/reply" | "api/response":
                if not self._commands_sent:
                    raise ProtocolError("a reply to no request")
                if not self._commands_sent[0].fits(message):
                    raise ProtocolError("a reply to another request than the oldest")
                self._commands_sent.popleft().answer.set(message)
            case "text/disconnect-notice":
                self._enqueue(message)
                self._lingering = message.headers.get("Content-Disposition") == "linger"
                if not self._lingering:
                    self.close(f"FreeSWITCH says: {message.text.strip()[:80]!r}")
            case _:
                self._enqueue(message)

    def _enqueue(self, message: Message) -> None:
        # Not reading is no way out: FreeSWITCH would freeze its other clients (FACTS.md 7).
        if self._queued_bytes > MOST_QUEUED_BYTES:
            waiting = self._esl_event_queue.qsize()
            self.close(f"events come faster than they are handled: {waiting} wait")
            return
        self._queued_bytes += len(message.body) + _EVENT_OVERHEAD
        self._esl_event_queue.put(message)

    def process_events(self) -> None:
        """The handling greenlet: one event after the other until the link's last one."""
        turn_ends = 0.0
        for message in iter(self._esl_event_queue.get, None):
            self._queued_bytes -= len(message.body) + _EVENT_OVERHEAD
            try:
                name, event = _named(message)
            except ProtocolError as error:
                log.warning("unreadable event dropped", peer=self.where, problem=str(error))
                continue
            for handler in self._handlers(name):
                self._safe_exec_handler(handler, event)
            if time.thread_time() >= turn_ends:
                gevent.sleep(0)
                turn_ends = time.thread_time() + _HANDLING_SECONDS

    def _handlers(self, name: str) -> list[Handler]:
        fallback = [] if name in ("DISCONNECT", "log") else self.event_handlers.get("*", [])
        return list(self.event_handlers.get(name, fallback))

    def _safe_exec_handler(self, handler: Handler, event: Event) -> None:
        try:
            handler(event)
        except Exception:
            # Whatever a handler does wrong, the next event must still find its handler.
            log.exception("event handler failed", event_name=event.name, peer=self.where)


def _named(message: Message) -> tuple[str, Event]:
    """The name under which handlers of a message are registered, and the event for them."""
    if message.content_type == "text/disconnect-notice":
        return "DISCONNECT", Event(message.headers, message.body)
    if message.content_type == "log/data":
        return "log", Event(message.headers, message.body)
    event = parse_event(message)
    return event.subclass if event.name == "CUSTOM" else event.name, event


def _shown(line: str) -> str:
    verb = line.split(" ", 1)[0]
    return verb if verb.endswith("auth") else line[:120]
