"""`sendevent` as captured: what was sent goes in, what subscribers got must come out."""

import re

import pytest
from raw_client import CAPTURES, RawClient, capture_messages

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
