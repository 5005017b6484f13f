"""Calls through the engine on a simulated clock: live accuracy that no other program disturbs.

The program behind the case live: `python -m fsbot.bench.simulated AT_ONCE SETTINGS CALL …` prints
what was said as JSON. SETTINGS is JSON, a CALL is SOUND:LANGUAGE.

The sound comes at the pace of speech. A batch of windows takes as long as the constants below say,
which are those of model base in int8 on one core of a Xeon of 2023, and everything else takes no
time. So the machine and its load change nothing, and two runs say the same.
"""

from __future__ import annotations

import heapq
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.engine.decoding import Decoded
from fsbot.engine.events import StreamEvent, UtteranceEnded, UtteranceFinal, WordsCommitted, joined
from fsbot.engine.inference import Window
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.orders import StreamHandle
from fsbot.engine.scheduler import Engine, _Done
from fsbot.engine.setup import engine_options, load_speech_model, stream_options
from fsbot.sources import load
from fsbot.transcribe.sound import Pieces, SoundFile

PIECE_SECONDS = 0.02
"""As FreeSWITCH writes."""

ENCODER_SECONDS = 0.012
"""For each second of a window that is encoded."""

START_SECONDS = 0.02
"""For the decoder's pass over prompt, prefix and draft of a window."""

STEP_SECONDS = 0.007
"""For each token that is decoded, in one row."""

ROW_SHARE = 0.25
"""Of that for each further row: another window of the batch, or another beam."""

WORKERS = 2
"""Of the simulated machine."""

OFFSET_SECONDS = 0.37
"""Between the beginnings of two calls that are played at a time."""


@dataclass(slots=True)
class Played:
    """What one side's stream has said, each event with the simulated second of its coming.

    started: the simulated second at which the sound began.
    """

    started: float
    events: list[tuple[float, StreamEvent]] = field(default_factory=list)

    def told(self, language: str) -> dict[str, object]:
        """final, live: texts; decided: seconds that each end of an utterance was decided late;
        closing: from then to its final text."""
        ends: dict[int, float] = {}
        final, live = [], []
        closing, decided = [], []
        for moment, event in self.events:
            if isinstance(event, WordsCommitted):
                live.append(joined(event.words, language))
            elif isinstance(event, UtteranceEnded):
                ends[event.utterance] = moment
                decided.append(moment - self.started - event.decided_at)
            elif isinstance(event, UtteranceFinal):
                final.append(joined(event.words, language))
                closing.append(moment - ends[event.utterance])
        texts = {"final": " ".join(final), "live": " ".join(live)}
        return {**texts, "closing": closing, "decided": decided}


def _decoding_seconds(windows: Sequence[Window], results: Sequence[Decoded | Exception]) -> float:
    """Seconds that the decoder takes for a batch; tokens of a draft that was right cost nothing."""
    steps = rows = 0
    for window, decoded in zip(windows, results, strict=True):
        task = window.task
        if isinstance(decoded, Exception):
            continue
        pairs = zip(decoded.tokens, task.draft, strict=False) if task.beams == 1 else ()
        right = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        steps = max(steps, len(decoded.tokens) - right + 1)
        rows += task.beams
    return len(windows) * START_SECONDS + steps * STEP_SECONDS * (1 + ROW_SHARE * (rows - 1))


class SimulatedEngine(Engine):
    """An engine without threads of its own, on a clock that it moves itself."""

    def __init__(self, model: SpeechModel, options: EngineOptions, workers: int) -> None:
        self.now = 0.0
        super().__init__(model, options, workers=workers, clock=lambda: self.now)
        self._due: list[tuple[float, int, _Done]] = []
        self._numbers = itertools.count()

    def run_until(self, moment: float) -> None:
        """Do all that there is to do until that second; inf: until every stream has ended."""
        while True:
            while self._idle_workers and self._take_orders(0.0):
                batch = self._next_batch()
                if not batch:
                    break
                results, spent = self.infer([run.window for run in batch])
                done = _Done(batch, results, spent)
                heapq.heappush(self._due, (self.now + spent, next(self._numbers), done))
            if not self._move_clock(moment):
                return

    def infer(self, windows: Sequence[Window]) -> tuple[list[Decoded | Exception], float]:
        """The texts of a batch, and the seconds that it takes."""
        encoding = [window for window in windows if window.features is None]
        seconds = sum(len(each.samples) / SAMPLE_RATE + each.padding for each in encoding)
        results = self._infer(windows)
        return results, seconds * ENCODER_SECONDS + _decoding_seconds(windows, results)

    def _move_clock(self, moment: float) -> bool:
        """Move the clock to what comes next; False if nothing does before `moment`."""
        # As in the running engine, whoever listens is a worker without a batch.
        listening = self._until_listening() if self._idle_workers else None
        following = self.now + listening if listening is not None else float("inf")
        if self._due and self._due[0][0] <= min(following, moment):
            self.now, _, done = heapq.heappop(self._due)
            self.tell(done)
            self._take_orders(0.0)  # Now a worker is idle again.
            return True
        if following <= moment and listening is not None:
            self.now = following
            return True
        if moment < float("inf"):
            self.now = moment
        return False


@dataclass(frozen=True, slots=True)
class Call:
    """One sound to be played, and the language of both its sides."""

    sound: Path
    language: str


def play(
    engine: SimulatedEngine, options: StreamOptions, calls: Sequence[Call]
) -> list[list[Played]]:
    """Play calls, all at a time, to their end; what was said, for each side of each."""
    started = engine.now
    coming: list[tuple[float, int, Iterator[Pieces], list[StreamHandle]]] = []
    played = []
    for number, call in enumerate(calls):
        sound = SoundFile(call.sound)
        begins = started + number * OFFSET_SECONDS
        sides = [Played(begins) for _ in sound.sides]
        streams: list[StreamHandle] = []
        for side in sides:
            own = replace(options, language=call.language)
            streams.append(_open(engine, own, side, streams[0] if streams else None))
        coming.append((begins + PIECE_SECONDS, number, sound.play(PIECE_SECONDS), streams))
        played.append(sides)
    heapq.heapify(coming)
    while coming:
        moment, number, pieces, streams = heapq.heappop(coming)
        engine.run_until(moment)
        piece = next(pieces, None)
        for stream, samples in zip(streams, piece or itertools.repeat(None), strict=False):
            if samples is None:
                stream.finish()
            else:
                stream.feed(samples)
        if piece is not None:
            heapq.heappush(coming, (moment + PIECE_SECONDS, number, pieces, streams))
    engine.run_until(float("inf"))
    return played


def _open(
    engine: SimulatedEngine, options: StreamOptions, side: Played, beside: StreamHandle | None
) -> StreamHandle:
    return engine.open(options, lambda event: side.events.append((engine.now, event)), beside)


class InstantEngine(SimulatedEngine):
    """One that takes no time at all to compute."""

    def infer(self, windows: Sequence[Window]) -> tuple[list[Decoded | Exception], float]:
        """The texts of a batch, at once."""
        return self._infer(windows), 0.0


def main() -> int:
    at_once, values, *named = sys.argv[1:]
    settings = load(json.loads(values)).settings
    torch.set_num_threads(1)
    model = load_speech_model(settings)
    calls = [Call(Path(sound), language) for sound, language in map(_parted, named)]
    told: dict[str, object] = {}
    for way, kind in (("file", InstantEngine), ("live", SimulatedEngine)):
        options = stream_options(settings, skip_late_updates=way == "live")
        engine = kind(model, engine_options(settings), settings.engine.workers or WORKERS)
        played = []
        for some in _groups(calls, int(at_once)):
            for call, sides in zip(some, play(engine, options, some), strict=True):
                played.append([side.told(call.language) for side in sides])
        searches = engine.searches
        told[way] = {
            "calls": played,
            "searched": searches.begun,
            "left_out": searches.left_out,
            "enlarged": engine.cadence.enlarged,
        }
    print(json.dumps(told))
    return 0


def _parted(named: str) -> tuple[str, str]:
    sound, _, language = named.rpartition(":")
    return sound, language


def _groups(calls: Sequence[Call], size: int) -> Iterator[Sequence[Call]]:
    return (calls[first : first + size] for first in range(0, len(calls), size))


if __name__ == "__main__":
    sys.exit(main())
