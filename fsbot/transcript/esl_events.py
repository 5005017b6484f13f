"""Records as CUSTOM events of FreeSWITCH, delivered at least once and in order."""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import gevent
import structlog
from gevent.event import Event as Flag

from fsbot.transcript.records import EndOfTranscript, Record, StartOfTranscript

log = structlog.get_logger("fsbot.transcript")

RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class CustomEvent:
    """One event to be fired: its subclass, headers without Event-Subclass, and JSON body."""

    subclass: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Sender(Protocol):
    """What can fire an event: fsbot.switch.link's connection of the moment."""

    def __call__(self, subclass: str, headers: list[tuple[str, str]], body: bytes) -> object:
        """Raises on anything but `+OK`."""


def event_of(record: Record, channel_call_uuid: str) -> CustomEvent:
    """The event that carries a record. The text travels in the body only.

    Never `Unique-ID`: a live channel of that id swallows the event.
    """
    finished = isinstance(record, EndOfTranscript)
    headers = [
        ("Call-UUID", _one_line(record.call_uuid)),
        ("Channel-Call-UUID", _one_line(channel_call_uuid)),
        ("Fsbot-Sequence", str(record.sequence)),
        ("transcription-vendor", "fsbot"),
        ("transcription-session-finished", "true" if finished else "false"),
    ]
    if not isinstance(record, StartOfTranscript | EndOfTranscript) and hasattr(record, "side"):
        headers.append(("Fsbot-Side", record.side))
    return CustomEvent(f"fsbot::{record.kind}", tuple(headers), record.model_dump_json().encode())


def _one_line(text: str) -> str:
    """A channel's own text, fit for a header: nothing that ends a line or a string."""
    return "".join(character for character in text if character.isprintable())[:256]


class EventPublisher:
    """Fires events one after the other; one without `+OK` is fired again, marked, until it has it.

    Events wait in memory while FreeSWITCH can't be reached; the journal has them all.
    """

    def __init__(self, send: Sender) -> None:
        self._send = send
        self._waiting: deque[CustomEvent] = deque()
        self._news = Flag()
        self._idle = Flag()
        self._idle.set()
        self._greenlet = gevent.spawn(self._publish)
        self._greenlet.name = "event publisher"

    def publish(self, event: CustomEvent) -> None:
        """Queue an event. Never blocks."""
        self._waiting.append(event)
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
        resent = False
        while True:
            if not self._waiting:
                self._idle.set()
                self._news.wait()
            self._news.clear()
            while self._waiting:
                event = self._waiting[0]
                headers = [*event.headers, ("Fsbot-Resent", "true")] if resent else event.headers
                try:
                    self._send(event.subclass, list(headers), event.body)
                except Exception as error:  # whatever went wrong, the event is not delivered
                    log.debug("event not delivered, trying again", reason=str(error))
                    resent = resent or not _never_left(error)
                    gevent.sleep(RETRY_SECONDS)
                else:
                    self._waiting.popleft()
                    resent = False


def _never_left(error: Exception) -> bool:
    """The link was down before the event was handed to it: nobody can have seen it."""
    return "link" in str(error) and "is down" in str(error)
