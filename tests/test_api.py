"""fsbot.api: what it has, what importing it costs, and that users are shown nothing else."""

import ast
import inspect
import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any

import pytest

from fsbot import api

ROOT = Path(__file__).parent.parent
PACKAGES = ("torch", "whisper", "numpy", "gevent", "pydantic", "structlog")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )


def loaded_by(statement: str) -> set[str]:
    """Which of PACKAGES a fresh Python has loaded behind this statement."""
    done = python(f"{statement}\nimport sys, json\nprint(json.dumps(list(sys.modules)))")
    return set(PACKAGES) & set(json.loads(done.stdout))


def test_importing_it_loads_nothing_heavy() -> None:
    assert loaded_by("import fsbot.api") == set()


@pytest.mark.parametrize(
    "name",
    ["TranscriptClient", "Robot", "RobotCall", "Transcription", "parse", "Settings", "joined"],
)
def test_only_names_of_the_engine_load_torch(name: str) -> None:
    assert "torch" not in loaded_by(f"from fsbot.api import {name}")


def test_a_name_of_the_engine_loads_torch() -> None:
    assert "torch" in loaded_by("from fsbot.api import Engine")


def docstring_behind(value: object) -> str:
    """The string behind the assignment of a union, which has no docstring of its own."""
    name, module = next(
        (name, api._MODULE_OF[name]) for name in api.__all__ if getattr(api, name) is value
    )
    source = inspect.getsource(sys.modules[module])
    body = ast.parse(source).body
    for statement, behind in pairwise(body):
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            documented = isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant)
            return str(ast.literal_eval(behind.value)) if documented else ""
    return ""


@pytest.mark.parametrize("name", api.__all__)
def test_every_name_is_there_and_explained(name: str) -> None:
    value: Any = getattr(api, name)
    text = docstring_behind(value) if isinstance(value, UnionType) else value.__doc__
    assert text
    assert not text.startswith(f"{name}("), "that is what dataclass writes by itself"


def test_editors_see_the_names_that_there_are() -> None:
    (block,) = [
        node
        for node in ast.parse(inspect.getsource(api)).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    imported = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == api._MODULE_OF
    assert sorted(imported) == sorted(api.__all__) == sorted(dir(api))


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Bot'"):
        _ = api.Bot


def shown_to_users() -> list[tuple[str, str]]:
    """Every module that README and dialplan/ import from fsbot, with the place."""
    files = [ROOT / "README.md", *sorted((ROOT / "dialplan").iterdir())]
    return [
        (module, f"{file.name}: {line.strip()}")
        for file in files
        for line in file.read_text(encoding="utf-8").splitlines()
        for module in re.findall(r"^\s*(?:from|import)\s+(fsbot[\w.]*)", line)
    ]


def test_readme_and_dialplan_import_nothing_else() -> None:
    found = shown_to_users()
    assert {place.split(":")[0] for _, place in found} == {"README.md", "robot_freeswitch.py"}
    assert [place for module, place in found if module != "fsbot.api"] == []


LOGGING = """
import structlog
from fsbot.api import TranscriptClient
structlog.get_logger("fsbot.switch").info("up")
structlog.get_logger("fsbot.switch").warning("100 %s", peer="a\\nb", password="geheim")
structlog.get_logger("theirs").warning("of the program's own")
"""


def test_a_program_that_has_no_structlog_finds_warnings_on_stderr() -> None:
    done = python(LOGGING)
    assert done.stderr == "100 %s peer='a\\nb' password='********'\n"
    assert "of the program's own" in done.stdout
    assert "up" not in done.stdout.split()


def test_a_program_with_structlog_has_the_lines_where_it_wants_them() -> None:
    configure = "import structlog\nstructlog.configure(processors=[lambda *a: repr(a[2])])\n"
    done = python(configure + LOGGING)
    assert done.stderr == ""
    assert "{'event': 'up'}" in done.stdout


def test_a_mistake_is_logged_with_its_traceback_escaped() -> None:
    done = python(
        "import structlog\n"
        "from fsbot.api import Settings\n"
        "try:\n"
        "    raise ValueError('one\\x1b[2J')\n"
        "except ValueError:\n"
        "    structlog.get_logger('fsbot.client').exception('failed')\n"
    )
    assert done.stderr.startswith("failed\n    Traceback (most recent call last):\n")
    assert done.stderr.endswith("    ValueError: one\\x1b[2J\n")
