"""Hooks that keep a hang-up from overtaking the start of a recording, on the stand-in switch."""

from collections.abc import Iterator

import numpy as np
import pytest

from fsbot.rehearsal.call import Call
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.switch.connection import Connection
from fsbot.switch.hangup_delay import HOOKS, SLEEP, delay_hangup, end_delay


@pytest.fixture
def switch() -> Iterator[RehearsalSwitch]:
    with RehearsalSwitch() as running:
        yield running


@pytest.fixture
def connection(switch: RehearsalSwitch) -> Iterator[Connection]:
    connected = Connection(switch.host, switch.port, switch.password)
    connected.connect()
    yield connected
    connected.stop()


@pytest.fixture
def call(switch: RehearsalSwitch) -> Call:
    return switch.place(CallScript(Sound("silence", 8000, np.zeros(80_000, np.int16), None)))


def hooks_of(call: Call) -> list[str]:
    return [call.legs[0].variables.get(hook, "") for hook in HOOKS]


def test_a_hook_for_the_start_of_a_recording_only(connection: Connection, call: Call) -> None:
    hook = delay_hangup(connection, call.uuid)
    assert hook == HOOKS[0]
    assert hooks_of(call) == [SLEEP, ""]
    end_delay(connection, call.uuid, hook)
    assert hooks_of(call) == ["", ""]


def test_hooks_of_the_dialplan_stay(connection: Connection, call: Call) -> None:
    call.legs[0].variables[HOOKS[0]] = "lua cdr.lua"
    hook = delay_hangup(connection, call.uuid)
    assert hook == HOOKS[1]
    assert hooks_of(call) == ["lua cdr.lua", SLEEP]
    call.legs[0].variables[hook] = "lua later.lua"  # while the recording starts
    end_delay(connection, call.uuid, hook)
    assert hooks_of(call) == ["lua cdr.lua", "lua later.lua"]
    assert delay_hangup(connection, call.uuid) == ""
    assert hooks_of(call) == ["lua cdr.lua", "lua later.lua"]


def test_what_a_killed_bot_has_left_is_used_and_taken_away(
    connection: Connection, call: Call
) -> None:
    call.legs[0].variables[HOOKS[0]] = SLEEP
    assert delay_hangup(connection, call.uuid) == HOOKS[0]
    end_delay(connection, call.uuid, HOOKS[0])
    assert hooks_of(call) == ["", ""]


def test_no_such_channel(connection: Connection) -> None:
    assert delay_hangup(connection, "nobody") == ""
    end_delay(connection, "nobody", HOOKS[0])
