"""Robots that block, fail in every way there is, or compute for long: nobody else is held up."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from bench import Bench, silence
from robots import Told, of

from fsbot.rehearsal.call import Call
from fsbot.rehearsal.script import CallScript, Press
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.robot import hooks

HandOver = Callable[..., tuple[str, Told]]
Lines = list[dict[str, object]]


def place(switch: RehearsalSwitch, where: str, **script: Any) -> Call:
    return switch.place(CallScript(silence(60), socket=where, **script))


def robot_threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("robot ")]


def in_dialplan(switch: RehearsalSwitch, call: Call) -> bool:
    return call.legs[0].application[0] == "park" and not call.handed_over


BLOCKING = """
import threading
release = threading.Event()
class Blocking(Robot):
    def on_start(self, call):
        told.append(("start", call.caller_number))
        if call.caller_number == "1":
            release.wait(120)
        told.append(("goes on", call.caller_number))
        call.leave()
    def on_digit(self, call, digit):
        told.append(("digit", digit))
        release.set()
"""


def test_one_that_blocks_holds_up_nobody_else_and_is_told_what_happens(
    hand_over: HandOver,
    bench: Bench,
    switch: RehearsalSwitch,
    log_lines: Lines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hooks, "BLOCKED_SECONDS", 0.2)
    where, told = hand_over(BLOCKING)
    blocking = place(switch, where, caller_number="1")
    bench.wait(lambda: ("start", "1") in told)
    other = place(switch, where, caller_number="2")
    bench.wait(lambda: in_dialplan(switch, other))
    assert of(told, "goes on") == ["2"]
    bench.wait(lambda: any(line["event"] == "robot blocks its conversation" for line in log_lines))
    # A key is told while `on_start` blocks: here it lets that go on.
    blocking.press("5")
    bench.wait(lambda: in_dialplan(switch, blocking))
    assert of(told, "digit") == ["5"]
    (line,) = [line for line in log_lines if line["event"] == "robot blocks its conversation"]
    assert (line["call_uuid"], line["hook"]) == (blocking.uuid, "on_start")
    assert line["at"] == "robot.py:10 in on_start"
    bench.wait(lambda: not robot_threads())
    for call in (blocking, other):
        call.hang_up()


def test_one_whose_caller_hangs_up_meanwhile_hears_of_it_when_it_is_back(
    hand_over: HandOver, bench: Bench, switch: RehearsalSwitch
) -> None:
    source = BLOCKING + (
        "    def on_hangup(self, call):\n"
        "        told.append(('hangup', [line.text for line in call.transcript]))\n"
    )
    where, told = hand_over(source)
    call = place(switch, where, caller_number="1")
    bench.wait(lambda: ("start", "1") in told)
    call.hang_up()
    bench.transcript(call.uuid)
    assert of(told, "hangup") == []
    assert robot_threads()
    __import__("sys").modules["fsbot_robot_file"].release.set()
    bench.wait(lambda: of(told, "hangup"))
    bench.wait(lambda: not robot_threads())


def test_the_bot_ends_while_one_blocks(
    hand_over: HandOver, bench: Bench, switch: RehearsalSwitch, log_lines: Lines
) -> None:
    where, told = hand_over(BLOCKING)
    call = place(switch, where, caller_number="1")
    bench.wait(lambda: ("start", "1") in told)
    bench.stop()
    assert bench.bot.left_behind
    assert in_dialplan(switch, call)
    assert any(line["event"] == "robot still blocks at the end" for line in log_lines)
    __import__("sys").modules["fsbot_robot_file"].release.set()
    bench.wait(lambda: not robot_threads())


def test_threads_that_still_block_count_as_calls(
    hand_over: HandOver, bench: Bench, switch: RehearsalSwitch
) -> None:
    where, told = hand_over(BLOCKING, robot={"max_calls": 1})
    first = place(switch, where, caller_number="1")
    bench.wait(lambda: ("start", "1") in told)
    first.hang_up()
    second = place(switch, where, caller_number="2")
    bench.wait(lambda: in_dialplan(switch, second))
    assert of(told, "start") == ["1"]
    __import__("sys").modules["fsbot_robot_file"].release.set()
    bench.wait(lambda: not robot_threads())
    second.hang_up()


FAILING = """
import asyncio, sys
import gevent
class Failing(Robot):
    def __init__(self):
        self.fail("__init__")
    def fail(self, hook):
        if hook == "{hook}":
            {fail}
    def on_start(self, call):
        self.fail("on_start")
        call.listen(60)
    def on_utterance(self, call, utterance):
        self.fail("on_utterance")
    def on_speech(self, call):
        self.fail("on_speech")
    def on_words(self, call, words):
        self.fail("on_words")
    def on_digit(self, call, digit):
        self.fail("on_digit")
"""
FAILURES = (
    "sys.exit(3)",
    "raise KeyboardInterrupt",
    "raise gevent.GreenletExit",
    "raise asyncio.CancelledError",
    "raise BaseException('mine')",
)


@pytest.mark.parametrize("fail", FAILURES)
@pytest.mark.parametrize("hook", ["__init__", "on_start", "on_digit"])
def test_nothing_that_a_robot_raises_ends_more_than_its_conversation(
    fail: str,
    hook: str,
    hand_over: HandOver,
    bench: Bench,
    switch: RehearsalSwitch,
    log_lines: Lines,
) -> None:
    where, _ = hand_over(FAILING.format(hook=hook, fail=fail))
    call = place(switch, where, actions=(Press(0.5, "1"),))
    bench.wait(lambda: in_dialplan(switch, call))
    (line,) = [line for line in log_lines if line["event"] == "robot failed"]
    assert (line["call_uuid"], line["hook"]) == (call.uuid, hook)
    assert not call.finished
    assert bench.running is not None
    assert not bench.running.ready()
    bench.wait(lambda: not robot_threads())
    call.hang_up()


@pytest.mark.parametrize("hook", ["on_speech", "on_words", "on_utterance"])
def test_nor_does_what_it_raises_when_the_caller_speaks(
    hook: str,
    hand_over: HandOver,
    bench: Bench,
    switch: RehearsalSwitch,
    utterance: Sound,
    log_lines: Lines,
) -> None:
    source = FAILING.format(hook=hook, fail="sys.exit(3)").replace("call.listen(60)", "pass")
    where, _ = hand_over(source)
    call = switch.place(CallScript(utterance, socket=where, tail=60.0))
    bench.wait(lambda: in_dialplan(switch, call))
    (line,) = [line for line in log_lines if line["event"] == "robot failed"]
    assert (line["call_uuid"], line["hook"]) == (call.uuid, hook)
    assert bench.running is not None
    assert not bench.running.ready()
    call.hang_up()
    bench.transcript(call.uuid)


def test_gevent_works_in_a_hook_and_its_loop_ends_with_the_thread(
    hand_over: HandOver, bench: Bench, switch: RehearsalSwitch
) -> None:
    where, told = hand_over(
        "import gevent\n"
        "class Greenlets(Robot):\n"
        "    def on_start(self, call):\n"
        "        ticks = []\n"
        "        def tick():\n"
        "            while True:\n"
        "                gevent.sleep(0.01)\n"
        "                ticks.append(1)\n"
        "        gevent.spawn(tick)\n"
        "        gevent.sleep(0.05)\n"
        "        slept = len(ticks)\n"
        "        call.listen(0.5)\n"
        "        told.append(('ticks', (slept > 0, len(ticks) > slept)))\n"
        "        try:\n"
        "            with gevent.Timeout(0.1):\n"
        "                call.listen(60)\n"
        "        except gevent.Timeout:\n"
        "            told.append(('timeout', gevent.get_hub()))\n"
        "        call.leave()\n"
    )
    call = place(switch, where)
    bench.wait(lambda: in_dialplan(switch, call))
    bench.wait(lambda: not robot_threads())
    assert of(told, "ticks") == [(True, True)]
    (hub,) = of(told, "timeout")
    assert hub.loop is None  # destroyed
    call.hang_up()


def test_what_holds_the_interpreter_is_told(
    hand_over: HandOver,
    bench: Bench,
    switch: RehearsalSwitch,
    log_lines: Lines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hooks, "HELD_SECONDS", 0.1)
    where, _ = hand_over(
        "import time\n"
        "class Computing(Robot):\n"
        "    def on_start(self, call):\n"
        "        ends = time.monotonic() + 20\n"
        "        while time.monotonic() < ends and not told:\n"
        "            sum(range(10**7))\n"  # lets nobody else run
        "        call.leave()\n"
    )
    call = place(switch, where)
    bench.wait(lambda: any(line["event"] == "robot held up every call" for line in log_lines))
    __import__("sys").modules["fsbot_robot_file"].told.append(("enough", None))
    bench.wait(lambda: in_dialplan(switch, call))
    line = next(line for line in log_lines if line["event"] == "robot held up every call")
    assert (line["call_uuid"], line["hook"]) == (call.uuid, "on_start")
    assert str(line["at"]).startswith("robot.py:")
    call.hang_up()
