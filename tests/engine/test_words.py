"""Grouping of tokens into words, with the real vocabulary."""

import dataclasses
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from whisper.tokenizer import Tokenizer, get_tokenizer

from fsbot.engine.decoding import Decoded
from fsbot.engine.events import Word
from fsbot.engine.words import (
    continuation_tokens,
    group_tokens,
    in_turn,
    is_said,
    timed_words,
    token_mask,
    unspoken_tokens,
    words_beyond,
    words_with_time,
)


@lru_cache
def tokenizer_of(language: str) -> Tokenizer:
    return get_tokenizer(True, num_languages=99, language=language, task="transcribe")


FRENCH = tokenizer_of("fr")


def words(text: str, language: str = "fr") -> list[str]:
    tokenizer = tokenizer_of(language)
    groups = group_tokens(tokenizer, tokenizer.encode(text))
    return [tokenizer.decode(group).strip() for group in groups]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" l'eau d’aujourd'hui", ["l'eau", "d’aujourd'hui"]),
        (" est-ce au-dessus ?", ["est-ce", "au-dessus ?"]),
        (" Vous y allez ? Non !", ["Vous", "y", "allez ?", "Non !"]),
        (" 100 % de 1,5 million", ["100", "%", "de", "1,5", "million"]),
        (" 06 12 34", ["06", "12", "34"]),
        (" il dit : « oui, non »", ["il", "dit :", "« oui,", "non »"]),
        (" (peut-être) … bon", ["(peut-être) …", "bon"]),
        (" M. Œuvrard, n° 5", ["M.", "Œuvrard,", "n°", "5"]),
        (" ¿qué? ¡sí!", ["¿qué?", "¡sí!"]),
        (" 10 € – 20 $", ["10", "€ –", "20", "$"]),
        (" oui 🙂 bon", ["oui", "🙂", "bon"]),
        ("", []),
    ],
)
def test_words_as_the_french_write_them(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_unspaced_writing_is_grouped_by_characters() -> None:
    assert "".join(words("今日は「いい」天気です。", "ja")) == "今日は「いい」天気です。"
    assert words("好。", "zh") == ["好。"]
    assert len(words("今天天气很好", "zh")) > 1


# Every way of cutting these within a character is met, and whatever else a model may say.
spoken = st.lists(st.integers(0, FRENCH.eot - 1), max_size=12)


@given(spoken, st.sampled_from(["fr", "ja"]))
@example(FRENCH.encode(" Bonjour 🙂")[:-1], "fr")
@example(FRENCH.encode(" 𓀀𓀁")[:-2], "fr")
def test_every_token_is_in_one_word_but_for_unfinished_characters(
    tokens: list[int], language: str
) -> None:
    tokenizer = tokenizer_of(language)
    groups = group_tokens(tokenizer, tokens)
    assert all(groups)
    grouped = [token for group in groups for token in group]
    assert grouped == tokens[: len(grouped)]
    rest = b"".join(map(tokenizer.encoding.decode_single_token_bytes, tokens[len(grouped) :]))
    assert rest == b"" or unfinished(rest)


def unfinished(data: bytes) -> bool:
    """Its last character lacks bytes, and no token ended a character before that."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.end == len(data) or unfinished(data[error.end :])
    return False


def test_a_character_in_pieces_is_held_back() -> None:
    tokens = FRENCH.encode(" Bonjour 🙂")
    assert len(tokens) == 4
    for count in range(1, 4):
        assert [FRENCH.decode(g) for g in group_tokens(FRENCH, tokens[:count])] == [" Bonjour"]
    assert [FRENCH.decode(g) for g in group_tokens(FRENCH, tokens)] == [" Bonjour", " 🙂"]


def decoded(tokens: list[int], spans: list[tuple[int, int]], frames: int) -> Decoded:
    attention = np.full((len(tokens), frames), -1.0, dtype=np.float32)
    for row, (start, end) in enumerate(spans):
        attention[row, start:end] = 2.0
    log_probs = [float(np.log(0.5 + 0.1 * n)) for n in range(len(tokens))]
    return Decoded(tokens, [0] * len(tokens), log_probs, attention, complete=True, watched=[0.0])


def test_times_and_probabilities_are_those_of_the_tokens() -> None:
    tokens = FRENCH.encode(" l'eau,") + FRENCH.encode(" oui")
    assert len(tokens) == 5
    spans = [(10, 15), (15, 20), (20, 40), (40, 45), (45, 70)]
    first, second = timed_words(FRENCH, decoded(tokens, spans, 100), window_start=7.0)
    assert (first.text, second.text) == ("l'eau,", "oui")
    assert (first.start, first.end) == pytest.approx((7.2, 7.9))
    assert (second.start, second.end) == pytest.approx((7.9, 8.4))
    assert first.probability == pytest.approx(0.65)
    assert second.probability == pytest.approx(0.9)


def test_no_tokens_are_no_words() -> None:
    assert timed_words(FRENCH, decoded([], [], 50), 0.0) == []
    unfinished_only = FRENCH.encode(" 🙂")[:1]
    assert timed_words(FRENCH, decoded(unfinished_only, [(3, 9)], 50), 0.0) == []


def test_masks() -> None:
    unspoken = set(unspoken_tokens(FRENCH))
    assert FRENCH.eot not in unspoken
    assert {FRENCH.sot, FRENCH.no_timestamps, FRENCH.timestamp_begin, FRENCH.no_speech} <= unspoken
    assert not unspoken & set(FRENCH.encode(" l'eau, est-ce « 100 % » ?"))
    assert not unspoken & {
        token for mark in ("+33", " +33", "a@b", " @ b") for token in FRENCH.encode(mark)
    }
    continuing = set(continuation_tokens(FRENCH))
    assert continuing >= set(FRENCH.encode("eau,'"))
    assert not continuing & {FRENCH.encode(" eau")[0], FRENCH.eot}
    assert continuation_tokens(tokenizer_of("ja")) == []
    assert token_mask([1, 3], 5).tolist() == [False, True, False, True, False]


# What a text has beyond what was said of it


def said_at(texts: Sequence[str], start: float = 0.0) -> list[Word]:
    """Words one behind the other, half a second each."""
    times = [start + number / 2 for number in range(len(texts))]
    return [Word(text, at, at + 0.5, 0.9) for text, at in zip(texts, times, strict=True)]


# So few different words that repetitions are frequent.
common = st.sampled_from(["oui", "non", "bon", "euh", "je", "ne", "sais", "pas"])
phrases = st.lists(common, max_size=8)
different = st.lists(common, max_size=8, unique=True)
names = st.lists(st.sampled_from(["Asterisk", "Dupont", "Lyon", "mardi"]), max_size=6)


@given(phrases, phrases)
def test_what_follows_the_very_words_that_were_said(before: list[str], rest: list[str]) -> None:
    whole = said_at(before + rest)
    assert words_beyond(whole[: len(before)], whole) == whole[len(before) :]
    assert words_beyond(whole, whole) == []


@given(different, names, st.data())
def test_words_heard_otherwise_later_change_nothing_about_the_rest(
    before: list[str], rest: list[str], data: st.DataObject
) -> None:
    """One of several words said was another, was left out or was never said."""
    whole = said_at(before + rest)
    said = whole[: len(before)]
    if len(before) > 1:
        place = data.draw(st.integers(0, len(before) - 2))
        other = dataclasses.replace(said[place], text="xyz")
        heard = data.draw(st.sampled_from([[], [other], [said[place], other]]))
        said = [*said[:place], *heard, *said[place + 1 :]]
    assert words_beyond(said, whole) == whole[len(before) :]


@given(phrases, phrases)
def test_capitals_and_marks_make_no_other_word(before: list[str], rest: list[str]) -> None:
    whole = said_at(before + rest)
    said = [dataclasses.replace(word, text=f"« {word.text.title()}, »") for word in whole]
    assert words_beyond(said[: len(before)], whole) == whole[len(before) :]


@given(phrases, phrases)
def test_it_is_always_the_end_of_the_text(said: list[str], whole: list[str]) -> None:
    words = said_at(whole)
    rest = words_beyond(said_at(said), words)
    assert rest == words[len(words) - len(rest) :]
    # What is left out of `rest` is as few edits from what was said as any beginning can be.
    distances = [
        edit_distance(tuple(said), tuple(whole[:count])) for count in range(len(whole) + 1)
    ]
    assert not said or distances[len(whole) - len(rest)] == min(distances)


@cache
def edit_distance(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """By the definition."""
    if not one or not other:
        return len(one) + len(other)
    return min(
        edit_distance(one[1:], other) + 1,
        edit_distance(one, other[1:]) + 1,
        edit_distance(one[1:], other[1:]) + (one[0] != other[0]),
    )


def test_of_equal_beginnings_the_one_that_ends_at_the_right_time() -> None:
    whole = said_at(["oui", "oui", "oui", "alors"])
    early, late = Word("ouais", 0.0, 0.5, 0.5), Word("ouais", 1.0, 1.5, 0.5)
    assert words_beyond([early], whole) == whole[1:]
    assert words_beyond([whole[0], whole[1], late], whole) == whole[3:]
    assert words_beyond([], whole) == whole
    assert words_beyond(whole, []) == []


def test_a_text_said_again_without_sound_for_it_is_an_echo() -> None:
    said = [Word("The", 1.0, 1.1, 0.9), Word("moon.", 1.1, 1.5, 0.9)]
    echo = [Word(text, 1.5, 1.5, 0.9) for text in ("At", "the", "full", "moon.")]
    assert words_with_time(said + echo) == 2
    assert words_with_time(said + echo[:3]) == 5, "people do swallow three words"
    spread = [Word("so", 1.5 + 0.02 * k, 1.52 + 0.02 * k, 0.9) for k in range(4)]
    assert words_with_time(said + spread) == 6
    assert words_with_time(echo) == 0
    assert words_with_time([]) == 0


MOMENTS = st.floats(0, 30, allow_nan=False)


@given(
    st.lists(st.tuples(MOMENTS, MOMENTS), max_size=40),
    MOMENTS,
    MOMENTS,
)
@example([(1.0, 1.0)] * 5, 0.0, 2.0)
@example([(2.0, 2.0)] * 5, 2.0, 2.0)
@example([(0.0, 3.0), (1.0, 0.5), (3.0, 3.0)], 0.0, 3.0)
def test_every_word_has_time_of_its_own(
    times: list[tuple[float, float]], earliest: float, latest: float
) -> None:
    words = [Word(str(number), start, end, 1.0) for number, (start, end) in enumerate(times)]
    placed = in_turn(words, earliest, latest)
    assert [word.text for word in placed] == [word.text for word in words]
    before = earliest
    for word in placed:
        assert word.start >= before - 1e-9
        assert round(word.end, 3) > round(word.start, 3)
        before = word.end
    if placed and latest - earliest >= 0.005 * len(placed) and latest >= words[-1].end:
        assert before <= latest + 1e-9


def test_words_that_have_time_keep_it() -> None:
    words = [Word("a", 1.0, 1.5, 1.0), Word("b", 1.5, 1.5, 1.0), Word("c", 1.5, 2.0, 1.0)]
    placed = in_turn(words, 0.5, 2.5)
    assert [(word.start, word.end) for word in placed] == [(1.0, 1.5), (1.5, 1.52), (1.52, 2.0)]
    # At the end there is no room behind them: the words before give some.
    words = [Word("a", 1.0, 2.0, 1.0), Word("b", 2.0, 2.0, 1.0)]
    placed = in_turn(words, 0.5, 2.0)
    assert [(round(word.start, 3), round(word.end, 3)) for word in placed] == [
        (1.0, 1.98),
        (1.98, 2.0),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" ...", False),
        (" …", False),
        (" -", False),
        (" ♪♪", False),
        (" ?!", False),
        (" « »", False),
        ("。", False),
        ("", False),
        (" Ah...", True),
        (" 7", True),
        (" +", True),
        (" @", True),
        (" %", True),
        ("はい。", True),
        (" नहीं।", True),
    ],
)
def test_punctuation_alone_is_no_text(text: str, said: bool) -> None:
    assert is_said(text) is said
    tokens = FRENCH.encode(text)
    attention = np.zeros((len(tokens), 100), np.float32)
    decoded = Decoded(
        tokens, [0] * len(tokens), [0.0] * len(tokens), attention, complete=True, watched=[0.0]
    )
    assert bool(timed_words(FRENCH, decoded, 0.0)) is said
