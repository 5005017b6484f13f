"""What the tests of the event socket use: whole streams decoded, and a peer that does as told."""

from collections.abc import Callable

import gevent
from gevent import socket
from gevent.server import StreamServer

from fsbot.switch.codec import (
    Command,
    CommandDecoder,
    Decoder,
    Message,
    encode_event_plain,
    encode_message,
)

PASSWORD = "ClueCon"
SOON = 0.4  # long enough for loopback, short enough to wait for what never comes


def decode(*pieces: bytes) -> list[Message]:
    """Every message of a switch's stream, fed piece by piece."""
    decoder = Decoder()
    messages: list[Message] = []
    for piece in pieces:
        decoder.feed(piece)
        messages.extend(iter(decoder.next_message, None))
    return messages


def decode_commands(*pieces: bytes) -> list[Command]:
    """Every command of a client's stream, fed piece by piece."""
    decoder = CommandDecoder()
    commands: list[Command] = []
    for piece in pieces:
        decoder.feed(piece)
        commands.extend(iter(decoder.next_command, None))
    return commands


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


def never_returns(function, *args) -> bool:
    with gevent.Timeout(SOON, False):
        function(*args)
        return False
    return True


def after_login(*steps):
    """A script: log in, wait for one command, run the steps, then stay until the client goes."""

    def script(peer):
        peer.log_in()
        peer.command()
        peer.reply("+OK")
        for step in steps:
            step(peer)
        peer.say_yes()

    return script


def collect(link, name="*"):
    received = []
    link.register_handle(name, received.append)
    return received


def start(link) -> None:
    """Send the one command that `after_login` waits for."""
    link.send("noop")


def ping(peer):
    peer.event(("Event-Name", "PING"))


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Let greenlets run until the condition holds; fails the test after `seconds`."""
    with gevent.Timeout(seconds, AssertionError(f"still not true after {seconds} s")):
        while not condition():
            gevent.sleep(0.01)
