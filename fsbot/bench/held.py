"""The case held: how many calls at a time this machine transcribes without falling behind."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from fsbot.bench.lag import Lag, Span, lag_samples, speech_share, with_judged_silence
from fsbot.bench.load import Load, make_load, spoken
from fsbot.bench.playing import Played, Stage, Usage
from fsbot.bench.report import CaseReport, Figure, complaint_figure, limited
from fsbot.bench.tapes import LEAST_SHARE
from fsbot.bench.workshop import Workshop, progress

MOST_LAG = 1.5
MOST_GENERATOR_CORES = 0.15
"""Cores that the load generator may use: more would be stolen from the bot."""

JUDGED = "ends taken for silence counted as heard"

WANTED, STRETCH = 4, 8
STEP = 2
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Trial:
    """So many calls for so long. shares: of speech in the window, by stream; judged: the lag
    without the ends of turns that no update will ever cover; memory: MB at the end."""

    calls: int
    lag: Lag
    judged: Lag
    shares: Mapping[str, float]
    usage: Usage
    memory: float
    updates: int
    latest_audio: float
    complaints: Mapping[str, int]


def in_time(lag: Lag) -> bool:
    """Whether neither all streams together nor the worst of them was too late."""
    return lag.samples > 0 and max(lag.p95, lag.worst) <= MOST_LAG


def held(workshop: Workshop) -> CaseReport:
    """With --calls so many, else 2, 4, 6, … until it fails."""
    wished = workshop.wishes.held_calls
    trials = [_try(workshop, wished or STEP)]
    while not wished and (in_time(trials[-1].lag) or in_time(trials[-1].judged)):
        trials.append(_try(workshop, trials[-1].calls + STEP))
    most = max((trial.calls for trial in trials if in_time(trial.lag)), default=0)
    judged = max((trial.calls for trial in trials if in_time(trial.judged)), default=0)
    figures = []
    for held_calls, title in ((most, "held"), (judged, f"held, {JUDGED}")):
        if wished:
            figures.append(Figure(f"{wished} calls {title}", "yes" if held_calls else "no"))
        else:
            name = f"calls {title}"
            figures.append(limited(name, held_calls, "", WANTED, ">= 4", least=True))
            stretch = f"{name}, stretch"
            figures.append(limited(stretch, held_calls, "", STRETCH, ">= 8", least=True))
    for trial in trials:
        figures += _figures(trial)
    wishes = workshop.wishes
    return CaseReport(
        "held",
        f"{wishes.held_seconds:.0f} s after {wishes.warm_up:.0f} s of warm-up; "
        f"{len(workshop.calls)} calls behind each other, each also with its sides swapped, "
        "silences between turns cut until both sides speak 38 %, in a loop, from drawn offsets "
        f"(seed {wishes.seed}); limit: p95 of the lag of all samples and of the worst stream "
        f"<= {MOST_LAG} s; {workshop.point.summary}",
        tuple(figures),
        {str(trial.calls): asdict(trial) for trial in trials},
    )


def _try(workshop: Workshop, count: int) -> Trial:
    wishes, folder = workshop.wishes, workshop.place(f"held-{count}")
    seconds = wishes.warm_up + wishes.held_seconds
    load = make_load(workshop.calls, count, folder, wishes.seed, (wishes.warm_up, seconds))
    stage = Stage(load.planned, count, workshop.point.flags, folder)
    with progress(f"{count} calls at a time, {workshop.point.name}", seconds) as advance, stage:
        stage.play()
        began = time.monotonic()
        while time.monotonic() - began < wishes.warm_up:
            stage.sleep(POLL_SECONDS)
            advance()
        before, opened = stage.readings(), time.time()
        while time.time() - opened < wishes.held_seconds:
            stage.sleep(POLL_SECONDS)
            advance()
        usage, window = stage.usage_since(before), (opened, time.time())
        memory = stage.bot.resident_bytes / 2**20
        played = stage.strike()
    return _judge(load, played, window, usage, memory)


def _judge(load: Load, played: Played, window: Span, usage: Usage, memory: float) -> Trial:
    plain: dict[str, list[float]] = {}
    judged: dict[str, list[float]] = {}
    shares = {}
    for (uuid, side), speech in spoken(load, played, window).items():
        call = played.calls[uuid]
        trace = [line for line in played.trace.get(uuid, ()) if line.side == side]
        name = f"{uuid}/{side}"
        plain[name] = lag_samples(speech, trace, window)
        judged[name] = lag_samples(speech, with_judged_silence(call, trace), window)
        shares[name] = speech_share(speech, window)
    updates = [
        line
        for lines in played.trace.values()
        for line in lines
        if window[0] <= line.at < window[1]
    ]
    return Trial(
        calls=len(load.planned),
        lag=Lag.of(plain),
        judged=Lag.of(judged),
        shares=shares,
        usage=usage,
        memory=memory,
        updates=len(updates),
        latest_audio=max((line.at - line.until for line in updates), default=0.0),
        complaints=played.complaints,
    )


def _figures(trial: Trial) -> list[Figure]:
    name = f"{trial.calls} calls"
    generator = trial.usage.generator_cpu / trial.usage.seconds
    by_side = defaultdict(list)
    for stream, share in trial.shares.items():
        by_side[stream.partition("/")[2]].append(100 * share)
    return [
        limited(f"{name}: lag p95", trial.lag.p95, "s", MOST_LAG, "<= 1.5 s"),
        limited(
            f"{name}: lag p95 of the worst stream ({trial.lag.worst_stream})",
            trial.lag.worst,
            "s",
            MOST_LAG,
            "<= 1.5 s",
        ),
        Figure(
            f"{name}: the same two, {JUDGED}",
            f"{trial.judged.p95:.3f} s, {trial.judged.worst:.3f} s",
        ),
        *(
            limited(
                f"{name}: speech of {side}s, the least (mean {np.mean(shares):.1f} %)",
                min(shares),
                "%",
                100 * LEAST_SHARE,
                ">= 35 %",
                least=True,
            )
            for side, shares in by_side.items()
        ),
        Figure(f"{name}: bot", trial.usage.bot_cpu / trial.usage.seconds, "cores"),
        Figure(f"{name}: bot, memory", round(trial.memory), "MB"),
        limited(
            f"{name}: load generator", generator, "cores", MOST_GENERATOR_CORES, "< 0.15 cores"
        ),
        Figure(f"{name}: updates and finals", trial.updates),
        complaint_figure(trial.complaints, f"{name}: "),
    ]
