"""The sound of a file, block by block, as a recording would bring it."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from fsbot.audio.pcm import FULL_SCALE, PcmFormat, SideSplitter
from fsbot.errors import UserError
from fsbot.transcript.records import SideName

SIDES: tuple[SideName, ...] = ("caller", "callee")
FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "RAW")
"""libsndfile's names of what is taken."""

Pieces = list[NDArray[np.float32]]
"""One array of 16 kHz samples per side, all of the same length."""


class SoundFile:
    """A file of one or two channels, read in blocks."""

    def __init__(self, path: Path, rate: int = 16000, channels: int = 1) -> None:
        """`rate` and `channels`: of a raw file; others say it themselves. Raises UserError."""
        self.path = path
        try:
            if not path.is_file():
                raise UserError(f"there is no sound file {path}", "Give a wav, flac or raw file.")
            self._file = self._open(rate, channels)
        except (OSError, soundfile.SoundFileError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UserError(f"the sound file {path} cannot be read: {reason}", _as_wav(path)) from (
                error
            )
        self._check()

    @property
    def sides(self) -> tuple[SideName, ...]:
        return SIDES[: self._file.channels]

    @property
    def rate(self) -> int:
        return int(self._file.samplerate)

    @property
    def seconds(self) -> float:
        """Length, as far as the file knows it."""
        return float(self._file.frames) / self.rate

    def play(self, block_seconds: float) -> Iterator[Pieces]:
        """The sound as one 16 kHz float32 array per side, block by block. Raises UserError."""
        splitter = SideSplitter(self._format)
        while len(block := self._read(max(1, round(block_seconds * self.rate)))):
            # Through 16 bits, as every recording comes. soundfile's own int16 would take a float
            # file's -1..1 for -1..1 of 32768.
            scaled = np.nan_to_num(block, posinf=1.0, neginf=-1.0) * FULL_SCALE
            limited = np.clip(np.rint(scaled), -FULL_SCALE, FULL_SCALE - 1)
            yield splitter.feed(limited.astype("<i2").tobytes())
        yield splitter.flush()

    def _open(self, rate: int, channels: int) -> soundfile.SoundFile:
        if self.path.suffix.lower() != ".raw":
            return soundfile.SoundFile(self.path)
        if not self.path.stat().st_size:
            raise self._empty()
        return soundfile.SoundFile(
            self.path,
            samplerate=rate,
            channels=channels,
            format="RAW",
            subtype="PCM_16",
            endian="LITTLE",
        )

    def _check(self) -> None:
        if self._file.format not in FORMATS:
            raise UserError(
                f"{self.path} is {self._file.format}, not wav, flac or raw", _as_wav(self.path)
            )
        if not self._file.frames:
            raise self._empty()
        if self._file.channels > 2:
            raise UserError(
                f"{self.path} has {self._file.channels} channels",
                "Give one channel (the caller) or two (left: the caller, right: the callee).",
            )
        try:
            self._format = PcmFormat(self.rate, self._file.channels)
        except ValueError as error:
            raise UserError(f"{self.path}: {error}", _as_wav(self.path)) from error

    def _read(self, frames: int) -> NDArray[np.float32]:
        try:
            block: NDArray[np.float32] = self._file.read(frames, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise UserError(
                f"the sound file {self.path} is damaged: {error}", _as_wav(self.path)
            ) from error
        return block

    def _empty(self) -> UserError:
        return UserError(f"the sound file {self.path} is empty", "Give one with speech in it.")


def _as_wav(path: Path) -> str:
    return (
        "Give wav, flac or raw (s16le) of 8 to 48 kHz; ffmpeg converts: "
        f"ffmpeg -i {shlex.quote(str(path))} -ar 16000 {shlex.quote(path.stem + '.wav')}"
    )
