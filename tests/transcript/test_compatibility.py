"""What strangers say stays text, in whatever shape it is told."""

import json
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from examples import one_of_each

from fsbot.rehearsal.api import Api
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.transcript.compatibility import Mode, orders_of
from fsbot.transcript.records import Alternative, StartOfSpeech, Transcription

EVIL = '") os.execute("id") --[[ ]] ${hostname} </input><x y="1">\n\n\x00é'


def final(text: str) -> Transcription:
    record = next(each for each in one_of_each() if isinstance(each, Transcription))
    alternative = Alternative(transcript=text, confidence=0.5, words=())
    return record.model_copy(update={"text": text, "alternatives": (alternative,)})


def test_no_order_without_a_mode() -> None:
    assert [orders_of(record, ()) for record in one_of_each()] == [[]] * len(one_of_each())


def test_a_script_holds_nothing_of_a_text_but_hexadecimal_digits() -> None:
    (order,) = orders_of(final(EVIL), ["google_transcribe"])
    assert order.line.isprintable()
    assert order.line.isascii()
    (plain,) = orders_of(final(""), ["google_transcribe"]) or [None]
    assert plain is None
    digits = re.search(r'\("([0-9a-f]+)"\):gsub', order.line)
    assert digits is not None
    assert "execute" not in order.line
    assert EVIL in json.loads(bytes.fromhex(digits[1]))["alternatives"][0]["transcript"]


@pytest.mark.parametrize("text", ["deux < trois & « quatre »", "</input>", EVIL])
def test_a_text_is_text_in_xml(text: str) -> None:
    (order,) = orders_of(final(text), ["detected_speech"])
    root = ElementTree.fromstring(order.body)
    assert root.findtext("interpretation/input") == "".join(filter(str.isprintable, text))


def test_what_the_channel_hears_is_not_its_speech() -> None:
    """A robot's own voice interrupts no robot; of its text the module's clients see the side."""
    heard = [record.model_copy(update={"channel_tag": 2}) for record in one_of_each()]
    assert not any(orders_of(record, ["detected_speech"]) for record in heard)
    fired = [order.line for record in heard for order in orders_of(record, ["google_transcribe"])]
    kinds = re.findall(r'"google_transcribe::(\w+)"', " ".join(fired))
    assert kinds == ["start_of_transcript", "transcription", "end_of_transcript"]


def test_an_echo_is_not_the_channels_speech() -> None:
    began = next(each for each in one_of_each() if isinstance(each, StartOfSpeech))
    modes: list[Mode] = ["google_transcribe", "detected_speech"]
    assert len(orders_of(began, modes)) == 2
    assert orders_of(began.model_copy(update={"echo": True}), modes) == []


def test_a_journal_that_somebody_has_edited_brings_no_lua() -> None:
    evil = final("Oui.").model_copy(update={"call_uuid": EVIL})
    assert orders_of(evil, ["google_transcribe", "detected_speech"]) == []


def test_the_stand_in_fires_what_the_script_says() -> None:
    switch = RehearsalSwitch("127.0.0.1", 0, "ClueCon")
    fired: list[Any] = []
    switch.fire = fired.append  # type: ignore[method-assign]
    (order,) = orders_of(final("« Oui. »"), ["google_transcribe"])
    assert Api(switch)._lua(order.line.removeprefix("api lua ")) == "-ERR no reply\n"
    (event,) = fired
    assert event.subclass == "google_transcribe::transcription"
    assert "« Oui. »" in event.body.decode()
