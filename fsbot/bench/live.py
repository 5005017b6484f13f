"""The case live: what it costs in words that live text has to come in time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fsbot.bench.latencies import Quantiles
from fsbot.bench.report import CaseReport, Figure, limited
from fsbot.bench.scoring import WordErrors
from fsbot.bench.speech import SIDES
from fsbot.bench.workshop import Workshop

MOST_POINTS = 0.5
CLOSING_P50, CLOSING_P95 = 0.25, 0.6

FASTER = 1.5
"""About so many times faster than real time, for the progress bar."""

WAYS = ("file", "live")


def live(workshop: Workshop) -> CaseReport:
    """All calls twice on a simulated clock: as a file is read, and at the pace of speech."""
    if not workshop.calls:
        return CaseReport("live", "no call to be heard", ())
    at_once, calls = workshop.wishes.at_once, workshop.calls
    arguments = [
        str(at_once),
        json.dumps(workshop.point.values),
        *(f"{call.sound.resolve()}:{call.language}" for call in calls),
    ]
    seconds = 2 * sum(call.seconds for call in calls) / FASTER
    title = f"{len(calls)} calls on a simulated clock, twice"
    printed = workshop.run("fsbot.bench.simulated", arguments, title, seconds)
    told = json.loads(printed.splitlines()[-1])
    figures = []
    for language in sorted({call.language for call in calls}):
        rates = {way: _errors(workshop, told[way], language) for way in WAYS}
        figures += [Figure(f"{language}: {way}", str(rates[way])) for way in WAYS]
        points = rates["live"].rate - rates["file"].rate
        words = f"<= {MOST_POINTS} points"
        figures.append(limited(f"{language}: live minus file", points, "", MOST_POINTS, words))
    figures += _times(told["live"])
    return CaseReport(
        "live",
        f"word error rate of final texts; {at_once} calls at a time on a simulated clock, on which "
        f"a batch takes a fixed time; {workshop.point.summary}",
        tuple(figures),
        {"told": told},
    )


def _errors(workshop: Workshop, told: Mapping[str, Any], language: str) -> WordErrors:
    errors = WordErrors()
    for call, sides in zip(workshop.calls, told["calls"], strict=True):
        for side, said in zip(SIDES, sides, strict=True):
            if call.language == language:
                errors.add(call.text(side), said["final"])
    return errors


def _times(told: Mapping[str, Any]) -> list[Figure]:
    sides = [side for call in told["calls"] for side in call]
    closing = Quantiles.of([late for side in sides for late in side["closing"]])
    decided = Quantiles.of([late for side in sides for late in side["decided"]])
    return [
        limited("closing p50", closing.p50, "s", CLOSING_P50, f"<= {CLOSING_P50} s"),
        limited("closing p95", closing.p95, "s", CLOSING_P95, f"<= {CLOSING_P95} s"),
        Figure("utterances", closing.count),
        Figure("ends decided late, p50", decided.p50, "s"),
        Figure("ends decided late, p95", decided.p95, "s"),
        Figure("unsure texts searched", told["searched"]),
        Figure("unsure texts not searched", told["left_out"]),
    ]
