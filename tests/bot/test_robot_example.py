"""The French example robot talks to a recorded caller, both ways."""

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gevent
import pytest
from bench import Bench, finals, silence

from fsbot.client import TranscriptClient
from fsbot.rehearsal import playback
from fsbot.rehearsal.call import Call
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound, load_sound
from fsbot.rehearsal.trial import Answer, try_robot
from fsbot.robot.loading import load_robot
from fsbot.settings import Settings
from fsbot.weights.finding import find_file

ROBOT = Path(__file__).parents[2] / "dialplan" / "robot_freeswitch.py"
CALLER = Path(__file__).parents[1] / "fixtures" / "caller"
NAME, DAY, YES, RECEPTION = (
    CALLER / f"{name}.flac"
    for name in ("juliette-charlie", "mardi-12-mars", "c-est-exact", "la-reception")
)
CONFIRMED = re.compile(r"rendez-vous mardi,? (?:12|douze),? mars, au nom de Juliette", re.I)


@pytest.fixture(autouse=True)
def brisk_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playback, "SPOKEN_CHARACTERS", 100.0)


def test_in_fsbots_own_process(speech_model: object) -> None:
    assert find_file("base", None)
    told: list[str] = []
    answers = try_robot(ROBOT, [NAME, DAY, YES], Settings(), told.append)
    dialogue = "\n".join(told)
    robot = [line for line in told if "  robot   " in line]
    assert "Quel est votre nom" in robot[0]
    assert CONFIRMED.search(dialogue)
    assert "C'est noté, Juliette" in robot[-1]
    assert told[-1].endswith("the call is over")
    # What is said is in its order, each answer behind what it answers.
    assert dialogue.index("caller  Juliette") < dialogue.index("Merci, Juliette")
    assert len(answers) == 3
    assert all(isinstance(answer, Answer) and answer.silence >= 0.5 for answer in answers)


def test_one_file_is_played_straight_through(speech_model: object, tmp_path: Path) -> None:
    robot = tmp_path / "robot.py"
    robot.write_text(
        "from fsbot.api import Robot\n"
        "class Parrot(Robot):\n"
        "    def on_utterance(self, call, utterance):\n"
        "        call.say(utterance.text).wait()\n"
        "        call.hangup()\n"
    )
    told: list[str] = []
    (answer,) = try_robot(robot, [NAME], Settings(), told.append)
    assert "caller  Juliette" in told[0]
    assert "robot   Juliette" in told[1]
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


def test_as_a_client_of_the_events(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_robot(ROBOT)
    robot: ModuleType = sys.modules["fsbot_robot_file"]
    monkeypatch.setattr(robot, "SPEAKING", 100.0)
    monkeypatch.setattr(robot, "PATIENCE", 4.0)
    bench.start()
    client = TranscriptClient("127.0.0.1", switch.port, kinds=robot.KINDS)
    client.open()
    serving = gevent.spawn(robot.serve, client, "3730", "flite|slt")
    other = switch.place(CallScript(load_sound(NAME), destination="3731", repeat=0))
    # As dialplan/fsbot.xml has it: the recording goes on behind the robot's texts.
    variables = {"send_silence_when_idle": "-1"}
    script = CallScript(silence(1.0), destination="3730", repeat=0, variables=variables)
    call = switch.place(script)

    def says(number: int) -> Any:
        bench.wait(lambda: len(spoken_to(switch, call)) >= number)
        gevent.sleep(1.0)
        return spoken_to(switch, call)[number - 1]

    assert "Quel est votre nom" in says(1)
    other.hang_up()
    assert call.legs[0].variables["fsbot_robot"] == "true"
    call.say(utterance)  # begins in time, and takes longer than a silent caller would be given
    assert "pas compris" in says(2)
    call.say(load_sound(NAME))
    assert "Merci, Juliette" in says(3)
    call.say(load_sound(RECEPTION))
    assert "passe un conseiller" in says(4)
    bench.wait(lambda: f"api uuid_transfer {call.uuid} 1000" in switch.commands)
    broken_off = switch.commands.count(f"api uuid_break {call.uuid} all")
    assert broken_off == 3  # each time that the caller has begun to speak
    # What the caller says to somebody else is none of the robot's business.
    call.say(load_sound(NAME))
    bench.wait(lambda: len(finals(bench.journal(call.uuid))) > 3)
    assert switch.commands.count(f"api uuid_break {call.uuid} all") == broken_off
    call.hang_up()
    client.close()
    serving.get(timeout=10)
