"""The example robot's conversation, text by text, as Whisper writes French callers."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROBOT = Path(__file__).parents[1] / "dialplan" / "robot_freeswitch.py"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("robot_freeswitch", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


robot: Any = load(ROBOT)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Je m'appelle Jean Dupont.", "Jean Dupont"),
        ("Bonjour, je m'appelle Marie Le Goff.", "Marie Le Goff"),
        ("Je m’appelle Nadia.", "Nadia"),
        ("C'est Paul Martin, pour un rendez-vous.", "Paul Martin"),
        ("Mon nom est Durand", "Durand"),
        ("Madame Lefèvre.", "Lefèvre"),
        ("Jean-Pierre à l'appareil.", "Jean-Pierre"),
        ("Dupont", "Dupont"),
        ("Oui, bonjour, je m'appelle Jean Dupont et je voudrais un rendez-vous.", "Jean Dupont"),
        ("Bonjour, Charles de Gaulle.", "Charles de Gaulle"),
        ("M. Dupont.", "Dupont"),
        ("Jean Dupont, s'il vous plaît.", "Jean Dupont"),
        ("Oui.", ""),
        ("Non.", ""),
        ("Allô ?", ""),
        ("Oui, bonjour.", ""),
        ("Je m'appelle.", ""),
        ("C'est pour un rendez-vous.", ""),
        ("Je voudrais prendre un rendez-vous pour la semaine prochaine.", ""),
        ("", ""),
    ],
)
def test_names(text: str, name: str) -> None:
    assert robot.name_in(text) == name


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("Le 12 mars.", "le 12 mars"),
        ("Mardi 12 mars à 14 heures.", "mardi 12 mars à 14 heures"),
        ("Plutôt mardi prochain, à 9h30, si possible.", "mardi prochain, à 9h30"),
        ("Demain à midi.", "demain à midi"),
        ("Après-demain.", "après-demain"),
        ("Aujourd’hui à 10 h.", "aujourd'hui à 10 h"),
        ("le premier avril", "le premier avril"),
        ("Jeudi.", "jeudi"),
        ("Mardi, douze, mars", "mardi, douze, mars"),
        ("Le vingt et un juin.", "le vingt et un juin"),
        ("Le vingt-et-un juin.", "le vingt-et-un juin"),
        ("Demain à quatorze heures.", "demain à quatorze heures"),
        ("Demain matin, à dix heures et demie.", "demain matin, à dix heures et demie"),
        ("Vendredi après-midi.", "vendredi après-midi"),
        ("Quand vous voulez.", ""),
        ("", ""),
    ],
)
def test_days(text: str, day: str) -> None:
    assert robot.day_in(text) == day


def talk(*texts: str | None) -> list[Any]:
    """The replies to what a caller says; None: nothing."""
    dialogue = robot.Dialogue()
    replies = [dialogue.open()]
    for text in texts:
        assert replies[-1].then == "listen"
        replies.append(dialogue.silence() if text is None else dialogue.hear(text))
    return replies


def test_an_appointment() -> None:
    replies = talk("Je m'appelle Jean Dupont.", "Mardi 12 mars à 14 heures.", "Oui, c'est ça.")
    assert replies[0].text.startswith("Bonjour")
    assert "Jean Dupont" in replies[1].text
    assert "mardi 12 mars à 14 heures, au nom de Jean Dupont" in replies[2].text
    assert replies[3].then == "hangup"
    assert "noté" in replies[3].text


@pytest.mark.parametrize("said", [[], ["C'est Marie."], ["C'est Marie.", "Demain."]])
@pytest.mark.parametrize("wish", ["Un conseiller, s'il vous plaît.", "Passez-moi une conseillère"])
def test_an_adviser_at_any_time(said: list[str], wish: str) -> None:
    assert talk(*said, wish)[-1].then == "transfer"


def test_who_says_no_begins_again() -> None:
    replies = talk("C'est Marie.", "Demain.", "Non, pas du tout.", "Anne.", "Lundi.", "Oui.")
    assert "reprenons" in replies[3].text
    assert "au nom de Anne" in replies[5].text
    assert replies[-1].then == "hangup"


def test_a_question_is_said_again() -> None:
    replies = talk("C'est Marie.", "Pardon ?")
    assert replies[2] == replies[1]


@pytest.mark.parametrize("no", ["Non.", "C'est pas ça.", "Ce n'est pas exact."])
def test_no_is_no(no: str) -> None:
    assert "reprenons" in talk("C'est Marie.", "Demain.", no)[-1].text


@pytest.mark.parametrize("here", ["Oui.", "Oui, je suis là.", "Allô ?"])
def test_who_is_still_there_is_asked_again(here: str) -> None:
    replies = talk(None, here, None)
    assert all(robot.NAME in reply.text for reply in replies)


def test_silence_is_asked_about_once() -> None:
    replies = talk(None, None)
    assert "toujours là" in replies[1].text
    assert (replies[2].then, replies[2].text) == ("hangup", robot.GOODBYE)


def test_what_is_not_understood_twice_is_for_a_human() -> None:
    replies = talk("C'est Marie.", "Quand vous voulez.", "N'importe quand.")
    assert "pas compris" in replies[2].text
    assert replies[3].then == "transfer"


def test_the_command_says_how_it_is_used(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROBOT), "--help"], capture_output=True, text=True, check=True
    )
    assert "fsbot rehearse dialplan/robot_freeswitch.py" in done.stdout
    failed = subprocess.run(
        [sys.executable, str(ROBOT), "--password-file", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 1
    assert "none" in failed.stderr
    assert "Traceback" not in failed.stderr
