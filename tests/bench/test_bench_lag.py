"""Lag on invented traces."""

import pytest

from fsbot.bench.lag import Lag, lag_samples, speech_share, with_judged_silence
from fsbot.bench.playing import Covered
from tests.bench.invented import ANSWERED, end_of_utterance, played


def covered(at: float, until: float, utterance: int = 1) -> Covered:
    return Covered(ANSWERED + at, "caller", utterance, ANSWERED + until)


def lags(
    speech: list[tuple[float, float]], trace: list[Covered], end: float = 10.0
) -> dict[float, float]:
    """By second since the answer, for those in which the stream has speech."""
    spans = [(ANSWERED + a, ANSWERED + b) for a, b in speech]
    found = lag_samples(spans, trace, (ANSWERED, ANSWERED + end))
    times = [n / 10 for n in range(round(end * 10)) if any(a <= n / 10 < b for a, b in speech)]
    return dict(zip(times, found, strict=True))


def test_without_updates_lag_grows_with_the_speech() -> None:
    found = lags([(2.0, 5.0)], [])
    assert min(found) == 2.0
    assert max(found) == 4.9
    assert found[2.0] == pytest.approx(0.0)
    assert found[4.5] == pytest.approx(2.5)


def test_an_update_covers_what_it_has_heard() -> None:
    found = lags([(2.0, 5.0)], [covered(3.25, 3.0), covered(4.25, 4.0)])
    assert found[3.2] == pytest.approx(1.2)
    assert found[3.3] == pytest.approx(0.3)
    assert found[4.2] == pytest.approx(1.2)
    assert found[4.9] == pytest.approx(0.9)


def test_silence_does_not_wait() -> None:
    found = lags([(2.0, 3.0), (6.0, 7.0)], [covered(3.5, 3.2)])
    assert found[6.5] == pytest.approx(0.5), "the oldest speech not covered began at 6"


def test_speech_that_was_never_covered_goes_on_waiting() -> None:
    found = lags([(2.0, 3.0), (6.0, 7.0)], [covered(2.9, 2.5)])
    assert found[6.5] == pytest.approx(4.0)


def test_an_update_never_uncovers() -> None:
    found = lags([(2.0, 5.0)], [covered(3.05, 3.0), covered(3.15, 2.5)])
    assert found[3.2] == pytest.approx(0.2)


def test_what_was_taken_for_silence_may_count_as_heard() -> None:
    call = played((3.9, end_of_utterance("caller", 1, end=2.2, decided=2.8, emitted=3.2)))
    trace = [covered(2.9, 2.5), covered(3.4, 2.7)]
    spoken = [(2.0, 3.0), (6.0, 7.0)]
    assert lags(spoken, trace)[6.5] == pytest.approx(3.8)
    assert lags(spoken, with_judged_silence(call, trace))[6.5] == pytest.approx(0.5)
    unfinished = with_judged_silence(call, trace[:1])
    assert unfinished == trace[:1], "its final text is not there yet"


def test_the_worst_stream_is_named() -> None:
    lag = Lag.of({"a/caller": [0.1] * 100, "a/callee": [2.0] * 10, "b/caller": []})
    assert lag.worst == pytest.approx(2.0)
    assert lag.worst_stream == "a/callee"
    assert lag.samples == 110
    assert Lag.of({}).samples == 0


def test_share_of_speech_in_a_window() -> None:
    assert speech_share([(0.0, 2.0), (4.0, 6.0), (9.0, 20.0)], (1.0, 11.0)) == pytest.approx(0.5)
