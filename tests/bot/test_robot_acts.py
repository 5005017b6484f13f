"""What a robot does comes at once, and what it says never ends a call."""

from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench, silence
from robots import Told, of

from fsbot.rehearsal.call import Call
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch

HandOver = Callable[..., tuple[str, Told]]

TALKING = """
import time
class Talking(Robot):
    def on_start(self, call):
        call.say("un texte sans fin " * 1000)
        self.last = call.say("et un autre " * 1000)
        while not told:
            time.sleep(0.02)
        {act}
        told.append(("acted", self.last.wait(30)))
    def on_hangup(self, call):
        told.append(("hangup", call.uuid))
"""


def place(switch: RehearsalSwitch, where: str) -> Call:
    return switch.place(CallScript(silence(60), socket=where))


def executed(switch: RehearsalSwitch, call: Call, application: str) -> list[str]:
    return [
        event.headers.get("Application-Data")
        for event in switch.fired
        if event.name == "CHANNEL_EXECUTE"
        and event.headers.get("Unique-ID") == call.uuid
        and event.headers.get("Application") == application
    ]


def talking(switch: RehearsalSwitch, bench: Bench, told: Told, where: str) -> Call:
    """A call whose robot speaks, and would for minutes."""
    call = place(switch, where)
    bench.wait(lambda: executed(switch, call, "speak"))
    told.append(("go", None))
    return call


def test_hanging_up_does_not_wait_for_what_is_said(
    hand_over: HandOver, bench: Bench, switch: RehearsalSwitch
) -> None:
    where, told = hand_over(TALKING.format(act="call.hangup('USER_BUSY')"))
    call = talking(switch, bench, told, where)
    bench.wait(lambda: of(told, "hangup"))
    assert call.legs[0].hangup_cause == "USER_BUSY"
    assert of(told, "acted") == [True]
    assert of(told, "hangup") == [call.uuid]
    assert len(executed(switch, call, "speak")) == 1


@pytest.mark.parametrize("act", ["call.leave()", "raise SystemExit(3)"])
def test_letting_go_does_not_wait_for_what_is_said(
    act: str, hand_over: HandOver, bench: Bench, switch: RehearsalSwitch
) -> None:
    where, told = hand_over(TALKING.format(act=act))
    call = talking(switch, bench, told, where)
    bench.wait(lambda: executed(switch, call, "park"))
    assert not call.finished
    assert len(executed(switch, call, "speak")) == 1
    assert of(told, "hangup") == []
    call.hang_up()


def test_a_transfer_does_not_wait_for_what_is_said(
    hand_over: HandOver, bench: Bench, switch: RehearsalSwitch
) -> None:
    where, told = hand_over(TALKING.format(act="call.transfer('2000')"))
    call = talking(switch, bench, told, where)
    bench.wait(lambda: of(told, "acted"))
    assert call.legs[0].profile.destination == "2000"
    assert len(executed(switch, call, "speak")) == 1
    bench.wait(lambda: switch.control_of(call) is None)
    assert not call.finished
    assert executed(switch, call, "park") == [""]
    assert of(told, "hangup") == []
    call.hang_up()


def test_setting_a_variable_does_not_wait_for_what_is_said(
    hand_over: HandOver, bench: Bench, switch: RehearsalSwitch
) -> None:
    where, told = hand_over(
        TALKING.format(
            act="call.set('a', \"l'été d'Anne \\\\n\"); told.append(('got', call.get('a')))"
        ).replace("self.last.wait(30)", "self.last.is_over")
    )
    call = talking(switch, bench, told, where)
    bench.wait(lambda: of(told, "acted"))
    assert of(told, "acted") == [False]
    assert of(told, "got") == ["l'été d'Anne \\n"]
    call.hang_up()


def test_a_transfer_to_nowhere_is_told(
    hand_over: HandOver,
    bench: Bench,
    switch: RehearsalSwitch,
    log_lines: list[dict[str, object]],
) -> None:
    where, told = hand_over(TALKING.format(act="call.transfer('3999', 'sales')"))
    switch.faults.missing_extensions = frozenset({"3999"})
    call = talking(switch, bench, told, where)
    bench.wait(lambda: any(line["event"] == "transfer ended the call" for line in log_lines))
    (line,) = [line for line in log_lines if line["event"] == "transfer ended the call"]
    assert line["call_uuid"] == call.uuid
    assert (line["extension"], line["context"]) == ("3999", "sales")
    assert line["cause"] == "NO_ROUTE_DESTINATION"


@pytest.mark.parametrize("target", ["", "1000 XML default", "-bleg", "1000;a", "a'b", 1000, None])
def test_a_malformed_transfer_is_told_and_leaves_the_caller_in_the_dialplan(
    target: object,
    hand_over: HandOver,
    bench: Bench,
    switch: RehearsalSwitch,
    log_lines: list[dict[str, object]],
) -> None:
    where, told = hand_over(TALKING.format(act=f"call.transfer({target!r})"))
    call = talking(switch, bench, told, where)
    bench.wait(lambda: executed(switch, call, "park"))
    assert not call.finished
    (line,) = [line for line in log_lines if line["event"] == "robot failed"]
    assert line["hook"] == "on_start"
    call.hang_up()


@pytest.mark.parametrize("text", ["", "  \t\n", "$", "...", "« — »", "\u200b", "?!"])
def test_a_text_in_which_nothing_can_be_spoken_is_not_said(
    text: str, hand_over: HandOver, bench: Bench, switch: RehearsalSwitch
) -> None:
    """FreeSWITCH ends a call for which `speak` has no text."""
    where, told = hand_over(
        "class Empty(Robot):\n"
        "    def on_start(self, call):\n"
        f"        said = call.say({text!r})\n"
        "        told.append(('over', said.is_over and said.wait()))\n"
        f"        told.append(('asked', call.ask({text!r}, timeout=0.1)))\n"
        "        told.append(('after', call.say('Merci.').wait(30)))\n"
        "        told.append(('up', call.is_up))\n"
        "        call.leave()\n"
    )
    call = place(switch, where)
    bench.wait(lambda: executed(switch, call, "park"))
    assert told == [("over", True), ("asked", None), ("after", True), ("up", True)]
    assert executed(switch, call, "speak") == ["flite|slt|Merci."]
    call.hang_up()


def test_a_file_that_is_missing_or_empty_costs_nothing(
    hand_over: HandOver, bench: Bench, switch: RehearsalSwitch, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.wav"
    empty.touch()
    where, told = hand_over(
        "from pathlib import Path\n"
        "class Playing(Robot):\n"
        "    def on_start(self, call):\n"
        f"        for file in (Path('/nowhere/a.wav'), Path({str(empty)!r}), Path('')):\n"
        "            told.append(('over', call.say(file).wait(30)))\n"
        "        call.leave()\n"
    )
    call = place(switch, where)
    bench.wait(lambda: executed(switch, call, "park"))
    assert of(told, "over") == [True, True, True]
    assert not call.finished
    call.hang_up()
