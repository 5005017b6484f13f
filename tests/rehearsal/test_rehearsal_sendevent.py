"""`sendevent` as captured: what was sent goes in, what subscribers got must come out."""

import re

import pytest
from raw_client import CAPTURES, RawClient, capture_events, capture_messages, speech

from fsbot.rehearsal.events import SwitchEvent
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch

CORE = re.compile(
    rb"^(?:Core-UUID|FreeSWITCH-[^:]*|Event-Date-[^:]*|Event-Sequence|Event-UUID): (?!evil|x$).*\n",
    re.MULTILINE,
)
CORE_JSON = re.compile(
    rb',"(?:Core-UUID|FreeSWITCH-[^"]*|Event-Date-[^"]*|Event-Sequence|Event-UUID)":"(?!evil|x")[^"]*"'
)


def comparable(body: bytes) -> bytes:
    return CORE_JSON.sub(b"", CORE.sub(b"", body))


def replay(switch: RehearsalSwitch, sent: str, form: str) -> list[bytes]:
    """Bodies of the events a subscriber gets while a captured client's bytes are replayed."""
    subscriber = RawClient(switch.port).login()
    subscriber.request(f"event {form} CUSTOM fsbot::transcript")
    sender = RawClient(switch.port)
    sender.send((CAPTURES / sent).read_bytes() + b"\n\nsendevent CUSTOM\nEvent-Subclass: end\n\n")
    switch.wait(lambda: switch.custom_events("end") or sender.ended, 5)
    switch.wait(lambda: False, 0.1)
    return [m.body for m in subscriber.messages if m.content_type.startswith("text/event")]


@pytest.mark.parametrize(
    ("sent", "received", "form"),
    [
        ("sendevent_sender.esl.sent", "sendevent_roundtrip.esl", "plain"),
        ("sendevent_sender.esl.sent", "sendevent_roundtrip_json.esl", "json"),
        ("sendevent_sender2.esl.sent", "sendevent_body.esl", "plain"),
        ("sendevent_sender2.esl.sent", "sendevent_body_json.esl", "json"),
    ],
)
def test_subscribers_get_the_captured_events(
    switch: RehearsalSwitch, sent: str, received: str, form: str
) -> None:
    ours = [comparable(body) for body in replay(switch, sent, form)]
    theirs = [
        comparable(m.body)
        for m in capture_messages(received)
        if m.content_type.startswith("text/event") and len(m.body) < 1500
    ]
    for index, (our, their) in enumerate(zip(ours, theirs, strict=False)):
        assert our == their, index
    assert len(ours) == len(theirs)


def test_a_parked_channel_gives_the_event_back_without_a_name(
    switch: RehearsalSwitch, client: RawClient
) -> None:
    client.login().request("event plain ALL")
    call = switch.place(CallScript(speech(5)))
    client.request("sendevent CUSTOM", [("Event-Subclass", "a::b"), ("Unique-ID", call.uuid)])
    client.wait(lambda: any(event.subclass == "a::b" for event in client.events))
    ours = next(event for event in client.events if event.subclass == "a::b").headers
    theirs = next(e for e in capture_events("sendevent_unique_id_all.esl") if not e.name).headers
    assert "Event-Name" not in ours
    custom = ["Event-Subclass", "Command", "Unique-ID", "Event-UUID", "Channel-State"]
    assert [name for name in theirs if name != "T"][:5] == custom
    assert list(ours)[:5] == custom


def test_any_other_live_channel_keeps_the_event(switch: RehearsalSwitch, client: RawClient) -> None:
    client.login().request("event plain CUSTOM a::b")
    call = switch.place(CallScript(speech(5, stereo=True)))
    reply = client.request(
        "sendevent CUSTOM", [("Event-Subclass", "a::b"), ("Unique-ID", call.uuid)]
    )
    assert reply.reply_text.startswith("+OK ")
    client.request("sendevent CUSTOM", [("Event-Subclass", "a::b"), ("Unique-ID", "dead")])
    client.wait_event("CUSTOM")
    switch.wait(lambda: False, 0.1)
    assert [event.headers["Unique-ID"] for event in client.events] == ["dead"]


def test_what_clients_sent_can_be_inspected(switch: RehearsalSwitch, client: RawClient) -> None:
    client.login()
    client.send(
        b"sendevent CUSTOM\nEvent-Subclass: fsbot::transcription\nCall-UUID: u1\n"
        b'Content-Length: 12\n\n{"text": ""}'
    )
    client.wait(lambda: len(client.replies) == 2)
    (event,) = switch.custom_events("fsbot::transcription", "u1")
    assert event.body == b'{"text": ""}'
    assert switch.custom_events("fsbot::transcription", "u2") == []
    assert switch.received_per_kind == {"fsbot::transcription": 1}


@pytest.mark.parametrize("playing", [True, False], ids=["in a playback", "parked"])
def test_an_event_for_a_channel_is_its_scripts(
    playing: bool, switch: RehearsalSwitch, client: RawClient
) -> None:
    client.login().request("event plain ALL")
    leg = switch.place(CallScript(speech(5, stereo=playing))).legs[0]
    seen: list[tuple[str, str]] = []

    def on_input(event: SwitchEvent) -> None:
        seen.append((event.name, event.headers.get("Speech-Type")))

    if not playing:
        leg.on_input = on_input
    kinds = ["begin-speaking", "detected-speech"]
    for kind in kinds:
        client.request(
            "sendevent DETECTED_SPEECH", [("Unique-ID", leg.uuid), ("Speech-Type", kind)]
        )
    # A channel that plays has kept what came before its script listened.
    leg.on_input = on_input
    assert switch.wait(lambda: len(seen) == 2, 5)
    assert seen == [("DETECTED_SPEECH", kind) for kind in kinds]
    assert not [event for event in client.events if event.headers.get("Speech-Type")]
