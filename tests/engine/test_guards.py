import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from whisper.tokenizer import LANGUAGES, get_tokenizer

from fsbot.engine.guards import (
    ECHO_FRAMES,
    MAX_PHRASE,
    REPETITIONS,
    echoing_tail,
    looping_tail,
    token_budget,
)

FIXTURES = Path(__file__).parents[1] / "fixtures"

few_tokens = st.lists(st.integers(0, 3), max_size=80)


@given(few_tokens)
def test_only_what_stands_three_times_in_a_row_is_cut(tokens: list[int]) -> None:
    cut = looping_tail(tokens)
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
    assert looping_tail(before + phrase * times) > 0


@given(st.lists(st.integers(), unique=True, max_size=60), st.integers(0, 60))
def test_a_phrase_said_twice_is_kept(tokens: list[int], length: int) -> None:
    assert looping_tail(tokens + tokens[-length:]) == 0


def test_yes_yes_is_kept_and_a_loop_shrinks_to_its_phrase() -> None:
    assert looping_tail([7, 7]) == 0
    assert looping_tail([1, 7, 7, 7]) == 2
    assert looping_tail([1, 5, 6, 5, 6, 5, 6, 5, 6]) == 6
    assert looping_tail([5, 6, 5, 6, 5, 6, 9]) == 0
    assert looping_tail([]) == 0


def test_a_loop_of_a_loop_is_cut_by_its_shortest_phrase() -> None:
    assert looping_tail([1, 1, 2, 1, 1, 2, 1, 1, 2]) == 6
    assert looping_tail([4] * 9) == 8


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
