"""What a prompt says is no live word before somebody has said it."""

import math

import numpy as np
import pytest

from fsbot.engine.decoding import Decoded
from fsbot.engine.events import WordsCommitted
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions
from fsbot.engine.utterance import Utterance
from fsbot.engine.voice import Voice

PROMPT = "Dupont, Valence, numéro de dossier 38"


def voice_with(model: SpeechModel, prompt: str) -> Voice:
    return Voice.of(model, EngineOptions(), "fr", static_prompt=prompt)


def heard(voice: Voice, text: str, probability: float, frame: int = 10) -> Decoded:
    """A text whose tokens begin 0.2 s apart, the first one at `frame`."""
    tokens = voice.tokenizer.encode(text)
    frames = [frame + 10 * number for number in range(len(tokens))]
    attention = np.zeros((len(tokens), 150), np.float32)
    for token, at in enumerate(frames):
        attention[token, at : at + 10] = 1.0
    log_probs = [math.log(probability)] * len(tokens)
    return Decoded(tokens, frames, log_probs, attention, complete=True, watched=[0.0] * 200)


def updated(utterance: Utterance, voice: Voice, decoded: Decoded) -> str:
    """The words that an update commits which hears that in 3 s of sound."""
    job = utterance.update(
        voice, lambda start, end: np.zeros(round((end - start) * 16000), np.float32), 3.0
    )
    next(job)
    with pytest.raises(StopIteration) as stop:
        job.send(decoded)
    event: WordsCommitted | None = stop.value.value
    return " ".join(word.text for word in event.words) if event is not None else ""


def test_its_first_words_wait_until_they_are_heard_twice(speech_model: SpeechModel) -> None:
    voice = voice_with(speech_model, PROMPT)
    utterance = Utterance(1, 0.0, 0.0)
    assert updated(utterance, voice, heard(voice, " Valence, numéro de", 0.9)) == ""
    assert updated(utterance, voice, heard(voice, " Valence, bonjour", 0.9)) == "Valence, bonjour"


def test_or_until_something_else_is_heard(speech_model: SpeechModel) -> None:
    voice = voice_with(speech_model, PROMPT)
    utterance = Utterance(1, 0.0, 0.0)
    assert updated(utterance, voice, heard(voice, " Valence", 0.9)) == ""
    assert updated(utterance, voice, heard(voice, " Vingt-six rue", 0.9)) == "Vingt-six rue"


def test_what_is_unsure_waits_though_it_was_heard_twice(speech_model: SpeechModel) -> None:
    voice = voice_with(speech_model, PROMPT)
    utterance = Utterance(1, 0.0, 0.0)
    for _ in range(2):
        assert updated(utterance, voice, heard(voice, " Valence", 0.3)) == ""


def test_a_name_behind_other_words_does_not_wait(speech_model: SpeechModel) -> None:
    voice = voice_with(speech_model, PROMPT)
    text = " Bonjour Dupont"
    assert updated(Utterance(1, 0.0, 0.0), voice, heard(voice, text, 0.9)) == text.strip()


@pytest.mark.parametrize("text", [" De quoi", " Valence", " 38"])
def test_nothing_waits_without_a_prompt(speech_model: SpeechModel, text: str) -> None:
    voice = voice_with(speech_model, "")
    assert updated(Utterance(1, 0.0, 0.0), voice, heard(voice, text, 0.9)) == text.strip()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Valence,", True),
        ("valence", True),
        ("«Dupont»", True),
        ("numéro", True),
        ("38", True),
        ("de", False),  # as in any text
        ("De", False),
        ("Dupon", False),
        ("", False),
    ],
)
def test_what_a_prompt_leads_one_to_expect(
    speech_model: SpeechModel, word: str, expected: bool
) -> None:
    voice = voice_with(speech_model, PROMPT)
    assert voice.expects(word) is expected


def test_nor_is_a_word_that_begins_its_next_utterance_held_back_when_it_was_cut(
    speech_model: SpeechModel,
) -> None:
    voice = voice_with(speech_model, PROMPT)
    before = Utterance(1, 0.0, 0.0)
    assert updated(before, voice, heard(voice, " Bonjour Monsieur", 0.9)) == "Bonjour Monsieur"
    after = Utterance(2, 0.1, 0.1, continues=before)
    assert updated(after, voice, heard(voice, " Dupont", 0.9, frame=70)) == "Dupont"
