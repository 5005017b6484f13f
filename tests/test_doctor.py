"""`fsbot doctor` against a stand-in switch, healthy and ill in every way it has."""

import hashlib
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import gevent
import pytest

import fsbot.rehearsal
from fsbot import cli
from fsbot.doctor.findings import Status
from fsbot.doctor.host import language_fits, trial_path
from fsbot.rehearsal.script import CallScript, Hold, Unhold
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import load_sound
from fsbot.switch.recording import RecordingDirectory

SOUND = Path(fsbot.rehearsal.__file__).parent / "sounds" / "demo-fr.flac"
INTERRUPTED = 130

DIMENSIONS = {
    "n_mels": 80,
    "n_audio_ctx": 1500,
    "n_audio_state": 384,
    "n_audio_head": 6,
    "n_audio_layer": 4,
    "n_vocab": 51865,
    "n_text_ctx": 448,
    "n_text_state": 384,
    "n_text_head": 6,
    "n_text_layer": 4,
}


@pytest.fixture
def switch() -> Iterator[RehearsalSwitch]:
    with RehearsalSwitch(originated=CallScript(load_sound(SOUND))) as running:
        yield running


def store_model(folder: Path, vocabulary: int = 51865, content: bytes = b"numbers") -> Path:
    """A model folder whose size and sha256 are those of its sidecar; returns the weights."""
    folder.mkdir(parents=True)
    weights = folder / "model.safetensors"
    weights.write_bytes(content)
    sidecar = {
        "format": 1,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "dims": DIMENSIONS | {"n_vocab": vocabulary},
        "alignment_heads": [[3, 1]],
        "origin": {"source": "a test", "sha256": "", "licence": "MIT"},
    }
    (folder / "model.json").write_text(json.dumps(sidecar))
    return weights


@dataclass
class Seen:
    """What a run of the doctor reported."""

    exit_code: int
    findings: list[dict[str, str]]

    def __getitem__(self, check: str) -> dict[str, str]:
        return [finding for finding in self.findings if finding["check"] == check][-1]

    @property
    def statuses(self) -> dict[str, str]:
        return {finding["check"]: finding["status"] for finding in self.findings}

    def failed(self) -> list[str]:
        return [each["check"] for each in self.findings if each["status"] == "failed"]


Doctor = Callable[..., Seen]


@pytest.fixture
def doctor(
    switch: RehearsalSwitch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Doctor:
    """doctor(flag, …): examine the switch with directories and weights that are fine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("FSBOT_MODELS_DIR", str(tmp_path / "models"))
    store_model(tmp_path / "models" / "base")

    def run(*flags: str) -> Seen:
        exit_code = cli.main(["doctor", "--esl-port", str(switch.port), "--json", *flags])
        lines = capsys.readouterr().out.splitlines()
        return Seen(exit_code, [json.loads(line) for line in lines])

    return run


# A healthy switch


def test_a_live_call_shows_everything_and_is_left_alone(
    doctor: Doctor, switch: RehearsalSwitch, tmp_path: Path
) -> None:
    call = switch.place(CallScript(load_sound(SOUND)))
    seen = doctor("--call", call.uuid)
    assert set(seen.statuses.values()) == {"ok"}
    assert seen.exit_code == 0
    assert seen["growth"]["message"].startswith("first bytes")
    assert not call.finished
    assert [recording.cause for recording in call.recorded] == ["success-maxtime"]
    assert list((tmp_path / "recordings").iterdir()) == []


def test_a_call_is_placed_parked_and_hung_up(doctor: Doctor, switch: RehearsalSwitch) -> None:
    seen = doctor("--originate", "user/1000")
    assert seen.exit_code == 0
    assert (seen["call"]["status"], seen["growth"]["status"]) == ("ok", "ok")
    (call,) = switch.calls
    assert call.finished
    assert call.recorded
    (command,) = [line for line in switch.commands if line.startswith("api originate")]
    assert command.endswith("}user/1000 &park")
    # A bot at work would transcribe it.
    assert "fsbot=false" in command


def test_without_a_call_what_needs_one_is_not_tested(doctor: Doctor) -> None:
    seen = doctor()
    assert seen.exit_code == 0
    assert seen["growth"]["status"] == "not tested"
    assert seen["growth"]["message"].startswith("no call")
    assert seen["recording"]["status"] == "not tested"
    assert seen["shared group"]["status"] == "not tested"  # FreeSWITCH is on another host
    others = seen.statuses.keys() - {"growth", "recording", "shared group"}
    assert {seen.statuses[check] for check in others} == {"ok"}


def test_the_short_form_looks_at_the_event_socket_only(doctor: Doctor, tmp_path: Path) -> None:
    seen = doctor("--test-connection")
    assert seen.statuses == {"event socket": "ok", "FreeSWITCH": "ok"}
    assert not (tmp_path / "recordings").exists()


def test_lines_for_people(
    doctor: Doctor, switch: RehearsalSwitch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["doctor", "--esl-port", str(switch.port), "--test-connection"]
    assert cli.main([*argv, "--esl-password", "wrong"]) == 1
    line, remedy, total = capsys.readouterr().out.splitlines()
    assert line.startswith("failed      event socket   FreeSWITCH at 127.0.0.1")
    assert remedy.strip().startswith("→ Set esl.password")
    assert total == "1 failed"


# No event socket


def test_a_wrong_password(doctor: Doctor) -> None:
    seen = doctor("--esl-password", "hunter2")
    assert seen.exit_code == 1
    assert seen.failed() == ["event socket"]
    assert "refuses the password" in seen["event socket"]["message"]
    assert "esl.password" in seen["event socket"]["remedy"]
    assert "hunter2" not in json.dumps(seen.findings)
    assert seen["growth"]["message"] == "no event socket"
    assert seen["weights"]["status"] == "ok"


def test_an_access_list_that_refuses(doctor: Doctor, switch: RehearsalSwitch) -> None:
    switch.faults.deny_access = True
    seen = doctor("--test-connection")
    assert seen.failed() == ["event socket"]
    assert "apply-inbound-acl" in seen["event socket"]["remedy"]


def test_nobody_listens(doctor: Doctor) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        seen = doctor("--esl-port", str(closed.getsockname()[1]), "--test-connection")
    assert seen.failed() == ["event socket"]
    assert "esl.port" in seen["event socket"]["remedy"]


def test_a_switch_that_does_not_answer(doctor: Doctor, switch: RehearsalSwitch) -> None:
    gevent.spawn_later(0.05, setattr, switch.faults, "mute", True)
    switch.faults.reply_delay = 0.1
    seen = doctor("--esl-request-timeout", "0.5")
    assert seen.failed() == ["event socket"]
    assert seen["event socket"]["remedy"]
    assert seen["disk"]["status"] == "ok"


def test_an_old_switch(doctor: Doctor, switch: RehearsalSwitch) -> None:
    switch.api._commands["version"] = lambda arguments: "FreeSWITCH Version 1.6.20 ( 64bit)\n"
    seen = doctor("--test-connection")
    assert (seen.exit_code, seen["FreeSWITCH"]["status"]) == (0, "warning")
    switch.api._commands["version"] = lambda arguments: "-ERR permission denied\n"
    assert doctor("--test-connection").failed() == ["FreeSWITCH"]


# Directories


def test_directories_that_cannot_be_written(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    in_file = str(tmp_path / "file" / "directory")
    seen = doctor("--recordings-directory", in_file, "--transcripts-directory", in_file)
    assert seen.failed() == ["recordings", "transcripts"]
    assert "recordings.directory" in seen["recordings"]["remedy"]
    assert "transcripts.directory" in seen["transcripts"]["remedy"]
    assert seen["switch's path"]["message"] == "no directory for recordings"


def test_two_names_for_two_directories(
    doctor: Doctor, switch: RehearsalSwitch, tmp_path: Path
) -> None:
    call = switch.place(CallScript(load_sound(SOUND)))
    elsewhere = str(tmp_path / "elsewhere")
    seen = doctor("--recordings-switch-directory", elsewhere, "--call", call.uuid)
    assert seen.failed() == ["switch's path", "switch's path"]
    assert "recordings.switch_directory" in seen["switch's path"]["remedy"]
    assert f"records to {elsewhere}" in seen["switch's path"]["message"]


def test_two_names_for_one_directory(
    doctor: Doctor, switch: RehearsalSwitch, tmp_path: Path
) -> None:
    call = switch.place(CallScript(load_sound(SOUND)))
    (tmp_path / "recordings").mkdir(mode=0o770)
    (tmp_path / "volume").symlink_to(tmp_path / "recordings")
    volume = str(tmp_path / "volume")
    seen = doctor("--recordings-switch-directory", volume, "--call", call.uuid)
    assert seen.failed() == []
    assert volume in seen["switch's path"]["message"]


def test_little_room(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=999_999_999))
    seen = doctor()
    assert (seen.exit_code, seen["disk"]["status"]) == (0, "warning")
    assert "1.0 GB free" in seen["disk"]["message"]
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2_500_000_000))
    assert doctor()["disk"]["status"] == "ok"
    # Four calls in stereo at 48 kHz need 2.76 GB an hour.
    assert doctor("--recordings-sample-rate", "48000")["disk"]["status"] == "warning"


# Recordings


def test_a_recording_is_refused(doctor: Doctor, switch: RehearsalSwitch) -> None:
    call = switch.place(CallScript(load_sound(SOUND)))
    switch.faults.refuse_recording = "-ERR Cannot record session!\n"
    seen = doctor("--call", call.uuid)
    assert seen.failed() == ["recording"]
    assert "Cannot record session!" in seen["recording"]["message"]
    assert "recordings.shared_group" in seen["recording"]["remedy"]
    assert seen["growth"]["message"] == "nothing was recorded"


def test_a_switch_that_buffers(
    doctor: Doctor, switch: RehearsalSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = switch.place(CallScript(load_sound(SOUND)))
    monkeypatch.setattr("fsbot.rehearsal.api.inline_variables", lambda text: {})
    seen = doctor("--call", call.uuid)
    assert seen.failed() == ["growth"]
    assert "up to 65536 at once" in seen["growth"]["message"]
    assert "enable_file_write_buffering=false" in seen["growth"]["remedy"]


def test_a_call_without_audio(doctor: Doctor, switch: RehearsalSwitch, tmp_path: Path) -> None:
    call = switch.place(CallScript(load_sound(SOUND), actions=(Hold(0.0),)))
    assert switch.wait(lambda: call.on_hold, 10)
    seen = doctor("--call", call.uuid)
    assert seen.failed() == ["growth"]
    assert "not a byte within 5.0 s" in seen["growth"]["message"]
    assert "hold" in seen["growth"]["remedy"]
    assert list((tmp_path / "recordings").iterdir()) == []


def test_a_call_with_a_hole(doctor: Doctor, switch: RehearsalSwitch) -> None:
    call = switch.place(CallScript(load_sound(SOUND), actions=(Hold(1.0), Unhold(1.5))))
    seen = doctor("--call", call.uuid)
    assert seen.failed() == ["growth"]
    assert "60 ms" in seen["growth"]["message"]


@pytest.mark.parametrize("uuid", ["no-such-call", "../../etc", "a b"])
def test_no_such_call(doctor: Doctor, switch: RehearsalSwitch, uuid: str) -> None:
    seen = doctor("--call", uuid)
    assert seen.failed() == ["call"]
    assert not any("uuid_record" in command for command in switch.commands)


@pytest.mark.parametrize("dial_string", ["user/nobody", "user/1000\nuuid_kill x"])
def test_nobody_answers(doctor: Doctor, switch: RehearsalSwitch, dial_string: str) -> None:
    switch._originated = None
    seen = doctor("--originate", dial_string)
    assert seen.failed() == ["call"]
    assert seen["growth"]["message"] == "nothing was recorded"


def test_ctrl_c_stops_the_recording_and_hangs_up(
    doctor: Doctor, switch: RehearsalSwitch, tmp_path: Path
) -> None:
    def interrupt() -> None:
        switch.wait(lambda: any(call.recorded for call in switch.calls), 10)
        os.kill(os.getpid(), signal.SIGINT)

    gevent.spawn(interrupt)
    assert doctor("--originate", "user/1000").exit_code == INTERRUPTED
    (call,) = switch.calls
    assert call.finished
    assert switch.commands[-1] == f"api uuid_kill {call.uuid}"
    assert switch.commands[-2].startswith(f"api uuid_record {call.uuid} stop ")
    assert list((tmp_path / "recordings").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heard_while_nothing_waits(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: os.kill(os.getpid(), number))
    seen = doctor()
    assert seen.exit_code == INTERRUPTED
    assert "weights" not in seen.statuses


def test_the_trials_file_is_no_calls(tmp_path: Path) -> None:
    path = trial_path(tmp_path)
    assert RecordingDirectory(tmp_path, tmp_path).identify(str(path)) is None  # type: ignore[arg-type]
    assert path != trial_path(tmp_path)


# Weights


def test_missing_weights(doctor: Doctor) -> None:
    seen = doctor("--model", "small")
    assert seen.failed() == ["weights"]
    assert "fsbot models pull small" in seen["weights"]["remedy"]
    assert seen["language"]["status"] == "not tested"


def test_weights_one_byte_short(doctor: Doctor, tmp_path: Path) -> None:
    os.truncate(tmp_path / "models" / "base" / "model.safetensors", 6)
    seen = doctor()
    assert seen.failed() == ["weights"]
    assert "6 bytes, expected 7" in seen["weights"]["message"]
    assert "fsbot models pull base" in seen["weights"]["remedy"]


def test_weights_that_were_changed(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "models" / "base" / "model.safetensors").write_bytes(b"Numbers")
    seen = doctor()
    assert seen.failed() == ["weights"]
    assert "sha256" in seen["weights"]["message"]


def test_an_english_model_for_french(doctor: Doctor, tmp_path: Path) -> None:
    store_model(tmp_path / "models" / "base.en", vocabulary=51864)
    seen = doctor("--model", "base.en")
    assert seen.failed() == ["language"]
    assert "engine.language is fr" in seen["language"]["message"]
    assert doctor("--model", "base.en", "--language", "en").failed() == []


@pytest.mark.parametrize(
    ("language", "vocabulary", "status"),
    [
        ("en", 51864, Status.OK),
        ("auto", 51864, Status.FAILED),
        ("yue", 51864, Status.FAILED),
        ("auto", 51865, Status.OK),
        ("yue", 51865, Status.FAILED),
        ("yue", 51866, Status.OK),
    ],
)
def test_languages_of_vocabularies(language: str, vocabulary: int, status: Status) -> None:
    assert language_fits("a", language, vocabulary).status is status
