"""One call's life: its recordings become audio, its audio words, its words records."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
import structlog
from gevent.event import Event as Flag
from gevent.queue import Queue

from fsbot.audio.follower import Follower
from fsbot.audio.reading import FollowError
from fsbot.audio.tape import Tape
from fsbot.engine.events import StreamEnded, StreamEvent, StreamFailed
from fsbot.engine.options import StreamOptions
from fsbot.engine.scheduler import Engine, StreamHandle
from fsbot.hub import HubBridge
from fsbot.switch.errors import ConnectionLost, EslError, RequestTimeout
from fsbot.switch.legs import Leg
from fsbot.switch.link import Link
from fsbot.switch.recording import (
    RecordingDirectory,
    RecordingRefused,
    check_reply,
    start_command,
    stop_command,
)
from fsbot.transcript.esl_events import EventPublisher, event_of
from fsbot.transcript.journal import Journal, journal_path
from fsbot.transcript.records import (
    EndOfTranscript,
    Failure,
    Record,
    StartOfTranscript,
    Transcription,
)
from fsbot.transcript.writer import Channel, TranscriptWriter

log = structlog.get_logger("fsbot.call")

NO_AUDIO_SECONDS = 5.0
"""A recording that FreeSWITCH has confirmed and that holds nothing after this is reported."""

SETTLED_SECONDS = 2.0
"""A leg that is gone without a RECORD_STOP counts as recorded once its file has not grown for."""

MOST_PENDING_SECONDS = 20.0
"""Audio handed to the engine and not yet heard; the rest waits in the file."""


@dataclass(frozen=True, slots=True)
class House:
    """What all calls of one bot share.

    sample_rate: Hz that FreeSWITCH is asked to record at; each_leg: one recording of one voice per
    leg, instead of one per call in stereo; known_language: Whisper's code of a language that a
    dialplan names, raising ValueError.
    """

    link: Link
    follower: Follower
    engine: Engine
    bridge: HubBridge
    publisher: EventPublisher
    recordings: RecordingDirectory
    transcripts: Path
    sample_rate: int
    each_leg: bool
    language: str
    static_prompt: str
    known_language: Callable[[str], str]


class Call:
    """One recorded leg, from its answer to the last record of its transcript.

    Every method returns at once; the work is done in greenlets of the call's own.
    """

    def __init__(self, leg: Leg, house: House, on_end: Callable[["Call"], None]) -> None:
        """The leg's UUID must have passed check_uuid. `on_end` is called when all is written."""
        self.leg = leg
        self.uuid = leg.uuid
        self.ended = Flag()
        self._house = house
        self._on_end = on_end
        self._log = log.bind(call_uuid=leg.uuid)
        self._zero = leg.answered_at or time.time()
        self._tape = Tape(house.sample_rate, 1 if house.each_leg else 2)
        self._codec_rate = leg.codec_rate
        self._reason = "stopped"
        self._number = 0
        self._gone = Flag()
        self._records: Queue[Record | None] = Queue()
        self._journalled = Flag()
        self._open_streams = 0
        self._streams_ended = Flag()
        self._transcript: TranscriptWriter
        self._greenlet = gevent.Greenlet(self._live)
        self._greenlet.name = f"call {leg.uuid}"

    def start(self) -> None:
        """Begin: journal, recording, transcript."""
        self._greenlet.start()

    # What the switch says

    def hung_up(self) -> None:
        """The leg is hanging up: its recording is about to be complete."""
        self._reason = "hangup"

    def gone(self) -> None:
        """The leg is no more. If its RECORD_STOP was missed, the file says when it is complete."""
        self._reason = "hangup"
        self._gone.set()

    def recording_stopped(self, switch_path: str) -> None:
        """RECORD_STOP: the file is complete."""
        self._tape.complete(switch_path)

    def codec_changed(self, rate: int, at: float) -> None:
        """CODEC: since Unix time `at` the leg's audio, and so its file, has another rate.

        FreeSWITCH tells it twice before every answer too: only a rate unlike the recording's own
        counts, and only while one runs.
        """
        if rate and rate != self._codec_rate and self._tape.running is not None:
            self._codec_rate = rate
            gevent.spawn(self._go_on_in_next_file, at)

    def resynced(self, active_paths: list[str]) -> None:
        """After a lost link: the files that FreeSWITCH is writing for this leg at the moment."""
        running = self._tape.running
        if running is not None and running.switch_path not in active_paths:
            self._tape.complete(running.switch_path)

    def stop(self) -> None:
        """The bot is shutting down: stop the recording it started, and finish what is spoken."""
        self._reason = "shutdown"
        gevent.spawn(self._stop_recording)

    # The call's life

    def _live(self) -> None:
        keeper: gevent.Greenlet | None = None
        try:
            journal = self._blocking(Journal, self._journal_path)
            keeper = gevent.spawn(self._keep_records, journal)
            self._transcript = self._writer(journal.records)
            self._transcribe()
        except OSError as error:
            self._log.error("transcript cannot be written", reason=str(error))
            publish_failure(self._house.publisher, self.uuid, "journal", str(error))
        except Exception:
            # A mistake of ours may cost this call, but no other, and it has to be told.
            self._log.exception("call failed")
            self._reason = "failed"
        finally:
            self._tape.close()
            if keeper is not None:
                self._end_transcript()
                keeper.join()
            self.ended.set()
            self._on_end(self)

    @property
    def _journal_path(self) -> Path:
        return journal_path(self._house.transcripts, self.uuid, self._zero)

    def _writer(self, records: int) -> TranscriptWriter:
        return TranscriptWriter(
            self.uuid, self._zero, self._tape.timeline.wall, self._put, first_sequence=records + 1
        )

    def _transcribe(self) -> None:
        options = self._stream_options()
        if not self._record(options.language):
            return
        streams = [
            self._house.engine.open(options, self._listener(channel)) for channel in self._channels
        ]
        self._open_streams = len(streams)
        watch = gevent.spawn(self._watch_recording)
        try:
            self._feed(streams)
        except FollowError as error:
            self._fail("recording_unreadable", str(error))
            self._reason = "failed"
            gevent.spawn(self._stop_recording)
        finally:
            watch.kill()
            for stream in streams:
                stream.finish()
        self._streams_ended.wait()

    def _feed(self, streams: list[StreamHandle]) -> None:
        for pieces in self._tape.play():
            for stream, samples in zip(streams, pieces, strict=True):
                if len(samples):
                    stream.feed(samples)
            while max(stream.pending_seconds for stream in streams) > MOST_PENDING_SECONDS:
                gevent.sleep(0.2)

    def _stream_options(self) -> StreamOptions:
        language = self._house.language
        if self.leg.language:
            try:
                language = self._house.known_language(self.leg.language)
            except ValueError as error:
                self._fail("unknown_language", f"channel variable fsbot_language {error}")
        return StreamOptions(language, self.leg.prompt or self._house.static_prompt)

    @property
    def _channels(self) -> list[Channel]:
        read = Channel(self.leg.read_side.value, 1)
        return [read] if self._house.each_leg else [read, Channel(self.leg.write_side.value, 2)]

    # Recordings

    def _record(self, language: str) -> bool:
        """Ask for the next recording; the journal knows of it first. False if there is none."""
        number = self._next_number()
        path = self._house.recordings.path(self.uuid, number)
        switch_path = self._house.recordings.switch_path(self.uuid, number)
        self._transcript.write(
            StartOfTranscript,
            channel_call_uuid=self.leg.call_uuid,
            recording=number,
            path=str(path),
            switch_path=switch_path,
            rate=self._house.sample_rate,
            channels=len(self._channels),
            sides=tuple(channel.side for channel in self._channels),
            answered_at=self._zero,
            codec_rate=self._codec_rate,
            direction=self.leg.direction,
            caller=self.leg.caller_number,
            destination=self.leg.destination,
            language_code=language,
        )
        self._journalled.wait()
        recording = self._tape.add(switch_path, path, self._house.follower)
        command = start_command(
            self.uuid,
            switch_path,
            sample_rate=self._house.sample_rate,
            each_leg=self._house.each_leg,
        )
        try:
            self._ask(command)
        except (RecordingRefused, ConnectionLost) as error:
            self._tape.drop(recording)
            self._reason = "refused" if isinstance(error, RecordingRefused) else "hangup"
            self._fail("recording_refused", str(error))
            return False
        self._log.info("recording", path=str(path))
        return True

    def _ask(self, command: str) -> None:
        """Ask FreeSWITCH, again after every lost link, until it answers or the leg is gone.

        Raises RecordingRefused, and ConnectionLost if the leg went while the link was down.
        Asking twice is harmless: a start for a file that is being written is `+OK`.
        """
        while True:
            try:
                check_reply(command, self._house.link.connection.api(command))
                return
            except (ConnectionLost, RequestTimeout) as error:
                self._log.warning("FreeSWITCH does not answer, asking again", reason=str(error))
                if self._gone.wait(1.0):
                    raise ConnectionLost("the leg ended while FreeSWITCH did not answer") from error

    def _next_number(self) -> int:
        """One more than the last; numbers of a former run of the bot are not used again."""
        self._number += 1
        while self._house.recordings.path(self.uuid, self._number).exists():
            self._number += 1
        return self._number

    def _go_on_in_next_file(self, at: float) -> None:
        old = self._tape.running
        self._log.info("codec rate changed, going on in the next file", rate=self._codec_rate)
        if old is None or not self._record(self._stream_options().language):
            return
        self._tape.hand_over(old, at)
        self._stop_file(old.switch_path)

    def _stop_recording(self) -> None:
        running = self._tape.running
        if running is not None:
            self._stop_file(running.switch_path)
            # Also without a RECORD_STOP: the file is complete before the reply.
            self._tape.complete(running.switch_path)

    def _stop_file(self, switch_path: str) -> None:
        command = stop_command(self.uuid, switch_path)
        try:
            check_reply(command, self._house.link.connection.api(command))
        except EslError as error:
            self._log.warning("recording not stopped", reason=str(error))

    def _watch_recording(self) -> None:
        """Complain about a recording without audio, and end one whose RECORD_STOP was missed."""
        first = self._tape.running
        gone = self._gone.wait(NO_AUDIO_SECONDS)
        if not gone and first is not None and first is self._tape.running and not first.file.size:
            self._fail(
                "no_audio",
                f"FreeSWITCH says that it records to {first.switch_path}, but nothing arrives in "
                f"{first.file.path}: check recordings.switch_directory, and that both users share "
                "recordings.shared_group",
            )
        self._gone.wait()
        while (last := self._tape.running) is not None:
            quiet = time.time() - last.file.last_growth
            if quiet >= SETTLED_SECONDS:
                self._tape.complete(last.switch_path)
            else:
                gevent.sleep(SETTLED_SECONDS - quiet)

    # The transcript

    def _listener(self, channel: Channel) -> Callable[[StreamEvent], None]:
        """What the engine calls on its own thread."""
        return lambda event: self._house.bridge.post(self._heard, channel, event)

    def _heard(self, channel: Channel, event: StreamEvent) -> None:
        if isinstance(event, StreamEnded | StreamFailed):
            if isinstance(event, StreamFailed):
                self._fail("engine", f"{channel.side}: {event.reason}")
            self._open_streams -= 1
            if not self._open_streams:
                self._streams_ended.set()
            return
        self._transcript.write_event(channel, event)

    def _fail(self, error: str, message: str) -> None:
        self._log.warning("call in trouble", error=error, reason=message)
        self._transcript.write(Failure, error=error, message=message)

    def _end_transcript(self) -> None:
        self._transcript.write(
            EndOfTranscript,
            reason=self._reason,
            duration=round(self._tape.seconds, 3),
            words=self._transcript.words,
        )
        self._records.put(None)

    def _put(self, record: Record) -> None:
        self._journalled.clear()
        self._records.put(record)

    def _keep_records(self, journal: Journal) -> None:
        """Journal first, then event, one record after the other."""
        for record in iter(self._records.get, None):
            try:
                self._blocking(journal.append, record)
            except OSError as error:
                self._log.error(
                    "record not journalled", reason=str(error), sequence=record.sequence
                )
            self._house.publisher.publish(event_of(record, self.leg.call_uuid))
            log_record(self._log, record)
            if self._records.empty():
                self._journalled.set()
        self._blocking(journal.close)

    @staticmethod
    def _blocking(function: Callable[..., Any], *args: Any) -> Any:
        """The disk may take its time: not in the hub."""
        return gevent.get_hub().threadpool.apply(function, args)


def publish_failure(publisher: EventPublisher, uuid: str, error: str, message: str) -> None:
    """A `fsbot::error` about a leg that has no transcript, and so no numbered records."""
    now = time.time()
    record = Failure(
        call_uuid=uuid, sequence=1, emission_time=0.0, emitted_at=now, error=error, message=message
    )
    publisher.publish(event_of(record, uuid))


def log_record(logger: Any, record: Record) -> None:
    """What the ordinary log says of a record; spoken text only if the log may show it."""
    match record:
        case Transcription(is_final=True):
            logger.info("final", side=record.side, utterance=record.utterance, text=record.text)
        case Transcription(text=text) if text:
            logger.info("words", side=record.side, utterance=record.utterance, text=text)
        case EndOfTranscript():
            logger.info("transcript ended", reason=record.reason, seconds=record.duration)
