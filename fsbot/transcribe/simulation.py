"""Live streaming of a file, simulated as SimulStreaming does, with the time at which each text
comes out.

Computation-aware: in real time; an update that took long is followed by one with more audio.
Computation-unaware: the clock stands still while the engine computes, so that only the method's
own latency counts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.engine.online import OnlineProcessor
from fsbot.errors import UserError
from fsbot.serve.lines import one_line
from fsbot.transcribe.sound import SoundFile

Form = Literal["simulstreaming-jsonl", "simulstreaming-txt"]

VAC_STEP_SECONDS = 0.04
"""SimulStreaming's step with --vac, where the voice activity decides when to update."""

WARM_UP_SECONDS = 1.0
BLOCK_SECONDS = 1.0


def simulate(
    online: OnlineProcessor,
    sound: SoundFile,
    step: float,
    say: Callable[[dict[str, Any], float], object],
    *,
    aware: bool,
    start_at: float = 0.0,
) -> None:
    """Feed the sound in steps of so many seconds, and say what comes with its emission time.

    start_at: the first step is all audio up to there. Raises UserError.
    """
    samples = np.concatenate([pieces[0] for pieces in sound.play(BLOCK_SECONDS)])
    duration = len(samples) / SAMPLE_RATE
    if start_at >= duration:
        raise UserError(
            f"--start_at {start_at:g} is behind the end of {sound.path} ({duration:.1f} s)",
            "Give a second of the sound.",
        )
    online.insert_audio_chunk(samples[: round(WARM_UP_SECONDS * SAMPLE_RATE)])
    online.finish()
    online.init()
    clock = _real_time(start_at) if aware else _audio_time
    heard = 0.0
    for wanted in _steps(start_at or step, step, duration):
        if wanted <= heard:
            continue  # a long update has heard that already
        until = min(clock(wanted), duration)
        online.insert_audio_chunk(samples[round(heard * SAMPLE_RATE) : round(until * SAMPLE_RATE)])
        heard = until
        while said := online.process_iter():
            say(said, clock(0.0) if aware else until)
    say(online.finish(), clock(0.0) if aware else duration)


def lines(form: Form, said: dict[str, Any], emission_time: float, *, ends: bool) -> str:
    """A record as a line: SimulStreaming's JSON, or text as ufal/asr_latency reads it.

    ends: whether ends of utterances are told.
    """
    if form == "simulstreaming-jsonl":
        kept = {key: value for key, value in said.items() if ends or key != "is_final"}
        record = {**kept, "emission_time": round(emission_time, 6)}
        return json.dumps(record, ensure_ascii=False) + "\n" if kept else ""
    if "text" not in said:
        return ""
    start, end = said["start"] * 1000, said["end"] * 1000
    return f"{emission_time * 1000:.4f} {start:.0f} {end:.0f} {one_line(said['text'])}\n"


def _steps(first: float, step: float, duration: float) -> Iterator[float]:
    until = first
    while until < duration:
        yield until
        until += step
    yield duration


def _audio_time(wanted: float) -> float:
    return wanted


def _real_time(start_at: float) -> Callable[[float], float]:
    """A clock that waits until a second of the sound, and tells which one it is."""
    zero = time.monotonic() - start_at

    def clock(wanted: float) -> float:
        time.sleep(max(0.0, zero + wanted - time.monotonic()))
        return time.monotonic() - zero

    return clock
