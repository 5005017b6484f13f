"""Whether a speaker has finished, by what was said and by the silence behind it."""

import math
from itertools import pairwise

import pytest

from fsbot.engine.events import Word
from fsbot.engine.final import FinalText, Speech
from fsbot.engine.turns import end_probability, sounds_finished


def said(text: str, mean_log_prob: float = -0.2) -> FinalText:
    words = tuple(Word(word, 0.0, 1.0, 0.8) for word in text.split())
    return FinalText(Speech(0.0, 0.5, 1.0, 1.3), words, (), True, mean_log_prob, ())


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ("Je voudrais un rendez-vous.", True),
        ("Vous êtes là ?", True),
        ("Oui !", True),
        ("« D'accord.»", True),
        ("こんにちは。", True),
        ("Je voudrais", False),
        ("Je voudrais,", False),
        ("Je voudrais...", False),
        ("Je voudrais…", False),
        ("", False),
    ],
)
def test_a_sentence_that_ends(text: str, finished: bool) -> None:
    assert sounds_finished(said(text)) == finished


def test_a_text_that_the_model_is_unsure_of_does_not() -> None:
    assert not sounds_finished(said("Ego.", -0.9))


def test_the_probability_rises_with_silence_sureness_and_a_full_stop() -> None:
    silences = [end_probability(said("Oui."), silence) for silence in (0.0, 0.2, 0.5, 1.0, 5.0)]
    sureness = [end_probability(said("Oui.", each), 0.3) for each in (-9.0, -1.5, -0.5, 0.0)]
    texts = [end_probability(text, 0.3) for text in (None, said("Oui"), said("Oui."))]
    for rising in (silences, sureness, texts):
        assert all(0 < before < after <= 1 for before, after in pairwise(rising))
    assert not math.isnan(end_probability(None, 1e6))
