"""`fsbot run` as a process: its login, its end."""

import os
import signal
import sys
import textwrap
from pathlib import Path

import gevent
import pytest
from bench import PATIENCE, Listener, finals, joined, likeness, silence
from gevent import subprocess
from processes import Start

from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.transcript.journal import read_journal
from fsbot.transcript.records import EndOfTranscript, parse


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
