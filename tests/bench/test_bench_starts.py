"""Sounds of a side that says nothing, and where a voice begins behind a click."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from fsbot.bench.noises import ECHO_SECONDS, NOISES, write_echo, write_noise
from fsbot.bench.speech import Reference, Turn, voice_starts

RATE = 8000


@pytest.mark.parametrize("name", NOISES)
def test_a_noise_is_heard_and_is_the_same_each_time(name: str, tmp_path: Path) -> None:
    written = []
    for take in range(2):
        path = tmp_path / f"{take}.wav"
        write_noise(name, 6.0, path, seed=1)
        samples, rate = soundfile.read(path)
        assert (rate, len(samples)) == (RATE, 6 * RATE)
        written.append(samples)
    assert np.array_equal(*written)
    loudest = 20 * np.log10(np.abs(written[0]).max())
    assert -45 < loudest <= 0


@pytest.mark.parametrize("decibels", [-12.0, -30.0])
def test_an_echo_is_late_and_quieter(decibels: float, tmp_path: Path) -> None:
    speech = tmp_path / "speech.wav"
    pulse = np.zeros(RATE)
    pulse[1000] = 0.9
    soundfile.write(speech, np.column_stack((pulse, np.zeros(RATE))), RATE)
    assert write_echo(speech, decibels, tmp_path / "echo.wav") == 1.0
    echo, robot = soundfile.read(tmp_path / "echo.wav")[0].T
    assert np.abs(robot).argmax() == 1000
    assert np.abs(echo).argmax() == 1000 + round(ECHO_SECONDS * RATE)
    assert 20 * np.log10(np.abs(echo).max() / np.abs(robot).max()) == pytest.approx(decibels, abs=2)


def test_a_click_and_a_breath_are_no_voice(tmp_path: Path) -> None:
    voice = np.zeros((4 * RATE, 2))
    times = np.arange(RATE) / RATE
    voice[2 * RATE : 3 * RATE, 1] = 0.5 * np.sin(2 * np.pi * 200 * times)
    voice[RATE : RATE + 40, 1] = 0.4  # a click
    voice[RATE + 800 : RATE + 4000, 1] = 0.01  # a breath
    sound = tmp_path / "call.wav"
    soundfile.write(sound, voice, RATE)
    turns = (Turn("callee", 0.5, 3.5, 1.0, 3.0, "ah"),)
    assert voice_starts(Reference(sound, "fr", 4.0, turns)) == [pytest.approx(2.0, abs=0.03)]
