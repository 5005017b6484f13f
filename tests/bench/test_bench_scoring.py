"""Invented texts against invented references."""

import pytest

from fsbot.bench.scoring import (
    WordErrors,
    align,
    compare,
    errors_by_part,
    lost_turns,
    repetitions,
    words,
)
from fsbot.bench.speech import Turn
from tests.bench.invented import final


def test_words_have_neither_case_nor_punctuation() -> None:
    assert words("Jusqu'à vingt-six, Retzwiller !") == ["jusqu", "à", "vingt", "six", "retzwiller"]


def test_an_alignment_names_what_became_of_each_word() -> None:
    aligned = align(["the", "cat", "sat", "down"], ["oh", "the", "bat", "sat"])
    assert aligned.matches == ((0, 1), (2, 3))
    assert aligned.wrong == (1, 3)
    assert aligned.inserted == (0,)
    assert aligned.errors == 3


@pytest.mark.parametrize(
    ("reference", "heard", "errors"),
    [("a b c", "a b c", 0), ("a b c", "", 3), ("", "a b", 2), ("a b", "a x b y", 2)],
)
def test_errors_are_summed(reference: str, heard: str, errors: int) -> None:
    counted = WordErrors()
    counted.add(reference, heard)
    counted.add("one", "one")
    assert counted.errors == errors
    assert counted.words == len(reference.split()) + 1


def test_each_error_is_laid_to_its_turn() -> None:
    parts = errors_by_part(["good morning", "how are you", "fine"], "good morning sir who are you")
    assert [(part.errors, part.words) for part in parts] == [(1, 2), (1, 3), (1, 1)]


def test_errors_by_turn_are_those_of_the_whole() -> None:
    said, heard = ["un deux trois", "quatre", "cinq six"], "deux trois trois cinq sept six"
    whole = WordErrors()
    whole.add(" ".join(said), heard)
    assert sum(part.errors for part in errors_by_part(said, heard)) == whole.errors


def test_a_comparison_is_paired() -> None:
    ours = [WordErrors(1, 10), WordErrors(0, 10), WordErrors(5, 10)]
    theirs = [WordErrors(2, 10), WordErrors(1, 10), WordErrors(6, 10)]
    difference = compare(ours, theirs)
    assert difference is not None
    # Turn by turn one error in ten words less, whichever turns are drawn.
    assert (difference.points, difference.low, difference.high) == pytest.approx((-10, -10, -10))
    assert difference.parts == 3
    assert compare([], []) is None


def test_a_comparison_of_unlike_turns_has_an_interval() -> None:
    difference = compare([WordErrors(4, 10), WordErrors(0, 10)], [WordErrors(0, 10)] * 2)
    assert difference is not None
    assert difference.low == pytest.approx(0)
    assert difference.points == pytest.approx(20)
    assert difference.high == pytest.approx(40)


@pytest.mark.parametrize(
    ("heard", "runs"),
    [
        ("non non non", ["non"]),
        ("non non", []),
        ("de la fin de la fin de la fin de la fin c'est tout", ["de la fin"]),
        ("la la la et puis et puis et puis", ["la", "et puis"]),
        ("un deux trois", []),
    ],
)
def test_repetitions_are_counted_once_each(heard: str, runs: list[str]) -> None:
    assert repetitions(heard, "rien de tel") == runs


def test_what_was_said_three_times_is_no_repetition() -> None:
    assert repetitions("Oui oui oui.", "oui, oui, oui") == []


def test_a_turn_without_a_text_of_its_own_is_lost() -> None:
    turns = [
        Turn("caller", 0.0, 2.0, 0.0, 2.0, "good morning"),
        Turn("caller", 3.0, 5.0, 3.0, 5.0, "how are you"),
    ]
    assert lost_turns(turns, [final("caller", 1, 0.0, 2.0, "Good morning")]) == turns[1:]
    assert lost_turns(turns, [final("caller", 1, 0.0, 5.0, "Good morning, how are you?")]) == []
    assert lost_turns(turns, [final("callee", 1, 0.0, 5.0, "Good morning, how are you?")]) == turns
