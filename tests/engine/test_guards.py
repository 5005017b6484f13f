import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from whisper.tokenizer import LANGUAGES, get_tokenizer

from fsbot.engine.guards import (
    ECHO_FRAMES,
    LOOP_FRAMES,
    MAX_PHRASE,
    REPETITIONS,
    echoing_tail,
    looping_tail,
    repeats_itself,
    token_budget,
)

FIXTURES = Path(__file__).parents[1] / "fixtures"


def loop_of_one_sound(tokens: list[int]) -> int:
    """The loop of tokens that all listen to the same moment."""
    return looping_tail(tokens, [20] * len(tokens))


few_tokens = st.lists(st.integers(0, 3), max_size=80)


@given(few_tokens)
def test_only_what_stands_three_times_in_a_row_is_cut(tokens: list[int]) -> None:
    cut = loop_of_one_sound(tokens)
    assert 0 <= cut < max(1, len(tokens))
    if cut == 0:
        return
    phrases = [
        length
        for length in range(1, MAX_PHRASE + 1)
        if cut % length == 0 and cut // length >= REPETITIONS - 1
    ]
    assert any(
        tokens[-cut - length :] == tokens[-length:] * (cut // length + 1) for length in phrases
    )


@given(few_tokens, st.lists(st.integers(0, 9), min_size=1, max_size=MAX_PHRASE), st.integers(3, 6))
def test_a_loop_is_found_wherever_it_stands(
    before: list[int], phrase: list[int], times: int
) -> None:
    assert loop_of_one_sound(before + phrase * times) > 0


@given(st.lists(st.integers(), unique=True, max_size=60), st.integers(0, 60))
def test_a_phrase_said_twice_is_kept(tokens: list[int], length: int) -> None:
    assert loop_of_one_sound(tokens + tokens[-length:]) == 0


def test_yes_yes_is_kept_and_a_loop_shrinks_to_its_phrase() -> None:
    assert loop_of_one_sound([7, 7]) == 0
    assert loop_of_one_sound([1, 7, 7, 7]) == 2
    assert loop_of_one_sound([1, 5, 6, 5, 6, 5, 6, 5, 6]) == 6
    assert loop_of_one_sound([5, 6, 5, 6, 5, 6, 9]) == 0
    assert loop_of_one_sound([]) == 0


def test_a_loop_of_a_loop_is_cut_by_its_shortest_phrase() -> None:
    assert loop_of_one_sound([1, 1, 2, 1, 1, 2, 1, 1, 2]) == 6
    assert loop_of_one_sound([4] * 9) == 8


def test_what_is_heard_three_times_is_no_loop() -> None:
    digits = [5, 5, 5, 4, 4, 4, 3]
    frames = [LOOP_FRAMES * n for n in range(len(digits))]
    assert [looping_tail(digits[:n], frames[:n]) for n in range(1, 8)] == [0] * 7
    # A group of two tokens has to move on by twice as much.
    pairs = [6, 0] * 3
    assert looping_tail(pairs, [10 * n + half for n in range(3) for half in (0, 5)]) == 0
    assert looping_tail(pairs, [8 * n + half for n in range(3) for half in (0, 5)]) == 4


def test_a_comma_may_listen_to_anything() -> None:
    # Heard in "one one one nine nine nine nine", where the last "nine" was taken for a loop.
    said = [8, 0, 8, 0, 8, 0]
    assert looping_tail(said, [257, 296, 305, 399, 309, 414]) == 0
    assert looping_tail(said, [257, 299, 305, 315, 309, 315]) == 2


def test_a_loop_behind_what_was_said_leaves_that() -> None:
    assert looping_tail([1, 7, 7, 7], [0, 20, 40, 40]) == 1
    assert looping_tail([1, 7, 7, 7, 7], [0, 20, 40, 41, 41]) == 2
    assert looping_tail([1, 7, 7, 7], [0, 20, 60, 20]) == 1


def test_an_echo_says_the_same_of_the_same_sound() -> None:
    phrase, said = [5, 6, 7], [10, 20, 30]
    assert echoing_tail([1, *phrase, *phrase], [0, *said, *said]) == 3
    again = [frame + ECHO_FRAMES for frame in said]
    assert echoing_tail([1, *phrase, *phrase], [0, *said, *again]) == 0
    assert echoing_tail([5, 6, 5, 6], [10, 20, 10, 20]) == 0
    assert echoing_tail([*phrase, *phrase, 8], [*said, *said, 40]) == 0
    # One token that looks elsewhere does not make it speech.
    assert echoing_tail([*phrase, *phrase], [*said, 90, 20, 31]) == 3


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60)), max_size=40))
def test_only_what_was_said_before_is_an_echo(heard: list[tuple[int, int]]) -> None:
    tokens = [token for token, _ in heard]
    frames = [frame for _, frame in heard]
    echo = echoing_tail(tokens, frames)
    assert echo == 0 or tokens[-echo:] == tokens[-2 * echo : -echo]
    # The same sound heard later and later is never an echo.
    assert echoing_tail(tokens, [ECHO_FRAMES * n for n in range(len(tokens))]) == 0


@given(st.floats(0, 30), st.floats(0, 30))
def test_the_budget_grows_with_the_audio(one: float, other: float) -> None:
    shorter, longer = sorted([one, other])
    assert 0 < token_budget(shorter) <= token_budget(longer)
    # Fast French, 8 syllables a second, is never cut; the decoder's own limit comes before 60 s.
    assert token_budget(longer) >= 7 * longer
    assert token_budget(longer) < 448


ARTICLE_1 = json.loads((FIXTURES / "languages" / "article-1.json").read_text(encoding="utf-8"))
FAST_SYLLABLES = 8.0  # a second
SYLLABLES = 51
"""Of the French article."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_budget_holds_fast_speech_in_every_language(language: str) -> None:
    tokenizer = get_tokenizer(True, num_languages=100, language=language)
    tokens = tokenizer.encode(f" {ARTICLE_1[language]}")
    seconds = SYLLABLES / FAST_SYLLABLES
    assert len(tokens) <= token_budget(seconds, language)
    # Two thirds of a budget would not do, or it is that of French.
    dear = len(tokens) > token_budget(seconds)
    assert dear <= (token_budget(seconds, language) > token_budget(seconds))


@pytest.mark.parametrize("language", ["en", "fr", "es", "de", "it", "pt", "zh"])
def test_the_languages_that_whisper_knows_best_have_no_more(language: str) -> None:
    assert token_budget(10.0, language) == token_budget(10.0)


def test_a_repetition_is_found_whatever_its_marks() -> None:
    one, comma, capital, other = 3, 9, 4, 6
    alike = [-1] * 10
    alike[one] = alike[capital] = one
    alike[other] = other
    assert repeats_itself([one, capital], alike)
    assert repeats_itself([one, comma, capital], alike)
    assert repeats_itself([other, one, other, comma, capital, other], alike)
    assert not repeats_itself([one, other, one], alike)
    assert not repeats_itself([comma, comma], alike)
    assert not repeats_itself([], alike)
