"""What the dialplan's own recording variables do to our recording, and ours to theirs: nothing."""

import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import numpy as np
import pytest
from bench import silence
from numpy.typing import NDArray

from fsbot.audio.follower import Follower
from fsbot.recorder import Recorder
from fsbot.rehearsal.leg import Codec
from fsbot.rehearsal.script import CallScript, Renegotiate
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Layout, Sound
from fsbot.studio import Plan, Studio
from fsbot.switch.link import Endpoint, Link
from fsbot.switch.recording import RecordingRefused, prepare_directory
from fsbot.switch.titles import restore_titles

RULING = {
    "RECORD_APPEND": "true",
    "record_append": "true",
    "Record_Append": "1",
    "RECORD_STEREO": "false",
    "RECORD_STEREO_SWAP": "true",
    "RECORD_READ_ONLY": "true",
    "RECORD_WRITE_ONLY": "yes",
    "RECORD_BRIDGE_REQ": "true",
    "RECORD_ANSWER_REQ": "true",
    "RECORD_MIN_SEC": "3600",
    "RECORD_INITIAL_TIMEOUT_MS": "100",
    "RECORD_FINAL_TIMEOUT_MS": "100",
    "RECORD_PRE_BUFFER_FRAMES": "50",
    "record_sample_rate": "8000",
    "enable_file_write_buffering": "true",
}
"""Values that a dialplan may give; most of them would spoil our recording."""


TITLES = {
    "RECORD_TITLE": "Call of customer 4711; 'quoted', \\n {braces} ${uuid} $1 100% = é \\",
    "record_comment": "consent given\nhere",
    "RECORD_ARTIST": "^^:a:b",
    "RECORD_COPYRIGHT": "  two blanks before and behind  ",
    "RECORD_SOFTWARE": "'",
    "RECORD_DATE": "2026-11-29",
}
STEREO = Codec("opus", 48000, 0, channels=2)


@pytest.fixture
def studio(switch: RehearsalSwitch, tmp_path: Path) -> Iterator[Studio]:
    link = Link(
        Endpoint("127.0.0.1", switch.port, "ClueCon"), ("CODEC",), on_event=lambda event: None
    )
    serving = gevent.spawn(link.run)
    assert switch.wait_for_listener("CODEC")
    follower = Follower()
    yield Studio(link, follower, prepare_directory(tmp_path / "recordings"), 16000, False)
    follower.close()
    link.stop()
    serving.join()


def two_tones() -> Sound:
    """Quiet first, so that a timeout of silence would strike; the sides can be told apart."""
    seconds = np.arange(8000 * 2) / 8000
    voices = [8000 * np.sin(2 * np.pi * hertz * seconds) * (seconds > 0.4) for hertz in (400, 700)]
    caller, callee = (voice.astype(np.int16) for voice in voices)
    return Sound("two tones", 8000, caller, callee)


def record(studio: Studio, call_uuid: str) -> Recorder:
    recorder = Recorder(call_uuid, 8000, studio, lambda plan: None, complain)
    recorder.start()
    return recorder


def complain(error: str, message: str, over: bool) -> None:
    raise AssertionError(f"{error}: {message}")


@pytest.mark.parametrize("where", ["channel", "global"])
@pytest.mark.parametrize("name", RULING)
def test_the_dialplan_does_not_rule_our_recording(
    name: str, where: str, studio: Studio, switch: RehearsalSwitch
) -> None:
    own = {name: RULING[name]}
    if where == "global":
        switch.core.variables.update(own)
    on_channel = own if where == "channel" else {}
    call = switch.place(CallScript(two_tones(), variables=on_channel, repeat=0))
    assert switch.wait(lambda: call.legs[0].answered, 10)
    recorder = record(studio, call.uuid)
    file = studio.directory.path(call.uuid, 1)
    begun = call.position
    assert switch.wait(lambda: call.position > begun + 150, 20)
    # Unbuffered, in stereo, at 16 kHz: what was played a moment ago is there.
    assert file.stat().st_size > 16000 * 4 * 2.5
    call.hang_up()
    recorder.close()
    left, right = np.frombuffer(file.read_bytes(), "<i2").reshape(-1, 2).T
    assert (pitch(left), pitch(right)) == (pytest.approx(400, abs=20), pytest.approx(700, abs=20))
    assert call.legs[0].variables.get(name, "") == own.get(name, "") * (where == "channel")


def pitch(samples: NDArray[np.int16]) -> float:
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float64)))
    return float(spectrum.argmax() * 16000 / len(samples))


def test_a_recording_that_is_asked_for_twice_goes_on(
    studio: Studio, switch: RehearsalSwitch
) -> None:
    """After a lost link the start is sent again; RECORD_TOGGLE_ON_REPEAT would stop it."""
    variables = {"RECORD_TOGGLE_ON_REPEAT": "true"}
    call = switch.place(CallScript(two_tones(), variables=variables))
    assert switch.wait(lambda: call.legs[0].answered, 10)
    recorder = record(studio, call.uuid)
    start = next(line for line in switch.commands if " start " in line)
    assert studio.link.connection.api(start.removeprefix("api ")) == "+OK Success\n"
    assert list(call.legs[0].recordings) == [studio.directory.switch_path(call.uuid, 1)]
    recorder.close()


def test_our_refused_recording_does_not_hang_up_the_customer(
    studio: Studio, switch: RehearsalSwitch
) -> None:
    call = switch.place(CallScript(silence(2), variables={"RECORD_HANGUP_ON_ERROR": "true"}))
    assert switch.wait(lambda: call.legs[0].answered, 10)
    (studio.directory.local / "16000").mkdir()  # FreeSWITCH would record there, and cannot
    with pytest.raises(RecordingRefused):
        record(studio, call.uuid)
    assert not call.legs[0].hangup_cause


def test_the_titles_are_still_there_for_the_users_own_recording(
    studio: Studio, switch: RehearsalSwitch, tmp_path: Path
) -> None:
    call = switch.place(CallScript(two_tones(), variables=TITLES, repeat=0))
    leg = call.legs[0]
    assert switch.wait(lambda: leg.answered, 10)
    recorder = record(studio, call.uuid)
    assert {name: leg.variables.get(name) for name in TITLES} == TITLES
    own = str(tmp_path / "own.raw")
    assert studio.link.connection.api(f"uuid_record {call.uuid} start {own}") == "+OK Success\n"
    assert leg.recordings[own].titles == {name.lower(): text for name, text in TITLES.items()}
    recorder.close()
    call.hang_up()


def test_a_title_that_was_set_anew_meanwhile_stays(studio: Studio, switch: RehearsalSwitch) -> None:
    call = switch.place(CallScript(silence(30), variables={"record_title": "new", "x": "y"}))
    leg = call.legs[0]
    assert switch.wait(lambda: leg.answered, 10)
    restore_titles(
        studio.link.connection, call.uuid, {"RECORD_TITLE": "old", "RECORD_ARTIST": "back"}
    )
    assert leg.variables["record_title"] == "new"
    assert "RECORD_TITLE" not in leg.variables
    assert leg.variables["RECORD_ARTIST"] == "back"
    call.hang_up()


def test_the_users_own_recording_is_as_the_dialplan_wants_it(
    studio: Studio, switch: RehearsalSwitch, tmp_path: Path
) -> None:
    variables = {"RECORD_STEREO_SWAP": "true", "record_sample_rate": "8000"}
    call = switch.place(CallScript(two_tones(), variables=variables, repeat=0))
    leg = call.legs[0]
    assert switch.wait(lambda: leg.answered, 10)
    recorder = record(studio, call.uuid)
    own = str(tmp_path / "own.raw")
    assert studio.link.connection.api(f"uuid_record {call.uuid} start {own}") == "+OK Success\n"
    options = leg.recordings[own].options
    assert (options.layout, options.sample_rate) == (Layout.STEREO_SWAPPED, 8000)
    recorder.close()
    call.hang_up()


@pytest.mark.parametrize("swapped", [False, True], ids=["own leg", "leg left behind"])
def test_a_stereo_codec_gives_only_what_the_leg_says(
    swapped: bool, studio: Studio, switch: RehearsalSwitch
) -> None:
    call = switch.place(CallScript(two_tones(), codec=STEREO))
    assert switch.wait(lambda: call.legs[0].answered, 10)
    plans: list[Plan] = []
    errors: list[tuple[str, bool]] = []

    def note(error: str, message: str, over: bool) -> None:
        errors.append((error, over))

    recorder = Recorder(call.uuid, 48000, studio, plans.append, note)
    recorder._swapped = swapped
    recorder.start()
    assert [plan.only for plan in plans] == [int(swapped)]
    assert errors == [("stereo_codec", False)]
    assert switch.wait(lambda: call.finished, 10)
    recorder.tape.complete(plans[0].switch_path)
    voice, other = both_sides(recorder)[:: -1 if swapped else 1]
    assert 2.0 < len(voice) / 16000 < 3.0
    assert pitch_of(voice) == pytest.approx(400, abs=20)
    assert not other.any()
    assert len(other) == len(voice)
    recorder.close()


def test_a_stereo_codec_agreed_on_in_mid_call(studio: Studio, switch: RehearsalSwitch) -> None:
    """Of the same rate, so that the rate does not tell."""
    mono = Codec("L16", 48000, 0)
    actions = (Renegotiate(1.0, STEREO), Renegotiate(1.5, mono))
    call = switch.place(CallScript(two_tones(), codec=mono, actions=actions))
    assert switch.wait(lambda: call.legs[0].answered, 10)
    plans: list[Plan] = []
    over: list[bool] = []
    recorder = Recorder(
        call.uuid, 48000, studio, plans.append, lambda error, message, end: over.append(end)
    )
    recorder.start()
    for count, codec in ((2, STEREO), (3, mono)):
        assert switch.wait(lambda codec=codec: call.legs[0].codec is codec, 10)
        recorder.codec_changed(48000, time.time())
        assert switch.wait(lambda count=count: len(plans) == count, 10)
    assert [plan.only for plan in plans] == [None, 0, None]
    assert switch.wait(lambda: over == [False, True], 10)
    assert switch.wait(lambda: call.finished, 10)
    recorder.gone()
    voice, other = both_sides(recorder)
    assert pitch_of(voice) == pytest.approx(400, abs=20)
    assert pitch_of(other) == pytest.approx(700, abs=20)
    recorder.close()


def both_sides(recorder: Recorder) -> list[NDArray[np.float32]]:
    with gevent.Timeout(20):
        pieces = list(recorder.tape.play())
    return [np.concatenate(side) for side in zip(*pieces, strict=True)]


def pitch_of(samples: NDArray[np.float32]) -> float:
    return pitch((samples * 32767).astype(np.int16))
