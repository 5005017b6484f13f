"""What the tests of the switch share: real captures, and a peer that does as it is told."""

from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from gevent import socket
from gevent.server import StreamServer

from fsbot.switch.codec import (
    Command,
    CommandDecoder,
    Decoder,
    Event,
    Message,
    encode_event_plain,
    encode_message,
    parse_event,
)

CAPTURES = Path(__file__).parent.parent / "fixtures" / "captures"
PASSWORD = "ClueCon"


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


class Peer:
    """The switch's end of one accepted connection: scripts say what it does, byte by byte."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._decoder = CommandDecoder()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reply(self, text: str) -> None:
        self.send(encode_message("command/reply", [("Reply-Text", text)]))

    def api_reply(self, text: str) -> None:
        self.send(encode_message("api/response", [], text.encode()))

    def event(self, *headers: tuple[str, str], body: bytes = b"") -> None:
        self.send(encode_event_plain(headers, body))

    def command(self) -> Command | None:
        """The client's next command; None once it has gone."""
        while (command := self._decoder.next_command()) is None:
            data = self.sock.recv(65536)
            if not data:
                return None
            self._decoder.feed(data)
        return command

    def log_in(self) -> None:
        self.send(encode_message("auth/request"))
        command = self.command()
        assert command is not None
        assert command.line == f"auth {PASSWORD}"
        self.reply("+OK accepted")

    def say_yes(self) -> None:
        """Answer `+OK` to every command until the client goes."""
        while command := self.command():
            if command.line.startswith("api "):
                self.api_reply("+OK Success\n")
            elif command.line == "sendevent CUSTOM":
                self.reply("+OK 7f4de4bc-17d7-11dd-b7a0-db4edd065621")
            else:
                self.reply("+OK")


Script = Callable[[Peer], None]


class ScriptedSwitch:
    """A server whose every connection runs the script; more scripts: one for each in turn."""

    def __init__(self, host: str, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.connections = 0
        self.failures: list[BaseException] = []
        self._sockets: list[socket.socket] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, 0))
        listener.listen(16)
        self._server = StreamServer(listener, self._serve)
        self._server.start()
        self.port: int = listener.getsockname()[1]

    def _serve(self, sock: socket.socket, _address: object) -> None:
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        self._sockets.append(sock)
        try:
            script(Peer(sock))
        except OSError:
            pass  # the client went first
        except BaseException as error:
            self.failures.append(error)
            raise

    def stop(self) -> None:
        self._server.stop(timeout=0)
        for sock in self._sockets:
            sock.close()


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


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Let greenlets run until the condition holds; fails the test after `seconds`."""
    with gevent.Timeout(seconds, AssertionError(f"still not true after {seconds} s")):
        while not condition():
            gevent.sleep(0.01)


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[..., None]:
    return wait_until
