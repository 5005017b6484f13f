"""What is late, and by how much: utterances' ends, turns, words. benchmarks.md defines each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fsbot.bench.playing import PlayedCall
from fsbot.bench.scoring import align, words
from fsbot.bench.speech import SIDES, Reference
from fsbot.client import Arrival
from fsbot.transcript.records import EndOfUtterance, StartOfSpeech, Transcription

LOST_SECONDS = 10.0
"""What a turn counts as that no final text reaches."""

TOLERANCE = 0.1
"""Seconds by which a final text may end before the turn does."""

GENEROUS = 0.5
"""The same, to tell a text that ends too early from one whose voice activity detection takes the
last sounds of a turn, up to 30 dB below its loudest, for silence."""


EARLIER = 0.3
"""Seconds before a turn's speech_start at which its beginning may be told: the clips fade in."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Seconds; None where there is nothing to rank."""

    p50: float | None
    p95: float | None
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Quantiles:
        if not seconds:
            return cls(None, None, 0)
        p50, p95 = np.percentile(seconds, (50, 95))
        return cls(float(p50), float(p95), len(seconds))


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """What became of a turn. latency: seconds from its speech_end to the arrival of the first final
    text that reaches it; cut: a final text ends inside its speech."""

    latency: float
    lost: bool
    cut: bool


def closing_latencies(call: PlayedCall) -> list[float]:
    """Seconds from the decision that an utterance is over to the arrival of its final text."""
    decided = {
        (record.side, record.utterance): record.emitted_at
        for record in call.records
        if isinstance(record, EndOfUtterance)
    }
    return [
        at - decided[final.side, final.utterance]
        for side in SIDES
        for at, final in _finals(call.arrivals, side)
        if (final.side, final.utterance) in decided
    ]


def turn_outcomes(
    reference: Reference, call: PlayedCall, tolerance: float = TOLERANCE
) -> list[TurnOutcome]:
    """Every turn of a call, in its order. The call's sound was played once, from its start."""
    outcomes = []
    for turn in reference.turns:
        finals = _finals(call.arrivals, turn.side)
        ended_at = call.clock.wall(turn.speech_end)
        start = call.clock.wall(turn.speech_start) - call.answered_at
        end = ended_at - call.answered_at
        reached = end - tolerance
        arrivals = [at for at, final in finals if final.end >= reached and final.start <= end]
        outcomes.append(
            TurnOutcome(
                latency=min(arrivals) - ended_at if arrivals else LOST_SECONDS,
                lost=not arrivals,
                cut=any(start <= final.end < reached for _, final in finals),
            )
        )
    return outcomes


def start_latencies(
    reference: Reference, call: PlayedCall, begins: Sequence[float], *, confirmed: bool
) -> list[float]:
    """Seconds from the beginning of each turn to the arrival of the record that speech has begun,
    or that it is certain; of the turns that have one. begins: second of the call, by turn."""
    latencies = []
    for turn, begin in zip(reference.turns, begins, strict=True):
        began = call.clock.wall(begin)
        arrivals = [
            arrival.at - began
            for arrival in call.arrivals
            if isinstance(arrival.record, StartOfSpeech)
            and arrival.record.side == turn.side
            and arrival.record.confirmed == confirmed
            and began - EARLIER <= arrival.at <= call.clock.wall(turn.speech_end) + TOLERANCE
        ]
        latencies += [min(arrivals)] if arrivals else []
    return latencies


@dataclass(frozen=True, slots=True)
class SpokenEnd:
    """A word of a side as the reference has it (normalised), and where it ends: seconds of the
    call."""

    word: str
    end: float


def word_latencies(
    ends: Mapping[str, Sequence[SpokenEnd]], call: PlayedCall
) -> tuple[list[float], int]:
    """Seconds from the end of each word that the live text has right to the arrival of the record
    with it; and how many words were said. ends: by side."""
    latencies = []
    for side, spoken in ends.items():
        heard = [
            (word, arrival.at)
            for arrival in call.arrivals
            if isinstance(arrival.record, Transcription)
            and arrival.record.side == side
            and not arrival.record.is_final
            for word in words(arrival.record.text)
        ]
        aligned = align([word.word for word in spoken], [word for word, _ in heard])
        latencies += [
            heard[got][1] - call.clock.wall(spoken[wanted].end) for wanted, got in aligned.matches
        ]
    return latencies, sum(map(len, ends.values()))


def _finals(arrivals: Sequence[Arrival], side: str) -> list[tuple[float, Transcription]]:
    return [
        (arrival.at, arrival.record)
        for arrival in arrivals
        if isinstance(arrival.record, Transcription)
        and arrival.record.side == side
        and arrival.record.is_final
    ]
