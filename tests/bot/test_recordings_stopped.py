"""Recordings that others stop, and recordings into which no sound comes: told, and gone on with."""

import gevent
import pytest
from bench import Bench, errors, finals, joined, likeness, of_kind, silence

import fsbot.disk
import fsbot.recorder
from fsbot.rehearsal.call import Call
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.transcript.records import EndOfTranscript, Failure, Record, StartOfTranscript


def end_of(records: list[Record]) -> EndOfTranscript:
    (end,) = of_kind(records, EndOfTranscript)
    assert end is records[-1]
    return end


def told(records: list[Record]) -> list[tuple[str, bool]]:
    """Errors and whether they are over; that this machine has other work too is no matter here."""
    failures = of_kind(records, Failure)
    return [(each.error, each.over) for each in failures if each.error != "lagging"]


def recording_of(bench: Bench, call: Call) -> str:
    """FreeSWITCH's path of the recording that runs, once the bot knows of it."""

    def running() -> str | None:
        known = bench.bot._calls.get(call.uuid)
        path = known._recorder._running if known is not None else None
        return path if path in call.legs[0].recordings else None

    bench.wait(running)
    return running() or ""


def say_whole(bench: Bench, call: Call, sound: Sound) -> None:
    over = call.position + sound.frames
    call.say(sound)
    bench.wait(lambda: call.position > over)


@pytest.mark.parametrize("what", ["all", "its own path"])
def test_a_recording_that_somebody_stops_goes_on(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound, turn: dict[str, str], what: str
) -> None:
    bench.start()
    call = switch.place(CallScript(silence(300)))
    path = recording_of(bench, call)
    say_whole(bench, call, utterance)
    stop = path if what == "its own path" else what
    assert switch.api.run(f"uuid_record {call.uuid} stop {stop}") == "+OK Success\n"
    bench.wait(lambda: recording_of(bench, call) != path)
    say_whole(bench, call, utterance)
    call.hang_up()
    records = bench.transcript(call.uuid)
    assert end_of(records).reason == "hangup"
    assert told(records) == [("recording_stopped", False), ("recording_stopped", True)]
    first, second = of_kind(records, StartOfTranscript)
    assert (first.recording, second.recording) == (1, 2)
    assert first.switch_path == path
    assert likeness(joined(finals(records)), f"{turn['text']} {turn['text']}") >= 0.8


def test_a_fight_over_a_recording_ends(
    bench: Bench, switch: RehearsalSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsbot.recorder, "MOST_RESTARTS", 2)
    bench.start()
    call = switch.place(CallScript(silence(60)))
    for _ in range(3):
        switch.api.run(f"uuid_record {call.uuid} stop {recording_of(bench, call)}")
    records = bench.transcript(call.uuid)
    assert end_of(records).reason == "stopped"
    assert told(records) == [("recording_stopped", over) for over in (False, True) * 2 + (False,)]
    assert "3 times within 60 s" in of_kind(records, Failure)[-1].message
    assert len(of_kind(records, StartOfTranscript)) == 3
    assert not call.legs[0].recordings
    assert not call.finished


def test_what_the_bot_stops_itself_stays_stopped(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    call = switch.place(CallScript(silence(60)))
    recording_of(bench, call)
    bench.stop()
    records = bench.journal(call.uuid)
    assert (end_of(records).reason, errors(records)) == ("shutdown", [])
    assert not call.legs[0].recordings


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsbot.recorder, "NO_AUDIO_SECONDS", 1.0)
    monkeypatch.setattr(fsbot.recorder, "STALLED_SECONDS", 0.8)
    monkeypatch.setattr(fsbot.disk, "WATCH_SECONDS", 0.2)


@pytest.mark.usefixtures("watchful")
def test_sound_that_goes_past_freeswitch_for_a_while(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    call = switch.place(CallScript(silence(60, stereo=True), bridged=True))
    recording_of(bench, call)
    gevent.sleep(1.0)
    switch.api.run(f"uuid_media off {call.uuid}")
    bench.wait(lambda: told(bench.journal(call.uuid)) == [("no_audio", False)])
    (failure,) = of_kind(bench.journal(call.uuid), Failure)
    assert "uuid_media off" in failure.message
    assert "switch_directory" not in failure.message
    switch.api.run(f"uuid_media {call.uuid}")
    bench.wait(lambda: told(bench.journal(call.uuid))[1:] == [("no_audio", True)])
    switch.api.run(f"uuid_media off {call.uuid}")
    bench.wait(lambda: told(bench.journal(call.uuid))[2:] == [("no_audio", False)])
    call.hang_up()
    assert end_of(bench.transcript(call.uuid)).reason == "hangup"


@pytest.mark.usefixtures("watchful")
@pytest.mark.parametrize("variable", ["bypass_media_after_bridge", "proxy_media"])
def test_sound_that_freeswitch_never_reads(
    bench: Bench, switch: RehearsalSwitch, variable: str
) -> None:
    bench.start()
    script = CallScript(silence(60, stereo=True), bridged=True, variables={variable: "true"})
    call = switch.place(script)
    bench.wait(lambda: told(bench.journal(call.uuid)) == [("no_audio", False)])
    (failure,) = of_kind(bench.journal(call.uuid), Failure)
    assert variable in failure.message
    assert "switch_directory" not in failure.message
    call.hang_up()
    assert end_of(bench.transcript(call.uuid)).reason == "hangup"


@pytest.mark.usefixtures("watchful")
def test_a_paused_recording_is_told_and_a_hold_is_not(
    bench: Bench, switch: RehearsalSwitch
) -> None:
    bench.start()
    call = switch.place(CallScript(silence(60)))
    path = recording_of(bench, call)
    gevent.sleep(0.5)
    call.legs[0].hold()
    gevent.sleep(2.5)
    assert told(bench.journal(call.uuid)) == []
    call.legs[0].unhold()
    gevent.sleep(0.5)
    switch.api.run(f"uuid_record {call.uuid} pause {path}")
    bench.wait(lambda: told(bench.journal(call.uuid)) == [("no_audio", False)])
    assert "paused" in of_kind(bench.journal(call.uuid), Failure)[0].message
    switch.api.run(f"uuid_record {call.uuid} resume {path}")
    bench.wait(lambda: told(bench.journal(call.uuid))[1:] == [("no_audio", True)])


@pytest.mark.usefixtures("watchful")
def test_a_stop_that_nobody_told_of(bench: Bench, switch: RehearsalSwitch) -> None:
    """RECORD_STOP is lost: the recording that FreeSWITCH no longer lists is started again."""
    bench.start()
    call = switch.place(CallScript(silence(60)))
    path = recording_of(bench, call)
    switch.faults.lose_events = frozenset({"RECORD_STOP"})
    switch.api.run(f"uuid_record {call.uuid} stop all")
    bench.wait(lambda: recording_of(bench, call) != path)
    call.hang_up()
    records = bench.transcript(call.uuid)
    assert told(records) == [("recording_stopped", False), ("recording_stopped", True)]
    assert end_of(records).reason == "hangup"
