"""What the tests of the switch share: real captures, and a peer that does as it is told."""

from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from esl_peer import Script, ScriptedSwitch, wait_until
from greenswitch import InboundESL

from fsbot.switch.codec import (
    Decoder,
    Event,
    Message,
    parse_event,
)
from fsbot.switch.connection import Connection

CAPTURES = Path(__file__).parent.parent / "fixtures" / "captures"


class Captures:
    """Reads tests/fixtures/captures by name, without the suffix."""

    names = tuple(sorted(path.stem for path in CAPTURES.glob("*.esl")))

    def received(self, name: str) -> bytes:
        return (CAPTURES / f"{name}.esl").read_bytes()

    def sent(self, name: str) -> bytes:
        return (CAPTURES / f"{name}.esl.sent").read_bytes()

    def messages(self, name: str) -> list[Message]:
        decoder = Decoder()
        decoder.feed(self.received(name))
        return list(iter(decoder.next_message, None))

    def events(self, name: str) -> list[Event]:
        kinds = ("text/event-plain", "text/event-json")
        return [parse_event(m) for m in self.messages(name) if m.content_type in kinds]


@pytest.fixture(scope="session")
def captures() -> Captures:
    return Captures()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "capture_name" in metafunc.fixturenames:
        metafunc.parametrize("capture_name", Captures.names)


@pytest.fixture
def switch() -> Iterator[Callable[..., ScriptedSwitch]]:
    """switch(script, …, host="127.0.0.1") → a listening ScriptedSwitch."""
    started: list[ScriptedSwitch] = []

    def start(*scripts: Script, host: str = "127.0.0.1") -> ScriptedSwitch:
        started.append(ScriptedSwitch(host, *scripts))
        return started[-1]

    yield start
    for one in started:
        one.stop()
    gevent.sleep(0)
    assert [failure for one in started for failure in one.failures] == []


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def plain(switch):
    """plain(script) → a logged-in InboundESL as greenswitch ships it."""
    links = []

    def connect(script, **kwargs):
        links.append(InboundESL("127.0.0.1", switch(script).port, "ClueCon"))
        links[-1].connect()
        return links[-1]

    yield connect
    for link in links:
        gevent.killall([link._receive_events_greenlet, link._process_events_greenlet])


@pytest.fixture
def ours(switch):
    """ours(script) → a logged-in Connection."""
    links = []

    def connect(script, **kwargs):
        links.append(Connection("127.0.0.1", switch(script).port, "ClueCon", **kwargs))
        links[-1].connect()
        return links[-1]

    yield connect
    for link in links:
        link.stop()
