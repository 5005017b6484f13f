"""The load generator: a program that plays planned calls to the bot and notes when each sample
of them was written. `python -m fsbot.bench.switchboard PLAN.json`.

It says `listening PORT`, and `joined` when a bot has; it plays when a line comes on stdin, and says
`played N` when all N calls that were placed are over. Further lines are faults of the bots' links:
`cut` ends them, `mute` has nothing sent on those that there are (half-open links), `unmute` ends
the mute ones. When stdin is closed it writes its clocks beside the plan, and ends.
"""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

import gevent
from gevent.fileobject import FileObject

from fsbot.rehearsal.call import Call
from fsbot.rehearsal.leg import Codec
from fsbot.rehearsal.script import CallScript, HangUp
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Layout, Sound, load_sound

SECONDS_BETWEEN_CALLS = 0.5
RECORDED_RATE = 16000
"""Hz that the bot asks for, unless a setting says otherwise."""

NOTED_TICKS = 5
"""Ticks of 20 ms between two notes of where the calls are."""


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call to be played.

    prompt: the channel variable fsbot_prompt; offset: seconds into its sound at which it begins;
    repeat: 0 is for ever; seconds: length after which it is hung up, 0 for the sound's own.
    """

    uuid: str
    sound: str
    language: str
    prompt: str = ""
    offset: float = 0.0
    repeat: int = 1
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is played. at_once: most calls at a time; seconds: after which no more calls are
    placed, 0 if all are."""

    password: str
    at_once: int
    calls: tuple[PlannedCall, ...]
    seconds: float = 0.0

    @classmethod
    def read(cls, path: Path) -> "Plan":
        content = json.loads(path.read_text())
        calls = tuple(PlannedCall(**call) for call in content.pop("calls"))
        return cls(calls=calls, **content)


class Switchboard(RehearsalSwitch):
    """A rehearsal switch that notes, of each call, when it had written how much of its sound."""

    def __init__(self, password: str) -> None:
        super().__init__(password=password)
        self.clocks: dict[str, list[tuple[float, int]]] = {}
        """By call: (Unix time, frames of its sound written by then)."""
        self._ticks = 0

    def tick(self) -> None:
        super().tick()
        self._ticks += 1
        if self._ticks % NOTED_TICKS == 0:
            now = time.time()
            for call in self.live_calls:
                self.note(call, now)

    def fail(self, fault: str) -> None:
        """Something goes wrong with the links of bots; other clients are spared."""
        for session in self.sessions:
            if not session.subscription.listens_to("CHANNEL_ANSWER"):
                continue
            if fault == "mute":
                session.mute = True
            elif fault == "cut" or session.mute:
                session.close()

    def note(self, call: Call, now: float) -> None:
        """Where the call is."""
        self.clocks.setdefault(call.uuid, []).append((now, call.position))


def load_sounds(plan: Plan) -> dict[str, Sound]:
    """Every sound of the plan by its path, rendered already: in the middle of a call that would
    hold back all other calls' audio."""
    sounds = {path: load_sound(Path(path)) for path in {call.sound for call in plan.calls}}
    for sound in sounds.values():
        sound.render("caller", Layout.STEREO, Codec().rate, RECORDED_RATE)
    return sounds


def play(board: Switchboard, plan: Plan, sounds: Mapping[str, Sound]) -> int:
    """All calls, `at_once` at a time, or as many as begin in time; how many."""
    ends = time.monotonic() + (plan.seconds or inf)
    placed = 0
    for planned in plan.calls:
        board.wait(lambda: len(board.live_calls) < plan.at_once, ends - time.monotonic())
        if placed:
            gevent.sleep(SECONDS_BETWEEN_CALLS)
        if time.monotonic() >= ends:
            break
        placed += 1
        board.place(
            CallScript(
                sounds[planned.sound],
                uuid=planned.uuid,
                variables={"fsbot_language": planned.language, "fsbot_prompt": planned.prompt},
                offset=planned.offset,
                repeat=planned.repeat,
                actions=(HangUp(planned.seconds),) if planned.seconds else (),
            )
        )
    board.wait(lambda: not board.live_calls, inf)
    return placed


def main() -> int:
    path = Path(sys.argv[1])
    plan = Plan.read(path)
    sounds = load_sounds(plan)
    orders = FileObject(sys.stdin.fileno(), "r", closefd=False)
    board = Switchboard(plan.password)
    with board:
        print(f"listening {board.port}", flush=True)
        joining = gevent.spawn(board.wait_for_listener, timeout=inf)
        joining.link(lambda _: print("joined", flush=True))
        if orders.readline():
            playing = gevent.spawn(play, board, plan, sounds)
            playing.link_value(lambda done: print(f"played {done.value}", flush=True))
            playing.link_exception(lambda _: sys.exit("the switchboard failed"))
            for order in orders:
                board.fail(order.strip())
    path.with_name("clocks.json").write_text(json.dumps(board.clocks))
    return 0


if __name__ == "__main__":
    sys.exit(main())
