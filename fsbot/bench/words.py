"""The case words: how long after it was spoken a word of the live text is there."""

from __future__ import annotations

import numpy as np

from fsbot.bench.forcing import Ends, word_ends
from fsbot.bench.latencies import Quantiles, word_latencies
from fsbot.bench.others import OtherSystem
from fsbot.bench.report import CaseReport, Figure, complaint_figure, limited
from fsbot.bench.scoring import align
from fsbot.bench.scoring import words as normalised
from fsbot.bench.workshop import Workshop, planned_call

MOST_MEDIAN = 1.2


def words(workshop: Workshop) -> CaseReport:
    """One call at a time; words that the live text has right, by the arrival of their record."""
    count = min(workshop.wishes.word_calls, len(workshop.calls))
    places = np.linspace(0, len(workshop.calls) - 1, count).round().astype(int)
    calls = [workshop.calls[place] for place in places]
    ends = word_ends(calls, workshop)
    seconds = sum(call.seconds for call in calls)
    planned = [planned_call(call) for call in calls]
    title = f"{count} calls, one at a time, {workshop.point.name}"
    played = workshop.play(planned, 1, workshop.point, title, seconds)
    latencies, said = [], 0
    for call in calls:
        late, of = word_latencies(ends[call.name], played.calls[call.name])
        latencies += late
        said += of
    found = Quantiles.of(latencies)
    figures = [
        limited("median", found.p50, "s", MOST_MEDIAN, "<= 1.2 s"),
        Figure("p95", found.p95, "s"),
        Figure("words right in the live text", f"{found.count} of {said}"),
        complaint_figure(played.complaints),
    ]
    if workshop.other is not None:
        figures += _other_figures(workshop.other, ends)
    return CaseReport(
        "words",
        f"{', '.join(call.name for call in calls)}; one call at a time, computing included; word "
        f"ends forced by openai-whisper base; {workshop.point.summary}",
        tuple(figures),
        {"latencies": [round(late, 3) for late in latencies], "complaints": played.complaints},
    )


def _other_figures(other: OtherSystem, ends: dict[str, Ends]) -> list[Figure]:
    latencies = []
    said = 0
    for name, sides in ends.items():
        for side, spoken in sides.items():
            track = other.calls.get(f"{name}/{side}")
            if track is None:
                continue
            heard = [(word, w.emission_time) for w in track.words for word in normalised(w.text)]
            aligned = align([word.word for word in spoken], [word for word, _ in heard])
            latencies += [heard[got][1] - spoken[wanted].end for wanted, got in aligned.matches]
            said += len(spoken)
    found = Quantiles.of(latencies)
    return [
        Figure(f"{other.name}: median", found.p50, "s"),
        Figure(f"{other.name}: p95", found.p95, "s"),
        Figure(f"{other.name}: words right", f"{found.count} of {said}"),
    ]
