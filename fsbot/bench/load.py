"""Many calls at a time for as long as needed: what the cases held and memory play."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fsbot.bench.lag import Span
from fsbot.bench.playing import Played
from fsbot.bench.speech import SIDES, Reference
from fsbot.bench.switchboard import PlannedCall
from fsbot.bench.tapes import Tape, make_tape


@dataclass(frozen=True, slots=True)
class Load:
    """The planned calls, and the tape that each of them plays."""

    planned: tuple[PlannedCall, ...]
    tapes: Mapping[str, Tape]


def make_load(calls: Sequence[Reference], count: int, folder: Path, seed: int) -> Load:
    """So many calls at a time, none of which ends by itself.

    The calls of a language make one tape, in an order drawn by chance. Each slot plays the tape of
    a language, by the languages' shares of the calls; the slots of a tape begin as far from each
    other as can be, the first one anywhere.
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
        first = chance.random()
        for number in range(of_tape):
            uuid = f"{tape.language}-{number + 1}"
            offset = (first + number / of_tape) % 1.0 * tape.seconds
            planned.append(
                PlannedCall(uuid, str(tape.sound), tape.language, offset=offset, repeat=0)
            )
            playing[uuid] = tape
    return Load(tuple(planned), playing)


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
