"""What the tests of the switch share: the captures of a real FreeSWITCH."""

from pathlib import Path

import pytest

from fsbot.switch.codec import Decoder, Event, Message, parse_event

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
