"""The case long: one call of many hours, simulated faster than real time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from fsbot.bench.report import CaseReport, Figure, limited
from fsbot.bench.workshop import Workshop

PART_SECONDS = 1800.0
"""What counts as the start and the end of the call; a quarter of it, if it is short."""

MOST_OFF = 0.2
MOST_GROWTH = 30.0
"""MB, from the first look after that start to the last."""

FASTER = 80.0
"""About so many times faster than real time, for the progress bar."""

Pairs = Sequence[tuple[float, float]]


def long(workshop: Workshop) -> CaseReport:
    """The turns of the calls of one language, one at a time, with minutes of silence between."""
    wishes = workshop.wishes
    if not workshop.calls:
        return CaseReport("long", "no call to take turns from", ())
    [(language, _)] = Counter(call.language for call in workshop.calls).most_common(1)
    calls = [call for call in workshop.calls if call.language == language]
    orders = workshop.place("long") / "orders.json"
    orders.write_text(
        json.dumps(
            {
                "hours": wishes.long_hours,
                "seed": wishes.seed,
                "settings": workshop.point.values,
                "calls": [str(call.sound.with_suffix(".json").resolve()) for call in calls],
            }
        )
    )
    title = f"a call of {wishes.long_hours:g} hours"
    seconds = wishes.long_hours * 3600 / FASTER
    printed = workshop.run("fsbot.bench.long_call", [str(orders)], title, seconds)
    told = json.loads(printed.splitlines()[-1])
    return CaseReport(
        "long",
        f"one stereo call of {wishes.long_hours:g} hours, {told['stalls']} stalls of 0.1 to 0.22 s "
        f"and {told['holds']} holds of 1 to 4 minutes (seed {wishes.seed}), heard in "
        f"{told['took']:.0f} s; start and end: the first and last {_part(told):.0f} s; "
        f"{workshop.point.summary}",
        (
            Figure("call", told["seconds"], "s"),
            Figure("audio in the recording", told["audio"], "s"),
            Figure("turns spoken", len(told["onsets"])),
            limited("turns without a final text", told["unheard"], "", 0, "0"),
            *_errors("times of records", told["clock"], told),
            *_onsets(told),
            *_memory(told),
        ),
        told,
    )


def _part(told: dict[str, Any]) -> float:
    return min(PART_SECONDS, float(told["seconds"]) / 4)


def _errors(name: str, pairs: Pairs, told: dict[str, Any]) -> list[Figure]:
    """Of the first and of the last part: the sizes' p95, and the largest."""
    figures = []
    last = told["seconds"] - _part(told)
    for part, off in (
        ("at the start", [off for at, off in pairs if at < _part(told)]),
        ("at the end", [off for at, off in pairs if at >= last]),
    ):
        if not off:
            figures.append(Figure(f"{name} {part}", "none"))
            continue
        sizes = np.abs(off)
        figures += [
            limited(
                f"{name} {part}, off by, p95 of the size",
                float(np.percentile(sizes, 95)),
                "s",
                MOST_OFF,
                f"<= {MOST_OFF} s",
            ),
            Figure(f"{name} {part}, off by, the largest", float(sizes.max()), "s"),
        ]
    return figures


def _onsets(told: dict[str, Any]) -> list[Figure]:
    """When turns were told to begin: the median, for a single one may begin too softly to be
    noticed at once."""
    last = told["seconds"] - _part(told)
    parts = {
        "at the start": [off for at, off in told["onsets"] if off is not None and at < _part(told)],
        "at the end": [off for at, off in told["onsets"] if off is not None and at >= last],
    }
    return [
        limited(
            f"starts of speech {part}, off by, size of the median",
            abs(float(np.median(off))) if off else None,
            "s",
            MOST_OFF,
            f"<= {MOST_OFF} s",
        )
        for part, off in parts.items()
    ]


def _memory(told: dict[str, Any]) -> list[Figure]:
    """No target for a call that is over before memory may have settled.

    The least of a part tells what is held from what freed tensors leave behind, which stands until
    the engine next gives it back: in 5 s, which here are minutes of the call.
    """
    memory, part = told["memory"], _part(told)
    settled = min(held for at, held in memory if part <= at < 2 * part)
    last = min(held for at, held in memory if at >= told["seconds"] - part)
    highest = max(held for _, held in memory)
    after_start = next(held for at, held in memory if at >= part)
    minutes = f"{part / 60:.0f} minutes"
    grown, growth = "memory, growth after the start", memory[-1][1] - after_start
    return [
        Figure("memory at the start", round(memory[0][1]), "MB"),
        Figure(f"memory after {minutes}", round(after_start), "MB"),
        Figure("memory at the end", round(memory[-1][1]), "MB"),
        Figure(f"memory, least of the second {minutes}", round(settled), "MB"),
        Figure(f"memory, least of the last {minutes}", round(last), "MB"),
        Figure("memory, highest", round(highest), "MB"),
        limited(grown, growth, "MB", MOST_GROWTH, f"<= {MOST_GROWTH:.0f} MB")
        if part == PART_SECONDS
        else Figure(grown, growth, "MB"),
    ]
