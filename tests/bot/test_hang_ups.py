"""Hang-ups at bad moments: no channel stays in FreeSWITCH, and no call in the bot."""

from typing import Any

import pytest
from bench import Bench, errors, finals, joined, likeness, of_kind, silence

import fsbot.dispatch
import fsbot.recorder
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.rehearsal.transfers import BlindTransfer
from fsbot.switch.hangup_delay import HOOKS
from fsbot.transcript.records import EndOfTranscript, Failure, Record, StartOfTranscript


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


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsbot.dispatch, "DESTROY_SECONDS", 0.5)


@pytest.mark.usefixtures("impatient")
def test_a_channel_that_freeswitch_keeps(
    bench: Bench, switch: RehearsalSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before hooks were set: CHANNEL_HANGUP comes, RECORD_STOP and CHANNEL_DESTROY never."""
    monkeypatch.setattr(fsbot.recorder, "delay_hangup", lambda connection, uuid: HOOKS[0])
    bench.start()
    switch.faults.hang_up_while_starting = 1
    call = switch.place(CallScript(silence(30)))
    records = bench.transcript(call.uuid)
    assert (end_of(records).reason, errors(records)) == ("hangup", ["hangup_incomplete"])
    assert "lists the channel still" in of_kind(records, Failure)[0].message
    assert [leg.uuid for leg in switch.kept_legs] == [call.uuid]
    # It is in FreeSWITCH's list for good, and nobody takes it for a call again.
    for _ in range(2):
        assert bench.session is not None
        bench.session.close()
        bench.wait(lambda: bench.session is None)
        bench.wait(lambda: bench.session is not None)
    other = switch.place(CallScript(silence(0.5)))
    assert end_of(bench.transcript(other.uuid)).reason == "hangup"
    assert bench.journal(call.uuid) == records
    # Should it end after all, that is no news.
    call.legs[0].emit("RECORD_STOP")
    call.legs[0].emit("CHANNEL_DESTROY")
    last = switch.place(CallScript(silence(0.5)))
    assert end_of(bench.transcript(last.uuid)).reason == "hangup"
    assert bench.journal(call.uuid) == records


@pytest.mark.usefixtures("impatient")
def test_the_end_of_a_channel_is_never_told(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound, turn: dict[str, Any]
) -> None:
    bench.start()
    switch.faults.lose_events = frozenset({"RECORD_STOP", "CHANNEL_DESTROY"})
    call = switch.place(CallScript(utterance))
    records = bench.transcript(call.uuid)
    assert (end_of(records).reason, errors(records)) == ("hangup", ["hangup_incomplete"])
    assert "never told" in of_kind(records, Failure)[0].message
    assert likeness(joined(finals(records)), turn["text"]) >= 0.8


@pytest.mark.usefixtures("impatient")
def test_a_leg_left_behind_is_recorded_though_the_other_never_ends(
    bench: Bench, switch: RehearsalSwitch
) -> None:
    bench.start()
    switch.faults.lose_events = frozenset({"CHANNEL_DESTROY"})
    quiet = silence(60, stereo=True)
    call = switch.place(CallScript(quiet, bridged=True, actions=(BlindTransfer(1.0, "A"),)))
    stays = call.legs[1]
    bench.wait(lambda: stays.recordings)
    switch.faults.lose_events = frozenset()
    call.hang_up()
    records = bench.transcript(next(iter(bench.bot._calls)))
    assert errors(records) == []
    assert len(of_kind(records, StartOfTranscript)) == 2
