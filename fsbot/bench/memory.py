"""The case memory: what the bot holds while calls go on."""

from __future__ import annotations

import time

import numpy as np

from fsbot.bench.load import make_load
from fsbot.bench.playing import Stage
from fsbot.bench.report import CaseReport, Figure, complaint_figure, limited
from fsbot.bench.workshop import Workshop, progress

CALLS = 8
SAMPLE_EVERY = 10.0
SETTLING_SECONDS = 60.0
"""Before this the bot fills its buffers; the slope is of what comes after, if there is enough."""

MOST_MB = 900.0


def memory(workshop: Workshop) -> CaseReport:
    """The resident set after the start, then every 10 s, with 8 calls at a time."""
    seconds = workshop.wishes.memory_seconds
    folder = workshop.place("memory")
    load = make_load(workshop.calls, CALLS, folder, workshop.wishes.seed, (0.0, seconds))
    stage = Stage(load.planned, CALLS, workshop.point.flags, folder)
    with progress(f"memory with {CALLS} calls", seconds) as advance, stage:
        samples = [(0.0, _megabytes(stage))]
        stage.play()
        began = time.monotonic()
        while samples[-1][0] < seconds:
            stage.sleep(min(SAMPLE_EVERY, seconds - samples[-1][0]))
            samples.append((time.monotonic() - began, _megabytes(stage)))
            advance()
        complaints = stage.strike().complaints
    settled = [(at, held) for at, held in samples if at >= min(SETTLING_SECONDS, seconds / 2)]
    return CaseReport(
        "memory",
        f"{CALLS} calls at a time for {seconds:.0f} s; {workshop.point.summary}",
        (
            Figure("after the start", samples[0][1], "MB"),
            limited("highest", max(held for _, held in samples), "MB", MOST_MB, "<= 900 MB"),
            Figure("at the end", samples[-1][1], "MB"),
            Figure(f"slope after {settled[0][0]:.0f} s", _slope(settled), "MB/h"),
            complaint_figure(complaints),
        ),
        {
            "samples": [(round(at, 1), round(held, 1)) for at, held in samples],
            "complaints": complaints,
        },
    )


def _megabytes(stage: Stage) -> float:
    return stage.bot.resident_bytes / 2**20


def _slope(samples: list[tuple[float, float]]) -> float | None:
    """MB per hour, by least squares; None from fewer than three samples."""
    if len(samples) < 3:
        return None
    times, held = zip(*samples, strict=True)
    return float(np.polyfit(np.array(times) / 3600, held, 1)[0])
