"""`fsbot run` as a process: its login, its end."""

import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from bench import PATIENCE, Listener, finals, joined, likeness, of_kind, silence
from gevent import subprocess

from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.transcript.journal import read_journal
from fsbot.transcript.records import EndOfTranscript, StartOfTranscript, parse

Start = Callable[..., "Process"]


class Process:
    """A running `fsbot run`."""

    def __init__(self, folder: Path, port: int, *flags: str) -> None:
        self.log = folder / "log"
        settings = ["--esl-port", str(port), "--recordings-directory", str(folder / "recordings")]
        settings += ["--transcripts-directory", str(folder / "transcripts"), *flags]
        with self.log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fsbot", "run", *settings], cwd=folder, stderr=stderr
            )

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, switch: RehearsalSwitch) -> int:
        """Its exit status; the switch goes on meanwhile."""
        assert switch.wait(lambda: self._process.poll() is not None, PATIENCE), self.lines
        return self._process.returncode

    @property
    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def says(self, switch: RehearsalSwitch, text: str) -> None:
        assert switch.wait(lambda: text in self.log.read_text(), PATIENCE), self.lines

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


@pytest.fixture
def start(tmp_path: Path, speech_model: object) -> Iterator[Start]:
    """start(port, flag, …) → `fsbot run`. The weights are on this machine then."""
    processes: list[Process] = []

    def begin(port: int, *flags: str) -> Process:
        processes.append(Process(tmp_path, port, *flags))
        return processes[-1]

    yield begin
    for process in processes:
        process.end()


def test_a_polite_end_in_mid_call(
    switch: RehearsalSwitch, start: Start, utterance: Sound, tmp_path: Path
) -> None:
    listener = Listener(switch.port)
    process = start(switch.port)
    assert switch.wait_for_listener(timeout=PATIENCE)
    call = switch.place(CallScript(utterance, repeat=10))
    assert switch.wait(lambda: len(listener.of(call.uuid)) >= 6, PATIENCE)
    gevent.sleep(max(0.0, 7.0 - listener_seconds(listener, call.uuid)))
    process.send(signal.SIGTERM)
    assert process.wait(switch) == 0

    assert not call.legs[0].recordings, "the recording was not stopped"
    assert switch.live_calls == [call], "the call is not ours to end"
    (path,) = (tmp_path / "transcripts").glob("*/*.jsonl")
    records = list(read_journal(path))
    end = records[-1]
    assert isinstance(end, EndOfTranscript)
    assert end.reason == "shutdown"
    assert likeness(joined(finals(records)), "Le numéro composé n'est pas en service") > 0.4
    assert [parse(event.body) for event in listener.of(call.uuid)] == records
    assert any("transcript ended" in line for line in process.lines)
    listener.close()


def listener_seconds(listener: Listener, uuid: str) -> float:
    return max(parse(event.body).emission_time for event in listener.of(uuid))


def test_a_bot_that_is_killed_and_started_again_in_mid_call(
    switch: RehearsalSwitch, start: Start, tmp_path: Path
) -> None:
    first = start(switch.port)
    assert switch.wait_for_listener(timeout=PATIENCE)
    call = switch.place(CallScript(silence(60)))
    assert switch.wait(lambda: bool(call.legs[0].recordings), PATIENCE)
    others = tmp_path / "others.raw"
    assert "+OK" in switch.api.run(f"uuid_record {call.uuid} start {others}")
    first.send(signal.SIGKILL)
    first.wait(switch)
    assert switch.wait(lambda: not switch.sessions, PATIENCE)
    assert len(call.legs[0].recordings) == 2

    second = start(switch.port)
    ours = str(tmp_path / "recordings" / f"{call.uuid}-2.raw")
    assert switch.wait(lambda: set(call.legs[0].recordings) == {ours, str(others)}, PATIENCE)
    call.hang_up()
    second.says(switch, "transcript ended")
    second.send(signal.SIGTERM)
    assert second.wait(switch) == 0
    (path,) = (tmp_path / "transcripts").glob("*/*.jsonl")
    records = list(read_journal(path))
    assert [record.kind for record in records] == [
        "start_of_transcript",
        "start_of_transcript",
        "end_of_transcript",
    ]
    assert [record.sequence for record in records] == [1, 2, 3]
    starts = of_kind(records, StartOfTranscript)
    assert [record.recording for record in starts] == [1, 2]
    assert starts[0].answered_at == pytest.approx(starts[1].answered_at)


def test_the_second_signal_ends_at_once(switch: RehearsalSwitch, start: Start) -> None:
    process = start(switch.port)
    assert switch.wait_for_listener(timeout=PATIENCE)
    call = switch.place(CallScript(silence(60)))
    assert switch.wait(lambda: bool(call.legs[0].recordings), PATIENCE)
    switch.faults.mute = True  # the polite end waits for an answer now
    process.send(signal.SIGINT)
    process.says(switch, "stopping")
    process.send(signal.SIGINT)
    assert process.wait(switch) == 130
    assert not any("Traceback" in line for line in process.lines)


@pytest.mark.parametrize(
    ("denied", "password", "status", "words"),
    [
        (False, "wrong", 3, ("refuses the password", "esl.password")),
        (True, "ClueCon", 4, ("refuses this machine's address", "apply-inbound-acl")),
    ],
)
def test_a_login_that_is_hopeless(
    denied: bool,
    password: str,
    status: int,
    words: tuple[str, ...],
    switch: RehearsalSwitch,
    start: Start,
) -> None:
    switch.faults.deny_access = denied
    process = start(switch.port, "--esl-password", password)
    assert process.wait(switch) == status
    complaint = [line for line in process.lines if line.startswith("fsbot: ")]
    assert len(complaint) == 1
    text = "\n".join(process.lines)
    assert all(word in text for word in words)
    assert "Traceback" not in text
    assert "wrong" not in text


def test_garbage_is_not_looked_for_among_the_weights(speech_model: object, tmp_path: Path) -> None:
    """A full collection over all that torch loads holds the hub for over 100 ms."""
    script = """
        import gc, fsbot.bot, fsbot.settings
        fsbot.bot.Bot.run = lambda bot: print(gc.get_freeze_count() > len(gc.get_objects()))
        fsbot.bot.run(fsbot.settings.Settings(recordings={"directory": "recordings"}))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"


def test_nobody_there_yet(switch: RehearsalSwitch, start: Start) -> None:
    port = switch.port
    switch.kill()
    process = start(port)
    process.says(switch, "no link to FreeSWITCH, trying again")
    gevent.sleep(4.0)
    assert sum("no link to FreeSWITCH" in line for line in process.lines) == 1
    with RehearsalSwitch(port=port) as late:
        assert late.wait_for_listener(timeout=PATIENCE)
        os.kill(process._process.pid, signal.SIGTERM)
        assert process.wait(late) == 0
