"""How far the bot is behind: pure arithmetic on what was said, when, and what was heard of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fsbot.bench.playing import Covered, PlayedCall
from fsbot.transcript.records import EndOfUtterance

SAMPLE_EVERY = 0.1
"""Seconds between two looks at each stream."""

TAIL_SECONDS = 0.5
"""Sounds up to 30 dB below a turn's loudest are speech to the reference, and the last of them may
come when the end of the utterance has been decided. No update ever covers them: they would wait
until their side speaks again, however fast the bot is."""

Span = tuple[float, float]
"""Beginning and end, Unix seconds of writing."""


@dataclass(frozen=True, slots=True)
class Lag:
    """Seconds. worst: the stream with the highest p95, and that."""

    p95: float
    worst: float
    worst_stream: str
    samples: int

    @classmethod
    def of(cls, streams: Mapping[str, Sequence[float]]) -> Lag:
        """From the samples of each stream; all 0 without any."""
        ranked = {name: float(np.percentile(lags, 95)) for name, lags in streams.items() if lags}
        if not ranked:
            return cls(0.0, 0.0, "", 0)
        every = [lag for lags in streams.values() for lag in lags]
        worst = max(ranked, key=ranked.__getitem__)
        return cls(float(np.percentile(every, 95)), ranked[worst], worst, len(every))


def lag_samples(speech: Sequence[Span], covered: Sequence[Covered], window: Span) -> list[float]:
    """The lag every 0.1 s of the window at which the stream has speech: now minus the time at which
    the oldest sample of speech was written that no update has covered; 0 if all are covered.

    speech: in order, apart from each other; covered: of this stream.
    """
    told = sorted(covered, key=lambda line: line.at)
    times = [line.at for line in told]
    reach = np.maximum.accumulate([line.until for line in told]) if told else np.array([])
    ends = [end for _, end in speech]
    lags = []
    for now in np.arange(window[0], window[1], SAMPLE_EVERY):
        current = bisect_right(ends, now)
        if current == len(speech) or speech[current][0] > now:
            continue
        updates = bisect_right(times, now)
        heard = float(reach[updates - 1]) if updates else float("-inf")
        oldest = bisect_right(ends, heard)
        waiting_since = max(speech[oldest][0], heard) if oldest < len(speech) else now
        lags.append(max(0.0, float(now) - waiting_since))
    return lags


def with_judged_silence(call: PlayedCall, covered: Sequence[Covered]) -> list[Covered]:
    """The same lines, but the final text of an utterance covers all up to TAIL_SECONDS after the
    moment at which its end was decided: what lies between was listened to, or dies away."""
    decided: dict[tuple[str, int], tuple[float, float]] = {
        (record.side, record.utterance): (
            record.emitted_at,
            call.answered_at + record.end + record.silence + TAIL_SECONDS,
        )
        for record in call.records
        if isinstance(record, EndOfUtterance)
    }
    latest: dict[tuple[str, int], Covered] = {}
    for line in covered:
        key = line.side, line.utterance
        if key not in latest or line.at >= latest[key].at:
            latest[key] = line
    more = []
    for key, line in latest.items():
        at, until = decided.get(key, (float("inf"), 0.0))
        if line.at >= at and until > line.until:
            more.append(replace(line, until=until))
    return [*covered, *more]


def speech_share(speech: Sequence[Span], window: Span) -> float:
    """Part of the window in which there is speech, 0 to 1."""
    inside = sum(max(0.0, min(end, window[1]) - max(start, window[0])) for start, end in speech)
    return inside / (window[1] - window[0])
