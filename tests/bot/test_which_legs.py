"""Which legs get a transcript, and whose voice is where."""

import gevent
import pytest
from bench import Bench, finals, joined, likeness, of_kind, silence

from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.transcript.records import EndOfTranscript, StartOfTranscript

QUIET = silence(0.5, stereo=True)


def start_of(bench: Bench, uuid: str) -> StartOfTranscript:
    start = bench.transcript(uuid)[0]
    assert isinstance(start, StartOfTranscript)
    return start


def journals(bench: Bench) -> set[str]:
    return {path.stem for path in bench.transcripts.glob("*/*.jsonl")}


def test_one_transcript_per_call_whatever_its_legs(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    bridged = switch.place(CallScript(QUIET, bridged=True))
    originated = switch.place(CallScript(QUIET, direction="outbound"))
    both = switch.place(CallScript(QUIET, direction="outbound", bridged=True))
    switch.place(CallScript(QUIET, endpoint="loopback"))
    switch.place(CallScript(QUIET, variables={"fsbot": "false"}))
    ringing = switch.place(CallScript(QUIET, ring=0.4, early_media=0.4))

    assert start_of(bench, bridged.uuid).sides == ("caller", "callee")
    assert start_of(bench, originated.uuid).sides == ("callee", "caller")
    assert start_of(bench, both.uuid).sides == ("callee", "caller")
    assert start_of(bench, ringing.uuid).emission_time < 0.4
    assert journals(bench) == {bridged.uuid, originated.uuid, both.uuid, ringing.uuid}
    assert {path.stem for path in bench.recordings.glob("*.raw")} == {
        f"{uuid}-1" for uuid in journals(bench)
    }


def test_each_leg_by_itself_if_wanted(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start(recordings={"each_leg": True, "loopback": True})
    call = switch.place(CallScript(QUIET, bridged=True))
    loopback = switch.place(CallScript(QUIET, endpoint="loopback"))

    first, second = (start_of(bench, leg.uuid) for leg in call.legs)
    assert (first.sides, first.channels) == (("caller",), 1)
    assert (second.sides, second.channels) == (("callee",), 1)
    assert second.channel_call_uuid == call.uuid
    assert start_of(bench, loopback.uuid).channels == 1
    for leg in call.legs:
        end = bench.journal(leg.uuid)[-1]
        assert isinstance(end, EndOfTranscript)
        size = bench.recorded(leg.uuid)[0].stat().st_size
        assert end.duration == pytest.approx(size / 2 / 16000, abs=0.001)


def test_only_calls_that_pass_the_filter(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start(
        filter={"contexts": ("public*",), "destinations": ("91*",), "directions": ("inbound",)}
    )
    wanted = switch.place(CallScript(QUIET, context="public-fr", destination="9196"))
    switch.place(CallScript(QUIET, context="default", destination="9196"))
    switch.place(CallScript(QUIET, context="public", destination="3600"))
    switch.place(CallScript(QUIET, context="public", destination="9196", direction="outbound"))

    assert start_of(bench, wanted.uuid).destination == "9196"
    assert journals(bench) == {wanted.uuid}


def test_a_bot_that_comes_in_mid_call(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound, turn: dict[str, object]
) -> None:
    call = switch.place(CallScript(utterance, tail=1.0))
    bridged = switch.place(CallScript(silence(6, stereo=True), bridged=True))
    unanswered = switch.place(CallScript(QUIET, ring=4.0))
    gevent.sleep(2.0)
    bench.start()

    start = start_of(bench, call.uuid)
    answered_at = int(call.legs[0].times["Channel-Answered"]) / 1e6
    assert start.answered_at == pytest.approx(answered_at)
    assert start.emission_time >= 2.0
    spoken = finals(bench.journal(call.uuid))
    assert spoken[0].start >= 1.5
    assert spoken[-1].alternatives[0].words[-1].end_time == pytest.approx(
        turn["speech_end"], abs=0.5
    )
    # A bot that is there soon hears some of the sentence before, too.
    said = "Veuillez vérifier le numéro et essayer de nouveau"
    last = joined(spoken).split()[-len(said.split()) :]
    assert likeness(" ".join(last), said) > 0.6
    start_of(bench, bridged.uuid)
    assert len(of_kind(bench.transcript(unanswered.uuid), StartOfTranscript)) == 1
    assert journals(bench) == {call.uuid, bridged.uuid, unanswered.uuid}
