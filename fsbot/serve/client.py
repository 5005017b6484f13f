"""One client of the TCP server, from its first byte of sound to its last line."""

from __future__ import annotations

import contextlib
import socket as constants
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import gevent
import gevent.socket
import structlog
from gevent.event import Event as Flag

from fsbot.audio.pcm import PcmFormat
from fsbot.engine.events import (
    LanguageDoubted,
    StreamEnded,
    StreamEvent,
    StreamFailed,
    WordsCommitted,
)
from fsbot.engine.options import StreamOptions
from fsbot.engine.orders import StreamHandle
from fsbot.engine.scheduler import Engine
from fsbot.hub import HubBridge, in_thread
from fsbot.serve.intake import Intake, Pieces
from fsbot.serve.lines import Form, make_lines
from fsbot.serve.plausibility import NotRawPcm
from fsbot.transcript.redaction import Redaction

log = structlog.get_logger("fsbot.serve")

RECEIVED_BYTES = 16384
"""Taken from a client at a time: half a second, so that many fast ones take turns."""

MOST_UNSENT_BYTES = 1 << 20
"""Lines that wait for a client beyond what the kernel holds for it: hours of speech."""

KERNEL_BYTES = 1 << 16
"""Lines that the kernel holds for a client that does not read them."""

LINGER_SECONDS = 5.0
"""How long a refused client is listened to, so that it can read why: closing at once would reset
the connection under the line that explains it."""

STOP_CHECK_SECONDS = 0.5
"""How often a client that sends nothing is asked whether the server stops."""

CHECK_SECONDS = 0.05
"""How often a client that waits is looked after."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What all clients of a server get.

    fmt: of the sound that comes in; check: whether what plainly is something else is refused;
    ends: whether JSON tells ends of utterances. backlog: seconds of sound that may wait for the
    engine; then no more is read. idle_timeout, send_timeout: seconds without any sound, and
    without any line taken, after which a client is cut off. redaction: what is taken out of texts.
    """

    stream_options: StreamOptions
    form: Form
    fmt: PcmFormat
    check: bool
    ends: bool
    backlog: float
    idle_timeout: float
    send_timeout: float
    redaction: Redaction


class Refused(Exception):
    """The client is cut off, and told why."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class Gone(Exception):
    """The client does not listen any more."""


class Client:
    """Every method is for the hub's thread; `run` is a greenlet's whole life."""

    def __init__(
        self,
        sock: gevent.socket.socket,
        number: int,
        terms: Terms,
        engine: Engine,
        bridge: HubBridge,
    ) -> None:
        sock.setsockopt(constants.IPPROTO_TCP, constants.TCP_NODELAY, 1)
        sock.setsockopt(constants.SOL_SOCKET, constants.SO_SNDBUF, KERNEL_BYTES)
        self._sock = sock
        self._number = number
        self._terms = terms
        self._engine = engine
        self._bridge = bridge
        self._log = log.bind(client=number)
        self._came = time.time()
        self._lines = [
            make_lines(terms.form, side, ends=terms.ends)
            for side in (("caller", "callee") if terms.fmt.channels == 2 else ("",))
        ]
        self._intake = Intake(terms.fmt, engine.silero if terms.check else None)
        self._streams: dict[int, StreamHandle] = {}
        self._heard = Flag()
        self._outbox = Outbox(sock, terms.send_timeout)
        self._words = 0
        self._waited = False
        self._idle = False
        self._stopping = False

    def run(self) -> None:
        """Take its sound, give it its lines, close it. Raises nothing."""
        outcome = "finished"
        try:
            self._serve()
        except Refused as refusal:
            outcome = f"refused: {refusal}"
            self._outbox.put(self._lines[0].error(str(refusal), refusal.remedy))
            with contextlib.suppress(OSError, Gone):
                self._outbox.drain()
                _linger(self._sock)
        except Gone as reason:
            outcome = str(reason)
        except Exception:
            # A mistake of ours may cost this client, but no other, and the server goes on.
            outcome = "failed"
            self._log.exception("client failed")
        finally:
            for stream in self._streams.values():
                stream.cancel()
            self._outbox.close()
            self._sock.close()
            seconds = self._intake.received / self._terms.fmt.byte_rate
            self._log.info(
                "client left", outcome=outcome, seconds=round(seconds, 1), words=self._words
            )

    def stop(self) -> None:
        """Take no more sound; finish what has been said."""
        self._stopping = True

    def _serve(self) -> None:
        options = self._terms.stream_options
        for number in range(len(self._lines)):
            listener = partial(self._bridge.post, self._tell, number)
            own = options.named(f"client-{self._number}-{number + 1}")
            self._streams[number] = self._engine.open(own, listener)
        for pieces in self._sound():
            for number, samples in enumerate(pieces):
                if number in self._streams and len(samples):
                    self._streams[number].feed(samples)
            self._wait_for_engine()
            if not self._streams:
                raise Refused("the engine failed", "The server's log tells more")
        for stream in self._streams.values():
            stream.finish()
        while not self._heard.wait(CHECK_SECONDS):
            self._outbox.check()
        self._outbox.drain()
        if self._idle:
            raise Refused(
                f"no sound for {self._terms.idle_timeout:g} s",
                "Send sound all the time, silence too, or raise serve.idle_timeout",
            )
        if self._stopping:
            with contextlib.suppress(OSError):
                _linger(self._sock)

    def _wait_for_engine(self) -> None:
        if self.pending_seconds <= self._terms.backlog:
            return
        if not self._waited:
            self._waited = True
            self._log.info("client sends faster than it is heard", backlog=self._terms.backlog)
        while self.pending_seconds > self._terms.backlog:
            self._outbox.check()
            gevent.sleep(CHECK_SECONDS)

    def _sound(self) -> Iterator[Pieces]:
        try:
            while data := self._receive():
                # Silero listens for a wrong sample rate at first: not in the hub.
                busy = self._intake.checking
                pieces = in_thread(self._intake.feed, data) if busy else self._intake.feed(data)
                if pieces is not None:
                    yield pieces
            yield from self._intake.finish()
        except NotRawPcm as error:
            raise Refused(f"{error}, not {_described(self._terms.fmt)}", _REMEDY) from error

    def _receive(self) -> bytes:
        """Its next bytes; none at its end, when the server stops, and when nothing has come for
        long. Raises Gone."""
        since = time.monotonic()
        self._sock.settimeout(min(STOP_CHECK_SECONDS, self._terms.idle_timeout))
        while not self._stopping and not self._idle:
            self._outbox.check()
            try:
                data = bytes(self._sock.recv(RECEIVED_BYTES))
            except TimeoutError:
                self._idle = time.monotonic() - since >= self._terms.idle_timeout
            except OSError as error:
                raise Gone(f"connection lost: {error.strerror or error}") from error
            else:
                self._outbox.check()
                return data
        return b""

    @property
    def pending_seconds(self) -> float:
        """Sound that waits for the engine."""
        return max((stream.pending_seconds for stream in self._streams.values()), default=0.0)

    def _tell(self, number: int, event: StreamEvent) -> None:
        if number not in self._streams:
            return
        if isinstance(event, WordsCommitted):
            event = self._terms.redaction.committed(event)
            self._words += len(event.words)
        elif isinstance(event, LanguageDoubted):
            self._log.warning("language doubted", reason=str(event))
        for line in self._lines[number].of(event, time.time() - self._came):
            self._outbox.put(line)
        if isinstance(event, StreamEnded | StreamFailed):
            del self._streams[number]
            if not self._streams:
                self._heard.set()


def turn_away(sock: gevent.socket.socket, form: Form, message: str, remedy: str) -> None:
    """Say why, and close."""
    with contextlib.suppress(OSError):
        sock.settimeout(LINGER_SECONDS)
        sock.sendall(make_lines(form).error(message, remedy).encode())
        _linger(sock)
    sock.close()


def _linger(sock: gevent.socket.socket) -> None:
    """Send the end, and wait until the client has seen it. Raises OSError."""
    sock.shutdown(constants.SHUT_WR)
    until = time.monotonic() + LINGER_SECONDS
    while (left := until - time.monotonic()) > 0:
        sock.settimeout(left)
        if not sock.recv(RECEIVED_BYTES):
            return


class Outbox:
    """Lines on their way to a client, who may be slow, or asleep."""

    def __init__(self, sock: gevent.socket.socket, send_timeout: float) -> None:
        self._sock = sock.dup()
        self._timeout = send_timeout
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._waiting = Flag()
        self._empty = Flag()
        self._empty.set()
        self._failure = ""
        self._greenlet = gevent.spawn(self._send)

    def put(self, line: str) -> None:
        """Queue a line; dropped if the client is gone."""
        if self._failure:
            return
        data = line.encode("utf-8", "replace")
        self._queue.append(data)
        self._bytes += len(data)
        self._empty.clear()
        self._waiting.set()
        if self._bytes > MOST_UNSENT_BYTES:
            self._fail("it does not read its lines")

    def check(self) -> None:
        """Raises Gone if the client takes no more lines."""
        if self._failure:
            raise Gone(self._failure)

    def drain(self) -> None:
        """Wait until every line is on its way. Raises Gone."""
        self._empty.wait()
        self.check()

    def close(self) -> None:
        """Forget what has not been sent."""
        self._greenlet.kill()
        self._sock.close()

    def _send(self) -> None:
        self._sock.settimeout(self._timeout)
        while self._waiting.wait():
            data = b"".join(self._queue)
            self._queue.clear()
            try:
                self._send_all(memoryview(data))
            except TimeoutError:
                self._fail(f"it has not read its lines for {self._timeout:g} s")
                return
            except OSError as error:
                self._fail(f"connection lost: {error.strerror or error}")
                return
            self._bytes -= len(data)
            if not self._queue:
                self._waiting.clear()
                self._empty.set()

    def _send_all(self, data: memoryview) -> None:
        # Not sendall: its timeout is for everything, ours for no progress.
        while data:
            data = data[self._sock.send(data) :]

    def _fail(self, reason: str) -> None:
        self._failure = self._failure or reason
        self._queue.clear()
        self._empty.set()
        with contextlib.suppress(OSError):
            self._sock.shutdown(constants.SHUT_RDWR)  # whoever waits for its sound is woken


_REMEDY = (
    "Send S16_LE without a header at 16000 Hz, mono (ffmpeg -i FILE -f s16le -ar 16000 -ac 1 -), "
    "or set serve.rate and serve.channels to what it is"
)


def _described(fmt: PcmFormat) -> str:
    channels = "mono" if fmt.channels == 1 else "stereo"
    return f"raw PCM, {fmt.rate} Hz, {channels}"
