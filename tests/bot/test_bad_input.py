"""What strangers put into a call: nothing of it is taken for a command, a path or a line."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from bench import Bench, Listener, errors, of_kind, silence

from fsbot.engine.model import SpeechModel
from fsbot.log import ConsoleLine
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.switch.codec import Event, Headers
from fsbot.switch.legs import Leg
from fsbot.switch.uuids import file_stem
from fsbot.transcript.library import find
from fsbot.transcript.records import EndOfTranscript, Failure, StartOfTranscript
from fsbot.weights.architecture import Dimensions
from fsbot.weights.checkpoint import build_whisper
from tests.weights.writers import random_checkpoint

LogLines = list[dict[str, object]]


@pytest.mark.parametrize(
    "uuid", ["a b", "a\nb", "é", "x" * 257, "a'b", "a\\b", "^^:a", "^^:uuid_kill:a"]
)
def test_a_uuid_that_no_command_can_hold(
    uuid: str, bench: Bench, switch: RehearsalSwitch, listener: Listener, tmp_path: Path
) -> None:
    bench.start()
    switch.place(CallScript(silence(30), uuid=uuid))
    sound = switch.place(CallScript(silence(2)))
    bench.transcript(sound.uuid)
    bench.wait(lambda: [event for event in listener.events if b"unsafe_uuid" in event.body])
    assert [path.name for path in bench.recordings.glob("*.raw")] == [f"{sound.uuid}-1.raw"]
    assert [path.stem for path in bench.transcripts.glob("*/*.jsonl")] == [sound.uuid]
    assert {path.name for path in tmp_path.iterdir()} == {"recordings", "transcripts"}
    recorded = [line for line in switch.commands if "uuid_record" in line]
    assert all(line.split()[2] == sound.uuid for line in recorded)
    (event,) = [event for event in listener.events if b"unsafe_uuid" in event.body]
    assert event.subclass == "fsbot::error"
    assert event.headers.get("Fsbot-Sequence") == "1"
    assert json.loads(event.body)["error"] == "unsafe_uuid"


@pytest.mark.parametrize(
    "uuid",
    [
        "../../outside",
        "..",
        "-;reboot",
        "a84b4c76e66710@pc33.example.com",
        '-.!%*_+`~()<>:"/[]?{}@,;|&$#=^',
        "0123456789@" * 23,
    ],
)
def test_a_uuid_that_is_no_file_name(
    uuid: str, bench: Bench, switch: RehearsalSwitch, listener: Listener, tmp_path: Path
) -> None:
    """As telephones choose them, with inbound-use-callid-as-uuid."""
    bench.start()
    call = switch.place(CallScript(silence(30), uuid=uuid))
    bench.wait(lambda: bench.recorded(uuid) and bench.recorded(uuid)[0].stat().st_size)
    (path,) = bench.recorded(uuid)
    assert path == bench.recordings / f"{file_stem(uuid)}-1.raw"
    call.hang_up()
    records = bench.transcript(uuid)
    assert {record.call_uuid for record in records} == {uuid}
    assert errors(records) == []
    assert of_kind(records, StartOfTranscript)[0].path == str(path)
    assert bench.journal_path(uuid) == find(bench.transcripts, uuid)
    assert find(bench.transcripts, uuid) == find(bench.transcripts, uuid[:9])
    bench.wait(lambda: len(listener.of(uuid)) == len(records))
    assert {path.name for path in tmp_path.iterdir()} == {"recordings", "transcripts"}


def test_the_recording_of_such_a_uuid_is_deleted(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start(recordings={"retention": "on_close"})
    call = switch.place(CallScript(silence(1), uuid="a84b4c76e66710@pc33.example.com"))
    bench.transcript(call.uuid)
    bench.wait(lambda: not list(bench.recordings.glob("*.raw")))


def test_line_ends_in_a_caller_id(
    bench: Bench, switch: RehearsalSwitch, listener: Listener, log_lines: LogLines
) -> None:
    bench.start()
    forged = "1%0AEvent-Name: CHANNEL_DESTROY%0AUnique-ID: forged%0A%0Aevent"
    call = switch.place(CallScript(silence(0.5), caller_number=forged, caller_name=forged))
    records = bench.transcript(call.uuid)
    start = records[0]
    assert isinstance(start, StartOfTranscript)
    assert start.caller == "1\nEvent-Name: CHANNEL_DESTROY\nUnique-ID: forged\n\nevent"
    path = bench.journal_path(call.uuid)
    assert path is not None
    assert len(path.read_bytes().splitlines()) == len(records)
    bench.wait(lambda: len(listener.of(call.uuid)) == len(records))
    for event in listener.of(call.uuid):
        assert event.name == "CUSTOM"
        assert "Unique-ID" not in event.headers
    (line,) = [line for line in log_lines if line["event"] == "call answered"]
    entry = dict(line, level="info", timestamp="", logger="fsbot.bot")
    assert "\n" not in ConsoleLine(colours=False)(None, "info", entry)


def test_orders_to_a_terminal_in_a_caller_id(
    bench: Bench, switch: RehearsalSwitch, listener: Listener, log_lines: LogLines
) -> None:
    bench.start()
    orders = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e%1B[2K\b\r"
    call = switch.place(CallScript(silence(0.5), caller_number=orders, caller_name=orders))
    records = bench.transcript(call.uuid)
    start = records[0]
    assert isinstance(start, StartOfTranscript)
    assert start.caller == orders.replace("%1B", "\x1b")
    path = bench.journal_path(call.uuid)
    assert path is not None
    assert len(path.read_bytes().splitlines()) == len(records)
    bench.wait(lambda: len(listener.of(call.uuid)) == len(records))
    for event in listener.of(call.uuid):
        assert all(value.isprintable() for _, value in event.headers.items())
    (line,) = [line for line in log_lines if line["event"] == "call answered"]
    entry = dict(line, level="info", timestamp="", logger="fsbot.bot")
    assert ConsoleLine(colours=False)(None, "info", entry).isprintable()


def test_a_caller_whose_name_and_number_are_not_utf8(
    bench: Bench, switch: RehearsalSwitch, listener: Listener
) -> None:
    bench.start()
    call = switch.place(
        CallScript(silence(0.5), caller_number="06\udcff12", caller_name="Am\udce9lie")
    )
    records = bench.transcript(call.uuid)
    start = records[0]
    assert isinstance(start, StartOfTranscript)
    assert start.caller == "06\ufffd12"
    assert of_kind(records, EndOfTranscript)[0].reason == "hangup"
    bench.wait(lambda: len(listener.of(call.uuid)) == len(records))


def test_a_language_that_nobody_speaks(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    unknown = switch.place(CallScript(silence(0.5), variables={"fsbot_language": "klingon"}))
    english = switch.place(CallScript(silence(0.5), variables={"fsbot_language": "English"}))
    records = bench.transcript(unknown.uuid)
    assert errors(records) == ["unknown_language"]
    assert "'klingon'" in of_kind(records, Failure)[0].message
    assert of_kind(records, StartOfTranscript)[0].language_code == "fr"
    assert of_kind(records, EndOfTranscript)[0].reason == "hangup"
    records = bench.transcript(english.uuid)
    assert of_kind(records, StartOfTranscript)[0].language_code == "en"
    assert errors(records) == []


@pytest.fixture
def english_bench(switch: RehearsalSwitch, tmp_path: Path) -> Iterator[Bench]:
    """With a model that knows English only."""
    dims = Dimensions(80, 1500, 16, 2, 2, 51864, 448, 16, 2, 2)
    whisper = build_whisper(random_checkpoint(dims, torch.float32))
    under_test = Bench(switch, SpeechModel(whisper), tmp_path)
    yield under_test
    under_test.stop()


@pytest.mark.parametrize("wish", ["fr", "auto", "yue"])
def test_a_language_that_the_model_does_not_know(
    english_bench: Bench, switch: RehearsalSwitch, wish: str
) -> None:
    english_bench.start(engine={"language": "en"})
    call = switch.place(CallScript(silence(0.5), variables={"fsbot_language": wish}))
    records = english_bench.transcript(call.uuid)
    assert errors(records) == ["unknown_language"]
    assert f"fsbot_language={wish!r}" in of_kind(records, Failure)[0].message
    assert "knows English only" in of_kind(records, Failure)[0].message
    assert of_kind(records, StartOfTranscript)[0].language_code == "en"
    assert of_kind(records, EndOfTranscript)[0].reason == "hangup"


@pytest.mark.parametrize("prompt", ["Asterisk%0A\tNuméris%00", "\udcff\udcfe", "é" * 5000])
def test_a_prompt_with_anything_in_it(prompt: str, bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    variables = {"fsbot_prompt": prompt, "fsbot_hotwords": f"{prompt},,"}
    call = switch.place(CallScript(silence(0.5), variables=variables))
    records = bench.transcript(call.uuid)
    assert errors(records) == []
    assert of_kind(records, EndOfTranscript)[0].reason == "hangup"


@pytest.mark.parametrize(
    ("variables", "prompt"),
    [
        ({}, "Cabinet Martin"),
        ({"fsbot_prompt": "Dupont,  Valence"}, "Dupont, Valence"),
        ({"fsbot_hotwords": "Nadia,, Metz ,"}, "Cabinet Martin Nadia, Metz"),
        ({"fsbot_prompt": "Dupont", "fsbot_hotwords": "Nadia"}, "Dupont Nadia"),
    ],
)
def test_hotwords_stand_behind_whichever_prompt(
    variables: dict[str, str], prompt: str, bench: Bench
) -> None:
    bench.start(engine={"static_prompt": "Cabinet Martin"})
    headers = [("Unique-ID", "1"), *((f"variable_{n}", v) for n, v in variables.items())]
    leg = Leg.from_event(Event(Headers(headers), b""))
    assert bench.bot._house.stream_options_for(leg, "fr").static_prompt == prompt
