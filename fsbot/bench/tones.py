"""What a telephone line carries when nobody speaks, as sound files of any length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from fsbot.errors import UserError

RATE = 8000
BLOCK_SECONDS = 10
FLOOR_DB = -60.0
"""Noise on every line, in decibels below full scale."""

TONE_DB = -15.0
MU = 255.0

Wave = NDArray[np.float64]
Times = NDArray[np.float64]

DTMF_ROWS, DTMF_COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
DTMF_PERIOD, DTMF_LENGTH = 0.5, 0.1
"""Seconds: a key is pressed so often, for so long."""


def _sine(times: Times, hertz: float) -> Wave:
    wave: Wave = 10 ** (TONE_DB / 20) * np.sin(2 * np.pi * hertz * times)
    return wave


def _cadence(hertz: float, on: float, off: float) -> Callable[[Times], Wave]:
    return lambda times: np.where(times % (on + off) < on, _sine(times, hertz), 0.0)


def _dtmf(times: Times) -> Wave:
    """The sixteen keys in turn."""
    keys = (times // DTMF_PERIOD).astype(int) % 16
    rows, columns = np.array(DTMF_ROWS)[keys // 4], np.array(DTMF_COLUMNS)[keys % 4]
    wave: Wave = (_sine(times, 1.0) * 0.0) + 10 ** (TONE_DB / 20) * (
        np.sin(2 * np.pi * rows * times) + np.sin(2 * np.pi * columns * times)
    )
    return np.where(times % DTMF_PERIOD < DTMF_LENGTH, wave, 0.0)


TONES: dict[str, Callable[[Times], Wave]] = {
    "silence": lambda times: np.zeros_like(times),
    "dial tone 440 Hz": lambda times: _sine(times, 440),
    "dial tone 425 Hz": lambda times: _sine(times, 425),
    "ringback": _cadence(440, 1.5, 3.5),
    "busy tone": _cadence(440, 0.5, 0.5),
    "DTMF": _dtmf,
}
"""French tones, and the 425 Hz of most other countries; each over a noise floor."""


def write_tone(name: str, seconds: float, path: Path, seed: int) -> None:
    """A tone of TONES as a telephone transmits it: 8 kHz, through mu-law."""
    chance = np.random.default_rng(seed)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for start in range(0, round(seconds * RATE), BLOCK_SECONDS * RATE):
            end = min(start + BLOCK_SECONDS * RATE, round(seconds * RATE))
            times = np.arange(start, end) / RATE
            floor = 10 ** (FLOOR_DB / 20) * chance.standard_normal(len(times))
            file.write(through_mu_law(TONES[name](times) + floor))


def write_music(folder: Path, seconds: float, path: Path) -> int:
    """The folder's music behind each other, from the start again until it is long enough, as a
    telephone transmits it; returns how many files. Raises UserError if there is none."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".wav", ".flac"))
    if not files:
        raise UserError(
            f"--music: there is no wav or flac in {folder}",
            "Name a folder with music, such as that of Debian's asterisk-moh-opsound-wav.",
        )
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as out:
        for block in _music(files):
            out.write(through_mu_law(block[: round(seconds * RATE) - out.frames]))
            if out.frames >= round(seconds * RATE):
                break
    return len(files)


def _music(files: list[Path]) -> Iterator[Wave]:
    for number in count():
        path = files[number % len(files)]
        try:
            samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
        except (OSError, soundfile.SoundFileError) as error:
            raise UserError(f"--music: {path} cannot be read: {error}") from error
        if not len(samples):
            raise UserError(f"--music: {path} is empty", "Remove it.")
        yield soxr.resample(samples.mean(axis=1), rate, RATE)


def through_mu_law(wave: Wave) -> Wave:
    """As 8 bits of mu-law bring it."""
    limited = np.clip(wave, -1.0, 1.0)
    coded = np.sign(limited) * np.log1p(MU * np.abs(limited)) / np.log1p(MU)
    coarse = np.round(coded * 127) / 127
    heard: Wave = np.sign(coarse) * np.expm1(np.abs(coarse) * np.log1p(MU)) / MU
    return heard
