"""Variables of a transcript on its channel: whole, and of the leg that is recorded."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from examples import one_of_each, start_of_transcript

from fsbot.rehearsal.call import Call
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.switch.connection import Connection
from fsbot.switch.errors import ConnectionLost
from fsbot.switch.link import Link
from fsbot.transcript.records import Transcription
from fsbot.variables import ChannelVariables

FINAL = next(record for record in one_of_each() if isinstance(record, Transcription))


class Line:
    """What a Link is to those who use it: a connection, or none at the moment."""

    def __init__(self, port: int) -> None:
        self.up = True
        self._connection = Connection("127.0.0.1", port, "ClueCon")
        self._connection.connect()

    @property
    def connection(self) -> Connection:
        if not self.up:
            raise ConnectionLost("no link")
        return self._connection


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Iterator[RehearsalSwitch]:
    monkeypatch.setattr("fsbot.variables.FIRST_SECONDS", 0.0)
    with RehearsalSwitch() as running:
        yield running


@pytest.fixture
def call(switch: RehearsalSwitch) -> Call:
    return switch.place(CallScript(Sound("silence", 8000, np.zeros(8000, np.int16), None), tail=60))


@pytest.fixture
def line(switch: RehearsalSwitch) -> Line:
    return Line(switch.port)


@pytest.fixture
def expect(switch: RehearsalSwitch, call: Call) -> Callable[..., None]:
    def found(**expected: str) -> None:
        held = call.legs[0].variables
        assert switch.wait(lambda: {name: held.get(name, "") for name in expected} == expected, 10)

    return found


def variables_of(
    line: Line, call: Call, path: str = "/a/b.jsonl", known: int = 0
) -> ChannelVariables:
    return ChannelVariables(cast(Link, line), call.uuid, Path(path), known)


def test_words_of_a_former_run_count(line: Line, call: Call, expect: Callable[..., None]) -> None:
    variables = variables_of(line, call, known=57)
    variables.hear(FINAL)
    expect(fsbot_words="58", fsbot_language="fr")


@pytest.mark.parametrize("path", ["/a b/é,1|2.jsonl", '/a"b^c/d.jsonl'])
def test_a_path_arrives_as_it_is(
    path: str, line: Line, call: Call, expect: Callable[..., None]
) -> None:
    variables = variables_of(line, call, path)
    variables.hear(start_of_transcript(leg_uuid=call.uuid))
    expect(fsbot_transcript_path=path, fsbot_words="0")


@pytest.mark.parametrize(
    "path", ["/a;fsbot=no/b", "/it's/b", "/a\\nb/c", "/${x}/b", "/a\nb/c", "/\udcff"]
)
def test_a_path_that_would_not_is_left_out(
    path: str, line: Line, call: Call, expect: Callable[..., None]
) -> None:
    variables = variables_of(line, call, path)
    variables.hear(start_of_transcript(leg_uuid=call.uuid))
    expect(fsbot_words="0", fsbot_transcript_path="", fsbot="")


def test_what_a_lost_link_has_lost_is_set_later(
    line: Line, switch: RehearsalSwitch, call: Call, expect: Callable[..., None]
) -> None:
    variables = variables_of(line, call)
    line.up = False
    variables.hear(start_of_transcript(leg_uuid=call.uuid))
    assert switch.wait(lambda: not variables._sending, 10)
    line.up = True
    variables.hear(FINAL)
    expect(fsbot_transcript_path="/a/b.jsonl", fsbot_words="1", fsbot_language="fr")


def test_they_go_where_the_recording_goes(
    line: Line, call: Call, expect: Callable[..., None]
) -> None:
    variables = ChannelVariables(cast(Link, line), "a-leg-that-is-gone", Path("/a/b.jsonl"), 4)
    variables.hear(start_of_transcript(recording=2, leg_uuid=call.uuid))
    expect(fsbot_transcript_path="/a/b.jsonl", fsbot_words="4")


def test_a_leg_with_a_strange_name_is_no_command(
    line: Line, switch: RehearsalSwitch, call: Call
) -> None:
    variables = variables_of(line, call)
    variables.hear(start_of_transcript(leg_uuid=f"{call.uuid} fsbot=no;x=y"))
    assert switch.wait(lambda: not variables._sending, 10)
    assert not [command for command in switch.commands if "setvar" in command]
