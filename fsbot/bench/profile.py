"""The case profile: what the engine spends its CPU time on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from fsbot.bench.report import CaseReport, Figure
from fsbot.bench.workshop import Workshop

PARTS = {
    "listening": "voice activity detection, and scheduling",
    "mel": "mel spectrogram",
    "encoder": "encoder",
    "start": "decoder: keys and values of the audio",
    "prefill": "decoder: prompt, committed words and draft in one pass",
    "step": "decoder: token by token",
    "logits": "decoder: scores of all tokens",
}

FASTER = 10.0
"""About so many times faster than real time, for the progress bar."""


@dataclass(frozen=True, slots=True)
class _Told:
    """seconds: of sound; updates: how many; total, parts: CPU seconds."""

    seconds: float
    updates: int
    total: float
    parts: Mapping[str, float]


def profile(workshop: Workshop) -> CaseReport:
    """The first call, as fast as it goes, one side after the other."""
    if not workshop.calls:
        return CaseReport("profile", "no call to be heard", ())
    call = workshop.calls[0]
    settings = json.dumps(workshop.point.values)
    arguments = [str(call.sound.resolve()), call.language, settings]
    title, seconds = f"{call.name}, both sides", 2 * call.seconds / FASTER
    printed = workshop.run("fsbot.bench.profiling", arguments, title, seconds)
    told = _Told(**json.loads(printed.splitlines()[-1]))
    rest = told.total - sum(told.parts.values())
    spent = [(title, told.parts.get(part, 0.0)) for part, title in PARTS.items()]
    spent.append(("choosing tokens, attention, words, everything else", rest))
    figures = [
        Figure("CPU per second of track", told.total / told.seconds, "s"),
        Figure("updates per second of track", told.updates / told.seconds),
        *(
            Figure(title, f"{1000 * cpu / told.seconds:.1f} ms, {100 * cpu / told.total:.0f} %")
            for title, cpu in spent
        ),
    ]
    return CaseReport(
        "profile",
        f"CPU per second of track, final texts included; {call.name}, both sides; "
        f"{workshop.point.summary}",
        tuple(figures),
        {"told": asdict(told)},
    )
