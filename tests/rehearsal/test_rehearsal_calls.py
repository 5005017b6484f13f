"""Calls as the captures have them: order of events, names and formats of their headers."""

import re
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from raw_client import RawClient, capture_events, capture_messages, speech

from fsbot.rehearsal.leg import Codec
from fsbot.rehearsal.script import CallScript, HangUp, Hold, Renegotiate, Unhold
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.switch.codec import Event

RECOMMENDED = (
    "0 {RECORD_STEREO=true,record_sample_rate=16000,"
    "enable_file_write_buffering=false,RECORD_PRE_BUFFER_FRAMES=0}"
)
# Fired by modules and timers that are no part of a call's own story.
ASIDE = {"API", "HEARTBEAT", "RE_SCHEDULE", "PLAYBACK_START", "PLAYBACK_STOP", "BACKGROUND_JOB"}
CALL_EVENTS = (
    "CHANNEL_CREATE CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_ANSWER CHANNEL_BRIDGE "
    "CHANNEL_UNBRIDGE CHANNEL_HOLD CHANNEL_UNHOLD CHANNEL_HANGUP CHANNEL_HANGUP_COMPLETE "
    "CHANNEL_DESTROY RECORD_START RECORD_STOP MEDIA_BUG_START MEDIA_BUG_STOP"
)


def shape(headers: list[tuple[str, str]]) -> list[str]:
    """Names in order; of the recording's variables and the channel's, only that they are there."""
    names = [re.sub(r"^variable_.*", "variable_", name) for name, _ in headers]
    return [name for n, name in enumerate(names) if name != "variable_" or names[n - 1] != name]


def story(events: list[Event]) -> list[tuple[str, str]]:
    """(name, application or state) of each event of a call."""
    return [
        (event.name, event.headers.get("Application") and "application")
        for event in events
        if event.name not in ASIDE
    ]


def record(client: RawClient, uuid: str, path: Path, rest: str = RECOMMENDED) -> str:
    return client.api(f"uuid_record {uuid} start {path} {rest}")


def test_an_inbound_call_tells_the_captured_story(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    client.login().request("event plain ALL")
    call = switch.place(CallScript(speech(0.5, stereo=True), tail=0))
    assert record(client, call.uuid, tmp_path / "x.raw") == "+OK Success\n"
    client.wait(lambda: "CHANNEL_DESTROY" in client.names()[:-1])

    captured = capture_events("inbound_call_all.esl")
    assert story(client.events) == story(captured)
    for name in ("API", "PLAYBACK_START"):
        assert name in client.names()
    for ours, theirs in zip(
        *([e for e in events if e.name not in ASIDE] for events in (client.events, captured)),
        strict=True,
    ):
        assert shape(list(ours.headers.items())) == shape(list(theirs.headers.items())), ours.name
    known = {name for event in captured for name in event.headers}
    ours_all = {name for event in client.events for name in event.headers}
    assert {name for name in ours_all if name.startswith("variable_")} <= known


FORMATS = {
    "Unique-ID": r"[0-9a-f-]{36}",
    "Event-Date-Timestamp": r"\d{16}",
    "Event-Date-Local": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
    "Event-Date-GMT": r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT",
    "Caller-Channel-Answered-Time": r"\d{16}",
    "Channel-Read-Codec-Rate": "8000",
    "Call-Direction": "inbound",
    "Answer-State": "answered",
    "Channel-State": "CS_EXECUTE",
    "Channel-Call-State": "RINGING",
    "Channel-State-Number": "4",
}


def test_header_values_look_like_the_captured_ones(
    switch: RehearsalSwitch, client: RawClient
) -> None:
    client.login().request("event plain CHANNEL_ANSWER")
    call = switch.place(CallScript(speech(0.2), caller_number="1001", destination="loop-agent"))
    ours = client.wait_event("CHANNEL_ANSWER").headers
    theirs = next(e for e in capture_events("inbound_call.esl") if e.name == "CHANNEL_ANSWER")
    for name, pattern in FORMATS.items():
        assert re.fullmatch(pattern, ours[name]), name
        assert re.fullmatch(pattern, theirs.headers[name]), name
    assert ours["Unique-ID"] == ours["Channel-Call-UUID"] == call.uuid
    assert ours["Caller-Caller-ID-Number"] == "1001"
    assert ours["Caller-Destination-Number"] == "loop-agent"
    assert "Other-Type" not in ours


def test_a_bridged_call_tells_the_captured_story(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    client.login().request(f"event plain {CALL_EVENTS}")
    call = switch.place(CallScript(speech(1, stereo=True), bridged=True, tail=0))
    record(client, call.legs[1].uuid, tmp_path / "b.raw", "")
    record(client, call.legs[0].uuid, tmp_path / "a.raw", "")
    client.wait_event("CHANNEL_DESTROY", 2)

    def told(events: list[Event], legs: list[str]) -> list[tuple[str, int, str, str]]:
        return [
            (
                event.name,
                legs.index(event.headers["Unique-ID"]),
                event.headers.get("Other-Type"),
                (legs[0] == event.headers["Channel-Call-UUID"] and "A's") or "its own",
            )
            for event in events
            if event.name not in ("BACKGROUND_JOB", "RECORD_START", "MEDIA_BUG_START")
        ]

    captured = [e for e in capture_events("bridged_call.esl") if e.name != "BACKGROUND_JOB"]
    legs = list(dict.fromkeys(event.headers["Unique-ID"] for event in captured))
    assert told(client.events, [leg.uuid for leg in call.legs]) == told(captured, legs)
    for name in ("CHANNEL_CREATE", "CHANNEL_ANSWER", "RECORD_STOP", "CHANNEL_HANGUP_COMPLETE"):
        for leg in (0, 1):
            ours, theirs = (
                next(e for e in told_by if e.name == name and e.headers["Unique-ID"] == uuid)
                for told_by, uuid in (
                    (client.events, call.legs[leg].uuid),
                    (captured, legs[leg]),
                )
            )
            assert shape(list(ours.headers.items())) == shape(list(theirs.headers.items()))


def test_a_complete_recording_is_there_before_record_stop(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    client.login().request("event plain RECORD_STOP")
    call = switch.place(CallScript(speech(1, stereo=True), tail=0))
    record(client, call.uuid, tmp_path / "x.raw", "")  # 64 KiB buffer: nothing until the end
    switch.wait(lambda: call.finished, 5)
    size = (tmp_path / "x.raw").stat().st_size
    stop = client.wait_event("RECORD_STOP").headers
    assert size == int(stop["variable_record_file_size"]) > 0.9 * 16000
    assert stop["Record-File-Path"] == str(tmp_path / "x.raw")
    assert stop["Record-Completion-Cause"] == "success-silence"


def test_recordings_hold_what_was_said(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    sound = speech(1, stereo=True)
    client.login()
    call = switch.place(CallScript(sound, tail=0))
    record(client, call.uuid, tmp_path / "x.raw", RECOMMENDED.replace("16000", "8000"))
    switch.wait(lambda: call.finished, 5)
    recorded = np.frombuffer((tmp_path / "x.raw").read_bytes(), "<i2").reshape(-1, 2)
    start = int(recorded[0, 0]) - 1
    assert len(recorded) == 8000 - start
    assert (recorded[:, 0] == sound.caller[start:]).all()
    assert sound.callee is not None
    assert (recorded[:, 1] == sound.callee[start:]).all()


def test_hold_makes_a_hole_and_loses_no_audio(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    client.login().request(f"event plain {CALL_EVENTS}")
    actions = (Hold(at=0.3), Unhold(at=0.8))
    call = switch.place(CallScript(speech(0.6, stereo=True), actions=actions, tail=0))
    record(client, call.uuid, tmp_path / "x.raw")
    client.wait_event("CHANNEL_HOLD")
    size = (tmp_path / "x.raw").stat().st_size
    assert size > 0
    switch.wait(lambda: False, 0.2)
    assert (tmp_path / "x.raw").stat().st_size == size
    client.wait_event("CHANNEL_DESTROY")
    assert (tmp_path / "x.raw").stat().st_size > 0.5 * 64000
    unhold = next(e for e in client.events if e.name == "CHANNEL_UNHOLD").headers
    theirs = next(e for e in capture_events("hold_call.esl") if e.name == "CHANNEL_UNHOLD").headers
    assert unhold["Channel-Call-State"] == theirs["Channel-Call-State"] == "UNHELD"
    assert int(unhold["Caller-Channel-Hold-Accum"]) == pytest.approx(500_000, abs=200_000)


def test_a_new_codec_changes_the_rate_inside_the_file(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    client.login().request("event plain CODEC CHANNEL_DESTROY")
    actions = (Renegotiate(0.5, Codec("L16", 16000, 256000)), HangUp(1.0))
    call = switch.place(CallScript(speech(5, stereo=True), actions=actions))
    record(
        client,
        call.uuid,
        tmp_path / "x.raw",
        "0 {enable_file_write_buffering=false,RECORD_PRE_BUFFER_FRAMES=0,RECORD_READ_ONLY=true}",
    )
    client.wait_event("CHANNEL_DESTROY")
    expected = 0.5 * 16000 + 0.5 * 32000  # bytes
    assert (tmp_path / "x.raw").stat().st_size == pytest.approx(expected, abs=2000)
    rates = [e.headers["Channel-Read-Codec-Rate"] for e in client.events if e.name == "CODEC"]
    assert rates == ["8000", "8000", "16000"]
    theirs = [e for e in capture_events("codec_reneg.esl") if e.name == "CODEC"][4].headers
    ours = next(
        e for e in client.events if e.headers.get("Channel-Read-Codec-Rate") == "16000"
    ).headers
    assert list(ours) == list(theirs)


def test_recording_before_the_answer_forces_early_media(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    client.login().request(f"event plain {CALL_EVENTS}")
    call = switch.place(CallScript(speech(0.2), ring=0.4, tail=0))
    record(client, call.uuid, tmp_path / "x.raw")
    client.wait_event("CHANNEL_DESTROY")
    captured = capture_events("record_on_create.esl")
    assert client.names() == [e.name for e in captured if e.name != "BACKGROUND_JOB"]
    assert (tmp_path / "x.raw").stat().st_size > 0.4 * 64000


def test_a_recording_in_early_media_tells_the_captured_story(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    client.login().request(f"event plain {CALL_EVENTS}")
    call = switch.place(CallScript(speech(0.2), early_media=0.6, tail=0))
    record(client, call.uuid, tmp_path / "x.raw")
    client.wait_event("CHANNEL_DESTROY")
    captured = [e for e in capture_events("early_record.esl") if e.name != "BACKGROUND_JOB"]
    assert client.names() == [event.name for event in captured]
    for name in ("Answer-State", "Channel-Call-State"):
        ours, theirs = ([e.headers[name] for e in each] for each in (client.events, captured))
        assert ours == theirs
    heard = np.frombuffer((tmp_path / "x.raw").read_bytes(), "<i2").reshape(-1, 2)
    assert np.abs(heard[:6400, 1]).max() > 5000  # the ringing tone, on the write side
    assert np.abs(heard[:6400, 0]).max() < 3


def test_a_recording_may_wait_for_the_answer(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    client.login()
    call = switch.place(CallScript(speech(0.2), early_media=1, tail=0))
    path = tmp_path / "x.raw"
    record(client, call.uuid, path, RECOMMENDED.replace("{", "{RECORD_ANSWER_REQ=true,"))
    switch.wait(lambda: False, 0.3)
    size = path.stat().st_size
    assert not call.legs[0].answered
    assert size == 0
    switch.wait(lambda: call.finished, 5)
    assert 0 < path.stat().st_size <= 0.24 * 64000


@pytest.mark.parametrize(("direction", "left"), [("inbound", "caller"), ("outbound", "callee")])
def test_the_left_channel_is_what_the_far_end_says(
    switch: RehearsalSwitch,
    client: RawClient,
    tmp_path: Path,
    direction: Literal["inbound", "outbound"],
    left: str,
) -> None:
    client.login()
    call = switch.place(CallScript(speech(0.4, stereo=True), direction=direction, tail=0))
    record(client, call.uuid, tmp_path / "x.raw", RECOMMENDED.replace("16000", "8000"))
    switch.wait(lambda: call.finished, 5)
    recorded = np.frombuffer((tmp_path / "x.raw").read_bytes(), "<i2").reshape(-1, 2)
    assert len(recorded) > 1600
    assert (recorded[:, 0] > 0).all() == (left == "caller")  # callers are above zero here
    assert (recorded[:, 1] > 0).all() == (left == "callee")


def test_a_loopback_call_is_two_channels_that_both_answer(
    switch: RehearsalSwitch, client: RawClient
) -> None:
    client.login().request("event plain CHANNEL_ANSWER")
    switch.place(CallScript(speech(0.1), endpoint="loopback"))
    client.wait_event("CHANNEL_ANSWER", 2)
    names = [event.headers["Channel-Name"] for event in client.events]
    assert names == ["loopback/9196-a", "loopback/9196-b"]
    assert all("Other-Type" not in event.headers for event in client.events)


def test_the_limit_ends_a_recording_by_itself(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    client.login().request("event plain RECORD_STOP")
    call = switch.place(CallScript(speech(5, stereo=True)))
    record(client, call.uuid, tmp_path / "x.raw", "1")
    stop = client.wait_event("RECORD_STOP").headers
    assert stop["Record-Completion-Cause"] == "success-maxtime"
    assert not call.finished


def test_braces_without_the_limit_are_ignored(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    client.login().request("event plain RECORD_START")
    call = switch.place(CallScript(speech(5, stereo=True)))
    record(client, call.uuid, tmp_path / "x.raw", "{enable_file_write_buffering=false}")
    record(client, call.uuid, tmp_path / "y.raw", "0 {foo=bar}")
    client.wait_event("RECORD_START", 2)
    assert "Recording-Variable-enable_file_write_buffering" not in client.events[0].headers
    assert client.events[1].headers["Recording-Variable-foo"] == "bar"
    switch.wait(lambda: False, 0.3)
    assert (tmp_path / "x.raw").stat().st_size == 0


def test_shutdown_hangs_up_flushes_and_says_goodbye(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    client.login().request(f"event plain SHUTDOWN {CALL_EVENTS}")
    call = switch.place(CallScript(speech(5)))
    record(client, call.uuid, tmp_path / "x.raw")
    client.api("fsctl shutdown")
    client.wait(lambda: client.ended)
    assert client.names()[-6:] == [
        "SHUTDOWN",
        "CHANNEL_HANGUP",
        "RECORD_STOP",
        "MEDIA_BUG_STOP",
        "CHANNEL_HANGUP_COMPLETE",
        "CHANNEL_DESTROY",
    ]
    assert client.events[-1].headers["Hangup-Cause"] == "SYSTEM_SHUTDOWN"
    assert client.messages[-1] == capture_messages("shutdown_fsctl.esl")[-1]


def test_a_killed_switch_ends_without_a_word(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    client.login().request(f"event plain {CALL_EVENTS}")
    call = switch.place(CallScript(speech(5)))
    record(client, call.uuid, tmp_path / "x.raw", "")
    client.wait_event("MEDIA_BUG_START")
    switch.kill()
    client.wait(lambda: client.ended)
    assert client.names()[-1] == "MEDIA_BUG_START"
    assert (tmp_path / "x.raw").stat().st_size == 0


def test_heartbeats_come() -> None:
    with RehearsalSwitch(heartbeat=0.05) as switch:
        client = RawClient(switch.port).login()
        client.request("event plain HEARTBEAT")
        ours = client.wait_event("HEARTBEAT", 2).headers
        theirs = next(e for e in capture_events("shutdown_kill.esl") if e.name == "HEARTBEAT")
        assert list(ours) == list(theirs.headers)
        client.close()


def test_many_calls_keep_to_the_wall_clock(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    """Every frame is written, however many calls there are; none is early."""
    client.login()
    sound = speech(4, stereo=True)
    calls = [switch.place(CallScript(sound, tail=0)) for _ in range(30)]
    for number, call in enumerate(calls):
        record(client, call.uuid, tmp_path / f"{number}.raw")
    switch.wait(lambda: all(call.finished for call in calls), 60)
    for number, call in enumerate(calls):
        size = (tmp_path / f"{number}.raw").stat().st_size
        assert size % 1280 == 0
        assert 2 * 64000 < size <= 4 * 64000
        assert call.recorded[0].cause == "success-silence"


def test_a_call_may_begin_inside_its_sound(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    client.login()
    sound = speech(1.0, stereo=True)
    call = switch.place(CallScript(sound, offset=0.6, repeat=2, tail=0))
    began = call.position
    assert record(client, call.uuid, tmp_path / "x.raw") == "+OK Success\n"
    assert switch.wait(lambda: call.finished, 5)
    assert began >= 30
    assert call.position == 100
    assert call.recorded[0].file.seconds_written < 1.41
