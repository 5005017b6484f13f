"""The trace of what the engine has heard."""

import json
from pathlib import Path

import pytest

from fsbot.errors import UserError
from fsbot.trace import Trace


def test_lines_are_added_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    for at in (1000.5, 1001.0):
        trace = Trace(path)
        trace.covered(at, "a-uuid", "callee", 2, 1.5)
        trace.close()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"at": at, "call_uuid": "a-uuid", "side": "callee", "utterance": 2, "heard_until": 1.5}
        for at in (1000.5, 1001.0)
    ]


def test_a_file_that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"engine\.trace"):
        Trace(tmp_path / "absent" / "trace.jsonl")
