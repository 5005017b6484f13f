"""The transcript for clients of other ecosystems, and on the channel itself."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from bench import PATIENCE, Bench, Listener, as_sent, errors, finals, likeness, of_kind

from fsbot.rehearsal.events import SwitchEvent
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.switch.codec import Event
from fsbot.switch.connection import Connection
from fsbot.transcript.records import StartOfTranscript

LogLines = list[dict[str, object]]
GOOGLE = [
    f"google_transcribe::{name}"
    for name in (
        "start_of_transcript",
        "vad_detected",
        "transcription",
        "end_of_utterance",
        "end_of_transcript",
    )
]


class Endpoint:
    """As drachtio-fsmrf has it: custom events of one channel, known by its Unique-ID; as jambonz
    has it, without those of another's media bug."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.bugname = "jambonz-transcribe"
        self.heard: list[tuple[str, Any]] = []
        self._listeners: dict[str, Callable[[Any], object]] = {}

    def add_custom_event_listener(self, subclass: str) -> None:
        self._listeners[subclass] = lambda body: self.heard.append((subclass, body))

    def take(self, event: Event) -> None:
        if event.headers.get("media-bugname") not in ("", self.bugname):
            return
        if event.headers.get("Unique-ID") == self.uuid:
            assert event.headers.get("transcription-vendor") == "google"
            listener = self._listeners[event.headers.get("Event-Subclass")]
            listener(json.loads(event.body) if event.body else None)


@pytest.fixture
def media_server(switch: RehearsalSwitch) -> Iterator[list[Event]]:
    """A client that listens as drachtio does; all events that it gets."""
    events: list[Event] = []
    client = Connection("127.0.0.1", switch.port, "ClueCon")
    client.register_handle("*", events.append)
    client.connect()
    client.subscribe((), GOOGLE)
    yield events
    client.stop()


def test_code_written_for_drachtios_modules_hears_the_caller(
    bench: Bench,
    switch: RehearsalSwitch,
    listener: Listener,
    media_server: list[Event],
    utterance: Sound,
    turn: dict[str, Any],
) -> None:
    bench.start(events={"compatibility": ["google_transcribe"]})
    call = switch.place(CallScript(utterance))
    endpoint = Endpoint(call.uuid)
    for subclass in GOOGLE:
        endpoint.add_custom_event_listener(subclass)
    records = bench.transcript(call.uuid)
    bench.wait(lambda: media_server and media_server[-1].headers.get("Event-Subclass") == GOOGLE[4])
    for event in media_server:
        endpoint.take(event)
    kinds = [kind for kind, _ in endpoint.heard]
    assert (kinds[0], kinds[-1]) == (GOOGLE[0], GOOGLE[4])
    assert set(kinds) == set(GOOGLE)
    results = [body for kind, body in endpoint.heard if kind == GOOGLE[2]]
    final = [each for each in results if each["is_final"]]
    said = " ".join(each["alternatives"][0]["transcript"] for each in final)
    assert likeness(said, turn["text"]) >= 0.8
    assert [each["is_final"] for each in results].count(False) >= 2
    for each in results:
        assert set(each) == {
            "stability",
            "is_final",
            "language_code",
            "channel_tag",
            "result_end_time",
            "alternatives",
        }
    # The events of our own are all there, once, in their order.
    bench.wait(lambda: len(listener.of(call.uuid)) == len(records))
    bodies = [json.loads(event.body) for event in listener.of(call.uuid)]
    assert bodies == [as_sent(record) for record in records]


def test_a_switch_that_cannot_fire_them_is_told_of_once(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound, log_lines: LogLines
) -> None:
    del switch.api._commands["lua"]  # mod_lua is not loaded
    bench.start(events={"compatibility": ["google_transcribe"]})
    call = switch.place(CallScript(utterance))
    records = bench.transcript(call.uuid)
    assert finals(records)
    assert errors(records) == []
    told = [line for line in log_lines if line["event"] == "events in another shape are refused"]
    assert [line["mode"] for line in told] == ["google_transcribe"]
    assert "mod_lua" in str(told[0]["remedy"])


def test_a_script_on_the_channel_detects_speech(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound, turn: dict[str, Any]
) -> None:
    bench.start(events={"compatibility": ["detected_speech"]})
    others: list[Event] = []
    other = Connection("127.0.0.1", switch.port, "ClueCon")
    other.register_handle("DETECTED_SPEECH", others.append)
    other.connect()
    other.subscribe(["DETECTED_SPEECH"])
    call = switch.place(CallScript(utterance, tail=PATIENCE))
    heard: list[tuple[str, str]] = []

    def on_input(event: SwitchEvent) -> None:
        """A script's input callback, as mod_lua calls it."""
        assert event.name == "DETECTED_SPEECH"
        kind = event.headers.get("Speech-Type")
        text = ""
        if kind == "detected-speech":
            interpretation = ElementTree.fromstring(event.body).find("interpretation")
            assert interpretation is not None
            assert 0 <= int(interpretation.attrib["confidence"]) <= 100
            text = interpretation.findtext("input", "")
        heard.append((kind, text))

    call.legs[0].on_input = on_input
    bench.wait(lambda: len(heard) == 2)
    call.hang_up()
    bench.transcript(call.uuid)
    assert [kind for kind, _ in heard] == ["begin-speaking", "detected-speech"]
    assert likeness(heard[1][1], turn["text"]) >= 0.8
    assert others == []
    other.stop()


@pytest.mark.parametrize("wanted", [True, False])
def test_what_a_cdr_finds_on_the_channel(
    wanted: bool, bench: Bench, switch: RehearsalSwitch, utterance: Sound
) -> None:
    bench.start(events={"channel_variables": wanted})
    call = switch.place(CallScript(utterance, tail=PATIENCE))
    variables = call.legs[0].variables
    if wanted:
        bench.wait(lambda: variables.get("fsbot_language"))
    else:
        bench.wait(lambda: finals(bench.journal(call.uuid)))
    call.hang_up()
    records = bench.transcript(call.uuid)
    found = {name: value for name, value in variables.items() if name.startswith("fsbot_")}
    if not wanted:
        assert found == {}
        return
    words = sum(len(record.alternatives[0].words) for record in finals(records))
    assert found == {
        "fsbot_transcript_path": str(bench.journal_path(call.uuid)),
        "fsbot_words": str(words),
        "fsbot_language": "fr",
    }


def test_a_language_that_fsbot_has_set_itself_is_no_wish(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound
) -> None:
    """The next run of the bot finds it on the channel."""
    bench.start(engine={"language": "auto"})
    call = switch.place(CallScript(utterance, tail=PATIENCE))
    bench.wait(lambda: call.legs[0].variables.get("fsbot_language"))
    bench.stop()
    bench.start(engine={"language": "auto"})
    bench.wait(lambda: len(of_kind(bench.journal(call.uuid), StartOfTranscript)) == 2)
    call.hang_up()
    begun = of_kind(bench.transcript(call.uuid), StartOfTranscript)
    assert call.legs[0].variables["fsbot_language"] == "fr"
    assert [record.language_code for record in begun] == ["auto", "auto"]
