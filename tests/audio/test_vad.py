"""Speech or not: against silero's own wrapper."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from silero_vad import load_silero_vad

import fsbot.rehearsal
from fsbot.audio.vad import SileroModel, SpeechProbability

UTTERANCE = Path(fsbot.rehearsal.__file__).parent / "sounds" / "utterance-fr.flac"
RATE = 16000


@pytest.fixture(scope="module")
def silero() -> SileroModel:
    return SileroModel()


@pytest.fixture(scope="module")
def speech() -> NDArray[np.float32]:
    samples, rate = soundfile.read(UTTERANCE, dtype="float32")
    return soxr.resample(samples, rate, RATE).astype(np.float32)


def judge(
    silero: SileroModel, stream: SpeechProbability, samples: NDArray[np.float32]
) -> list[float]:
    """What of the samples fills windows, window by window."""
    stream.feed(samples)
    judged = []
    while stream.ready:
        judged += silero.judge([stream])
    return judged


@pytest.fixture(scope="module")
def whole(silero: SileroModel, speech: NDArray[np.float32]) -> list[float]:
    return judge(silero, SpeechProbability(), speech)


def test_probabilities_are_those_of_silero_at_8_khz(
    speech: NDArray[np.float32], whole: list[float]
) -> None:
    wrapper = load_silero_vad()
    halved = torch.from_numpy(speech[::2].copy())
    with torch.inference_mode():
        expected = [
            float(wrapper(halved[start : start + 256], 8000))
            for start in range(0, len(halved) - 255, 256)
        ]
    assert whole == pytest.approx(expected, abs=1e-5)
    assert max(whole) > 0.9
    assert len(whole) == len(speech) // 512


@settings(max_examples=10, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 3), st.integers(0, 9999)), min_size=1, max_size=12))
def test_pieces_change_nothing(
    silero: SileroModel, speech: NDArray[np.float32], whole: list[float], sizes: list[int]
) -> None:
    stream = SpeechProbability()
    judged: list[float] = []
    for piece in np.split(speech, np.cumsum(sizes)):
        judged += judge(silero, stream, piece)
    assert judged == whole


def test_streams_judged_together_do_not_share_their_past(
    silero: SileroModel, speech: NDArray[np.float32], whole: list[float]
) -> None:
    one, other = SpeechProbability(), SpeechProbability()
    one.feed(speech)
    other.feed(-0.5 * speech)
    judged = []
    while one.ready:
        judged.append(silero.judge([one, other])[0])
    assert judged == pytest.approx(whole, abs=1e-5)
