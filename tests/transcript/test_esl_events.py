import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import gevent
import pytest
from examples import UUID, one_of_each, start_of_transcript

from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.switch.connection import Connection
from fsbot.switch.errors import ConnectionLost
from fsbot.transcript.compatibility import Order
from fsbot.transcript.esl_events import CustomEvent, EventPublisher, event_of
from fsbot.transcript.records import EndOfTranscript


class Wire:
    """A connection that can be taken away and given back."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.current: Connection | None = None
        self.restore()

    def restore(self) -> None:
        connection = Connection("127.0.0.1", self._port, "ClueCon")
        connection.connect()
        self.current = connection

    def lose(self) -> None:
        assert self.current is not None
        connection, self.current = self.current, None
        connection.close("cut by the test")

    def __call__(self) -> Connection:
        if self.current is None:
            raise ConnectionLost("no link")
        return self.current


@pytest.fixture
def switch() -> Iterator[RehearsalSwitch]:
    with RehearsalSwitch() as running:
        yield running


@pytest.fixture
def wire(switch: RehearsalSwitch) -> Iterator[Wire]:
    connected = Wire(switch.port)
    yield connected
    if connected.current is not None:
        connected.lose()


@pytest.fixture
def publisher(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventPublisher]:
    monkeypatch.setattr("fsbot.transcript.esl_events.RETRY_SECONDS", 0.05)
    running = EventPublisher(wire)
    yield running
    running.close()


@pytest.fixture
def numbers(switch: RehearsalSwitch) -> Callable[[], list[tuple[str, str]]]:
    """Sequence and Fsbot-Resent of every event that got there."""
    return lambda: [
        (received.event.headers.get("Fsbot-Sequence"), received.event.headers.get("Fsbot-Resent"))
        for received in switch.received
    ]


def test_an_event_is_its_record() -> None:
    for record in one_of_each():
        event = event_of(record, "the-other-leg")
        headers = dict(event.headers)
        assert event.subclass == f"fsbot::{record.kind}"
        assert json.loads(event.body) == json.loads(record.model_dump_json())
        assert headers.pop("Fsbot-Side", None) == getattr(record, "side", None)
        assert headers.pop("Fsbot-Error", None) == getattr(record, "error", None)
        finished = "true" if isinstance(record, EndOfTranscript) else "false"
        assert headers == {
            "Call-UUID": UUID,
            "Channel-Call-UUID": "the-other-leg",
            "Fsbot-Sequence": str(record.sequence),
            "transcription-vendor": "fsbot",
            "transcription-session-finished": finished,
        }


@pytest.mark.parametrize("uuid", ["a\nUnique-ID: b", "a\rb", "a\0b", "a\udcffb", "a\u2028b"])
def test_a_leg_s_own_text_makes_no_second_header(uuid: str) -> None:
    headers = dict(event_of(start_of_transcript(call_uuid=uuid), uuid).headers)
    for name in ("Call-UUID", "Channel-Call-UUID"):
        assert headers[name].isprintable()
        assert headers[name].encode()


def test_events_arrive_in_order_with_their_bodies(
    publisher: EventPublisher, switch: RehearsalSwitch
) -> None:
    events = [event_of(record, UUID) for record in one_of_each()]
    for event in events:
        publisher.publish(event)
    assert publisher.drain(10)
    assert [received.event.body for received in switch.received] == [e.body for e in events]
    assert all("Unique-ID" not in received.event.headers for received in switch.received)


def test_what_waits_while_the_link_is_down_is_no_repetition(
    publisher: EventPublisher, wire: Wire, numbers: Callable[[], list[tuple[str, str]]]
) -> None:
    wire.lose()
    for number in (1, 2, 3):
        publisher.publish(event_of(start_of_transcript(number), UUID))
    assert not publisher.drain(0.2)
    assert publisher.waiting == 3
    wire.restore()
    assert publisher.drain(10)
    assert numbers() == [("1", ""), ("2", ""), ("3", "")]


def test_an_event_without_an_answer_is_repeated_and_marked(
    publisher: EventPublisher,
    switch: RehearsalSwitch,
    wire: Wire,
    numbers: Callable[[], list[tuple[str, str]]],
) -> None:
    switch.faults.lose_event_replies = 1
    publisher.publish(event_of(start_of_transcript(1), UUID))
    publisher.publish(event_of(start_of_transcript(2), UUID))
    assert switch.wait(lambda: len(switch.received) == 1, 10)
    wire.lose()
    wire.restore()
    assert publisher.drain(10)
    assert numbers() == [("1", ""), ("1", "true"), ("2", "")]


def test_an_event_that_can_never_be_sent_holds_up_no_other(
    publisher: EventPublisher, numbers: Callable[[], list[tuple[str, str]]]
) -> None:
    publisher.publish(CustomEvent("fsbot::error", (("Unique-ID", UUID),), b"{}"))
    publisher.publish(event_of(start_of_transcript(2), UUID))
    assert publisher.drain(10)
    assert numbers() == [("2", "")]


def test_another_shape_that_cannot_be_sent_costs_no_event(
    publisher: EventPublisher, switch: RehearsalSwitch, numbers: Callable[[], list[tuple[str, str]]]
) -> None:
    """What is sent behind an event comes after its bookkeeping, whatever becomes of it."""
    confirmed: list[int] = []
    arrived: list[int] = []
    switch.api._commands["late"] = lambda arguments: str(arrived.append(len(confirmed)))
    orders = (
        Order("google_transcribe", "api no\0line"),
        Order("google_transcribe", "api late"),
    )
    event = replace(event_of(start_of_transcript(1), UUID), orders=orders)
    publisher.publish(event, lambda: confirmed.append(1))
    publisher.publish(event_of(start_of_transcript(2), UUID))
    assert publisher.drain(10)
    assert arrived == [1]
    assert numbers() == [("1", ""), ("2", "")]


def test_a_closed_publisher_sends_nothing_more(
    publisher: EventPublisher, switch: RehearsalSwitch
) -> None:
    publisher.close()
    publisher.publish(event_of(start_of_transcript(1), UUID))
    gevent.sleep(0.1)
    assert not switch.received
