"""The French example robot talks to a recorded caller, both ways."""

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gevent
import pytest
from bench import Bench, silence

from fsbot.rehearsal import playback
from fsbot.rehearsal.call import Call
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import load_sound
from fsbot.rehearsal.trial import Answer, try_robot
from fsbot.robot.loading import load_robot
from fsbot.settings import Settings
from fsbot.switch.connection import Connection
from fsbot.weights.finding import find_file

ROBOT = Path(__file__).parents[2] / "dialplan" / "robot_freeswitch.py"
CALLER = Path(__file__).parents[1] / "fixtures" / "caller"
SAID = [CALLER / f"{name}.flac" for name in ("salut", "mardi-12-mars", "acces-refuse")]
DAY = re.compile(r"rendez-vous mardi,? (?:12|douze),? mars, au nom de Salut tout le monde", re.I)


@pytest.fixture(autouse=True)
def brisk_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playback, "SPOKEN_CHARACTERS", 100.0)


def test_in_fsbots_own_process(speech_model: object) -> None:
    assert find_file("base", None)
    told: list[str] = []
    answers = try_robot(ROBOT, [*SAID, SAID[-1]], Settings(), told.append, pause=0.2)
    dialogue = "\n".join(told)
    robot = [line for line in told if "  robot   " in line]
    assert "Quel est votre nom" in robot[0]
    assert DAY.search(dialogue)
    assert "pas compris" in dialogue
    assert "Je vous passe un conseiller" in dialogue
    assert "[transfer 1000" in robot[-1]
    # What is said is in its order, each answer behind what it answers.
    assert dialogue.index("caller  Salut") < dialogue.index("Merci, Salut tout le monde")
    assert len(answers) == 4
    assert all(isinstance(answer, Answer) and answer.silence >= 0.5 for answer in answers)


def test_one_file_is_played_straight_through(speech_model: object, tmp_path: Path) -> None:
    robot = tmp_path / "robot.py"
    robot.write_text(
        "from fsbot.robot import Robot\n"
        "class Parrot(Robot):\n"
        "    def on_utterance(self, call, utterance):\n"
        "        call.say(utterance.text).wait()\n"
        "        call.hangup()\n"
    )
    told: list[str] = []
    (answer,) = try_robot(robot, SAID[:1], Settings(), told.append)
    assert "caller  Salut tout le monde" in told[0]
    assert "robot   Salut tout le monde" in told[1]
    assert told[-1].endswith("the call is over")
    assert answer.total == pytest.approx(answer.silence + answer.text + answer.robot)


def test_the_command_wants_a_caller(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fsbot", "rehearse", str(ROBOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "fsbot rehearse robot_freeswitch.py caller.wav" in done.stderr


def spoken_to(switch: RehearsalSwitch, call: Call) -> list[str]:
    return [
        event.headers.get("Application-Data")
        for event in switch.fired
        if event.name == "CHANNEL_EXECUTE" and event.headers.get("Application") == "speak"
    ]


def test_as_a_client_of_the_events(bench: Bench, switch: RehearsalSwitch) -> None:
    load_robot(ROBOT)
    robot: ModuleType = sys.modules["fsbot_robot_file"]
    bench.start()
    connection = Connection("127.0.0.1", switch.port, "ClueCon")
    serving = gevent.spawn(robot.serve, connection, "3730", "flite|slt")
    bench.wait(lambda: len(switch.sessions) == 2)
    gevent.sleep(0.3)
    other = switch.place(CallScript(load_sound(SAID[0]), destination="3731", repeat=0))
    call = switch.place(CallScript(silence(1.0), destination="3730", repeat=0))

    def says(number: int) -> Any:
        bench.wait(lambda: len(spoken_to(switch, call)) >= number)
        gevent.sleep(1.0)
        return spoken_to(switch, call)[number - 1]

    assert "Quel est votre nom" in says(1)
    other.hang_up()
    assert call.legs[0].variables["fsbot_robot"] == "true"
    answers = 1
    for sound in (SAID[0], SAID[1]):
        call.say(load_sound(sound))
        answers += 1
        says(answers)
    bench.wait(lambda: any(map(DAY.search, spoken_to(switch, call))) or call.finished)
    for _ in range(2):
        before = len(spoken_to(switch, call))
        call.say(load_sound(SAID[2]))
        bench.wait(lambda before=before: len(spoken_to(switch, call)) > before)  # type: ignore[misc]
        gevent.sleep(0.5)
        if "passe un conseiller" in spoken_to(switch, call)[-1]:
            break
    bench.wait(lambda: f"api uuid_transfer {call.uuid} 1000" in switch.commands)
    assert any(command.startswith(f"api uuid_break {call.uuid}") for command in switch.commands)
    call.hang_up()
    serving.kill()
    connection.stop()
