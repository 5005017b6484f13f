"""Many calls at a time for as long as needed: what the cases held and memory play."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsbot.bench.lag import Span, speech_share
from fsbot.bench.playing import Played
from fsbot.bench.speech import SIDES, Reference
from fsbot.bench.switchboard import PlannedCall
from fsbot.bench.tapes import LEAST_SHARE, Tape, make_tape

MOST_DRAWS = 300
SAFE_SHARE = LEAST_SHARE + 0.01
"""A little more than must be: calls are placed one after the other, half a second apart."""


@dataclass(frozen=True, slots=True)
class Load:
    """The planned calls, and the tape that each of them plays."""

    planned: tuple[PlannedCall, ...]
    tapes: Mapping[str, Tape]


def make_load(
    calls: Sequence[Reference], count: int, folder: Path, seed: int, window: Span
) -> Load:
    """So many calls at a time, none of which ends by itself, for a window of seconds after the
    start.

    The calls of a language make one tape, in an order drawn by chance. Each slot plays the tape of
    a language, by the languages' shares of the calls; the slots of a tape begin in parts of their
    own of it, at an offset drawn by chance.
    """
    chance = np.random.default_rng(seed)
    tapes = []
    for language in sorted({call.language for call in calls}):
        chosen = [call for call in calls if call.language == language]
        shuffled = [chosen[index] for index in chance.permutation(len(chosen))]
        tapes.append(make_tape(shuffled, folder / f"tape-{language}.wav"))
    slots = _shared_out(count, [len(tape.calls) for tape in tapes])
    planned, playing = [], {}
    for tape, of_tape in zip(tapes, slots, strict=True):
        for number in range(of_tape):
            uuid = f"{tape.language}-{number + 1}"
            part = (number / of_tape * tape.seconds, (number + 1) / of_tape * tape.seconds)
            offset = _drawn_offset(tape, chance.uniform(*part, MOST_DRAWS), window)
            planned.append(
                PlannedCall(uuid, str(tape.sound), tape.language, offset=offset, repeat=0)
            )
            playing[uuid] = tape
    return Load(tuple(planned), playing)


def _drawn_offset(tape: Tape, drawn: NDArray[np.float64], window: Span) -> float:
    """The first offset with which both sides speak enough in the window, or the best of them."""
    best, most = 0.0, -1.0
    for offset in drawn.tolist():
        least = min(_share(tape, side, offset, window) for side in SIDES)
        if least > most:
            best, most = offset, least
        if most >= SAFE_SHARE:
            break
    return best


def _share(tape: Tape, side: str, offset: float, window: Span) -> float:
    start, end = offset + window[0], offset + window[1]
    laps = range(int(start / tape.seconds), int(end / tape.seconds) + 1)
    return speech_share([span for lap in laps for span in _lap(tape, side, lap)], (start, end))


def _shared_out(count: int, weights: Sequence[int]) -> list[int]:
    """`count` slots by weight, one at a time to whoever has the fewest for its weight."""
    slots = [0] * len(weights)
    for _ in range(count):
        least = min(range(len(weights)), key=lambda i: (slots[i] / weights[i], -weights[i]))
        slots[least] += 1
    return slots


def spoken(load: Load, played: Played, window: Span) -> dict[tuple[str, str], list[Span]]:
    """When each stream (call, side) had speech in the window: Unix seconds of writing."""
    found = {}
    for uuid, tape in load.tapes.items():
        clock = played.calls[uuid].clock
        begin, end = clock.seconds(window[0]), clock.seconds(window[1])
        for side in SIDES:
            found[uuid, side] = [
                (clock.wall(start), clock.wall(stop))
                for lap in range(int(begin / tape.seconds), int(end / tape.seconds) + 1)
                for start, stop in _lap(tape, side, lap)
                if stop > begin and start < end
            ]
    return found


def _lap(tape: Tape, side: str, lap: int) -> list[Span]:
    shift = lap * tape.seconds
    return [(start + shift, stop + shift) for start, stop in tape.speech[side]]
