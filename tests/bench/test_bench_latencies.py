"""The definitions of benchmarks.md on invented calls."""

from pathlib import Path

import pytest

from fsbot.bench.forcing import ends_of_words
from fsbot.bench.latencies import (
    LOST_SECONDS,
    Quantiles,
    SpokenEnd,
    closing_latencies,
    start_latencies,
    turn_outcomes,
    word_latencies,
)
from fsbot.bench.playing import WriteClock
from fsbot.bench.speech import Reference, Turn
from tests.bench.invented import ANSWERED, end_of_utterance, final, played, start_of_speech


def reference(*spans: tuple[float, float]) -> Reference:
    turns = tuple(Turn("caller", start, end + 1.0, start, end, "words") for start, end in spans)
    return Reference(Path("invented.flac"), "en", 60.0, turns)


def test_a_turn_counts_from_its_speech_to_the_arrival_of_its_text() -> None:
    call = played((6.0, final("caller", 1, 2.0, 5.0, "words")))
    [outcome] = turn_outcomes(reference((2.0, 5.0)), call)
    assert outcome.latency == pytest.approx(1.0)
    assert not outcome.lost
    assert not outcome.cut


def test_the_first_text_that_reaches_the_end_counts() -> None:
    call = played(
        (4.0, final("caller", 1, 2.0, 3.5, "half")),
        (5.7, final("caller", 2, 3.6, 4.92, "the other half")),
        (9.0, final("caller", 3, 4.95, 8.0, "and more")),
    )
    [outcome] = turn_outcomes(reference((2.0, 5.0)), call)
    assert outcome.latency == pytest.approx(0.7)
    assert outcome.cut


def test_a_text_may_end_a_tenth_before_its_turn() -> None:
    [near] = turn_outcomes(
        reference((2.0, 5.0)), played((6.0, final("caller", 1, 2.0, 4.91, "words")))
    )
    [far] = turn_outcomes(
        reference((2.0, 5.0)), played((6.0, final("caller", 1, 2.0, 4.85, "words")))
    )
    assert (near.lost, near.cut) == (False, False)
    assert (far.lost, far.cut, far.latency) == (True, True, LOST_SECONDS)


def test_a_generous_tolerance_forgives() -> None:
    call = played((6.0, final("caller", 1, 2.0, 4.6, "words")))
    [outcome] = turn_outcomes(reference((2.0, 5.0)), call, tolerance=0.5)
    assert (outcome.lost, outcome.cut) == (False, False)


@pytest.mark.parametrize("side", ["caller", "callee"])
def test_another_sides_text_or_a_later_one_is_none(side: str) -> None:
    late = final("callee" if side == "callee" else "caller", 1, 5.5, 7.0, "words")
    [outcome] = turn_outcomes(reference((2.0, 5.0)), played((8.0, late)))
    assert outcome.lost
    assert not outcome.cut


def test_closing_counts_from_the_decision_to_the_arrival() -> None:
    call = played(
        (3.1, end_of_utterance("caller", 1, 2.0, 2.6, 3.0)),
        (3.4, final("caller", 1, 1.0, 2.0, "one")),
        (7.0, end_of_utterance("callee", 1, 5.0, 5.6, 6.0)),
        (6.2, final("callee", 1, 4.0, 5.0, "two")),
        (9.0, final("callee", 2, 8.0, 8.5, "no decision known")),
    )
    assert closing_latencies(call) == pytest.approx([0.4, 0.2])


def test_only_words_that_are_right_have_a_latency() -> None:
    ends = {"caller": [SpokenEnd("good", 1.0), SpokenEnd("morning", 1.5), SpokenEnd("sir", 2.0)]}
    call = played(
        (2.0, final("caller", 1, 0.5, 1.0, "Good", live=True)),
        (2.9, final("caller", 1, 1.0, 2.0, "mourning, sir.", live=True)),
        (3.5, final("caller", 1, 0.5, 2.0, "Good morning, sir.")),
        (1.1, final("callee", 1, 0.5, 1.0, "Good", live=True)),
    )
    latencies, said = word_latencies(ends, call)
    assert latencies == pytest.approx([1.0, 0.9])
    assert said == 3


def test_words_take_the_end_of_the_piece_with_their_last_letter() -> None:
    pieces = [(" rue", 0.5), (" d", 0.7), ("'", 0.7), ("El", 0.9), ("bach", 1.2), (",", 1.3)]
    assert ends_of_words(pieces, "rue d'Elbach,") == [
        SpokenEnd("rue", 0.5),
        SpokenEnd("d", 0.7),
        SpokenEnd("elbach", 1.2),
    ]


def test_a_write_clock_knows_when_each_sample_was_written() -> None:
    clock = WriteClock((ANSWERED, ANSWERED + 1.0, ANSWERED + 3.0), (0, 50, 100))
    assert clock.wall(0.5) == pytest.approx(ANSWERED + 0.5)
    assert clock.wall(1.5) == pytest.approx(ANSWERED + 2.0), "the second half came late"
    assert clock.seconds(ANSWERED + 2.0) == pytest.approx(1.5)


def test_nothing_has_no_quantiles() -> None:
    assert Quantiles.of([]) == Quantiles(None, None, 0)
    assert Quantiles.of([1.0, 2.0, 3.0]).p50 == 2.0


def test_the_beginning_of_a_turn_counts_to_the_first_record_that_tells_of_it() -> None:
    call = played(
        (1.0, start_of_speech("caller", 0.5)),  # before it, of something else
        (2.15, start_of_speech("caller", 2.0)),
        (2.45, start_of_speech("caller", 2.0, confirmed=True)),
        (3.0, start_of_speech("caller", 2.9)),
        (8.4, start_of_speech("callee", 8.0)),
    )
    turns = reference((2.0, 5.0), (8.0, 9.0))
    begins = [2.0, 8.0]
    assert start_latencies(turns, call, begins, confirmed=False) == [pytest.approx(0.15)]
    assert start_latencies(turns, call, [2.1, 8.0], confirmed=False) == [pytest.approx(0.05)]
    assert start_latencies(turns, call, begins, confirmed=True) == [pytest.approx(0.45)]
