"""What all calls of one bot share."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from fsbot.engine.options import StreamOptions
from fsbot.engine.scheduler import Engine
from fsbot.hub import HubBridge, in_thread
from fsbot.recorder import Studio
from fsbot.trace import Trace
from fsbot.transcript.backlog import Backlog
from fsbot.transcript.esl_events import EventPublisher, event_of
from fsbot.transcript.journal import Journal
from fsbot.transcript.ledger import Ledger
from fsbot.transcript.records import Failure
from fsbot.unfinished import Unfinished

log = structlog.get_logger("fsbot.bot")


@dataclass(frozen=True, slots=True)
class House:
    """What all calls of one bot share.

    known_language: Whisper's code of a language that a dialplan names, raising ValueError.
    lag_warning: seconds that a call may be behind before it is said.
    settled(journal): nothing of that transcript is pending any more; called in a thread.
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
    trace: Trace | None = None

    def publish_failure(self, uuid: str, error: str, message: str) -> None:
        """A `fsbot::error` about a leg that has no transcript, and so no numbered records; about
        no leg at all if uuid is empty."""
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
