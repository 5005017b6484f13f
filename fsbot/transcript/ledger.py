"""Journal first, then event: every record's way out of one transcript."""

import errno
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import structlog
from gevent.event import Event as Flag
from gevent.lock import Semaphore
from gevent.queue import Empty, Queue

from fsbot.hub import in_thread
from fsbot.transcript.backlog import Backlog
from fsbot.transcript.esl_events import EventPublisher, event_of
from fsbot.transcript.journal import Journal, line_of
from fsbot.transcript.records import EndOfTranscript, Record, Transcription

log = structlog.get_logger("fsbot.transcript")

RETRY_SECONDS = 2.0
"""How often a disk that took nothing is tried again."""

CLOSING_SECONDS = 5.0
"""How long the end of a call waits for the disk; what is not written then is written later."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No room: on the disk, in the quota, in the largest file allowed."""


class Ledger:
    """Sees the records of one transcript through, in order, in a greenlet of its own.

    A record that cannot be journalled is fired all the same: the robot that waits for it has no
    other source. It waits in memory, and is written, in its place, when the disk takes it. The
    journal is always the beginning of the transcript, without holes.
    """

    def __init__(
        self,
        call_uuid: str,
        channel_call_uuid: str,
        journal: Journal | Path,
        publisher: EventPublisher,
        backlog: Backlog,
        complain: Callable[[str, str], object] | None = None,
        settled: Callable[[Path], object] | None = None,
    ) -> None:
        """journal: a path if it can't be opened yet. complain(error, message): the disk takes
        nothing more; called once each time. settled(path): the journal is complete and every event
        is confirmed; called in a thread.
        """
        self._channel_call_uuid = channel_call_uuid
        self._journal = journal if isinstance(journal, Journal) else None
        self.path = journal.path if isinstance(journal, Journal) else journal
        self._publisher = publisher
        self._backlog = backlog
        self._complain = complain
        self._settled = settled
        self._log = log.bind(call_uuid=call_uuid)
        self._last = self._written = self._confirmed = 0
        if self._journal is not None:
            self._written = self._journal.next_sequence - 1
            self._confirmed = self._journal.delivery.confirmed
        self._unwritten: deque[tuple[int, bytes]] = deque()
        self._trouble = False
        self._retry_at = 0.0
        self._cut_at = 0
        """First record that found no room in memory; from there on nothing is journalled."""
        self._closing = self._done = False
        self._whole = True
        self._writing = Semaphore()
        self._queue: Queue[Record | Flag | None] = Queue()
        earlier = backlog.enter(self)
        if earlier is not None:
            self._unwritten, self._cut_at = earlier._hand_over(), earlier._cut_at
            self._last = earlier._last
        self._greenlet = gevent.spawn(self._work)
        self._greenlet.name = f"ledger {call_uuid}"

    @property
    def next_sequence(self) -> int:
        """Number behind the last record that was put."""
        return self._last + 1

    def put(self, record: Record) -> None:
        """Queue a record. Never blocks."""
        self._last = max(self._last, record.sequence)
        self._queue.put(record)

    def flush(self) -> None:
        """Wait until every record so far is in the journal, or the disk is known not to take it."""
        reached = Flag()
        self._queue.put(reached)
        reached.wait()

    def fire_again(self, records: Iterable[Record]) -> None:
        """Fire the events of records that a former run has journalled and not seen confirmed."""
        for record in records:
            if record.sequence > self._confirmed:
                self._publish(record, again=True)

    def close(self, *, whole: bool = True) -> None:
        """Nothing more will be put. Waits until all is in the journal, CLOSING_SECONDS at most:
        a disk that takes nothing is tried on in the background. To be called once.

        whole: the transcript has its end; if not, the next run of the bot finds it pending.
        """
        self._closing, self._whole = True, whole
        self._queue.put(None)
        self._greenlet.join(CLOSING_SECONDS)
        if not self._greenlet.ready():
            self._log.warning(
                "journal waits for the disk", path=str(self.path), records=len(self._unwritten)
            )

    def give_up(self) -> None:
        """The bot ends: tell what is not in the journal."""
        if not self._greenlet.ready():
            self._greenlet.kill(block=False)
            self._tell_missing()
            self._forget()

    def _hand_over(self) -> deque[tuple[int, bytes]]:
        """A later transcript of the same journal writes what this one could not."""
        with self._writing:  # not in the middle of a record
            self._greenlet.kill()
        if self._journal is not None:
            in_thread(self._journal.close)
        return self._unwritten

    def _work(self) -> None:
        while (item := self._next()) is not None:
            if isinstance(item, Flag):
                item.set()
                continue
            try:
                self._see_through(item)
            except Exception:
                # What goes wrong with one record must not hold up the next one, or the call.
                self._log.exception("record lost", sequence=item.sequence)
        while self._unwritten:
            gevent.sleep(RETRY_SECONDS)
            self._write()
        self._finish()

    def _next(self) -> Record | Flag | None:
        """The next item of the queue; while none comes, what is unwritten is tried again."""
        while True:
            try:
                return self._queue.get(timeout=RETRY_SECONDS if self._unwritten else None)
            except Empty:
                self._write()

    def _finish(self) -> None:
        if self._journal is not None:
            in_thread(self._journal.close)
        if self._cut_at:
            self._tell_missing()
        self._done = self._whole and not self._cut_at and self._journal is not None
        self._backlog.leave(self)
        self._settle()

    def _see_through(self, record: Record) -> None:
        line = line_of(record)
        if not self._cut_at and not self._backlog.reserve(len(line)):
            self._cut_at = record.sequence
            self._log.error(
                "too much waits for the disk: no more of this call is journalled",
                path=str(self.path),
                sequence=record.sequence,
            )
        if not self._cut_at:
            self._unwritten.append((record.sequence, line))
            if time.monotonic() >= self._retry_at:
                self._write()
        self._publish(record)
        _tell(self._log, record)

    # The disk

    def _write(self) -> None:
        """Write what waits, as far as the disk takes it."""
        try:
            while self._unwritten:
                with self._writing:
                    sequence, line = self._unwritten[0]
                    in_thread(self._append, sequence, line)
                    if not self._unwritten:
                        return  # given up meanwhile
                    self._unwritten.popleft()
                    self._written = sequence
                    self._backlog.release(len(line))
        except OSError as error:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._report(error)
        else:
            if self._trouble:
                self._trouble, self._retry_at = False, 0.0
                self._log.info("journal is written again, nothing is missing", path=str(self.path))

    def _append(self, sequence: int, line: bytes) -> None:
        if self._journal is None:
            journal = Journal(self.path)
            if journal.next_sequence > sequence:
                journal.close()
                raise FileExistsError(errno.EEXIST, "holds other records", str(self.path))
            self._journal = journal
        self._journal.append(line)
        self._journal.delivery.confirmed = self._confirmed
        with suppress(OSError):  # then too many events are fired again, and none too few
            self._journal.delivery.save()

    def _report(self, error: OSError) -> None:
        if self._trouble:
            return
        self._trouble = True
        name = "disk_full" if error.errno in FULL else "journal"
        message = f"records wait in memory, {self.path} cannot be written: {error.strerror}"
        self._log.error("journal not written", error=name, reason=str(error))
        if self._complain is not None and not self._closing:
            self._complain(name, message)

    def _tell_missing(self) -> None:
        first = self._unwritten[0][0] if self._unwritten else self._written + 1
        if first <= self._last:
            missing = f"{first} to {self._last}"
            self._log.error("journal is incomplete", path=str(self.path), missing=missing)

    def _forget(self) -> None:
        for _, line in self._unwritten:
            self._backlog.release(len(line))
        self._unwritten.clear()
        self._backlog.leave(self)

    # The events

    def _publish(self, record: Record, *, again: bool = False) -> None:
        self._last = max(self._last, record.sequence)
        event = event_of(record, self._channel_call_uuid, self._publisher.modes)
        self._publisher.publish(event, partial(self._delivered, record.sequence), again=again)

    def _delivered(self, sequence: int) -> None:
        self._confirmed = max(self._confirmed, sequence)
        if self._journal is not None:
            self._journal.delivery.confirmed = self._confirmed
        self._settle()

    def _settle(self) -> None:
        """The last event of a complete journal has been confirmed: nothing is pending any more."""
        if self._done and self._confirmed >= self._last:
            self._done = False
            gevent.spawn(self._complete)

    def _complete(self) -> None:
        assert self._journal is not None
        try:
            in_thread(self._journal.delivery.complete)
        except OSError as error:
            self._log.warning("cannot delete what tells of pending events", reason=str(error))
            return
        if self._settled is not None:
            in_thread(self._settled, self.path)


def _tell(logger: Any, record: Record) -> None:
    """What the ordinary log says of a record; spoken text only if the log may show it."""
    match record:
        case Transcription(is_final=True):
            logger.info("final", side=record.side, utterance=record.utterance, text=record.text)
        case Transcription(text=text) if text:
            logger.info("words", side=record.side, utterance=record.utterance, text=text)
        case EndOfTranscript():
            logger.info("transcript ended", reason=record.reason, seconds=record.duration)
