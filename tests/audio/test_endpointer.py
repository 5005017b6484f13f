"""When speech begins and when an utterance is over."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import fsbot.rehearsal
from fsbot.audio.endpointer import Endpointer, EndpointerOptions, SpeechEnd, SpeechStart, decibels
from fsbot.audio.vad import WINDOW_SECONDS, SileroModel, SpeechProbability

UTTERANCE = Path(fsbot.rehearsal.__file__).parent / "sounds" / "utterance-fr.flac"
WINDOW = 512
Event = SpeechStart | SpeechEnd


@pytest.fixture(scope="module")
def utterance() -> NDArray[np.float32]:
    samples, rate = soundfile.read(UTTERANCE, dtype="float32")
    return soxr.resample(samples, rate, 16000).astype(np.float32)


def test_a_sentence_begins_and_ends_where_it_is_said(utterance: NDArray[np.float32]) -> None:
    """Spoken from 0.556 s to 5.804 s."""
    silero, stream = SileroModel(), SpeechProbability()
    samples = np.append(utterance, np.zeros(16000, np.float32))
    stream.feed(samples)
    probabilities = []
    while stream.ready:
        probabilities += silero.judge([stream])
    windows = np.split(samples, range(WINDOW, len(samples), WINDOW))
    levels = [decibels(window) for window in windows[: len(probabilities)]]
    start, end = run(probabilities, EndpointerOptions(), levels)
    assert start.at == pytest.approx(0.556, abs=0.15)
    assert end.at == pytest.approx(5.804, abs=0.15)


def run(
    probabilities: Sequence[float], options: EndpointerOptions, levels: Sequence[float] = ()
) -> list[Event]:
    endpointer = Endpointer(options)
    levels = levels or [-math.inf] * len(probabilities)
    found = map(endpointer.feed, probabilities, levels)
    return [event for event in found if event is not None]


def of(pattern: str) -> list[float]:
    """`#` is speech, `.` silence, `~` between the two thresholds, `!` speech without a doubt."""
    return [{"#": 0.6, ".": 0.0, "~": 0.2, "!": 0.9}[mark] for mark in pattern]


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
        ("!", ""),
        ("!!~~~", "S"),
        ("!#~~~", "S"),
        ("##!~~~", "S"),
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


QUIET = -70.0


def last_speech(before: float, behind: Sequence[float]) -> int:
    """Windows behind 3 of speech at -20 dB that still count as voice. before: the noise."""
    levels = [before] * 50 + [-20.0] * 3 + [*behind] + [QUIET] * 50
    probabilities = of("." * 50 + "###" + "." * (len(behind) + 50))
    _, end = run(probabilities, OPTIONS, levels)
    return round(end.at / WINDOW_SECONDS) - 53


@pytest.mark.parametrize(
    ("noise", "behind", "windows"),
    [
        (QUIET, [], 0),
        (QUIET, [-30, -40, -50], 3),
        (QUIET, [-30, -40, -54, -56], 3),
        (QUIET, [-50, -60, -60, -50, -60, -60, -60, -50], 4),
        (QUIET, [-60, -60, -60, -50], 0),
        (QUIET, [-40] * 100, 31),
        (-45, [-30, -38, -40], 2),
        (-40, [-38] * 30, 0),
        (-math.inf, [-50], 1),
    ],
    ids=[
        "it stops at once",
        "dies away",
        "35 dB below the loudest",
        "short gaps",
        "a long gap",
        "never for more than a second",
        "down to the noise",
        "noise that was there before",
        "digital silence before",
    ],
)
def test_a_voice_is_heard_until_it_has_died_away(
    noise: float, behind: list[float], windows: int
) -> None:
    assert last_speech(noise, behind) == windows


def test_every_utterance_has_its_own_loudest_moment() -> None:
    loud, quiet = [-10.0] * 3, [-40.0] * 3
    levels = [*loud, *[-90.0] * 20, *quiet, *[-60.0] * 4, *[-90.0] * 20]
    events = run(of("###" + "." * 20 + "###" + "." * 24), OPTIONS, levels)
    assert round(events[-1].at / WINDOW_SECONDS) == 3 + 20 + 3 + 4


@pytest.mark.parametrize(("finished", "windows"), [(True, 5), (False, 10)])
def test_what_sounds_finished_is_over_sooner(finished: bool, windows: int) -> None:
    options = EndpointerOptions(min_silence=0.16, max_silence=0.32)
    endpointer = Endpointer(options)
    for probability in of("###" + "." * (windows - 1)):
        assert not isinstance(endpointer.feed(probability, finished=finished), SpeechEnd)
    assert isinstance(endpointer.feed(0.0, finished=finished), SpeechEnd)
