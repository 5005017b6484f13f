"""FreeSWITCH out of reach in mid-call, dying, or keeping an event to itself."""

import json
import time
from typing import Any

import gevent
import pytest
from bench import Bench, Listener, as_sent, errors, finals, joined, likeness, of_kind, silence

from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.transcript.records import EndOfTranscript, Record, StartOfTranscript


def end_of(records: list[Record]) -> EndOfTranscript:
    (end,) = of_kind(records, EndOfTranscript)
    assert end is records[-1]
    return end


def test_a_link_that_breaks_in_mid_call(
    bench: Bench,
    switch: RehearsalSwitch,
    listener: Listener,
    utterance: Sound,
    turn: dict[str, Any],
) -> None:
    bench.start()
    call = switch.place(CallScript(utterance))
    bench.wait(lambda: len(listener.of(call.uuid)) >= 3)
    # The next event gets there, but its +OK does not: the bot cannot know.
    switch.faults.lose_event_replies = 1
    before = len(switch.received)  # the listener may be behind
    bench.wait(lambda: len(listener.of(call.uuid)) > before)
    doubtful = listener.of(call.uuid)[before]
    assert bench.session is not None
    bench.session.close()

    records = bench.transcript(call.uuid)
    bench.wait(lambda: listener.of(call.uuid)[-1].subclass == "fsbot::end_of_transcript")
    events = listener.of(call.uuid)
    repeated = [event for event in events if event.headers.get("Fsbot-Resent") == "true"]
    assert [event.body for event in repeated] == [doubtful.body]
    once = [event for event in events if event not in repeated]
    assert [json.loads(event.body) for event in once] == [as_sent(record) for record in records]
    assert likeness(joined(finals(records)), turn["text"]) >= 0.8
    assert len(of_kind(records, StartOfTranscript)) == 1
    assert end_of(records).reason == "hangup"


def test_a_call_that_ends_while_the_link_is_down(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    ends = switch.place(CallScript(silence(30)))
    stays = switch.place(CallScript(silence(30)))
    stopped = switch.place(CallScript(silence(30)))
    bench.wait(lambda: all(bench.recorded(c.uuid) for c in (ends, stays, stopped)))
    gevent.sleep(0.5)
    assert bench.session is not None
    bench.session.close()
    ends.hang_up()
    stopped.legs[0].stop_recording(next(iter(stopped.legs[0].recordings)))

    assert end_of(bench.transcript(ends.uuid)).reason == "lost"
    # What somebody has stopped meanwhile goes on in the next file; what runs stays as it is.
    bench.wait(lambda: stopped.legs[0].recordings)
    assert set(bench.bot._calls) == {stays.uuid, stopped.uuid}
    for call, files in ((stays, 1), (stopped, 2)):
        call.hang_up()
        records = bench.transcript(call.uuid)
        assert end_of(records).reason == "hangup"
        assert errors(records) == ["recording_stopped"] * 2 * (files - 1)
        assert len(of_kind(records, StartOfTranscript)) == files


def test_a_link_that_breaks_while_a_recording_is_being_asked_for(
    bench: Bench, switch: RehearsalSwitch
) -> None:
    bench.start()
    switch.faults.reply_delay = 1.0
    call = switch.place(CallScript(silence(8)))
    bench.wait(lambda: bench.journal(call.uuid))
    assert bench.session is not None
    bench.session.close()
    switch.faults.reply_delay = 0.0
    bench.wait(lambda: call.legs[0].recordings)
    gevent.sleep(2.5)  # longer than a resync, and than a file may stand still
    assert call.uuid in bench.bot._calls
    call.hang_up()
    records = bench.transcript(call.uuid)
    assert len(of_kind(records, StartOfTranscript)) == 1
    assert end_of(records).reason == "hangup"
    assert end_of(records).duration > 0


def test_a_record_stop_that_never_comes(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    switch.faults.lose_events = frozenset({"RECORD_STOP"})
    call = switch.place(CallScript(silence(1)))
    end = end_of(bench.transcript(call.uuid))
    assert end.reason == "hangup"
    size = bench.recorded(call.uuid)[0].stat().st_size
    assert end.duration == pytest.approx(size / 64000, abs=0.001)


def test_a_freeswitch_that_dies_and_comes_back(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound
) -> None:
    bench.start()
    call = switch.place(CallScript(utterance))
    gevent.sleep(2.5)
    switch.kill()
    gevent.sleep(0.5)
    with RehearsalSwitch(port=switch.port) as successor:
        listener = Listener(successor.port)
        assert successor.wait(
            lambda: of_kind(bench.journal(call.uuid), EndOfTranscript), timeout=60
        )
        records = bench.journal(call.uuid)
        assert end_of(records).reason == "lost"
        assert likeness(joined(finals(records)), "Le numéro composé") > 0.3
        successor.wait(
            lambda: any(e.subclass == "fsbot::end_of_transcript" for e in listener.events), 30
        )
        assert json.loads(listener.of(call.uuid)[-1].body) == as_sent(records[-1])
        listener.close()
        again = successor.place(CallScript(silence(0.5)))
        successor.wait(lambda: of_kind(bench.journal(again.uuid), EndOfTranscript), timeout=30)
        assert end_of(bench.journal(again.uuid)).reason == "hangup"
        bench.stop()


def test_a_link_on_which_nothing_is_heard_any_more(
    bench: Bench,
    switch: RehearsalSwitch,
    listener: Listener,
    utterance: Sound,
    turn: dict[str, Any],
) -> None:
    """Half-open, as behind a firewall that has forgotten it: the call is transcribed all the same,
    and its events come late, with the time at which they were made."""
    bench.start(esl={"heartbeat_timeout": 2.0, "request_timeout": 2.0})
    call = switch.place(CallScript(utterance, tail=3.0))
    bench.wait(lambda: call.uuid in bench.bot._calls)
    bench.wait(lambda: bench.bot._calls[call.uuid]._recorder._running)
    switch.faults.mute = True
    muted = time.time()
    bench.wait(lambda: finals(bench.journal(call.uuid)))
    switch.faults.mute = False
    back = time.time()
    records = bench.transcript(call.uuid)
    assert likeness(joined(finals(records)), turn["text"]) >= 0.8
    bench.wait(lambda: any(e.subclass == "fsbot::end_of_transcript" for e in listener.events))
    fired = {int(e.headers["Fsbot-Sequence"]): json.loads(e.body) for e in listener.events}
    late = [record.sequence for record in records if muted < record.emitted_at < back]
    assert late
    assert set(late) <= set(fired)
    assert all(fired[number]["emitted_at"] < back for number in late)


def test_a_password_that_is_changed_and_changed_back(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    switch.password = "another"
    switch.drop_clients()
    bench.wait(lambda: bench.session is None)
    gevent.sleep(1.5)
    switch.password = "ClueCon"
    bench.wait(lambda: bench.session is not None)
    call = switch.place(CallScript(silence(0.5)))
    assert end_of(bench.transcript(call.uuid)).reason == "hangup"


def test_a_call_that_ends_before_the_answer_to_its_start(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound, turn: dict[str, Any]
) -> None:
    """FreeSWITCH has recorded it, and its answer is lost: the words are there all the same."""
    bench.start(esl={"request_timeout": 8.0})
    switch.faults.lose_replies_to = "uuid_record"
    switch.faults.lose_replies = 2
    call = switch.place(CallScript(utterance))
    records = bench.transcript(call.uuid)
    assert likeness(joined(finals(records)), turn["text"]) >= 0.8
