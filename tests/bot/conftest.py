"""A bot, a stand-in FreeSWITCH and a second client of its event socket, all in this process."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench import UTTERANCE, Bench, Listener
from processes import Process, Start
from robots import HEADER, Told, free_port

from fsbot.engine.model import SpeechModel
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound, load_sound


@pytest.fixture
def switch() -> Iterator[RehearsalSwitch]:
    with RehearsalSwitch() as running:
        yield running


@pytest.fixture
def bench(switch: RehearsalSwitch, speech_model: SpeechModel, tmp_path: Path) -> Iterator[Bench]:
    under_test = Bench(switch, speech_model, tmp_path)
    yield under_test
    under_test.stop()


@pytest.fixture
def listener(switch: RehearsalSwitch) -> Iterator[Listener]:
    client = Listener(switch.port)
    yield client
    client.close()


@pytest.fixture(scope="session")
def utterance() -> Sound:
    return load_sound(UTTERANCE)


@pytest.fixture(scope="session")
def turn() -> dict[str, Any]:
    """The one turn of the utterance: its text, and when it is spoken."""
    turns = json.loads(UTTERANCE.with_suffix(".json").read_text())["turns"]
    assert len(turns) == 1
    return dict(turns[0])


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


@pytest.fixture
def hand_over(bench: Bench, tmp_path: Path) -> Callable[..., tuple[str, Told]]:
    """hand_over(source) → where calls are to be sent, and what the robots tell."""

    def begin(source: str, **sections: dict[str, Any]) -> tuple[str, Told]:
        file = tmp_path / "robot.py"
        file.write_text(HEADER + source)
        port = free_port()
        robot = {"file": file, "port": port} | sections.pop("robot", {})
        bench.start(robot=robot, **sections)
        told: Told = sys.modules["fsbot_robot_file"].told
        return f"127.0.0.1:{port}", told

    return begin
