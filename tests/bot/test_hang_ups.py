"""Hang-ups at bad moments: no channel stays in FreeSWITCH, and no call in the bot."""

import pytest
from bench import Bench, errors, of_kind, silence

from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.switch.hangup_delay import HOOKS
from fsbot.transcript.records import EndOfTranscript, Record


def end_of(records: list[Record]) -> EndOfTranscript:
    (end,) = of_kind(records, EndOfTranscript)
    assert end is records[-1]
    return end


@pytest.mark.parametrize("own_hooks", [0, 1, 2])
def test_a_hang_up_while_the_recording_starts(
    bench: Bench, switch: RehearsalSwitch, own_hooks: int
) -> None:
    """The dialplan may have hooks of its own."""
    own = dict.fromkeys(HOOKS[:own_hooks], "lua cdr.lua")
    bench.start()
    switch.faults.hang_up_while_starting = 3
    calls = [switch.place(CallScript(silence(1.0), variables=own)) for _ in range(3)]
    for call in calls:
        records = bench.transcript(call.uuid)
        assert (end_of(records).reason, errors(records)) == ("hangup", [])
    assert not switch.kept_legs
    hung_up = switch.faults.hang_up_while_starting == 0
    # With both hooks taken it is recorded without a thread, which a hang-up cannot overtake.
    assert hung_up is (own_hooks < 2)
    assert all("lua cdr.lua" in call.legs[0].variables.values() for call in calls if own)


def test_the_hook_is_gone_once_the_recording_runs(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    call = switch.place(CallScript(silence(30)))
    bench.wait(lambda: call.legs[0].recordings)
    bench.wait(lambda: not call.legs[0].hook_seconds)
    call.hang_up()
    assert end_of(bench.transcript(call.uuid)).reason == "hangup"
