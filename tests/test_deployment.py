"""What surrounds the program: requirements, Makefile, containers, dialplan."""

import ast
import configparser
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fsbot.catalogue import all_settings
from fsbot.switch.codec import Event, Headers
from fsbot.switch.legs import Leg

ROOT = Path(__file__).parent.parent

# Where a distribution's name is not the name to import; mypy, ruff and their kind are run.
IMPORTED_AS = {
    "openai-whisper": "whisper",
    "pyyaml": "yaml",
}
RUN_NOT_IMPORTED = {"check-jsonschema", "mypy", "pytest-timeout", "ruff"}


def required(option: str, section: str = "options") -> set[str]:
    """Top-level modules of the requirements in setup.cfg, those that are only run left out."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    names = {
        re.split(r"[<>=~!\[; ]", line)[0].lower()
        for line in setup[section][option].splitlines()
        if line
    }
    return {IMPORTED_AS.get(n, n.replace("-", "_")) for n in names - RUN_NOT_IMPORTED}


def imported(*folders: str) -> set[str]:
    """Top-level modules that the code in these folders imports from outside."""
    own = {"fsbot", "tests"} | {path.stem for path in (ROOT / "tests").rglob("*.py")}
    found = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - own - sys.stdlib_module_names


def test_what_the_program_imports_is_what_it_requires() -> None:
    assert imported("fsbot") == required("install_requires")


def test_what_the_tests_import_is_required_for_development() -> None:
    extras = "options.extras_require"
    development = required("dev", extras) | required("fuzz", extras)
    assert imported("tests") - required("install_requires") == development


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    return subprocess.run(
        ["make", "--directory", str(ROOT), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
    )


def test_make_names_the_python_it_wants(tmp_path: Path) -> None:
    old = tmp_path / "python2"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make("demo", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert done.returncode != 0
    assert "fsbot needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_sets_up_an_environment_once(target: str, tmp_path: Path) -> None:
    fresh = make("-n", target, f"VENV={tmp_path}", "TORCH_INDEX=https://torch.example/cpu")
    assert "pip install" in fresh.stdout
    assert "--extra-index-url https://torch.example/cpu -c constraints.txt" in fresh.stdout
    (tmp_path / "installed").touch()
    again = make("-n", target, f"VENV={tmp_path}")
    assert again.returncode == 0
    assert "pip install" not in again.stdout


def test_ci_runs_the_test_command() -> None:
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == "exec make test"


def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return content


def judge_compose(path: Path) -> subprocess.CompletedProcess[str]:
    """check-jsonschema carries the Compose specification's schema."""
    checker = (sys.executable, "-m", "check_jsonschema")
    return subprocess.run(
        [*checker, "--builtin-schema", "vendor.compose-spec", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_compose_file_follows_the_specification(tmp_path: Path) -> None:
    done = judge_compose(ROOT / "docker-compose.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text((ROOT / "docker-compose.yml").read_text().replace("depends_on", "depend_on"))
    assert "depend_on" in judge_compose(wrong).stdout


def test_containers_share_the_recordings_under_one_name() -> None:
    services = compose()["services"]
    recordings = re.search(r"FSBOT_RECORDINGS_DIRECTORY=(\S+)", (ROOT / "Dockerfile").read_text())
    assert recordings is not None
    for service in services.values():
        volume, mounted = service["volumes"][0].split(":")
        assert volume in compose()["volumes"]
        assert str(Path(recordings[1]).parent) == mounted


def test_containers_set_settings_that_exist() -> None:
    known = {setting.environment for setting in all_settings()}
    of_compose = set(compose()["services"]["fsbot"]["environment"])
    of_image = set(re.findall(r"(FSBOT_\w+)=", (ROOT / "Dockerfile").read_text()))
    assert of_compose <= known
    assert of_image <= known
    assert len(of_compose) == 3
    assert len(of_image) == 2


def test_image_copies_what_is_there_and_nothing_ignored() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sent = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines()]
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
        assert any(line.split("/")[0] == name for line in sent)


LEG = Leg.from_event(Event(Headers([("Unique-ID", "1")]), b""))


def leg_after(extension: ElementTree.Element) -> Leg:
    """The leg as fsbot sees it when the extension's `set` actions have run."""
    pairs = [("Unique-ID", "1")]
    for action in extension.iter("action"):
        if action.get("application") == "set":
            name, _, value = str(action.get("data")).partition("=")
            pairs.append((f"variable_{name}", value))
    return Leg.from_event(Event(Headers(pairs), b""))


DIALPLANS = sorted((ROOT / "dialplan").glob("*.xml"))


def extensions(name: str) -> dict[str, ElementTree.Element]:
    root = ElementTree.parse(ROOT / "dialplan" / name).getroot()
    assert root.tag == "include"
    return {str(extension.get("name")): extension for extension in root.iter("extension")}


def matches(extension: ElementTree.Element, number: str) -> bool:
    (condition,) = extension.iter("condition")
    return re.search(str(condition.get("expression")), number) is not None


def test_dialplan_sets_what_fsbot_reads() -> None:
    legs = [leg_after(extension) for extension in extensions("fsbot.xml").values()]
    prompt = "Dupont, Valence, numéro de dossier"
    assert legs == [
        replace(LEG, language="fr", prompt=prompt),
        replace(LEG, language="en"),
        replace(LEG, declined=True),
        replace(LEG, language="fr"),
        replace(LEG, language="fr"),
        LEG,
    ]


def test_every_call_is_told_about_and_some_are_left_out() -> None:
    first, *left_out = extensions("every_call.xml").values()
    told = leg_after(first)
    assert (told.language, told.hotwords) == ("fr", "${caller_id_name}")
    assert told.prompt
    assert all(leg_after(extension).declined for extension in left_out)
    assert all(extension.get("continue") == "true" for extension in (first, *left_out))
    assert [
        matches(left_out[0], number) for number in ("0639980099", "+33639980099", "10639980099")
    ] == [
        True,
        True,
        False,
    ]


def test_one_extension_alone_is_transcribed() -> None:
    elsewhere, only = extensions("one_extension.xml").values()
    assert elsewhere.get("continue") == "true"
    (refusal,) = elsewhere.iter("anti-action")
    assert (refusal.get("application"), refusal.get("data")) == ("set", "fsbot=false")
    for number, taken in (("3731", True), ("37310", False), ("1000", False)):
        assert matches(elsewhere, number) == matches(only, number) == taken


def test_a_caller_whom_no_robot_takes_goes_on() -> None:
    robots = extensions("fsbot.xml")
    handed_over = [action.get("application") for action in robots["fsbot robot"].iter("action")]
    assert handed_over[handed_over.index("socket") + 1 :] == ["answer", "playback", "bridge"]
    *_, last = robots["fsbot robot by events"].iter("action")
    assert last.get("application") == "transfer"
    assert matches(robots["fsbot robot listens"], str(last.get("data")).split()[4])


@pytest.mark.parametrize("path", DIALPLANS, ids=[path.name for path in DIALPLANS])
def test_dialplan_sets_variables_before_the_answer(path: Path) -> None:
    root = ElementTree.parse(path).getroot()
    for condition in root.iter("condition"):
        re.compile(str(condition.get("expression", "")))
        actions = [str(action.get("application")) for action in condition.iter("action")]
        waiting = [n for n, each in enumerate(actions) if each in ("answer", "bridge", "socket")]
        assert "set" not in actions[min(waiting, default=len(actions)) :]
