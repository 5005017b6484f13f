"""Records as CUSTOM events of FreeSWITCH, delivered at least once and in order."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import gevent
import structlog
from gevent.event import Event as Flag

from fsbot.switch.codec import Message
from fsbot.switch.errors import ConnectionLost, EslError
from fsbot.transcript.compatibility import Mode, Order, orders_of
from fsbot.transcript.records import (
    EndOfTranscript,
    EndOfUtterance,
    Failure,
    Record,
    StartOfSpeech,
    Transcription,
)

log = structlog.get_logger("fsbot.transcript")

RETRY_SECONDS = 1.0

_RESENT = ("Fsbot-Resent", "true")


@dataclass(frozen=True, slots=True)
class CustomEvent:
    """One event to be fired: its subclass, headers without Event-Subclass, and JSON body.

    orders: what is sent behind it, once, for clients of other ecosystems.
    """

    subclass: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    orders: tuple[Order, ...] = ()


class Connection(Protocol):
    """What fires events: fsbot.switch.connection's."""

    def request(
        self, line: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> Message:
        """Raises EslError."""

    def send_event(self, subclass: str, headers: Sequence[tuple[str, str]], body: bytes) -> object:
        """Raises EslError on anything but `+OK`, ValueError for what can't be sent at all."""


def event_of(record: Record, channel_call_uuid: str, modes: Collection[Mode] = ()) -> CustomEvent:
    """The event that carries a record. The text travels in the body only. modes: other shapes in
    which it is told, too.

    Never `Unique-ID`: a live channel of that id swallows the event. Without a call there are no
    headers of a call: FreeSWITCH drops empty ones.
    """
    of_call = [
        ("Call-UUID", _one_line(record.call_uuid)),
        ("Channel-Call-UUID", _one_line(channel_call_uuid)),
        ("Fsbot-Sequence", str(record.sequence)),
    ]
    headers = [
        *(of_call if record.call_uuid else ()),
        ("transcription-vendor", "fsbot"),
        (
            "transcription-session-finished",
            "true" if isinstance(record, EndOfTranscript) else "false",
        ),
    ]
    if isinstance(record, StartOfSpeech | Transcription | EndOfUtterance):
        headers.append(("Fsbot-Side", record.side))
    if isinstance(record, Failure):
        headers.append(("Fsbot-Error", record.error))
    body = record.model_dump_json().encode()
    return CustomEvent(
        f"fsbot::{record.kind}", tuple(headers), body, tuple(orders_of(record, modes))
    )


def _one_line(text: str) -> str:
    """A channel's own text, fit for a header: nothing that ends a line or a string."""
    return "".join(character for character in text if character.isprintable())[:256]


def _nothing() -> None:
    pass


class EventPublisher:
    """Fires events one after the other; one without `+OK` is fired again, marked, until it has it.

    Events wait in memory while FreeSWITCH can't be reached; the journal has them all.
    """

    def __init__(self, connection: Callable[[], Connection], modes: Collection[Mode] = ()) -> None:
        """`connection` gives the one of the moment, or raises ConnectionLost. modes: in which
        other shapes records are told."""
        self._connection = connection
        self.modes = modes
        self._refused: set[Mode] = set()
        self._waiting: deque[tuple[CustomEvent, Callable[[], object], bool]] = deque()
        self.confirmed: Counter[str] = Counter()
        """Events that FreeSWITCH has taken, by kind."""
        self.resent = 0
        self.errors: Counter[str] = Counter()
        """`fsbot::error` events by their name."""
        self._news = Flag()
        self._idle = Flag()
        self._idle.set()
        self._greenlet = gevent.spawn(self._publish)
        self._greenlet.name = "event publisher"

    def publish(
        self, event: CustomEvent, delivered: Callable[[], object] = _nothing, *, again: bool = False
    ) -> None:
        """Queue an event. Never blocks.

        `delivered` is called when FreeSWITCH has it, and must not block. again: a former run of the
        bot may have fired it already.
        """
        self._waiting.append((event, delivered, again))
        self.resent += again
        if name := dict(event.headers).get("Fsbot-Error"):
            self.errors[name] += 1
        self._idle.clear()
        self._news.set()

    def drain(self, timeout: float) -> bool:
        """Wait until all events are out; False if that took longer than `timeout` seconds."""
        return bool(self._idle.wait(timeout))

    @property
    def waiting(self) -> int:
        """Events without their `+OK`."""
        return len(self._waiting)

    def close(self) -> None:
        """Stop; what still waits is not sent."""
        self._greenlet.kill()

    def _publish(self) -> None:
        while True:
            if not self._waiting:
                self._idle.set()
                self._news.wait()
            self._news.clear()
            while self._waiting:
                self._publish_first()

    def _publish_first(self) -> None:
        """A method of its own, so that a waiting publisher holds nothing of a call that is over."""
        event, delivered, again = self._waiting[0]
        self._deliver(event, again)
        self._waiting.popleft()
        self.confirmed[event.subclass.removeprefix("fsbot::")] += 1
        delivered()
        for order in event.orders:
            self._send(order)

    def _send(self, order: Order) -> None:
        """Once: what is lost here is still in the event before it, and in the journal."""
        try:
            reply = self._connection().request(order.line, order.headers, order.body)
            answer = reply.text if reply.content_type == "api/response" else reply.reply_text
        except EslError as error:
            answer = f"-ERR {error}"
        except Exception:
            # It costs neither the events of fsbot's own nor the publisher.
            log.exception("event in another shape cannot be sent", mode=order.mode)
            return
        # What a command without output is answered: mod_event_socket.c.
        failed = answer.startswith("-") and not answer.startswith("-ERR no reply")
        if failed and order.mode not in self._refused:
            self._refused.add(order.mode)  # told once: a mistake of the set-up repeats itself
            log.warning(
                "events in another shape are refused",
                mode=order.mode,
                reason=answer.strip(),
                remedy="load mod_lua, or take the mode out of events.compatibility",
            )

    def _deliver(self, event: CustomEvent, again: bool) -> None:
        """Fire one event until FreeSWITCH has it; every time but the first it is marked."""
        headers = [*event.headers, *[_RESENT] * again]
        while True:
            try:
                connection = self._connection()
            except ConnectionLost:
                gevent.sleep(RETRY_SECONDS)
                continue
            try:
                connection.send_event(event.subclass, headers, event.body)
                return
            except EslError as error:
                # It may have got there all the same: only its `+OK` is certain to be missing.
                log.warning("event not confirmed, firing it again", reason=str(error))
                headers = [*event.headers, _RESENT]
                self.resent += 1
                gevent.sleep(RETRY_SECONDS)
            except Exception:
                # It would fail again for ever, and all later events with it.
                log.exception("event cannot be sent", subclass=event.subclass)
                return
