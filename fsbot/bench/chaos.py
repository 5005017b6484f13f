"""Faults that befall a running bot: drawn by chance from a seed, and done to it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fsbot.bench.process import Program

Kind = Literal["cut", "mute", "stall", "kill"]

LENGTHS: dict[Kind, tuple[float, float]] = {
    "cut": (0.0, 0.0),
    "mute": (3.0, 15.0),
    "stall": (1.0, 5.0),
    "kill": (2.0, 8.0),
}
"""Seconds, shortest and longest."""

FIRST_AFTER = (10.0, 15.0)
PAUSE = (6.0, 25.0)
"""Seconds between the end of one fault and the next: a fault may come while the bot is still
recovering from the last one."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong `at` seconds after the first call, for so many seconds.

    cut: every link of the bot to the switch ends. mute: the switch sends nothing more on the links
    that there are (half-open), and they end afterwards. stall: SIGSTOP, SIGCONT afterwards. kill:
    SIGKILL, the bot is started again afterwards.
    """

    at: float
    kind: Kind
    seconds: float


def drawn_faults(seed: int, seconds: float) -> list[Fault]:
    """What goes wrong in so many seconds: all kinds in turn, in an order drawn anew each time."""
    chance = np.random.default_rng(seed)
    faults: list[Fault] = []
    at = float(chance.uniform(*FIRST_AFTER))
    while True:
        for kind in chance.permutation(list(LENGTHS)):
            length = float(chance.uniform(*LENGTHS[kind]))
            if at + length > seconds:
                return faults
            faults.append(Fault(round(at, 2), str(kind), round(length, 2)))  # type: ignore[arg-type]
            at += length + float(chance.uniform(*PAUSE))


def inflict(
    fault: Fault,
    board: Program,
    bot: Program,
    sleep: Callable[[float], None],
    restart: Callable[[], None],
) -> None:
    """Let a fault happen from its beginning to its end. sleep: lets seconds pass, whatever has
    ended."""
    match fault.kind:
        case "cut":
            board.say("cut")
        case "mute":
            board.say("mute")
            sleep(fault.seconds)
            board.say("unmute")
        case "stall":
            bot.send(signal.SIGSTOP)
            try:
                sleep(fault.seconds)
            finally:
                bot.send(signal.SIGCONT)
        case "kill":
            bot.send(signal.SIGKILL)
            sleep(fault.seconds)
            restart()
