"""Several calls at once, hold, another codec in mid-call: words and times stay right."""

import time
from typing import Any

import gevent
import pytest
from bench import Bench, errors, finals, joined, likeness, live, of_kind, silence, words

from fsbot.rehearsal.leg import Codec
from fsbot.rehearsal.script import CallScript, Hold, Renegotiate, Unhold
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.transcript.records import EndOfTranscript, Record, StartOfTranscript


def times(records: list[Record]) -> tuple[float, float]:
    spoken = [word for record in finals(records) for word in record.alternatives[0].words]
    return spoken[0].start_time, spoken[-1].end_time


def test_two_calls_at_once_one_of_them_held_for_a_while(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound, turn: dict[str, Any]
) -> None:
    bench.start()
    plain = switch.place(CallScript(utterance))
    held = switch.place(CallScript(utterance, actions=(Hold(0.2), Unhold(4.2))))

    for call, hole in ((plain, 0.0), (held, 4.0)):
        records = bench.transcript(call.uuid)
        assert {record.call_uuid for record in records} == {call.uuid}
        assert [record.sequence for record in records] == list(range(1, len(records) + 1))
        assert likeness(joined(finals(records)), turn["text"]) >= 0.8
        start, end = times(records)
        assert start == pytest.approx(turn["speech_start"] + hole, abs=0.5)
        assert end == pytest.approx(turn["speech_end"] + hole, abs=0.5)
        assert all(record.latency_ms > 0 for record in [*live(records), *finals(records)])


def test_another_codec_in_mid_call(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound, turn: dict[str, Any]
) -> None:
    bench.start()
    script = CallScript(utterance, actions=(Renegotiate(3.1, Codec("L16", 16000, 256000)),))
    call = switch.place(script)
    records = bench.transcript(call.uuid)

    starts = of_kind(records, StartOfTranscript)
    assert [(start.recording, start.codec_rate) for start in starts] == [(1, 8000), (2, 16000)]
    assert [path.name for path in bench.recorded(call.uuid)] == [
        f"{call.uuid}-1.raw",
        f"{call.uuid}-2.raw",
    ]
    assert [recording.cause for recording in call.recorded][-1] == "success-silence"
    assert all(recording.cause for recording in call.recorded)
    for text in (joined(live(records)), joined(finals(records))):
        assert likeness(text, turn["text"]) >= 0.7
        assert words(text).count("compose") == 1
        assert words(text).count("nouveau") == 1
    start, end = times(records)
    assert start == pytest.approx(turn["speech_start"], abs=0.5)
    assert end == pytest.approx(turn["speech_end"], abs=0.5)
    assert errors(records) == []
    end_of = of_kind(records, EndOfTranscript)[0]
    assert end_of.reason == "hangup"
    assert end_of.duration == pytest.approx(utterance.seconds + 0.5, abs=0.4)


def test_audio_at_the_wrong_rate_is_not_listened_to(bench: Bench, switch: RehearsalSwitch) -> None:
    """Also while FreeSWITCH takes its time to begin the next recording."""
    bench.start()
    call = switch.place(CallScript(silence(3)))
    bench.wait(lambda: call.legs[0].recordings)
    gevent.sleep(1.0)
    switch.faults.reply_delay_to = "api uuid_record"
    switch.faults.reply_delay = 0.5
    call.renegotiate(Codec("L16", 16000, 256000))
    records = bench.transcript(call.uuid)
    (end,) = of_kind(records, EndOfTranscript)
    # Half a second and more is in neither recording; at the wrong rate it would be a whole one.
    assert 2.0 < end.duration < 3.2
    assert len(bench.recorded(call.uuid)) == 2


def test_codecs_that_change_at_once_or_as_the_recording_begins(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound, turn: dict[str, Any]
) -> None:
    """Each change waits for the one before it; whatever comes of it, the call goes on."""
    bench.start()
    wide, narrow = Codec("L16", 16000, 256000), Codec()
    early = switch.place(CallScript(utterance, actions=(Renegotiate(0.0, wide),)))
    twice = switch.place(
        CallScript(utterance, actions=(Renegotiate(0.1, wide), Renegotiate(0.12, narrow)))
    )
    for call in (early, twice):
        records = bench.transcript(call.uuid)
        assert likeness(joined(finals(records)), turn["text"]) >= 0.8
        assert of_kind(records, EndOfTranscript)[0].reason == "hangup"
        assert not call.legs[0].recordings


def test_a_uuid_that_is_used_again_at_once(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound
) -> None:
    """A dialplan may choose the UUIDs: the second call's transcript follows the first one's."""
    bench.start()
    switch.place(CallScript(utterance, uuid="robot-1", tail=0.0))
    bench.wait(lambda: not switch.live_calls)
    assert "robot-1" in bench.bot._calls
    before = time.time()
    switch.place(CallScript(utterance, uuid="robot-1"))
    bench.wait(lambda: len(of_kind(bench.journal("robot-1"), EndOfTranscript)) == 2)
    records = bench.journal("robot-1")
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    starts = of_kind(records, StartOfTranscript)
    assert [start.recording for start in starts] == [1, 2]
    assert starts[1].answered_at >= before - 0.1
    first_end = of_kind(records, EndOfTranscript)[0]
    assert all(r.sequence < first_end.sequence or r.emitted_at >= before for r in records)
    assert finals(records)[-1].sequence > first_end.sequence
