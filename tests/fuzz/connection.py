"""The whole event socket client, over a real socket, with a switch that says anything.

An input is what the switch says, in turns: the first at once, each other when the next command has
come, or does not come. Then it closes.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import gevent
from gevent import socket
from gevent.server import StreamServer

from fsbot.switch.codec import Decoder, Message, encode_message
from fsbot.switch.connection import Connection
from fsbot.switch.errors import EslError
from fsbot.switch.resync import active_recordings, exists, live_legs, look_up
from tests.fuzz.esl import CAPTURES, decoded

TURN = b"\0\0"
WAIT_SECONDS = 0.002
"""For a command, until the switch goes on without one."""

PATIENCE = 10.0
MOST_BYTES = 12_000
UUID = "1b57a792-7873-47fd-a46b-ef9ec0d1ce55"
_ACCEPTED = encode_message("command/reply", [("Reply-Text", "+OK accepted")])
_LOGIN = encode_message("auth/request") + TURN + _ACCEPTED
_YES = encode_message("command/reply", [("Reply-Text", "+OK")])


def seeds() -> Iterator[bytes]:
    """Sessions whose replies fit; each capture's events come between them."""
    for path in sorted(CAPTURES.glob("*.esl")):
        messages, _ = decoded(Decoder(), [path.read_bytes()])
        events = [m for m in messages if m.content_type.startswith("text/event")]
        answers = [m.body for m in messages if m.content_type == "api/response"]
        listed = next((a for a in answers if a.startswith(b'{"row')), b'{"row_count":0}')
        dumped = next((a for a in answers if a.startswith(b'{"Event')), b"-ERR No such channel!\n")
        replies = [_YES, *map(_answer, (b"true\n", b"<media-bugs>\n</media-bugs>\n", listed))]
        replies += [_answer(dumped)] * (1 + listed.count(b"uuid")) + [_YES.replace(b"K", b"K 1")]
        yield TURN.join(
            [_LOGIN, *(reply + _frames(events[n : n + 1]) for n, reply in enumerate(replies))]
        )


def _frames(messages: list[Message]) -> bytes:
    return b"".join(encode_message(m.content_type, body=m.body) for m in messages)


def _answer(body: bytes) -> bytes:
    return encode_message("api/response", body=body)


def check(data: bytes) -> None:
    place = switch()
    place.turns = data.split(TURN)
    failures.clear()
    link = Connection("127.0.0.1", place.port, "ClueCon", connect_timeout=0.1, request_timeout=0.1)
    link.register_handle("*", lambda event: event.headers.get("Unique-ID"))
    with gevent.Timeout(PATIENCE):
        with contextlib.suppress(EslError):
            use(link)
        link.stop()
        gevent.joinall([g for g in (link._receive_events_greenlet,) if g is not None])
        gevent.joinall([g for g in (link._process_events_greenlet,) if g is not None])
    assert link.closed.is_set() or link.sock is None
    assert not link._commands_sent
    assert failures == []


def use(link: Connection) -> None:
    """What the bot asks."""
    link.connect()
    link.subscribe(["CHANNEL_ANSWER"], ["fsbot::control"])
    exists(link, UUID)
    active_recordings(link, UUID)
    list(live_legs(link))
    look_up(link, UUID)
    link.send_event("fsbot::error", [("Call-UUID", UUID)], b"{}")
    link.closed.wait(0.02)


failures: list[BaseException] = []
"""What a greenlet died of."""


class Babbler:
    """Listens; says its turns to whoever connects."""

    def __init__(self) -> None:
        self.turns: list[bytes] = []
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()
        self.port: int = self._server.server_port

    def _serve(self, sock: socket.socket, address: object) -> None:
        sock.settimeout(WAIT_SECONDS)
        with contextlib.suppress(OSError):
            sock.sendall(self.turns[0])
            for turn in self.turns[1:]:
                with contextlib.suppress(TimeoutError):
                    while b"\n\n" not in (heard := sock.recv(65536)) and heard:
                        pass
                sock.sendall(turn)
        sock.close()


@functools.cache
def switch() -> Babbler:
    def note(context: object, kind: Any, error: BaseException, trace: object) -> None:
        failures.append(error)

    gevent.get_hub().handle_error = note
    return Babbler()
