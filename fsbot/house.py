"""What all calls of one bot share."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from fsbot.engine.options import StreamOptions
from fsbot.engine.position import StreamPosition
from fsbot.engine.scheduler import Engine
from fsbot.hub import HubBridge, in_thread
from fsbot.studio import Studio
from fsbot.switch.legs import Leg
from fsbot.trace import Trace
from fsbot.transcript.backlog import Backlog
from fsbot.transcript.esl_events import EventPublisher, event_of
from fsbot.transcript.journal import Journal, journal_path, read_what_is_sound
from fsbot.transcript.ledger import Ledger
from fsbot.transcript.position import TranscriptPosition
from fsbot.transcript.records import Failure, Record, SideName
from fsbot.transcript.redaction import Redaction
from fsbot.unfinished import Unfinished

log = structlog.get_logger("fsbot.bot")


@dataclass(frozen=True, slots=True)
class OpenedJournal:
    """journal: its path while it can't be opened. first_sequence: number of the next record.
    numbered_on: by side, where a new tape begins to number its utterances. before: what the journal
    held."""

    journal: Journal | Path
    first_sequence: int
    numbered_on: dict[SideName, StreamPosition]
    before: TranscriptPosition


@dataclass(frozen=True, slots=True)
class House:
    """What all calls of one bot share.

    known_language: Whisper's code of a language that a dialplan names, raising ValueError.
    lag_warning: seconds that a call may be behind before it is said. settled(journal): nothing of
    that transcript is pending any more; called in a thread. channel_variables: whether what is
    known of a transcript is set on its channel. redaction: what is taken out of its texts.
    """

    studio: Studio
    engine: Engine
    bridge: HubBridge
    publisher: EventPublisher
    transcripts: Path
    stream_options: StreamOptions
    known_language: Callable[[str], str]
    lag_warning: float
    backlog: Backlog
    settled: Callable[[Path], object]
    channel_variables: bool
    redaction: Redaction
    trace: Trace | None = None

    def stream_options_for(self, leg: Leg, language: str) -> StreamOptions:
        """How a call of that leg is read."""
        options = replace(self.stream_options, language=language)
        prompt = " ".join(leg.prompt.split()) or options.static_prompt
        # Of a prompt that is too long its end counts: there the words of this very call stand.
        hotwords = ", ".join(filter(None, map(str.strip, leg.hotwords.split(","))))
        return replace(options, static_prompt=" ".join(f"{prompt} {hotwords}".split()))

    def open_journal(
        self, uuid: str, answered_at: float, unfinished: Unfinished | None
    ) -> "OpenedJournal":
        """The journal of a call, new or continued; waits for the disk."""
        path = journal_path(self.transcripts, uuid, answered_at)
        if unfinished is not None:
            path = unfinished.journal
        journal: Journal | Path = path
        earlier: list[Record] = []
        with suppress(OSError):
            # The leg may have been transcribed before.
            earlier = in_thread(read_what_is_sound, path)
        with suppress(OSError):
            journal = in_thread(Journal, path)
        numbers = [self.backlog.next_sequence(path)]
        if isinstance(journal, Journal):
            numbers.append(journal.next_sequence)
        if earlier:
            numbers.append(earlier[-1].sequence + 1)
        before = TranscriptPosition.of(earlier)
        numbered_on = {side: StreamPosition(last.number) for side, last in before.positions.items()}
        return OpenedJournal(journal, max(numbers), numbered_on, before)

    def publish_failure(self, uuid: str, error: str, message: str) -> None:
        """A `fsbot::error` that belongs to no transcript, and so has no number of its own.

        uuid: the leg that it is about, empty if it is about none.
        """
        now = time.time()
        record = Failure(
            call_uuid=uuid,
            sequence=1,
            emission_time=0.0,
            emitted_at=now,
            error=error,
            message=message,
            over=False,
        )
        self.publisher.publish(event_of(record, uuid))

    def fire_left_over_events(self, unfinished: Unfinished) -> None:
        """The transcript is complete, but not all of its events were confirmed."""
        try:
            journal = in_thread(Journal, unfinished.journal)
        except OSError as error:
            log.warning("events not fired again", call_uuid=unfinished.uuid, reason=str(error))
            return
        recordings = unfinished.position.recordings
        channel_call_uuid = recordings[0].channel_call_uuid if recordings else unfinished.uuid
        ledger = Ledger(
            unfinished.uuid,
            channel_call_uuid,
            journal,
            self.publisher,
            self.backlog,
            settled=self.settled,
        )
        ledger.fire_again(unfinished.records)
        ledger.close()
