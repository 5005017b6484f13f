"""A raw ESL client and sounds: the peer of the stand-in switch is never fsbot's own client here."""

from collections.abc import Callable
from pathlib import Path

import gevent
import numpy as np
from gevent import socket

from fsbot.rehearsal.sound import Sound
from fsbot.switch.codec import Decoder, Event, Message, encode_command, parse_event

CAPTURES = Path(__file__).parent.parent / "fixtures" / "captures"


class RawClient:
    """Keeps every byte it was sent, and the messages in them."""

    def __init__(self, port: int) -> None:
        self.bytes = b""
        self.ended = False
        self.messages: list[Message] = []
        self._decoder = Decoder()
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._reader = gevent.spawn(self._read)

    def _read(self) -> None:
        try:
            while data := self._socket.recv(65536):
                self.bytes += data
                self._decoder.feed(data)
                while message := self._decoder.next_message():
                    self.messages.append(message)
        except OSError:
            pass
        self.ended = True

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def wait(self, condition: Callable[[], object], timeout: float = 10) -> None:
        with gevent.Timeout(timeout):
            while not condition():
                gevent.sleep(0.005)

    def request(self, line: str, headers: list[tuple[str, str]] | None = None) -> Message:
        """Send a command and return the next reply."""
        before = len(self.replies)
        self.send(encode_command(line, headers or []))
        self.wait(lambda: len(self.replies) > before)
        return self.replies[before]

    def api(self, line: str) -> str:
        return self.request(f"api {line}").text

    def login(self) -> "RawClient":
        assert self.request("auth ClueCon").reply_text == "+OK accepted"
        return self

    @property
    def replies(self) -> list[Message]:
        return [m for m in self.messages if m.content_type in ("command/reply", "api/response")]

    @property
    def events(self) -> list[Event]:
        return [parse_event(m) for m in self.messages if m.content_type.startswith("text/event")]

    def names(self, unique_id: str = "") -> list[str]:
        return [
            event.name for event in self.events if unique_id in ("", event.headers.get("Unique-ID"))
        ]

    def wait_event(self, name: str, count: int = 1, timeout: float = 10) -> Event:
        self.wait(lambda: self.names().count(name) >= count, timeout)
        return [event for event in self.events if event.name == name][count - 1]

    def close(self) -> None:
        self._socket.close()
        self._reader.kill()


def speech(seconds: float, stereo: bool = False, rate: int = 8000) -> Sound:
    """A ramp that tells every sample from every other, as far as 16 bits go."""
    samples = np.arange(int(seconds * rate))
    caller = (samples % 30000 + 1).astype(np.int16)
    callee = (-(samples % 30000) - 1).astype(np.int16) if stereo else None
    return Sound("speech", rate, caller, callee)


def capture_messages(name: str) -> list[Message]:
    decoder = Decoder()
    decoder.feed((CAPTURES / name).read_bytes())
    messages = []
    while message := decoder.next_message():
        messages.append(message)
    return messages


def capture_events(name: str) -> list[Event]:
    return [
        parse_event(message)
        for message in capture_messages(name)
        if message.content_type.startswith("text/event")
    ]
