"""What the dialplan's own recording variables do to our recording, and ours to theirs: nothing."""

from collections.abc import Iterator
from pathlib import Path

import gevent
import numpy as np
import pytest
from bench import silence
from numpy.typing import NDArray

from fsbot.audio.follower import Follower
from fsbot.recorder import Recorder
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.studio import Studio
from fsbot.switch.link import Endpoint, Link
from fsbot.switch.recording import RecordingRefused, prepare_directory

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


def complain(error: str, message: str) -> None:
    raise AssertionError(f"{error}: {message}")


@pytest.mark.parametrize("where", ["channel", "global"])
@pytest.mark.parametrize("name", RULING)
def test_the_dialplan_does_not_rule_our_recording(
    name: str, where: str, studio: Studio, switch: RehearsalSwitch
) -> None:
    own = {name: RULING[name]}
    if where == "global":
        switch.core.variables.update(own)
    call = switch.place(CallScript(two_tones(), variables=own if where == "channel" else {}))
    assert switch.wait(lambda: call.legs[0].answered, 10)
    recorder = record(studio, call.uuid)
    assert switch.wait(lambda: call.position > 40, 10)
    file = studio.directory.path(call.uuid, 1)
    # Unbuffered, in stereo, at 16 kHz: what was played 20 ms ago is there.
    assert switch.wait(lambda: file.stat().st_size > 16000 * 4 * 0.4, 10)
    assert switch.wait(lambda: call.finished, 10)
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
