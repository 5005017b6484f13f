"""Sounds of a side that says nothing, for which no robot should stop speaking."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr

from fsbot.bench.tones import FLOOR_DB, RATE, Times, Wave, through_mu_law

COUGH_EVERY = 5.0
COUGH = ((0.0, 0.03, -9.0), (0.03, 0.18, -20.0), (0.18, 0.3, -17.0))
"""From, to (seconds), level (dB): the burst that opens the glottis, the air, the voice that closes
it. The three phases are those of Korpáš et al., Analysis of the cough sound, 1996."""

VOICED_HERTZ = 220.0
KEY_EVERY, KEY_SECONDS, KEY_DB = 0.3, 0.01, -20.0
BREATH_EVERY, BREATH_SECONDS, BREATH_DB = 3.0, 0.8, -38.0
ECHO_SECONDS = 0.12
ECHO_DB = (-12.0, -20.0, -30.0)


def _noise(times: Times) -> Wave:
    return np.random.default_rng(round(times[0] * RATE)).standard_normal(len(times))


def _between(times: Times, start: float, end: float, decibels: float) -> Wave:
    return np.where((times >= start) & (times < end), 10 ** (decibels / 20), 0.0)


def _coughs(times: Times) -> Wave:
    since, noise = times % COUGH_EVERY, _noise(times)
    voice = np.sign(np.sin(2 * np.pi * VOICED_HERTZ * times)) * 0.7 + 0.3 * noise
    burst, air, voiced = (_between(since, *phase) for phase in COUGH)
    wave: Wave = (burst + air) * noise + voiced * voice
    return wave


def _keys(times: Times) -> Wave:
    wave: Wave = _between(times % KEY_EVERY, 0.0, KEY_SECONDS, KEY_DB) * _noise(times)
    return wave


def _breath(times: Times) -> Wave:
    since = times % BREATH_EVERY
    swell = np.sin(np.pi * np.clip(since / BREATH_SECONDS, 0.0, 1.0))
    wave: Wave = 10 ** (BREATH_DB / 20) * swell * _noise(times)
    return wave


def _car(times: Times) -> Wave:
    """Noise that falls by 6 dB per octave, at -35 dB."""
    brown = np.cumsum(_noise(times))
    brown -= np.convolve(brown, np.ones(400) / 400, mode="same")
    wave: Wave = 10 ** (-35.0 / 20) * brown / max(1e-9, float(np.std(brown)))
    return wave


NOISES: dict[str, Callable[[Times], Wave]] = {
    "coughs, 12 a minute": _coughs,
    "keyboard, 200 keys a minute": _keys,
    "breath, 20 a minute": _breath,
    "car noise at -35 dB": _car,
}
"""Made up, each over a noise floor."""


def write_noise(name: str, seconds: float, path: Path, seed: int) -> None:
    """A sound of NOISES as a telephone transmits it."""
    times = np.arange(round(seconds * RATE)) / RATE
    floor = 10 ** (FLOOR_DB / 20) * np.random.default_rng(seed).standard_normal(len(times))
    soundfile.write(path, through_mu_law(NOISES[name](times) + floor), RATE, "PCM_16")


def write_echo(speech: Path, decibels: float, path: Path) -> float:
    """Two channels: the echo of the speech (its first channel), and the speech. Returns seconds."""
    samples, rate = soundfile.read(speech, dtype="float64", always_2d=True)
    robot = soxr.resample(samples[:, 0], rate, RATE)
    floor = 10 ** (FLOOR_DB / 20) * np.random.default_rng(0).standard_normal(len(robot))
    late = np.concatenate((np.zeros(round(ECHO_SECONDS * RATE)), robot))[: len(robot)]
    echo = through_mu_law(10 ** (decibels / 20) * late + floor)
    soundfile.write(path, np.column_stack((echo, through_mu_law(robot))), RATE, "PCM_16")
    return len(robot) / RATE
