"""What is said once is written once, and what is said several times as often as that."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hearing import RATE, Heard, Samples, plain, silence, transcribe

from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions

PROMPTS = Path(__file__).parents[1] / "fixtures" / "prompts"


def prompt(name: str) -> Samples:
    samples, rate = soundfile.read(PROMPTS / f"{name}.flac", dtype="float32")
    return soxr.resample(samples, rate, RATE).astype(np.float32)


def word(name: str) -> Samples:
    """The prompt without the silence around it."""
    samples = prompt(name)
    loud = np.flatnonzero(np.abs(samples) > 0.05 * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def spoken(names: Sequence[str], pause: float, ends: float = 1.2) -> Samples:
    """The words one after the other, on a line with a little noise. ends: seconds behind them."""
    parts = [silence(0.5)]
    for name in names:
        parts += [word(name), silence(pause)]
    samples = np.concatenate([*parts, silence(ends)])
    noise = np.random.default_rng(0).standard_normal(len(samples)) * 10 ** (-58 / 20)
    return (samples + noise).astype(np.float32)


def heard_in(model: SpeechModel, samples: Samples, language: str) -> Heard:
    return transcribe(model, samples, EngineOptions(), StreamOptions(language))


@pytest.mark.parametrize(
    ("name", "said"), [("en-ten", "ten"), ("en-monday", "monday"), ("en-3", "3"), ("fr-90", "90")]
)
def test_one_word_is_written_once(int8_model: SpeechModel, name: str, said: str) -> None:
    heard = heard_in(int8_model, prompt(name), name[:2])
    assert heard.final_text in (said, {"ten": "10", "3": "three"}.get(said, said))
    assert heard.live_text == heard.final_text
    for commit in heard.commits:
        guessed = plain(" ".join(w.text for w in (*commit.spoken, *commit.tentative))).split()
        assert len(guessed) == len(set(guessed)), guessed


@pytest.mark.parametrize("pause", [0.05, 0.3])
@pytest.mark.parametrize(
    ("name", "times", "said"),
    [("en-monday", 2, "monday"), ("en-monday", 3, "monday"), ("fr-aujourd-hui", 2, "aujourd'hui")],
)
def test_a_word_said_again_is_written_again(
    int8_model: SpeechModel, name: str, times: int, said: str, pause: float
) -> None:
    heard = heard_in(int8_model, spoken([name] * times, pause), name[:2])
    assert heard.final_text.split() == [said] * times


@pytest.mark.parametrize(
    ("number", "pause"), [("5554443", 0.1), ("5554443", 0.2), ("1112 999", 0.1)]
)
def test_equal_digits_in_a_row_are_all_written(
    int8_model: SpeechModel, number: str, pause: float
) -> None:
    groups = [
        spoken([f"en-{digit}" for digit in group], pause, ends=0.0) for group in number.split()
    ]
    heard = heard_in(int8_model, np.concatenate([*groups, silence(1.2)]), "en")
    digits = "".join(c for c in heard.final_text if c.isdigit())
    assert digits == number.replace(" ", "")
