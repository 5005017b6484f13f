"""What comes in: bytes that should be raw PCM, and what can be told when they are not. Sans-IO."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fsbot.audio.pcm import PcmFormat, SideSplitter
from fsbot.audio.vad import SileroModel
from fsbot.serve.plausibility import HEADER_BYTES, Listener, NotRawPcm, known_header

PIECE_SECONDS = 0.02
"""Sound handed on at a time, at least: a client may send byte by byte."""

Pieces = list[NDArray[np.float32]]
"""One array of 16 kHz samples per side, all of the same length."""


class Intake:
    """The bytes of one client → its sides' sound.

    The first bytes are checked for the headers of other formats and, with a `silero` to listen,
    the sound for being something else than 16 kHz mono.
    """

    def __init__(self, fmt: PcmFormat, silero: SileroModel | None = None) -> None:
        self._splitter = SideSplitter(fmt)
        self._listener = Listener(silero) if silero is not None else None
        self._frame_bytes = fmt.frame_bytes
        self._enough = round(PIECE_SECONDS * fmt.byte_rate)
        self._head: bytes | None = b""
        self._waiting = bytearray()
        self.received = 0
        """Bytes."""

    @property
    def checking(self) -> bool:
        """The sound is being judged, which takes its time."""
        return self._listener is not None

    def feed(self, data: bytes) -> Pieces | None:
        """The sound that is ready, None if none is. Raises NotRawPcm."""
        self.received += len(data)
        if self._head is not None:
            self._head += data
            if len(self._head) < HEADER_BYTES:
                return None
            data = self._checked_head()
        self._waiting += data
        if len(self._waiting) < self._enough:
            return None
        return self._take()

    def finish(self) -> list[Pieces]:
        """What is left when no more will come. Raises NotRawPcm."""
        last: list[Pieces] = []
        self._waiting += self._checked_head()
        if self._waiting:
            last.append(self._take())
        last.append(self._splitter.flush())
        return last

    def _checked_head(self) -> bytes:
        head, self._head = self._head or b"", None
        if (name := known_header(head)) is not None:
            raise NotRawPcm(f"this is {name}")
        return head

    def _take(self) -> Pieces:
        whole = len(self._waiting) - len(self._waiting) % self._frame_bytes
        data = bytes(self._waiting[:whole])
        del self._waiting[:whole]
        if self._listener is not None:
            self._listener.hear(data)
            if not self._listener.listening:
                self._listener = None
        return self._splitter.feed(data)
