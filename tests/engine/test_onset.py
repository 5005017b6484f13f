"""What is told of an utterance's beginning, and when."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.engine.events import SpeechCertain, SpeechStarted
from fsbot.engine.final import Listen
from fsbot.engine.onset import Onset

Sound = NDArray[np.float32]
RANDOM = np.random.default_rng(1)
ROBOT = RANDOM.normal(scale=0.1, size=3 * SAMPLE_RATE).astype(np.float32)
CALLER = RANDOM.normal(scale=0.1, size=3 * SAMPLE_RATE).astype(np.float32)
ECHO = 0.1 * np.roll(ROBOT, 1600)


def listen_to(sound: Sound) -> Listen:
    return lambda start, end: sound[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]


def onset(sound: Sound, robot: Sound = ROBOT) -> Onset:
    side = Onset(listen_to(sound))
    side.beside = listen_to(robot)
    return side


def test_speech_is_certain_when_it_has_lasted() -> None:
    side = onset(CALLER)
    assert side.begin(3, 1.0, 1.1) == SpeechStarted(3, 1.0, echo=False)
    assert side.go_on(1.39) is None
    assert side.go_on(1.41) == SpeechCertain(3, 1.0)
    assert side.go_on(1.5) is None


def test_an_echo_is_told_and_never_certain() -> None:
    side = onset(ECHO)
    assert side.begin(1, 1.0, 1.1) == SpeechStarted(1, 1.0, echo=True)
    assert [side.go_on(at) for at in (1.5, 2.0, 2.9)] == [None] * 3


def test_who_interrupts_an_echo_is_certain_then() -> None:
    sound = np.concatenate((ECHO[: SAMPLE_RATE * 2], CALLER[SAMPLE_RATE * 2 :]))
    side = onset(sound)
    assert side.begin(1, 1.0, 1.1).echo
    assert side.go_on(1.9) is None
    assert side.go_on(2.41) == SpeechCertain(1, 1.0)


@pytest.mark.parametrize("beside", [False, True], ids=["one side", "a silent one"])
def test_without_another_voice_there_is_no_echo(beside: bool) -> None:
    side = onset(ECHO, np.zeros_like(ROBOT))
    if not beside:
        side.beside = None
    assert not side.begin(1, 1.0, 1.1).echo
    assert side.go_on(1.5) is not None


def test_a_new_utterance_begins_uncertain() -> None:
    side = onset(CALLER)
    side.begin(1, 1.0, 1.1)
    side.begin(2, 2.0, 2.1)
    assert side.go_on(2.2) is None
    assert side.go_on(2.5) == SpeechCertain(2, 2.0)
