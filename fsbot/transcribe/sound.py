"""The sound of a file, block by block, as a recording would bring it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsbot.audio.pcm import FULL_SCALE, PcmFormat, SideSplitter
from fsbot.audio.sound_file import SoundReader, as_wav
from fsbot.errors import UserError
from fsbot.transcript.records import SideName

SIDES: tuple[SideName, ...] = ("caller", "callee")
FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "RAW")
"""libsndfile's names of what is taken."""

Pieces = list[NDArray[np.float32]]
"""One array of 16 kHz samples per side, all of the same length."""


class SoundFile:
    """A file of one or two channels, read in blocks."""

    def __init__(self, path: Path, rate: int | None = None, channels: int | None = None) -> None:
        """`rate` and `channels`: as `SoundReader` takes them. Raises UserError."""
        self.path = path
        self._reader = SoundReader(path, rate, channels)
        self.name = self._reader.name
        if self._reader.format not in FORMATS:
            raise UserError(
                f"{self.name} is {self._reader.format}, not wav, flac or raw",
                f"Give a wav, flac or raw file; {as_wav(path)}",
            )
        try:
            self._format = PcmFormat(self._reader.rate, self._reader.channels)
        except ValueError as error:
            raise UserError(
                f"{self.name}: {error}", f"Give wav, flac or raw of 8 to 48 kHz; {as_wav(path)}"
            ) from error

    @property
    def sides(self) -> tuple[SideName, ...]:
        return SIDES[: self._reader.channels]

    @property
    def rate(self) -> int:
        return self._reader.rate

    @property
    def seconds(self) -> float | None:
        """Length; None if the file does not say it."""
        return self._reader.seconds

    def play(self, block_seconds: float) -> Iterator[Pieces]:
        """The sound as one 16 kHz float32 array per side, block by block.

        Raises UserError at a place where the file is damaged, when all before it is out.
        """
        splitter = SideSplitter(self._format)
        damage: UserError | None = None
        while True:
            try:
                block = self._reader.read(max(1, round(block_seconds * self.rate)))
            except UserError as error:
                damage = error
                break
            if not len(block):
                break
            # Through 16 bits, as every recording comes. soundfile's own int16 would take a float
            # file's -1..1 for -1..1 of 32768.
            scaled = np.nan_to_num(block, posinf=1.0, neginf=-1.0) * FULL_SCALE
            limited = np.clip(np.rint(scaled), -FULL_SCALE, FULL_SCALE - 1)
            yield splitter.feed(limited.astype("<i2").tobytes())
        yield splitter.flush()
        if damage is not None:
            raise damage
