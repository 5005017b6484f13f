"""One very long call, simulated: the program behind the case long.
`python -m fsbot.bench.long_call ORDERS.json` prints what came of it as JSON.

The recording is followed, heard and written down as fsbot/call.py does it; there is no switch.
"""

import gc
import json
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import numpy as np
import soundfile
import soxr

from fsbot.audio.follower import Follower
from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.audio.tape import Tape
from fsbot.bench.growing import Clip, GrowingRecording
from fsbot.bench.speech import SIDES, Reference, references
from fsbot.engine.events import StreamEnded, StreamEvent, StreamFailed
from fsbot.engine.scheduler import Engine
from fsbot.engine.setup import make_engine, stream_options
from fsbot.hub import HubBridge
from fsbot.listening import STILL_SECONDS, Listening
from fsbot.masking import Withheld
from fsbot.memory import limit_memory, return_free_memory
from fsbot.rehearsal.sound import FRAME_SECONDS
from fsbot.sources import load
from fsbot.transcript.journal import Journal, line_of
from fsbot.transcript.records import EndOfUtterance, Record, StartOfSpeech, Transcription
from fsbot.transcript.writer import BEHIND, Channel, TranscriptWriter

SAMPLE_EVERY = 60.0
"""Simulated seconds between two looks at the memory."""

ONSET_SECONDS = 1.5
"""A side's speech begins within so many seconds of the recording around where it really does."""

POLL_SECONDS = 0.002


@dataclass(slots=True)
class Told:
    """What came of it; seconds and MB. All moments are seconds of the simulated call.

    clock: for each time in a record, its moment, and by how much it is off the time at which that
    audio was written; onsets: for each turn, its moment, and by how much the start of its record is
    off, None without one; memory: what was held at a moment; unheard: turns without a final text;
    took: real seconds.
    """

    clock: list[tuple[float, float]] = field(default_factory=list)
    onsets: list[tuple[float, float | None]] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    seconds: float = 0.0
    audio: float = 0.0
    stalls: int = 0
    holds: int = 0
    unheard: int = 0
    words: int = 0
    took: float = 0.0


class LongCall:
    """The call and the bot's part of it, in one hub."""

    def __init__(self, orders: Mapping[str, Any], folder: Path) -> None:
        self._settings = load(orders["settings"]).settings
        self._seconds = orders["hours"] * 3600.0
        self._began = time.time() - self._seconds
        calls = [
            call
            for path in map(Path, orders["calls"])
            for call in references(path.parents[1], path.stem)
        ]
        chance = np.random.default_rng(orders["seed"])
        path = folder / "call-1.raw"
        self._recording = GrowingRecording(path, self._began, _clips(calls), chance)
        self._path = path
        self._language = calls[0].language
        self._journal = Journal(folder / "call.jsonl")
        self._told = Told()
        self._failed = ""
        self._starts: list[tuple[str, float, float]] = []
        """Side, second of the recording, and second of the call of each start of speech."""
        self._finals: list[tuple[str, float, float]] = []
        """Side and seconds of the recording of each final text that says something."""

    def run(self) -> Told:
        """From its beginning to the last word. Raises what the listening does."""
        began = time.monotonic()
        limit_memory()
        engine, follower = make_engine(self._settings), Follower()
        gc.collect()
        gc.freeze()
        return_free_memory()
        engine.start()
        try:
            self._transcribe(engine, follower)
        finally:
            engine.stop()
            follower.close()
            self._recording.close()
            self._journal.close()
        self._told.took = time.monotonic() - began
        self._sum_up()
        return self._told

    def _transcribe(self, engine: Engine, follower: Follower) -> None:
        """As a Call does, without a switch."""
        bridge, tape = HubBridge(), Tape(SAMPLE_RATE, 2)
        tape.add(str(self._path), self._path, follower)
        writer = TranscriptWriter(
            "long", self._began, tape.timeline.wall, self._put, now=lambda: self._recording.wall
        )

        def heard(channel: Channel, event: StreamEvent) -> None:
            if isinstance(event, StreamEnded | StreamFailed):
                listening.ended(channel)
            if isinstance(event, StreamFailed):
                self._failed = event.reason
            writer.write_event(channel, event)

        options = replace(stream_options(self._settings), language=self._language)
        streams = {
            channel: engine.open(options, partial(bridge.post, heard, channel))
            for channel in (Channel("caller", 1), Channel("callee", 2))
        }
        listening = Listening(tape, streams, Withheld(("caller", "callee")), lambda lag: None)
        running = gevent.spawn(listening.run)
        self._write(tape, running)
        tape.complete(str(self._path))
        running.get()
        bridge.close()
        if self._failed:
            raise RuntimeError(self._failed)

    def _write(self, tape: Tape, running: gevent.Greenlet) -> None:
        """Let the call happen, no faster than it is read."""
        look_at = self._recording.wall
        for held in self._recording.grow(self._began + self._seconds):
            while tape.seconds < self._recording.seconds - FRAME_SECONDS and not running.dead:
                gevent.sleep(POLL_SECONDS)
            if held:
                gevent.sleep(STILL_SECONDS + 1.0)  # or nobody would notice
            if self._recording.wall >= look_at:
                look_at += SAMPLE_EVERY
                self._told.memory.append((self._recording.wall - self._began, _megabytes()))
            if running.dead:
                break
        self._told.memory.append((self._recording.wall - self._began, _megabytes()))

    def _put(self, record: Record) -> None:
        """Journal it, and see how right its times are."""
        self._journal.append(line_of(record))
        if isinstance(record, StartOfSpeech):
            self._starts.append((record.side, record.audio_start, record.start))
            self._check_start(record.start, record.audio_start)
        elif isinstance(record, EndOfUtterance):
            self._check_end(record.end, record.audio_end)
        elif isinstance(record, Transcription):
            self._check_start(record.start, record.audio_start)
            self._check_end(record.end, record.audio_end)
            if record.is_final and record.text:
                self._told.words += len(record.text.split())
                self._finals.append((record.side, record.audio_start, record.audio_end))

    def _check_start(self, told: float, audio: float) -> None:
        written = self._recording.truth.wall(audio + BEHIND) - BEHIND - self._began
        self._told.clock.append((written, told - written))

    def _check_end(self, told: float, audio: float) -> None:
        written = self._recording.truth.wall(audio) - self._began
        self._told.clock.append((written, told - written))

    def _sum_up(self) -> None:
        told, recording = self._told, self._recording
        told.seconds, told.audio = recording.wall - self._began, recording.seconds
        told.stalls, told.holds = recording.stalls, recording.holds
        for turn in recording.spoken:
            side = SIDES[turn.side]
            near = [
                start
                for name, audio, start in self._starts
                if name == side and abs(audio - turn.audio) <= ONSET_SECONDS
            ]
            spoken = turn.wall - self._began
            error = min((start - spoken for start in near), key=abs, default=None)
            told.onsets.append((spoken, error))
            told.unheard += not any(
                name == side and start < turn.audio + turn.seconds and end > turn.audio
                for name, start, end in self._finals
            )


def _clips(calls: Sequence[Reference]) -> list[Clip]:
    """Every turn of the calls."""
    clips = []
    for call in calls:
        samples, rate = soundfile.read(call.sound, dtype="int16", always_2d=True)
        for turn in call.turns:
            column = SIDES.index(turn.side)
            said = samples[round(turn.start * rate) : round(turn.end * rate), column]
            wide = soxr.resample(said, rate, SAMPLE_RATE)
            clips.append(Clip(column, wide, turn.speech_start - turn.start))
    return clips


def _megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> int:
    orders = Path(sys.argv[1])
    told = LongCall(json.loads(orders.read_text()), orders.parent).run()
    print(json.dumps(asdict(told)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
