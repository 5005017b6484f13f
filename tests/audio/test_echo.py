"""Telling an echo from a voice, with voices as they are on telephone lines."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

import fsbot.rehearsal
from fsbot.audio.echo import LONGEST_DELAY, is_echo

SOUNDS = Path(fsbot.rehearsal.__file__).parent / "sounds"
RATE = 16000
VOICE = round(0.2 * RATE)
OTHER = VOICE + round(LONGEST_DELAY * RATE)
MOMENTS = range(2 * RATE, 5 * RATE, RATE // 10)
"""In the middle of speech, in both sounds."""


def speech(name: str) -> NDArray[np.float32]:
    samples, rate = soundfile.read(SOUNDS / name, dtype="float32", always_2d=True)
    return soxr.resample(samples[:, 0], rate, RATE).astype(np.float32)


@pytest.fixture(scope="module")
def robot() -> NDArray[np.float32]:
    return speech("utterance-fr.flac")


def echo_of(sound: NDArray[np.float32], decibels: float, delay: float) -> NDArray[np.float32]:
    """As a telephone line sends it back: later, quieter, in 16 bits, with noise at -66 dB."""
    noise = np.random.default_rng(0).normal(size=len(sound)) * 10 ** (-66 / 20)
    late = np.concatenate((np.zeros(round(delay * RATE)), sound))[: len(sound)]
    returned = late * 10 ** (-decibels / 20) + noise
    return (np.round(returned * 32768) / 32768).astype(np.float32)


def share_called_echo(voice: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    called = [is_echo(voice[at - VOICE : at], other[at - OTHER : at]) for at in MOMENTS]
    return sum(called) / len(called)


@pytest.mark.parametrize("decibels", [12, 25])
@pytest.mark.parametrize("delay", [0.0, 0.02, 0.39])
def test_an_echo(robot: NDArray[np.float32], decibels: float, delay: float) -> None:
    assert share_called_echo(echo_of(robot, decibels, delay), robot) >= 0.9


def test_an_inverted_echo(robot: NDArray[np.float32]) -> None:
    assert share_called_echo(-echo_of(robot, 12, 0.1), robot) >= 0.9


def test_later_than_any_echo(robot: NDArray[np.float32]) -> None:
    assert share_called_echo(echo_of(robot, 12, LONGEST_DELAY + 0.1), robot) <= 0.1


def test_a_voice_that_is_as_loud_as_the_other_is_none(robot: NDArray[np.float32]) -> None:
    assert share_called_echo(robot, robot) == 0


def test_another_voice_however_quiet(robot: NDArray[np.float32]) -> None:
    other = np.roll(robot[::-1], 1000)  # the same spectrum, and no word of it
    assert share_called_echo(0.1 * other, robot) <= 0.1


def test_a_voice_over_an_echo(robot: NDArray[np.float32]) -> None:
    caller = 0.5 * np.roll(robot[::-1], 1000)
    called = share_called_echo(caller + echo_of(robot, 20, 0.1), robot)
    assert called <= 0.2  # there are pauses in what the caller says


@pytest.mark.parametrize(("voice", "other"), [(0, 0), (0, OTHER), (VOICE, 0), (VOICE, VOICE - 1)])
def test_too_little_to_tell(voice: int, other: int) -> None:
    assert not is_echo(np.ones(voice, np.float32), np.ones(other, np.float32))


def test_silence_is_no_echo_of_silence() -> None:
    assert not is_echo(np.zeros(VOICE, np.float32), np.zeros(OTHER, np.float32))
