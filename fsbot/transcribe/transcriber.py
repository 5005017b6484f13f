"""One file, from its first block to the last record of its transcript."""

import contextlib
import math
import os
import queue
import time
from collections.abc import Callable
from functools import partial

import structlog

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.engine.events import LanguageDoubted, StreamEnded, StreamEvent, StreamFailed
from fsbot.engine.orders import StreamHandle
from fsbot.engine.scheduler import Engine
from fsbot.engine.setup import stream_options
from fsbot.errors import UserError
from fsbot.settings import Settings
from fsbot.transcribe.paper import Paper
from fsbot.transcribe.sound import Pieces, SoundFile
from fsbot.transcript.records import EndOfTranscript, Failure, SideName, StartOfTranscript
from fsbot.transcript.redaction import Redaction
from fsbot.transcript.writer import Channel, TranscriptWriter

log = structlog.get_logger("fsbot.transcribe")

BLOCK_SECONDS = 1.0
MOST_PENDING_SECONDS = 20.0
"""Audio read and not yet heard by the engine: a long file is never in memory as a whole."""

REALTIME_BLOCK_SECONDS = 0.02
"""As FreeSWITCH writes."""

START_MARGIN = 1.0
"""Seconds by which the engine may announce speech after its start, and more."""

POLL_SECONDS = 0.1


class Transcriber:
    """One file on its way through the engine."""

    def __init__(
        self, engine: Engine, settings: Settings, sound: SoundFile, call_uuid: str, paper: Paper
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._sound = sound
        self._paper = paper
        self._zero = time.time()
        self._events: queue.SimpleQueue[tuple[Channel, StreamEvent]] = queue.SimpleQueue()
        self._writer = TranscriptWriter(
            call_uuid,
            self._zero,
            self._wall,
            paper.put,
            redaction=Redaction(settings.transcripts.redact),
        )
        self._streams: dict[SideName, StreamHandle] = {}
        self._fed = 0
        self._failed = False
        self._reason = "failed"

    def run(self, *, realtime: bool, advance: Callable[[float], object]) -> int:
        """Transcribe to the end; 1 if the engine failed, else 0.

        Raises UserError if the file is damaged, when all before the damage has been transcribed.

        realtime: feed at the pace of speech. advance: told the seconds heard so far.
        """
        try:
            self._begin(realtime)
            damage = self._play(realtime, advance)
            for stream in self._streams.values():
                stream.finish()
            while self._streams:
                self._listen(time.time() + POLL_SECONDS)
                advance(self._fed / SAMPLE_RATE - self._pending)
            self._reason = "failed" if self._failed or damage else "stopped"
        except KeyboardInterrupt:
            self._reason = "shutdown"
            raise
        finally:
            self._end()
        if damage is not None:
            raise damage
        return int(self._failed)

    def _play(self, realtime: bool, advance: Callable[[float], object]) -> UserError | None:
        """Feed the file to its end, or to where it is damaged, which is returned then."""
        try:
            for pieces in self._sound.play(REALTIME_BLOCK_SECONDS if realtime else BLOCK_SECONDS):
                if realtime:
                    # A block is there once it has been said, as in a recording that grows.
                    said = self._fed + len(pieces[0])
                    self._listen(self._zero + said / SAMPLE_RATE)
                self._feed(pieces)
                while self._pending > MOST_PENDING_SECONDS:
                    self._listen(time.time() + POLL_SECONDS)
                self._listen(0.0)
                advance(self._fed / SAMPLE_RATE - self._pending)
        except UserError as damage:
            return damage
        return None

    def _wall(self, seconds: float) -> float:
        return self._zero + seconds

    def _begin(self, realtime: bool) -> None:
        options = stream_options(self._settings, skip_late_updates=realtime)
        sides = self._sound.sides
        self._writer.write(
            StartOfTranscript,
            channel_call_uuid=self._writer.call_uuid,
            recording=1,
            # A name may hold bytes that are no UTF-8, which JSON cannot.
            path=os.fsencode(self._sound.path).decode(errors="replace"),
            switch_path="",
            rate=self._sound.rate,
            channels=len(sides),
            sides=sides,
            answered_at=self._zero,
            codec_rate=0,
            leg_uuid="",
            direction="",
            caller="",
            destination="",
            language_code=options.language,
        )
        for tag, side in enumerate(sides, start=1):
            own = options.named(f"{self._writer.call_uuid}-{side}")
            beside = next(iter(self._streams.values()), None)
            tell = partial(self._tell, Channel(side, tag))
            self._streams[side] = self._engine.open(own, tell, beside)

    def _tell(self, channel: Channel, event: StreamEvent) -> None:
        """The engine's thread calls this."""
        self._events.put((channel, event))

    def _feed(self, pieces: Pieces) -> None:
        for stream, samples in zip(self._streams.values(), pieces, strict=True):
            if len(samples):
                stream.feed(samples)
        self._fed += len(pieces[0])

    @property
    def _pending(self) -> float:
        return max((stream.pending_seconds for stream in self._streams.values()), default=0.0)

    def _listen(self, until: float) -> None:
        """Write down what the engine says until that Unix time, and what it has said already."""
        heard = {
            side: self._fed / SAMPLE_RATE - stream.pending_seconds - START_MARGIN
            for side, stream in self._streams.items()
        }
        with contextlib.suppress(queue.Empty):
            while True:
                channel, event = self._events.get(timeout=max(0.0, until - time.time()))
                self._write(channel, event)
        for side in heard.keys() & self._streams.keys():
            self._paper.heard(side, heard[side])

    def _write(self, channel: Channel, event: StreamEvent) -> None:
        if isinstance(event, StreamFailed):
            self._failed = True
            message = f"{channel.side}: {event.reason}"
            self._writer.write(Failure, error="engine", message=message)
        if isinstance(event, StreamFailed | StreamEnded):
            del self._streams[channel.side]
            self._paper.heard(channel.side, math.inf)
        if isinstance(event, LanguageDoubted):
            log.warning(
                "language doubted", file=str(self._sound.path), side=channel.side, reason=str(event)
            )
        self._writer.write_event(channel, event)

    def _end(self) -> None:
        for stream in self._streams.values():
            stream.cancel()
        self._writer.write(
            EndOfTranscript,
            reason=self._reason,
            duration=round(self._fed / SAMPLE_RATE, 3),
            words=self._writer.words,
        )
        self._paper.end()
