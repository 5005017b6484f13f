"""Cases that one playing of all calls answers: cost, closing, turns."""

from __future__ import annotations

from fsbot.bench.latencies import (
    GENEROUS,
    TOLERANCE,
    Quantiles,
    TurnOutcome,
    closing_latencies,
    turn_outcomes,
)
from fsbot.bench.playing import Played
from fsbot.bench.points import Point
from fsbot.bench.report import CaseReport, Figure, complaint_figure, limited
from fsbot.bench.workshop import Workshop

BASELINE_PASSES = 1.62
"""Encoder passes per second of track that SimulStreaming needs: BASELINE.md, all 14 calls."""

CHEAPER, CHEAPER_STRETCH = 8.0, 20.0
CLOSING_P50, CLOSING_P95 = 0.25, 0.5
TURN_P50, MOST_CUT = 0.9, 5.0
QUICKEST_TURN_P50 = 0.5


def cost(workshop: Workshop) -> CaseReport:
    """CPU seconds of the bot per second of track, and in passes of openai-whisper's encoder."""
    played = workshop.played_once(workshop.point)
    seconds = 2 * sum(call.seconds for call in workshop.calls)
    spent = played.usage.bot_cpu / seconds
    one_pass = workshop.encoder_pass()
    passes = spent / one_pass
    figures = [
        Figure("CPU per second of track", spent, "s"),
        Figure("one 30 s encoder pass", one_pass, "CPU-s"),
        Figure("encoder passes per second of track", passes),
    ]
    theirs, source = BASELINE_PASSES, "BASELINE.md"
    other = workshop.other
    if other is not None:
        ours = {f"{call.name}/{side}" for call in workshop.calls for side in ("caller", "callee")}
        tracks = {name: track for name, track in other.calls.items() if name in ours}
        their_cost = other.cost(tracks)
        if their_cost is not None:
            theirs, source = their_cost / other.encoder_pass, f"{other.name}, {len(tracks)} tracks"
            figures += [
                Figure(f"{other.name}: CPU per second of track", their_cost, "s"),
                Figure(f"{other.name}: one 30 s encoder pass", other.encoder_pass, "CPU-s"),
            ]
    ratio = theirs / passes
    figures += [
        Figure(f"SimulStreaming: passes per second of track ({source})", theirs),
        limited("times cheaper than SimulStreaming", ratio, "x", CHEAPER, ">= 8 x", least=True),
        limited("the same, stretch", ratio, "x", CHEAPER_STRETCH, ">= 20 x", least=True),
        Figure("bot while playing", played.usage.bot_cpu / played.usage.seconds, "cores"),
        Figure(
            "load generator while playing",
            played.usage.generator_cpu / played.usage.seconds,
            "cores",
        ),
        complaint_figure(played.complaints),
    ]
    return CaseReport(
        "cost",
        f"{len(workshop.calls)} calls, {seconds:.0f} s of track, in real time, "
        f"{workshop.wishes.at_once} at a time; {workshop.point.summary}; the bot's whole process "
        "tree, start-up apart; passes compared, so that the hour of the machine does not count",
        tuple(figures),
        {"bot_cpu_seconds": played.usage.bot_cpu, "complaints": played.complaints},
    )


def closing(workshop: Workshop) -> CaseReport:
    """From the decision that an utterance is over to its final text at a second client."""
    played = workshop.played_once(workshop.point)
    latencies = [late for call in played.calls.values() for late in closing_latencies(call)]
    found = Quantiles.of(latencies)
    return CaseReport(
        "closing",
        f"{workshop.wishes.at_once} calls at a time; {workshop.point.summary}",
        (
            limited("p50", found.p50, "s", CLOSING_P50, "<= 0.25 s"),
            limited("p95", found.p95, "s", CLOSING_P95, "<= 0.5 s"),
            Figure("utterances", found.count),
        ),
        {"latencies": [round(late, 4) for late in latencies]},
    )


def turns(workshop: Workshop) -> CaseReport:
    """Latency of turns and share of cut turns, as a curve over several settings."""
    figures: list[Figure] = []
    details = {}
    medians: list[float] = []
    for point in workshop.turn_points:
        played = workshop.played_once(point)
        outcomes = _outcomes(workshop, played, TOLERANCE)
        figures += _turn_figures(point, outcomes, played.complaints)
        figures.append(_generous(point, _outcomes(workshop, played, GENEROUS)))
        details[point.name] = {
            "settings": point.values,
            "latencies": [round(late, 3) for late in _latencies(outcomes)],
            "complaints": played.complaints,
        }
        medians += [p50] if (p50 := Quantiles.of(_latencies(outcomes)).p50) is not None else []
    figures.append(
        limited(
            "quickest point: latency p50",
            min(medians, default=None),
            "s",
            QUICKEST_TURN_P50,
            "<= 0.5 s",
        )
    )
    return CaseReport(
        "turns",
        f"{workshop.wishes.at_once} calls at a time; from the turn's speech_end to the arrival of "
        "the first final text that reaches it; a lost turn counts 10 s",
        tuple(figures),
        details,
    )


def _outcomes(workshop: Workshop, played: Played, tolerance: float) -> list[TurnOutcome]:
    return [
        outcome
        for reference in workshop.calls
        for outcome in turn_outcomes(reference, played.calls[reference.name], tolerance)
    ]


def _latencies(outcomes: list[TurnOutcome]) -> list[float]:
    return [outcome.latency for outcome in outcomes]


def _cut_share(outcomes: list[TurnOutcome]) -> float:
    """Per cent of the turns that are cut."""
    return 100 * sum(outcome.cut for outcome in outcomes) / max(1, len(outcomes))


def _generous(point: Point, outcomes: list[TurnOutcome]) -> Figure:
    """The same figures in a line, for texts that end up to GENEROUS before their turn."""
    found = Quantiles.of(_latencies(outcomes))
    lost = sum(outcome.lost for outcome in outcomes)
    return Figure(
        f"{point.name}: with {GENEROUS} s of tolerance instead of {TOLERANCE} s",
        f"p50 {found.p50 or 0:.2f} s, p95 {found.p95 or 0:.2f} s, "
        f"{_cut_share(outcomes):.1f} % cut, {lost} lost",
    )


def _turn_figures(
    point: Point, outcomes: list[TurnOutcome], complaints: dict[str, int]
) -> list[Figure]:
    found = Quantiles.of(_latencies(outcomes))
    cut = _cut_share(outcomes)
    name = point.name
    aimed = point.settings.engine.preset == "balanced"
    return [
        Figure(f"{name}: settings", point.summary),
        limited(f"{name}: latency p50", found.p50, "s", TURN_P50, "<= 0.9 s")
        if aimed
        else Figure(f"{name}: latency p50", found.p50, "s"),
        Figure(f"{name}: latency p95", found.p95, "s"),
        limited(f"{name}: turns cut", cut, "%", MOST_CUT, "<= 5 %")
        if aimed
        else Figure(f"{name}: turns cut", cut, "%"),
        Figure(f"{name}: turns lost", sum(outcome.lost for outcome in outcomes)),
        Figure(f"{name}: turns", len(outcomes)),
        complaint_figure(complaints, f"{name}: "),
    ]
