"""However legs came together: one transcript, every word once, and none that a party wants kept."""

from typing import Any, Literal

import pytest
from bench import Bench, errors, finals, joined, likeness, live, of_kind, silence, words
from processes import Start

from fsbot.rehearsal.call import Call
from fsbot.rehearsal.events import SwitchEvent
from fsbot.rehearsal.script import CallScript, HangUp, Hold, Unhold
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.switch.connection import Connection
from fsbot.switch.conversations import CONFERENCE
from fsbot.transcript.journal import read_journal
from fsbot.transcript.records import EndOfTranscript, Mark, Record

QUIET = silence(1.0, stereo=True)


def marks(records: list[Record]) -> list[str]:
    return [mark.mark for mark in of_kind(records, Mark)]


def api(switch: RehearsalSwitch, *commands: str) -> None:
    client = Connection("127.0.0.1", switch.port, "ClueCon")
    client.connect()
    for command in commands:
        assert client.api(command).startswith("+OK")
    client.stop()


def composes(records: list[Record]) -> tuple[int, int]:
    """How often the word that the utterance holds once is in the final and in the live text."""
    final, spoken = joined(finals(records)), joined(live(records))
    return words(final).count("compose"), words(spoken).count("compose")


@pytest.mark.parametrize("dialled", ["bridge", "enterprise", "queue"])
def test_one_transcript_however_the_other_leg_was_dialled(
    dialled: Literal["bridge", "enterprise", "queue"], bench: Bench, switch: RehearsalSwitch
) -> None:
    bench.start()
    script = CallScript(QUIET, bridged=True, dialled=dialled)
    call = switch.place(script)
    declined = switch.place(
        CallScript(QUIET, bridged=True, dialled=dialled, variables={"fsbot": "false"})
    )
    records = bench.transcript(call.uuid)
    bench.wait(lambda: declined.finished)
    assert marks(records) == []
    assert [path.stem for path in bench.transcripts.glob("*/*.jsonl")] == [call.uuid]
    assert {path.name for path in bench.recordings.glob("*.raw")} == {f"{call.uuid}-1.raw"}


@pytest.mark.parametrize("dialled", ["bridge", "queue"])
def test_a_leg_that_is_dialled_may_decline(
    dialled: Literal["bridge", "queue"], bench: Bench, switch: RehearsalSwitch, utterance: Sound
) -> None:
    bench.start()
    script = CallScript(
        utterance, bridged=True, dialled=dialled, b_variables={"fsbot": "false"}, tail=1.0
    )
    call = switch.place(script)
    records = bench.transcript(call.uuid)
    assert joined(finals(records)) == joined(live(records)) == ""
    # Or there was no time to write that it ended.
    assert marks(records)[:1] == ["pause"]
    assert of_kind(records, Mark)[0].leg_uuid == call.legs[1].uuid


def two_calls(bench: Bench, switch: RehearsalSwitch, sound: Sound) -> tuple[Call, Call]:
    """Two calls that are recorded, of which the second one speaks."""
    first = switch.place(CallScript(silence(120.0), tail=0.0))
    bench.wait(lambda: bench.recorded(first.uuid))
    second = switch.place(CallScript(sound, repeat=3, tail=60.0))
    bench.wait(lambda: bench.recorded(second.uuid))
    return first, second


def test_two_calls_that_become_one_have_one_transcript_meanwhile(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound, turn: dict[str, Any]
) -> None:
    """Said three times: alone, together, and alone again. Each time is in one transcript."""
    bench.start(engine={"lag_warning": 3600})
    first, second = two_calls(bench, switch, utterance)
    bench.wait(lambda: second.position >= utterance.frames)
    api(switch, f"uuid_bridge {first.uuid} {second.uuid}")
    bench.wait(lambda: second.position >= 2 * utterance.frames)
    api(switch, f"uuid_transfer {first.uuid} park")
    bench.wait(lambda: second.position >= 3 * utterance.frames)
    bench.wait(lambda: len(finals(bench.journal(second.uuid))) >= 2)
    first.hang_up()
    second.hang_up()

    one, other = bench.transcript(first.uuid), bench.transcript(second.uuid)
    assert composes(one) == (1, 1)
    assert composes(other) == (2, 2)
    assert all(record.side == "callee" for record in finals(one))
    assert likeness(joined(finals(one)), turn["text"]) >= 0.8
    assert marks(other) == ["joined", "parted"]
    begins, ends = of_kind(other, Mark)
    assert begins.party == first.uuid
    assert begins.sides == ends.sides == ("caller", "callee")
    spoken = [word for record in finals(other) for word in record.alternatives[0].words]
    assert not [word for word in spoken if begins.start < word.end_time < ends.start]
    assert errors(one) == errors(other) == []


@pytest.mark.parametrize("way", ["mask", "pause", "decline"])
def test_the_silence_of_one_leg_is_kept_in_the_transcript_of_the_other(
    way: str, bench: Bench, switch: RehearsalSwitch, utterance: Sound
) -> None:
    """Wanted before they were joined, and until the recording is over or the variable is unset."""
    bench.start()
    first, second = two_calls(bench, switch, utterance)
    theirs = str(bench.recordings.parent / "theirs.wav.raw")
    if way == "decline":
        begin = (f"uuid_setvar {second.uuid} fsbot false",)
        end = f"uuid_setvar {second.uuid} fsbot true"
    else:
        begin = (
            f"uuid_record {second.uuid} start {theirs}",
            f"uuid_record {second.uuid} {way} {theirs}",
        )
        end = f"uuid_record {second.uuid} stop all"
    api(switch, *begin, f"uuid_bridge {first.uuid} {second.uuid}")
    bench.wait(lambda: second.position >= 2 * utterance.frames)
    api(switch, end)
    bench.wait(lambda: second.position >= 3 * utterance.frames)
    bench.wait(lambda: finals(bench.journal(first.uuid)))
    first.hang_up()
    second.hang_up()

    one, other = bench.transcript(first.uuid), bench.transcript(second.uuid)
    assert composes(one) == (1, 1)
    begins, ends = (mark for mark in of_kind(one, Mark))
    assert (begins.mark, ends.mark) == (
        ("mask", "unmask") if way == "mask" else ("pause", "resume")
    )
    assert begins.leg_uuid == second.uuid
    assert composes(other) == (0, 0)


def test_who_listens_in_adds_no_transcript_of_the_call(
    bench: Bench, switch: RehearsalSwitch
) -> None:
    bench.start()
    first, second = two_calls(bench, switch, silence(60.0))
    spy = second.legs[0]
    spy.execute("eavesdrop", first.uuid)
    bench.wait(lambda: len(marks(bench.journal(second.uuid))) == 2)
    second.press("1")
    bench.wait(lambda: len(marks(bench.journal(second.uuid))) == 3)
    second.press("2")
    bench.wait(lambda: len(marks(bench.journal(second.uuid))) == 4)
    second.hang_up()
    first.hang_up()
    found = of_kind(bench.transcript(second.uuid), Mark)
    assert [(mark.mark, mark.sides, mark.party) for mark in found[:4]] == [
        ("mute", ("caller",), ""),
        ("joined", ("callee",), first.uuid),
        ("joined", ("caller",), first.uuid),
        ("parted", ("caller",), ""),
    ]
    assert marks(bench.transcript(first.uuid)) == []


def test_a_conference_has_one_transcript_at_a_time(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()

    def tell(call: Call, action: str) -> None:
        headers = [*switch.core.headers("CUSTOM"), ("Event-Subclass", CONFERENCE)]
        headers += [("Unique-ID", call.uuid), ("Conference-Unique-ID", "room")]
        event = SwitchEvent("CUSTOM", [*headers, ("Action", action)], subclass=CONFERENCE)
        switch.fire(event)

    calls = []
    for _ in range(3):
        calls.append(switch.place(CallScript(silence(120.0))))
        bench.wait(lambda: bench.recorded(calls[-1].uuid))
        tell(calls[-1], "add-member")
    first, second, third = calls
    bench.wait(lambda: marks(bench.journal(third.uuid)) == ["joined"])
    tell(first, "mute-member")
    bench.wait(lambda: marks(bench.journal(first.uuid)) == ["mute"])
    first.hang_up()
    bench.wait(lambda: marks(bench.journal(second.uuid)) == ["joined", "parted"])
    bench.wait(lambda: len(marks(bench.journal(third.uuid))) == 2)
    for call in (second, third):
        call.hang_up()
    joins = [mark.party for mark in of_kind(bench.transcript(third.uuid), Mark)][:2]
    assert joins == [first.uuid, second.uuid]


@pytest.mark.parametrize("leg", [0, 1])
def test_a_hold_by_any_leg_is_marked_once(leg: int, bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    actions = (Hold(0.5, leg), Hold(0.7, leg), Unhold(1.5, leg), HangUp(2.0))
    call = switch.place(CallScript(silence(5.0, stereo=True), bridged=True, actions=actions))
    records = bench.transcript(call.uuid)
    assert marks(records) == ["hold", "unhold"]
    for mark in of_kind(records, Mark):
        assert mark.sides == (("caller",), ("callee",))[leg]
        assert mark.leg_uuid == call.legs[leg].uuid


def test_no_transfer_where_a_leg_came_by_one(bench: Bench, switch: RehearsalSwitch) -> None:
    """`transfer` and `originate … EXT XML` leave a variable on the channel until it ends."""
    bench.start()
    came_by = {"transfer_source": "1795979642:f4eae079:bl_xfer:1000/default/XML"}
    call = switch.place(CallScript(QUIET, bridged=True, variables=came_by))
    assert marks(bench.transcript(call.uuid)) == []


@pytest.mark.parametrize("way", ["application", "api"])
def test_a_telephone_that_is_told_to_call_elsewhere(
    way: str, bench: Bench, switch: RehearsalSwitch
) -> None:
    bench.start()
    call = switch.place(CallScript(silence(30.0, stereo=True), bridged=True))
    bench.wait(lambda: bench.recorded(call.uuid))
    if way == "application":
        call.legs[0].execute("deflect", "sip:1003@192.0.2.1:5060")
        call.hang_up("BLIND_TRANSFER")
    else:
        api(switch, f"uuid_deflect {call.uuid} sip:1003@192.0.2.1")
    records = bench.transcript(call.uuid)
    assert [(mark.mark, mark.party) for mark in of_kind(records, Mark)] == [("transfer", "1003")]


def test_no_transfer_where_the_media_come_back(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    call = switch.place(CallScript(silence(3.0, stereo=True), bridged=True))
    bench.wait(lambda: bench.recorded(call.uuid))
    ends = [("Bridge-A-Unique-ID", call.legs[0].uuid), ("Bridge-B-Unique-ID", call.legs[1].uuid)]
    for name in ("CHANNEL_UNBRIDGE", "CHANNEL_BRIDGE"):
        call.legs[0].emit(name, before=ends)
    assert marks(bench.transcript(call.uuid)) == []


def test_a_bot_that_is_killed_keeps_the_silence_of_the_other_leg(
    start: Start, switch: RehearsalSwitch, utterance: Sound, tmp_path: Any
) -> None:
    flags = ("--recordings-retention", "forever")
    first_bot = start(switch.port, *flags)
    assert switch.wait_for_listener(timeout=60)
    call = switch.place(CallScript(utterance, bridged=True, repeat=0))
    agent = call.legs[1]
    assert switch.wait(lambda: bool(call.legs[0].recordings), 60)
    masked = [
        (leg.uuid, str(tmp_path / f"{name}.wav.raw"))
        for leg, name in ((agent, "theirs"), (agent, "queue"), (call.legs[0], "own"))
    ]
    for leg, path in masked:
        api(switch, f"uuid_record {leg} start {path}", f"uuid_record {leg} mask {path}")

    def records() -> list[Record]:
        return [
            record
            for path in (tmp_path / "transcripts").glob("*/*.jsonl")
            for record in read_journal(path)
        ]

    def goes_on(times: float) -> None:
        until = call.position + times * utterance.frames
        assert switch.wait(lambda: call.position > until, 120)

    assert switch.wait(lambda: marks(records()) == ["mask"] * 3, 60)
    first_bot.send(9)
    first_bot.wait(switch)
    second_bot = start(switch.port, *flags)
    second_bot.says(switch, "transcript taken up again")
    goes_on(1.5)
    assert marks(records()) == ["mask"] * 3
    for number, (leg, path) in enumerate(masked, 1):
        api(switch, f"uuid_record {leg} unmask {path}")
        goes_on(1.5)
        unmasked = ["unmask"] * number
        assert switch.wait(lambda unmasked=unmasked: marks(records())[3:] == unmasked, 60)
    assert switch.wait(lambda: bool(finals(records())), 120)
    call.hang_up()
    second_bot.says(switch, "transcript ended")
    told = of_kind(records(), Mark)
    assert [(mark.leg_uuid, mark.reason) for mark in told] == masked * 2
    assert composes(records())[0] >= 1
    begins, ends = told[0], told[-1]
    spoken = [word for record in finals(records()) for word in record.alternatives[0].words]
    assert not [word for word in spoken if begins.start < word.end_time < ends.start]
    assert of_kind(records(), EndOfTranscript)[0].reason == "hangup"
