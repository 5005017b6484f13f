"""`fsbot serve` as a process, and as a part of `fsbot run`."""

import json
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from gevent import subprocess
from jiwer import wer
from peers import PATIENCE, SAID, SOUNDS, UTTERANCE, plain, text_of

from fsbot.rehearsal.server import RehearsalSwitch


class Process:
    """A running `fsbot serve`, or `fsbot run --serve`."""

    def __init__(self, folder: Path, *argv: str) -> None:
        self.log = folder / "log"
        port = [] if "--port" in argv else ["--serve-port", "0"]
        command = [sys.executable, "-m", "fsbot", *argv, *port]
        with self.log.open("wb") as stderr:
            self.child = subprocess.Popen(
                [*command, "--log-format", "json"], cwd=folder, stderr=stderr
            )

    def port(self) -> int:
        """Where it serves, once it does."""
        waited = threading.Event()
        for _ in range(int(PATIENCE * 10)):
            for line in self.log.read_text().splitlines():
                if '"serving"' in line:
                    return int(json.loads(line)["port"])
            assert self.child.poll() is None, self.log.read_text()
            waited.wait(0.1)
        raise AssertionError(self.log.read_text())


def ask(port: int, sound: bytes) -> list[str]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        sock.sendall(sound)
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("r", encoding="utf-8", newline="\n") as stream:
            return list(stream)


@pytest.fixture
def processes(speech_model: object) -> Iterator[list[Process]]:
    """Those that a test has started; the weights are on this machine then."""
    started: list[Process] = []
    yield started
    for process in started:
        if process.child.poll() is None:
            process.child.kill()
        process.child.wait()


def test_a_process_serves_and_ends_politely(processes: list[Process], tmp_path: Path) -> None:
    process = Process(tmp_path, "serve", "--jsonl", "--warmup-file", str(SOUNDS / "demo-fr.flac"))
    processes.append(process)
    records = [json.loads(line) for line in ask(process.port(), UTTERANCE)]
    assert wer(SAID, plain("".join(record.get("text", "") for record in records))) < 0.3
    # Who is in mid-sentence gets what was said.
    with socket.create_connection(("127.0.0.1", process.port()), timeout=PATIENCE) as sock:
        sock.sendall(UTTERANCE)
        assert sock.recv(1)
        process.child.send_signal(signal.SIGTERM)
        with sock.makefile("r", encoding="utf-8", newline="\n") as stream:
            rest = [json.loads(line) for line in ("{" + stream.read()).splitlines()]
    assert rest[-1]["is_final"] is True
    assert process.child.wait(PATIENCE) == 0
    assert "Traceback" not in process.log.read_text()
    # Nothing that was said is in a log of JSON.
    assert "numéro" not in process.log.read_text()


def test_calls_and_clients_by_the_same_engine(processes: list[Process], tmp_path: Path) -> None:
    with RehearsalSwitch() as switch:
        flags = ["--esl-port", str(switch.port), "--recordings-directory", str(tmp_path / "r")]
        process = Process(tmp_path, "run", "--serve", *flags)
        processes.append(process)
        port = process.port()
        answers: list[list[str]] = []
        asking = threading.Thread(target=lambda: answers.append(ask(port, UTTERANCE)))
        asking.start()
        assert switch.wait(lambda: not asking.is_alive(), PATIENCE)
        (lines,) = answers
        assert wer(SAID, plain(text_of(lines))) < 0.3
        process.child.send_signal(signal.SIGINT)
        assert switch.wait(lambda: process.child.poll() is not None, PATIENCE)
        assert process.child.returncode == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--host", "0.0.0.0"], "can be reached from other machines"),
        (["--warmup-file", "none.wav"], "there is no sound file none.wav"),
        (["--decoder", "greedy", "--beams", "3"], "--decoder greedy does not fit"),
        (["--rate", "4000"], "serve.rate"),
        (["--max-clients", "0"], "serve.max_clients"),
    ],
)
def test_a_users_mistake_is_a_sentence(tmp_path: Path, flags: list[str], message: str) -> None:
    process = Process(tmp_path, "serve", *flags)
    assert process.child.wait(PATIENCE) == 2
    said = process.log.read_text()
    assert message in said
    assert "Traceback" not in said


def test_a_busy_port_is_told_before_the_weights_are_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        process = Process(tmp_path, "serve", "--port", str(other.getsockname()[1]))
        assert process.child.wait(PATIENCE) == 2
    assert "another program listens there" in process.log.read_text()
    assert "loading weights" not in process.log.read_text()
