"""Transfers: what is said after them is in the same transcript, on the right side, with a mark."""

from typing import Any, Literal

import numpy as np
import pytest
from bench import Bench, errors, finals, joined, likeness, live, of_kind, silence, words
from processes import Start

from fsbot.rehearsal.call import Call
from fsbot.rehearsal.script import CallScript, HangUp
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.rehearsal.transfers import AttendedTransfer, BlindTransfer
from fsbot.transcript.journal import read_journal
from fsbot.transcript.records import EndOfTranscript, Mark, Record, StartOfTranscript, Transcription


@pytest.fixture(scope="session")
def conversation(utterance: Sound) -> Sound:
    """The caller says the utterance, then the callee does."""
    said = utterance.caller
    quiet = np.zeros_like(said)
    return Sound("both", utterance.rate, np.append(said, quiet), np.append(quiet, said))


def said_by(records: list[Record], side: str) -> list[Transcription]:
    return [record for record in finals(records) if record.side == side]


def check(records: list[Record], turn: dict[str, Any], party: str) -> None:
    for side in ("caller", "callee"):
        assert likeness(joined(said_by(records, side)), turn["text"]) >= 0.8
    for texts in (finals(records), live(records)):
        assert words(joined(texts)).count("compose") == 2
    (mark,) = of_kind(records, Mark)
    assert (mark.mark, mark.party) == ("transfer", party)
    assert said_by(records, "caller")[-1].end < mark.start + 1.0
    assert said_by(records, "callee")[0].start > mark.start
    assert len(of_kind(records, EndOfTranscript)) == 1
    assert of_kind(records, EndOfTranscript)[0].reason == "hangup"
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    assert errors(records) == []


@pytest.mark.parametrize("by", ["A", "B"])
def test_a_blind_transfer(
    by: Literal["A", "B"],
    bench: Bench,
    switch: RehearsalSwitch,
    conversation: Sound,
    turn: dict[str, Any],
) -> None:
    bench.start(recordings={"retention": "forever"})
    at = conversation.seconds / 2
    script = CallScript(conversation, bridged=True, actions=(BlindTransfer(at, by),))
    call = switch.place(script)
    uuid = call.uuid
    left_behind = call.legs[1].uuid
    records = bench.transcript(uuid)
    check(records, turn, "3003")
    starts = of_kind(records, StartOfTranscript)
    legs = [uuid, left_behind] if by == "A" else [uuid]
    assert [start.leg_uuid for start in starts] == legs
    assert len(bench.recorded(uuid)) == len(legs)
    assert bench.journal(left_behind) == []


def test_an_attended_transfer(
    bench: Bench, switch: RehearsalSwitch, conversation: Sound, turn: dict[str, Any]
) -> None:
    """The first call goes on; the second one, which asked the new party, ends with the transfer."""
    bench.start(recordings={"retention": "forever"})
    call = switch.place(CallScript(conversation, bridged=True, tail=60.0))
    uuid = call.uuid
    bench.wait(lambda: call.position > 100)
    asking = switch.place(CallScript(silence(60, stereo=True), bridged=True))
    asked_in = asking.uuid
    bench.wait(lambda: call.position >= conversation.frames / 2)
    AttendedTransfer(0.0, asking).perform(call)
    bench.wait(lambda: said_by(bench.journal(uuid), "callee"))
    call.hang_up()
    asking.hang_up()
    check(bench.transcript(uuid), turn, "2002")
    assert [start.recording for start in of_kind(bench.journal(uuid), StartOfTranscript)] == [1, 2]
    asked = bench.transcript(asked_in)
    assert finals(asked) == []
    assert of_kind(asked, EndOfTranscript)[0].reason == "hangup"


def test_an_attended_transfer_by_b(
    bench: Bench, switch: RehearsalSwitch, conversation: Sound, turn: dict[str, Any]
) -> None:
    """The asking leg ends after the bridge: what it leaves behind is in the first transcript."""
    bench.start(recordings={"retention": "forever"})
    call = switch.place(CallScript(conversation, bridged=True, tail=60.0))
    bench.wait(lambda: call.position > 100)
    asking = switch.place(CallScript(silence(60, stereo=True), bridged=True))
    asked_in = asking.uuid
    bench.wait(lambda: call.position >= conversation.frames / 2)
    AttendedTransfer(0.0, asking, "B").perform(call)
    asked = bench.transcript(asked_in)
    assert len(of_kind(asked, StartOfTranscript)) == 1
    assert of_kind(asked, EndOfTranscript)[0].reason == "hangup"
    bench.wait(lambda: said_by(bench.journal(call.uuid), "callee"))
    assert len(of_kind(bench.journal(call.uuid), StartOfTranscript)) == 1
    call.hang_up()
    asking.hang_up()
    check(bench.transcript(call.uuid), turn, "2002")


def test_an_ordinary_end_is_no_transfer(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start(recordings={"retention": "forever"})
    script = CallScript(silence(20, stereo=True), bridged=True, actions=(HangUp(1.5),))
    call = switch.place(script)
    records = bench.transcript(call.uuid)
    assert of_kind(records, Mark) == []
    (end,) = of_kind(records, EndOfTranscript)
    (path,) = bench.recorded(call.uuid)
    assert end.duration == pytest.approx(path.stat().st_size / 64000, abs=0.001)


def test_transfers_are_not_followed_if_so_wished(
    bench: Bench, switch: RehearsalSwitch, conversation: Sound
) -> None:
    bench.start(recordings={"follow_transfer": False})
    actions = (BlindTransfer(conversation.seconds / 2, "A"),)
    call = switch.place(CallScript(conversation, bridged=True, actions=actions))
    records = bench.transcript(call.uuid)
    assert len(of_kind(records, StartOfTranscript)) == 1
    assert said_by(records, "callee") == []


def test_killed_after_a_transfer(
    start: Start, switch: RehearsalSwitch, conversation: Sound, turn: dict[str, Any], tmp_path: Any
) -> None:
    """What is recorded then is another leg than the transcript is named after."""
    flags = ("--recordings-retention", "forever")
    first = start(switch.port, *flags)
    assert switch.wait_for_listener()
    at = conversation.seconds / 2
    script = CallScript(conversation, bridged=True, actions=(BlindTransfer(at, "A"),), tail=120.0)
    call: Call = switch.place(script)
    uuid, left_behind = call.uuid, call.legs[1]
    assert switch.wait(lambda: bool(left_behind.recordings), 60)
    assert switch.wait(lambda: call.position > conversation.frames * 0.7, 60)
    first.send(9)
    first.wait(switch)
    second = start(switch.port, *flags)
    second.says(switch, "transcript taken up again")
    assert switch.wait(lambda: call.position > conversation.frames, 60)
    call.hang_up()
    second.says(switch, "transcript ended")
    (journal,) = (tmp_path / "transcripts").glob("*/*.jsonl")
    assert journal.stem == uuid
    check(list(read_journal(journal)), turn, "3003")
