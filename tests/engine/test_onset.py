"""What is told of an utterance's beginning, and when."""

from collections.abc import Iterator

import numpy as np
import pytest
from hearing import between, silence, sound, turns
from numpy.typing import NDArray

from fsbot.audio.endpointer import (
    Endpointer,
    EndpointerOptions,
    SpeechEnd,
    SpeechStart,
    decibels,
)
from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.audio.vad import WINDOW_SECONDS, SileroModel, SpeechProbability
from fsbot.engine.events import SpeechCertain, SpeechStarted
from fsbot.engine.final import Listen
from fsbot.engine.onset import Onset
from fsbot.engine.stream import LISTEN_SAMPLES

Sound = NDArray[np.float32]
RANDOM = np.random.default_rng(1)
ROBOT = RANDOM.normal(scale=0.1, size=3 * SAMPLE_RATE).astype(np.float32)
CALLER = RANDOM.normal(scale=0.1, size=3 * SAMPLE_RATE).astype(np.float32)
VOICE = -20.0
"""Decibels."""
ECHO = 0.1 * np.roll(ROBOT, 1600)


def listen_to(heard: Sound) -> Listen:
    return lambda start, end: heard[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]


def onset(heard: Sound, robot: Sound = ROBOT) -> Onset:
    side = Onset(listen_to(heard))
    side.beside = listen_to(robot)
    return side


def test_speech_is_certain_when_it_has_lasted() -> None:
    side = onset(CALLER)
    assert side.begin(3, 1.0, 1.1) == SpeechStarted(3, 1.0, echo=False)
    assert side.go_on(1.39, VOICE) is None
    assert side.go_on(1.41, VOICE) == SpeechCertain(3, 1.0)
    assert side.go_on(1.5, VOICE) is None


def test_a_voice_that_dies_away_does_not_last() -> None:
    side = onset(CALLER)
    side.begin(1, 1.0, 1.1)
    assert side.go_on(1.2, VOICE) is None
    assert side.go_on(1.5, VOICE - 40.0) is None
    assert side.go_on(1.6, VOICE - 10.0) == SpeechCertain(1, 1.0)


def test_a_click_does_not_drown_the_voice_behind_it() -> None:
    side = onset(CALLER)
    side.begin(1, 1.0, 1.1)
    assert side.go_on(1.1, 0.0) is None
    told = [side.go_on(1.1 + number * WINDOW_SECONDS, -30.0) for number in range(1, 20)]
    assert SpeechCertain(1, 1.0) in told


@pytest.mark.parametrize(("seconds", "certain"), [(0.2, False), (0.6, True)])
def test_a_cough_is_a_cough_wherever_its_windows_begin(seconds: float, certain: bool) -> None:
    begin = float(str(turns("utterance-fr")[0]["speech_start"]))
    voice = between(sound("utterance-fr"), 0.0, begin + seconds)
    silero = SileroModel()
    for shift in range(16):
        heard = np.concatenate((silence(shift * WINDOW_SECONDS / 16), voice, silence(2.0)))
        assert list(certainties(silero, heard)) == [certain], f"at {shift}/16 of a window"


def certainties(silero: SileroModel, heard: Sound) -> Iterator[bool]:
    """Of each utterance, whether it was certain that somebody speaks."""
    endpointer, side, speech = Endpointer(EndpointerOptions()), onset(heard), SpeechProbability()
    side.beside, certain = None, False
    for start in range(0, len(heard) - LISTEN_SAMPLES + 1, LISTEN_SAMPLES):
        window = heard[start : start + LISTEN_SAMPLES]
        speech.feed(window)
        level = decibels(window)
        match endpointer.feed(silero.judge([speech])[0], level):
            case SpeechStart(at):
                side.begin(1, at, endpointer.now)
            case SpeechEnd():
                yield certain
        certain |= endpointer.speaking and side.go_on(endpointer.now, level) is not None


def test_an_echo_is_told_and_never_certain() -> None:
    side = onset(ECHO)
    assert side.begin(1, 1.0, 1.1) == SpeechStarted(1, 1.0, echo=True)
    assert [side.go_on(at, VOICE) for at in (1.5, 2.0, 2.9)] == [None] * 3


def test_who_interrupts_an_echo_is_certain_then() -> None:
    heard = np.concatenate((ECHO[: SAMPLE_RATE * 2], CALLER[SAMPLE_RATE * 2 :]))
    side = onset(heard)
    assert side.begin(1, 1.0, 1.1).echo
    assert side.go_on(1.9, VOICE) is None
    assert side.go_on(2.41, VOICE) == SpeechCertain(1, 1.0)


@pytest.mark.parametrize("beside", [False, True], ids=["one side", "a silent one"])
def test_without_another_voice_there_is_no_echo(beside: bool) -> None:
    side = onset(ECHO, np.zeros_like(ROBOT))
    if not beside:
        side.beside = None
    assert not side.begin(1, 1.0, 1.1).echo
    assert side.go_on(1.5, VOICE) is not None


def test_a_new_utterance_begins_uncertain() -> None:
    side = onset(CALLER)
    side.begin(1, 1.0, 1.1)
    side.begin(2, 2.0, 2.1)
    assert side.go_on(2.2, VOICE) is None
    assert side.go_on(2.5, VOICE) == SpeechCertain(2, 2.0)
