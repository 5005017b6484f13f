"""Speech or not: against silero's own wrapper, and the state machine behind it."""

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
from fsbot.audio.vad import (
    WINDOW_SECONDS,
    Endpointer,
    EndpointerOptions,
    SileroModel,
    SpeechEnd,
    SpeechProbability,
    SpeechStart,
)

UTTERANCE = Path(fsbot.rehearsal.__file__).parent / "sounds" / "utterance-fr.flac"
RATE = 16000
Event = SpeechStart | SpeechEnd


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


def test_a_sentence_begins_and_ends_where_it_is_said(
    silero: SileroModel, speech: NDArray[np.float32]
) -> None:
    """Spoken from 0.556 s to 5.804 s."""
    with_silence = np.append(speech, np.zeros(RATE, np.float32))
    start, end = run(judge(silero, SpeechProbability(), with_silence), EndpointerOptions())
    assert start.at == pytest.approx(0.556, abs=0.15)
    assert end.at == pytest.approx(5.804, abs=0.15)


def run(probabilities: list[float], options: EndpointerOptions) -> list[Event]:
    endpointer = Endpointer(options)
    found = [endpointer.feed(probability) for probability in probabilities]
    return [event for event in found if event is not None]


def of(pattern: str) -> list[float]:
    """`#` is speech, `.` silence, `~` between the two thresholds."""
    return [{"#": 0.9, ".": 0.0, "~": 0.2}[mark] for mark in pattern]


OPTIONS = EndpointerOptions(threshold=0.3, min_speech=0.096, min_silence=0.16, onset=0.0)


@given(st.integers(0, 3000))
def test_durations_are_the_same_at_any_time_of_a_call(windows: int) -> None:
    start, end = run(of("." * windows + "###....." + "."), OPTIONS)
    assert start == SpeechStart(windows * WINDOW_SECONDS)
    assert end == SpeechEnd((windows + 3) * WINDOW_SECONDS)
    assert run(of("." * windows + "##......"), OPTIONS) == []
    assert len(run(of("." * windows + "###...."), OPTIONS)) == 1


@pytest.mark.parametrize(
    ("pattern", "kinds"),
    [
        ("##.##.##.##.", ""),
        ("~~~~~~~~~~", ""),
        ("###~~~~~~~~~~", "S"),
        ("###.~~~~~~~", "SE"),
        ("###....#....#.....", "SE"),
        ("###.....##.....###.....", "SESE"),
        ("", ""),
    ],
)
def test_what_opens_and_what_closes(pattern: str, kinds: str) -> None:
    found = run(of(pattern), OPTIONS)
    assert "".join("S" if isinstance(event, SpeechStart) else "E" for event in found) == kinds


@given(
    st.lists(st.floats(0, 1), max_size=120),
    st.floats(0.01, 0.99),
    st.floats(0, 0.3),
    st.floats(0.05, 0.5),
    st.floats(0, 0.3),
)
def test_starts_and_ends_alternate(
    probabilities: list[float],
    threshold: float,
    min_speech: float,
    min_silence: float,
    onset: float,
) -> None:
    options = EndpointerOptions(threshold, min_speech, min_silence, onset)
    assert 0 < options.release <= threshold
    endpointer = Endpointer(options)
    opened: SpeechStart | None = None
    last_end = 0.0
    for number, probability in enumerate(probabilities, start=1):
        event = endpointer.feed(probability)
        assert endpointer.now == pytest.approx(number * WINDOW_SECONDS)
        if isinstance(event, SpeechStart):
            assert opened is None
            assert 0 <= event.at <= endpointer.now
            assert event.at >= last_end - onset
            opened = event
        elif isinstance(event, SpeechEnd):
            assert opened is not None
            assert opened.at < event.at
            assert endpointer.now - event.at >= min_silence - 1e-6
            opened, last_end = None, event.at
        assert endpointer.in_speech == (opened is not None)
        if opened is not None:
            assert endpointer.now - endpointer.last_speech < min_silence + 1e-6
    end = endpointer.finish()
    assert (end is not None) == (opened is not None)
    assert endpointer.finish() is None


def test_the_start_is_reported_earlier_by_the_onset_but_never_before_the_stream() -> None:
    options = EndpointerOptions(min_speech=0.096, onset=0.1)
    assert run(of("###"), options) == [SpeechStart(0.0)]
    (start,) = run(of("....." + "###"), options)
    assert start.at == pytest.approx(0.06)
