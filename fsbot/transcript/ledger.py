"""Journal first, then event: every record's way out of one transcript."""

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import gevent
import structlog
from gevent.event import Event as Flag
from gevent.queue import Queue

from fsbot.hub import in_thread
from fsbot.transcript.esl_events import EventPublisher, event_of
from fsbot.transcript.journal import Journal
from fsbot.transcript.records import EndOfTranscript, Record, Transcription

log = structlog.get_logger("fsbot.transcript")


class Ledger:
    """Sees the records of one transcript through, in order, in a greenlet of its own.

    A record that cannot be journalled (the disk is full) is logged and fired all the same: the
    robot that waits for it has no other source.
    """

    def __init__(
        self, call_uuid: str, channel_call_uuid: str, journal: Journal, publisher: EventPublisher
    ) -> None:
        self._channel_call_uuid = channel_call_uuid
        self._journal = journal
        self._delivery = journal.delivery
        self._last = 0
        self._closed = False
        self._publisher = publisher
        self._log = log.bind(call_uuid=call_uuid)
        self._queue: Queue[Record | Flag | None] = Queue()
        self._greenlet = gevent.spawn(self._work)
        self._greenlet.name = f"ledger {call_uuid}"

    def put(self, record: Record) -> None:
        """Queue a record. Never blocks."""
        self._queue.put(record)

    def flush(self) -> None:
        """Wait until every record so far is in the journal."""
        reached = Flag()
        self._queue.put(reached)
        reached.wait()

    def fire_again(self, records: Iterable[Record]) -> None:
        """Fire the events of records that a former run has journalled and not seen confirmed."""
        for record in records:
            if record.sequence > self._delivery.confirmed:
                self._publish(record, again=True)

    def close(self) -> None:
        """Wait until every record so far is in the journal, and close it. To be called once."""
        self._queue.put(None)
        self._greenlet.join()
        self._closed = True
        self._settle()

    def _work(self) -> None:
        for item in iter(self._queue.get, None):
            if isinstance(item, Flag):
                item.set()
                continue
            try:
                self._see_through(item)
            except Exception:
                # What goes wrong with one record must not hold up the next one, or the call.
                self._log.exception("record lost", sequence=item.sequence)
        in_thread(self._journal.close)

    def _see_through(self, record: Record) -> None:
        try:
            in_thread(self._write, record)
        except OSError as error:
            self._log.error("record not journalled", reason=str(error), sequence=record.sequence)
        self._publish(record)
        _tell(self._log, record)

    def _write(self, record: Record) -> None:
        self._journal.append(record)
        with suppress(OSError):  # then too many events are fired again, and none too few
            self._delivery.save()

    def _publish(self, record: Record, *, again: bool = False) -> None:
        self._last = max(self._last, record.sequence)
        event = event_of(record, self._channel_call_uuid)
        self._publisher.publish(event, partial(self._delivered, record.sequence), again=again)

    def _delivered(self, sequence: int) -> None:
        self._delivery.confirmed = max(self._delivery.confirmed, sequence)
        self._settle()

    def _settle(self) -> None:
        """The last event of a closed transcript has been confirmed: nothing is pending any more."""
        if self._closed and self._delivery.confirmed >= self._last:
            self._closed = False
            gevent.spawn(self._complete)

    def _complete(self) -> None:
        try:
            in_thread(self._delivery.complete)
        except OSError as error:
            self._log.warning("cannot delete what tells of pending events", reason=str(error))


def _tell(logger: Any, record: Record) -> None:
    """What the ordinary log says of a record; spoken text only if the log may show it."""
    match record:
        case Transcription(is_final=True):
            logger.info("final", side=record.side, utterance=record.utterance, text=record.text)
        case Transcription(text=text) if text:
            logger.info("words", side=record.side, utterance=record.utterance, text=text)
        case EndOfTranscript():
            logger.info("transcript ended", reason=record.reason, seconds=record.duration)
