"""README holds what it says: settings, commands, records, the listener."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import get_args

import gevent
import jsonschema
import pytest
from gevent import subprocess as green_subprocess

from fsbot import cli
from fsbot.catalogue import by_name, markdown_table
from fsbot.engine.events import Word, WordsCommitted
from fsbot.rehearsal.events import SwitchEvent
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.robot.loading import load_robot
from fsbot.serve.lines import make_lines
from fsbot.switch.connection import Connection
from fsbot.transcript.esl_events import event_of
from fsbot.transcript.records import Record, Transcription, json_schema, parse

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    page: (ROOT / page).read_text(encoding="utf-8")
    for page in ("README.md", "dialplan/README.md", "models/README.md")
}


def blocks(language: str) -> list[str]:
    """The fenced blocks of README in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Every command line of README that begins with fsbot, in blocks and in running text."""
    shown = [line for block in blocks("sh") for line in block.splitlines()]
    shown += re.findall(r"`(fsbot [^`]+)`", README.replace("\n", " "))
    return sorted({line.removeprefix(".venv/bin/") for line in shown if "fsbot " in line[:16]})


@cache
def help_of(*words: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "fsbot", *words, "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def test_settings_are_the_programs() -> None:
    table = re.search(r"<!-- settings: .*? -->\n(.*?)<!-- end of settings -->", README, re.DOTALL)
    assert table is not None
    assert table[1].strip() == markdown_table().strip(), "paste fsbot.catalogue.markdown_table()"


@pytest.mark.parametrize("line", commands())
def test_commands_exist_with_their_flags(line: str) -> None:
    name, *words = shlex.split(line)[1:]
    assert name in cli.COMMANDS
    actions = words[:1] if name == "models" and words else []
    known = help_of(name, *actions)
    for word in words:
        if word.startswith("--"):
            assert word in re.findall(r"--[\w-]+", known)


def test_every_command_is_in_the_table() -> None:
    shown = re.findall(r"^\| `fsbot (\w+)` \|", README, re.MULTILINE)
    assert sorted(shown) == sorted(cli.COMMANDS)


def test_make_has_the_targets_shown() -> None:
    targets = re.findall(r"^make (\w+)", "\n".join(blocks("sh")), re.MULTILINE)
    assert targets[:2] == ["demo", "test"]
    for target in targets:
        subprocess.run(
            ["make", "-n", "-C", str(ROOT), target], capture_output=True, check=True, timeout=60
        )


def test_settings_file_is_valid() -> None:
    (block,) = blocks("toml")
    for section, keys in tomllib.loads(block).items():
        for key in keys:
            assert f"{section}.{key}" in by_name()


def test_settings_named_in_the_text_exist() -> None:
    sections = "|".join({name.split(".")[0] for name in by_name()})
    named = re.findall(rf"`((?:{sections})\.[a-z_]+)`", README)
    assert len(named) > 20
    assert set(named) <= set(by_name())


def test_record_shown_is_one_of_ours() -> None:
    block, _ = blocks("json")
    record = parse(block)
    assert isinstance(record, Transcription)
    jsonschema.validate(json.loads(block), json_schema())
    assert json.loads(record.model_dump_json()) == json.loads(block)


def test_every_kind_of_record_and_every_header_is_explained() -> None:
    kinds = {kind.model_fields["kind"].default for kind in get_args(Record)}
    table = README.split("\n## Records\n")[1].split("\n### ")[0]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)) == kinds
    block, _ = blocks("json")
    for header, _ in event_of(parse(block), "1").headers:
        assert f"| `{header}` |" in README


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    headings = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", PAGES[page], re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        if target.startswith("#"):
            assert target[1:] in headings
        else:
            assert (ROOT / page).parent.joinpath(target).exists()


def test_listener_hears_each_final_text_once(tmp_path: Path) -> None:
    example, *_ = blocks("python")
    block, _ = blocks("json")
    record = parse(block)
    assert isinstance(record, Transcription)
    final = record.model_copy(update={"is_final": True, "sequence": 99, "text": "Au revoir."})
    last = final.model_copy(update={"sequence": 100, "text": "C'est tout."})
    with RehearsalSwitch(password="ClueCon") as switch:
        script = tmp_path / "listener.py"
        script.write_text(example.replace("8021", str(switch.port)))
        listener = green_subprocess.Popen(
            [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        probe = SwitchEvent("CUSTOM", [], subclass="fsbot::transcription")
        assert switch.wait(lambda: any(s.subscription.wants(probe) for s in switch.sessions), 30)
        sender = Connection("127.0.0.1", switch.port, "ClueCon")
        sender.connect()
        for said in (record, final, final, last):
            event = event_of(said, "1")
            sender.send_event(event.subclass, event.headers, event.body)
        with gevent.Timeout(30):
            heard = [listener.stdout.readline().decode() for _ in range(2)]
        sender.stop()
        listener.terminate()  # it would wait for a FreeSWITCH that comes back
        out, err = listener.communicate(timeout=30)
    assert heard == ["callee Au revoir.\n", "callee C'est tout.\n"]
    assert (out, err) == (b"", b"")


def test_the_json_line_shown_is_one_of_simulstreamings() -> None:
    _, block = blocks("json")
    record = json.loads(block)
    words = [
        Word(w["text"].strip(), w["start"], w["end"], 0.9, tuple(w["tokens"]))
        for w in record["words"]
    ]
    event = WordsCommitted(1, tuple(words), tuple(words), (), 2.0, False, "fr")
    (line,) = make_lines("jsonl").of(event, record["emission_time"])
    assert json.loads(line) == record


@pytest.mark.usefixtures("whisper_model")
def test_the_robot_loads(tmp_path: Path) -> None:
    file = tmp_path / "receptionist.py"
    file.write_text(blocks("python")[1])
    assert load_robot(file).__name__ == "Receptionist"


def test_the_engine_in_other_programs() -> None:
    sound = ROOT / "fsbot/rehearsal/sounds/utterance-fr.flac"
    prelude = (
        "import soundfile, soxr\n"
        f"sound, rate = soundfile.read({str(sound)!r}, dtype='float32')\n"
        "samples = soxr.resample(sound, rate, 16000)\n"
    )
    _, _, *examples = blocks("python")
    assert len(examples) == 2
    for example in examples:
        done = subprocess.run(
            [sys.executable, "-c", prelude + example], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert "composé" in done.stdout
