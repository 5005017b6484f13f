"""A server in this process and clients of it, over real sockets."""

import socket as constants
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
import numpy as np
import soundfile
import soxr
from gevent import socket
from numpy.typing import NDArray

import fsbot.rehearsal
from fsbot.engine.scheduler import Engine
from fsbot.engine.setup import stream_options
from fsbot.hub import HubBridge
from fsbot.serve.tcp import TcpServer
from fsbot.settings import Settings
from fsbot.transcript.redaction import NO_REDACTION, Redaction

SOUNDS = Path(fsbot.rehearsal.__file__).parent / "sounds"
SAID = "le numéro composé n'est pas en service veuillez vérifier le numéro et essayer de nouveau"
PATIENCE = 120.0


def pcm(name: str, rate: int = 16000) -> NDArray[np.int16]:
    """A committed sound as s16le frames of shape (frames, channels)."""
    samples, own = soundfile.read(SOUNDS / f"{name}.flac", dtype="float32", always_2d=True)
    scaled = soxr.resample(samples, own, rate) * 32767
    return np.clip(scaled, -32768, 32767).astype("<i2")


UTTERANCE = pcm("utterance-fr").tobytes()


@contextmanager
def serving(
    engine: Engine, *, ends: bool = True, redaction: Redaction = NO_REDACTION, **serve: Any
) -> Iterator[TcpServer]:
    """A server with these settings on a free port."""
    settings = Settings(serve={"port": 0, **serve})  # type: ignore[arg-type]
    options = stream_options(settings, skip_late_updates=False)
    server = TcpServer(settings.serve, options, ends=ends, redaction=redaction)
    bridge = HubBridge()
    server.start(engine, bridge)
    try:
        yield server
    finally:
        server.finish(5)
        server.close()
        bridge.close()


@dataclass
class Client:
    """A client as a script would be, and when each of its lines came."""

    sock: socket.socket
    lines: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, server: TcpServer, receive_buffer: int = 0) -> "Client":
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(constants.SOL_SOCKET, constants.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE)
        sock.connect(server.addresses[0])
        return cls(sock)

    def send(self, data: bytes) -> "Client":
        self.sock.sendall(data)
        return self

    def end(self) -> "Client":
        """Half-close, as `nc -N` does at the end of its input."""
        self.sock.shutdown(constants.SHUT_WR)
        return self

    def read(self) -> list[str]:
        """All lines until the server closes."""
        with self.sock.makefile("r", encoding="utf-8", newline="\n") as stream:
            for line in stream:
                self.lines.append(line)
                self.times.append(time.monotonic())
        self.sock.close()
        return self.lines


def ask(server: TcpServer, data: bytes) -> list[str]:
    """What a client gets who sends everything and half-closes."""
    client = Client.of(server)
    sending = gevent.spawn(lambda: client.send(data).end())
    lines = client.read()
    sending.join()
    return lines


def text_of(lines: list[str]) -> str:
    """The text columns put one behind the other."""
    return "".join(line.rstrip("\n").split(" ", 2)[2] for line in lines)


def plain(text: str) -> str:
    kept = "".join(c if c.isalnum() or c in "' " else " " for c in text.lower())
    return " ".join(kept.split())
