"""Sound for load tests: calls without long silences, one behind the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from fsbot.bench.speech import SIDES, Reference

LEAST_SHARE = 0.35
"""Of the time, speech that each side of a load test must have."""

AIMED_SHARE = 0.38
"""What is composed: a window that a call's beginning or end falls into may have less."""

MARGIN_BEFORE, MARGIN_AFTER = 0.1, 0.2
"""Seconds around a turn's speech that stay with it."""

SHORTEST_GAP = 0.2
STEP = 0.05
"""Seconds."""

Samples = NDArray[np.int16]
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Tape:
    """Both sides of several calls, to be played in a loop. speech: by side, seconds of the tape, in
    order; calls: their names in order; seconds: length."""

    sound: Path
    language: str
    seconds: float
    speech: Mapping[str, tuple[Span, ...]]
    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """One call in short: samples in two columns, and where each side speaks."""

    samples: Samples
    rate: int
    speech: Mapping[str, tuple[Span, ...]]

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    @property
    def swapped(self) -> Piece:
        """The caller as callee, and the other way round."""
        sides = dict(zip(SIDES, (self.speech[side] for side in reversed(SIDES)), strict=True))
        return Piece(self.samples[:, ::-1], self.rate, sides)


def make_tape(calls: Sequence[Reference], path: Path) -> Tape:
    """Calls of one language behind each other, each followed by itself with the sides swapped, so
    that both sides say equally much."""
    pieces = [
        part for call in calls for piece in [shortened(call)] for part in (piece, piece.swapped)
    ]
    starts = np.cumsum([0.0, *(piece.seconds for piece in pieces)])
    speech = {
        side: tuple(
            (float(start + begin), float(start + end))
            for start, piece in zip(starts, pieces, strict=False)
            for begin, end in piece.speech[side]
        )
        for side in SIDES
    }
    soundfile.write(path, np.concatenate([piece.samples for piece in pieces]), pieces[0].rate)
    names = tuple(call.name for call in calls)
    return Tape(path, calls[0].language, float(starts[-1]), speech, names)


def shortened(call: Reference) -> Piece:
    """The call with its silences between turns cut to one length at most, the longest with which
    its speech, divided among two sides, is AIMED_SHARE of the time (or SHORTEST_GAP)."""
    samples, rate = soundfile.read(call.sound, dtype="int16", always_2d=True)
    turns = _merged(
        [(t.speech_start - MARGIN_BEFORE, t.speech_end + MARGIN_AFTER) for t in call.turns]
    )
    spoken = sum(turn.speech_end - turn.speech_start for turn in call.turns)
    gap = max((b[0] - a[1] for a, b in pairwise(turns)), default=SHORTEST_GAP)
    gap = max(gap, SHORTEST_GAP)
    while gap > SHORTEST_GAP and spoken / (2 * _length(turns, gap)) < AIMED_SHARE:
        gap -= STEP
    kept = _kept(turns, max(gap, SHORTEST_GAP), len(samples) / rate)
    cut = [samples[round(start * rate) : round(end * rate)] for start, end in kept]
    speech = {
        side: tuple(
            (_moved(turn.speech_start, kept), _moved(turn.speech_end, kept))
            for turn in call.turns_of(side)
        )
        for side in SIDES
    }
    return Piece(np.concatenate(cut), int(rate), speech)


def _merged(spans: Sequence[Span]) -> list[Span]:
    """The same time without overlaps, in order."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((max(0.0, start), end))
    return merged


def _length(turns: Sequence[Span], gap: float) -> float:
    return sum(end - start for start, end in _kept(turns, gap, turns[-1][1] + gap))


def _kept(turns: Sequence[Span], gap: float, seconds: float) -> list[Span]:
    """What stays of a call: every turn, and of the silence behind it up to `gap`."""
    following = [start for start, _ in turns[1:]] + [seconds]
    return [
        (start, min(end + gap, after)) for (start, end), after in zip(turns, following, strict=True)
    ]


def _moved(seconds: float, kept: Sequence[Span]) -> float:
    """Where a moment of the call that was kept is in what was kept."""
    before = 0.0
    for start, end in kept:
        if seconds <= end:
            return before + max(0.0, seconds - start)
        before += end - start
    return before
