"""Sound files as people have them: opened whatever a killed recorder left in their headers.

libsndfile reads a WAV file whose header says more than there is. It takes one whose header says 0
for empty: that is what a recorder leaves that writes the sizes at its end and did not reach it.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import signal
import stat
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from fsbot.errors import UserError

STANDARD_INPUT = Path("-")

_UNKNOWN_LENGTH = 1 << 62
"""libsndfile says more frames than this of a FLAC file whose writer could not seek."""

_IN_DS64 = 0xFFFFFFFF
"""The size of a chunk whose real one is in the chunk ds64, or that a writer to a pipe leaves."""

_FOOTER_BYTES = 4096
"""Bytes behind the sound that are no chunk and are left alone: tags, padding."""

_SPOOL_BYTES = 64 << 20
_COPY_BYTES = 1 << 20
_MOST_CHUNKS = 1000


class SoundReader:
    """An open sound file of one or two channels."""

    def __init__(self, path: Path, rate: int | None = None, channels: int | None = None) -> None:
        """`rate` and `channels`: of sound without a header, which is s16le; 16000 and 1 if None.

        Sound without a header is a file named .raw, or any other for which one of the two is given.
        Raises UserError with the remedy.
        """
        self.path = path
        self.name = "standard input" if path == STANDARD_INPUT else str(path)
        self._rate = rate
        self._channels = channels
        self._frames_read = 0
        try:
            self._bytes = self._opened()
            with _interrupt_held():
                self._file = self._sound()
        except OSError as error:
            raise UserError(
                f"the sound file {self.name} cannot be read: {error.strerror}",
                "Let this user read it, or give another file.",
            ) from error
        self._check()

    @property
    def format(self) -> str:
        """libsndfile's name: WAV, WAVEX, RF64, FLAC, RAW, MP3, …"""
        return str(self._file.format)

    @property
    def rate(self) -> int:
        """Samples per second of each channel."""
        return int(self._file.samplerate)

    @property
    def channels(self) -> int:
        return int(self._file.channels)

    @property
    def seconds(self) -> float | None:
        """Length; None if the file does not say it."""
        frames = int(self._file.frames)
        return frames / self.rate if frames < _UNKNOWN_LENGTH else None

    def read(self, frames: int) -> NDArray[np.float32]:
        """The next samples, shape (at most `frames`, channels), nominally -1 to 1; none at the end.

        Of a damaged file everything before the damage is returned first. Raises UserError then.
        """
        block = self._read_block(frames)
        self._frames_read += len(block)
        return block

    def _read_block(self, frames: int) -> NDArray[np.float32]:
        # soundfile does not say how much it had read when it raises: the array does.
        block = np.full((frames, self.channels), np.nan, np.float32)
        try:
            with _interrupt_held():
                return np.asarray(self._file.read(out=block), dtype=np.float32)
        except soundfile.SoundFileError as error:
            missing = np.isnan(block).all(axis=1)
            read = int(np.argmax(missing)) if missing.any() else frames
            if read:
                return block[:read]
            if self.seconds is None and self._bytes_are_used_up():
                return block[:0]
            at = self._frames_read / self.rate
            raise UserError(
                f"the sound file {self.name} is damaged {at:.1f} s after its beginning",
                "Give a whole one. What comes before the damage could be read.",
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
        self._bytes.close()

    # Opening

    def _opened(self) -> BinaryIO:
        """The bytes of the file, in a file that can be read at any place."""
        if self.path == STANDARD_INPUT:
            if sys.stdin is None or sys.stdin.closed:
                raise UserError("standard input is closed", "Give a file, or pipe sound in.")
            if sys.stdin.isatty():
                raise UserError(
                    "standard input is a terminal, not sound",
                    "Give a file, or pipe sound in: … | fsbot transcribe -",
                )
            source: BinaryIO = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
        elif not os.path.lexists(self.path):
            raise UserError(f"there is no sound file {self.name}", self._what_to_give)
        elif self.path.is_dir():
            raise UserError(
                f"there is no sound file {self.name}: it is a directory",
                f"Give the files in it: {shlex.quote(self.name)}/*",
            )
        else:
            # A named pipe waits here for whoever writes into it.
            source = self.path.open("rb")
        mode = os.fstat(source.fileno()).st_mode
        if stat.S_ISREG(mode):
            return source
        with source:
            if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
                return _spooled(source)
        raise UserError(f"{self.name} is no file and no pipe", self._what_to_give)

    def _sound(self) -> soundfile.SoundFile:
        head = self._bytes.read(12)
        self._bytes.seek(0)
        if not head:
            raise self._empty()
        known = head[:4] in (b"RIFF", b"RIFX", b"RF64", b"fLaC")
        raw = self.path.suffix.lower() == ".raw" or self._rate or self._channels
        if raw and not known and not _other_sound(head):
            return self._raw_sound()
        source: BinaryIO | _Mended = self._bytes
        if head[:4] in (b"RIFF", b"RF64"):
            source = _Mended(self._bytes)
        try:
            return soundfile.SoundFile(source)
        except soundfile.SoundFileError as error:
            if isinstance(source, _Mended) and source.sound_bytes == 0:
                raise self._empty() from error
            raise UserError(
                f"the sound file {self.name} cannot be read: {_reason(error)}",
                self._remedy("Give a wav, flac or raw file")
                if known or _other_sound(head)
                else f"{self._what_to_give} Sound without a header (s16le) needs --rate and "
                "--channels, or a name that ends in .raw.",
            ) from error

    def _raw_sound(self) -> soundfile.SoundFile:
        return soundfile.SoundFile(
            self._bytes,
            samplerate=self._rate or 16000,
            channels=self._channels or 1,
            format="RAW",
            subtype="PCM_16",
            endian="LITTLE",
        )

    def _check(self) -> None:
        if not self._file.frames:
            raise self._empty()
        if self.channels > 2:
            raise UserError(
                f"{self.name} has {self.channels} channels",
                "Give one channel (the caller) or two (left: the caller, right: the callee).",
            )

    def _bytes_are_used_up(self) -> bool:
        return not self._bytes.read(1)

    # What to say

    @property
    def _what_to_give(self) -> str:
        return "Give a wav, flac or raw file, or - for standard input."

    def _empty(self) -> UserError:
        return UserError(
            f"the sound file {self.name} cannot be read: it is empty", "Give one with speech in it."
        )

    def _remedy(self, wish: str) -> str:
        return f"{wish}; {as_wav(self.path)}"


def as_wav(path: Path) -> str:
    """How a file becomes one that can be read."""
    source = "SOURCE" if path == STANDARD_INPUT else shlex.quote(str(path))
    stem = "sound" if path == STANDARD_INPUT else path.stem
    made = f"{stem}.wav"
    if Path(made) == Path(path.name):
        made = f"{stem}-16k.wav"
    here = "" if shutil.which("ffmpeg") else ", which is not installed here,"
    return f"ffmpeg{here} converts: ffmpeg -i {source} -ar 16000 {shlex.quote(made)}"


def _other_sound(head: bytes) -> bool:
    """Whether bytes begin like a format that holds sound and is not taken."""
    return (
        head[:4] in (b"OggS", b"FORM", b".snd", b"caff", b"riff", b"#!AM", b"\x1aE\xdf\xa3")
        or head[:3] == b"ID3"
        or head[4:8] == b"ftyp"
    )


@contextmanager
def _interrupt_held() -> Iterator[None]:
    """Have Ctrl-C wait until the block is over.

    libsndfile reads through callbacks in Python. An exception that is raised in one is printed and
    lost, and the file is taken for damaged.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came = False

    def note(*_: object) -> None:
        nonlocal came
        came = True

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def _spooled(source: BinaryIO) -> BinaryIO:
    """What comes through a pipe, to its end, in a file without a name. Raises OSError."""
    spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115
    while block := source.read(_COPY_BYTES):
        spool.write(block)
    spool.seek(0)
    return spool  # type: ignore[return-value]


def _reason(error: soundfile.SoundFileError) -> str:
    """libsndfile's own sentence, without the file's name and its full stop."""
    text = getattr(error, "error_string", "") or str(error)
    return text.removeprefix("Error : ").rstrip(". ")


class _Mended(io.RawIOBase):
    """A WAV or RF64 file whose header says how much sound there is, where it said 0.

    Reads like the file; the eight bytes of a wrong size are others.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._length = source.seek(0, os.SEEK_END)
        self._other: dict[int, int] = {}
        self.sound_bytes: int | None = None
        """Bytes behind the header of the data chunk; None if it is no WAV file."""
        with suppress(struct.error):
            self._mend()
        source.seek(0)

    def read(self, size: int = -1) -> bytes:
        at = self._source.tell()
        data = self._source.read(size)
        if self._other and at <= max(self._other):
            data = bytes(self._other.get(at + i, byte) for i, byte in enumerate(data))
        return data

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        return self._source.tell()

    def _mend(self) -> None:
        """Raises struct.error where the file is cut short within its header."""
        if self._at(8, 4) != b"WAVE":
            return
        self.sound_bytes = 0
        sizes: int | None = None
        place = 12
        for _ in range(_MOST_CHUNKS):
            name, said = struct.unpack("<4sI", self._at(place, 8))
            if name == b"ds64":
                sizes = place + 8
            if name == b"data":
                break
            place += 8 + said + said % 2
        else:
            return
        begin = place + 8
        self.sound_bytes = self._length - begin
        if sizes is not None and said == _IN_DS64:
            (said,) = struct.unpack("<Q", self._at(sizes + 8, 8))
            if said > self.sound_bytes:
                said = 0  # libsndfile does not forgive this one
        beyond = self.sound_bytes - said
        if beyond <= (_FOOTER_BYTES if said else 0) or self._is_chunk(begin + said + said % 2):
            return
        if sizes is not None:
            self._overlay(sizes, struct.pack("<QQ", self._length - 8, self.sound_bytes))
        else:
            self._overlay(4, struct.pack("<I", min(self._length - 8, _IN_DS64)))
            self._overlay(place + 4, struct.pack("<I", min(self.sound_bytes, _IN_DS64)))

    def _is_chunk(self, place: int) -> bool:
        """Whether a chunk that the file holds whole, and no sound, begins there."""
        try:
            name, size = struct.unpack("<4sI", self._at(place, 8))
        except struct.error:
            return False
        return (
            bytes(name).isascii()
            and name.decode().isprintable()
            and (place + 8 + size <= self._length)
        )

    def _at(self, place: int, size: int) -> bytes:
        self._source.seek(place)
        return self._source.read(size)

    def _overlay(self, place: int, data: bytes) -> None:
        self._other.update(enumerate(data, start=place))
