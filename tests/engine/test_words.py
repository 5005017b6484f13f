"""Grouping of tokens into words, with the real vocabulary."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from whisper.tokenizer import Tokenizer, get_tokenizer

from fsbot.engine.decoding import Decoded
from fsbot.engine.words import (
    continuation_tokens,
    group_tokens,
    timed_words,
    token_mask,
    unspoken_tokens,
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
    continuing = set(continuation_tokens(FRENCH))
    assert continuing >= set(FRENCH.encode("eau,'"))
    assert not continuing & {FRENCH.encode(" eau")[0], FRENCH.eot}
    assert continuation_tokens(tokenizer_of("ja")) == []
    assert token_mask([1, 3], 5).tolist() == [False, True, False, True, False]
