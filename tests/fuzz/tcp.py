"""`fsbot serve`: what comes in, what goes out, and a client's whole life over a real socket.

An input's first byte says which format is expected and whether the sound is judged.
"""

import contextlib
import functools
import itertools
import json
import socket as constants
from collections.abc import Callable, Iterator

import gevent
import numpy as np
from gevent import socket

from fsbot.audio.pcm import PcmFormat
from fsbot.audio.vad import SileroModel
from fsbot.engine.events import StreamEnded, StreamEvent, Word, WordsCommitted
from fsbot.engine.options import StreamOptions
from fsbot.hub import HubBridge
from fsbot.serve.intake import Intake, Pieces
from fsbot.serve.lines import make_lines
from fsbot.serve.plausibility import NotRawPcm
from fsbot.serve.tcp import TcpServer
from fsbot.settings import Settings
from tests.fuzz.esl import cut

FORMATS = (PcmFormat(16000, 1), PcmFormat(16000, 2), PcmFormat(8000, 1), PcmFormat(48000, 2))
HEADS = (
    b"",
    b"RIFF\x24\x08\0\0WAVEfmt ",
    b"OggS\0\2",
    b"ID3\4\0\0",
    b"fLaC\0",
    b"\0\0\0\x20ftypM4A ",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\2\0",
)
JUDGED = 0x80
ONE_BY_ONE = 1000
PATIENCE = 20.0
MOST_BYTES = 33_000
"""A second of sound, and so a word, and a little more."""


def seeds() -> Iterator[bytes]:
    wave = (12_000 * np.sin(np.arange(4001) / 5)).astype("<i2").tobytes()
    for kind, head in itertools.product((0, 1, 2, 3, JUDGED), HEADS):
        yield bytes([kind]) + head + wave[: 700 * (kind % 3 + 1)] + b"\x7f"
    yield bytes([JUDGED]) + wave * 8
    yield bytes([JUDGED]) + np.repeat(np.frombuffer(wave, "<i2"), 2).tobytes() * 4


def check(data: bytes) -> None:
    kind, data = data[:1] or b"\0", data[1:]
    fmt = FORMATS[kind[0] % len(FORMATS)]
    whole = heard(fmt, [data])
    for pieces in (cut(data), [data[at : at + 1] for at in range(min(len(data), ONE_BY_ONE))]):
        if len(b"".join(pieces)) == len(data):
            same(whole, heard(fmt, pieces))
    if kind[0] & JUDGED:
        with contextlib.suppress(NotRawPcm):
            take(Intake(FORMATS[0], silero()), cut(data))
    check_lines(data)
    check_client(data)


def heard(fmt: PcmFormat, pieces: list[bytes]) -> list[np.ndarray] | str:
    """The sound of each side, or what it is instead of sound."""
    try:
        return take(Intake(fmt), pieces)
    except NotRawPcm as reason:
        return str(reason)


def take(intake: Intake, pieces: list[bytes]) -> list[np.ndarray]:
    found: list[Pieces] = [got for piece in pieces if (got := intake.feed(piece)) is not None]
    sides = [np.concatenate(side) for side in zip(*found, *intake.finish(), strict=True)]
    assert intake.received == sum(map(len, pieces))
    assert all(np.isfinite(side).all() and len(side) == len(sides[0]) for side in sides)
    return sides


def same(one: list[np.ndarray] | str, other: list[np.ndarray] | str) -> None:
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
    else:
        for left, right in zip(one, other, strict=True):
            np.testing.assert_allclose(left, right, atol=1e-6)


def check_lines(data: bytes) -> None:
    """Whatever is said: one line each, and JSON that is JSON."""
    text = data[:500].decode("utf-8", "surrogateescape")
    words = (Word(text[::2], 0.0, 0.5, 0.5), Word(text, 0.5, 1.0, 0.5))
    event = WordsCommitted(1, words, words, (), 1.0, True, "fr")
    for line in (*make_lines("text", "caller").of(event, 1.0), make_lines("text").error(text, "")):
        assert line.endswith("\n")
        assert line[:-1].isprintable()
    for line in make_lines("jsonl").of(event, 1.0):
        assert line.count("\n") == 1
        assert json.loads(line)["is_final"] is True


def check_client(data: bytes) -> None:
    """It is told why or gets its lines, and the server is there for the next one."""
    place = server()
    with gevent.Timeout(PATIENCE), contextlib.closing(socket.socket()) as sock:
        sock.connect(place.addresses[0])
        with contextlib.suppress(OSError):
            for piece in cut(data):
                sock.sendall(piece)
            sock.shutdown(constants.SHUT_WR)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while more := sock.recv(65536):
                said += more
        while place.clients:
            gevent.sleep(0)
    assert said.startswith(b"fsbot: error: ") or said.count(b"\n") == len(data) // SECOND
    assert said.decode().replace("\n", "").isprintable()


SECOND = 32_000


class Parrot:
    """Stands in for the engine, which would take seconds for every input: a word a second."""

    silero = None
    pending_seconds = 0.0

    def open(self, options: StreamOptions, tell: Callable[[StreamEvent], object]) -> "Parrot":
        parrot = Parrot()
        parrot._tell, parrot._samples = tell, 0
        return parrot

    def feed(self, samples: np.ndarray) -> None:
        before, self._samples = self._samples, self._samples + len(samples)
        for second in range(before // 16000, self._samples // 16000):
            words = (Word("mot\n\x1b[2J", float(second), second + 1.0, 1.0),)
            self._tell(WordsCommitted(1, words, words, (), second + 1.0, False, "fr"))

    def finish(self) -> None:
        self._tell(StreamEnded(self._samples / 16000))

    def cancel(self) -> None:
        pass


@functools.cache
def server() -> TcpServer:
    settings = Settings(serve={"port": 0, "max_clients": 4})
    running = TcpServer(settings.serve, StreamOptions())
    running.start(Parrot(), HubBridge())
    return running


@functools.cache
def silero() -> SileroModel:
    return SileroModel()
