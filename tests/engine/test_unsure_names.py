"""A final text that the prompt alone may have said is read again without the prompt."""

import numpy as np
import pytest
from hearing import EVERY_SECOND, silence

from fsbot.engine.decoding import Decoded
from fsbot.engine.final import FinalDecoder, FinalText, Speech
from fsbot.engine.model import SpeechModel
from fsbot.engine.voice import Voice, said_once

PROMPT = "Dupont, Valence, l'Hay-les-Roses, numéro de dossier"
SPEECH = Speech(0.0, 0.4, 1.6, 1.9)
SURE, UNSURE = -0.1, -0.7


@pytest.fixture(scope="module")
def voice(babbler: SpeechModel) -> Voice:
    return Voice.of(babbler, EVERY_SECOND, "fr", static_prompt=PROMPT)


def said(voice: Voice, text: str, log_prob: float, no_speech: float = 0.1) -> Decoded:
    """What the model makes of the sound: its words one after the other."""
    tokens = voice.tokenizer.encoding.encode(text)
    frames = [20 + 60 * n // max(1, len(tokens)) for n in range(len(tokens))]
    attention = np.zeros((len(tokens), 95), dtype=np.float32)
    attention[range(len(tokens)), frames] = 9.0
    watched = [no_speech] + [0.0] * (len(voice.watched) - 1)
    return Decoded(tokens, frames, [log_prob] * len(tokens), attention, True, watched)


def read(voice: Voice, prompted: Decoded, plain: Decoded) -> tuple[str, bool]:
    """The final text, and whether it was asked for without the prompt."""
    job = FinalDecoder(lambda start, end: silence(end - start), 15.0).decode(voice, (), SPEECH, ())
    without = False
    answer: Decoded | None = None
    while True:
        try:
            window = job.send(answer)  # type: ignore[arg-type]
        except StopIteration as stop:
            text: FinalText = stop.value
            return " ".join(word.text for word in text.words), without
        has_prompt = voice.tokenizer.sot_prev in window.task.prompt
        without = without or not has_prompt
        answer = prompted if has_prompt else plain


def test_a_noise_does_not_become_a_name(voice: Voice) -> None:
    nothing = said(voice, "", 0.0, no_speech=0.9)
    for text in (" Valence", " Dupont, Dupont.", " numéro de dossier"):
        assert read(voice, said(voice, text, UNSURE), nothing) == ("", True)


def test_a_prompt_that_says_itself_does_not_replace_speech(voice: Voice) -> None:
    repeated = said(voice, " Dupont, Valence, Dupont", UNSURE)
    speech = said(voice, " je vous rappelle demain", UNSURE)
    assert read(voice, repeated, speech) == ("je vous rappelle demain", True)


def test_a_name_that_was_said_stays(voice: Voice) -> None:
    other = said(voice, " Du pont", UNSURE)
    assert read(voice, said(voice, " Dupont.", UNSURE), other) == ("Dupont.", True)
    assert (
        read(voice, said(voice, " L'Hay-les-Roses", UNSURE), said(voice, " lait les roses", -1.0))[
            0
        ]
        == "L'Hay-les-Roses"
    )


@pytest.mark.parametrize("text", [" Valence", " Dupont, Valence"])
def test_a_sure_name_is_not_asked_for_again(voice: Voice, text: str) -> None:
    assert read(voice, said(voice, text, SURE), said(voice, " rien", SURE)) == (text.strip(), False)


def test_other_words_are_not_the_prompts(voice: Voice) -> None:
    for text in (" Bonjour", " de", " oui"):
        prompted = said(voice, text, UNSURE)
        assert read(voice, prompted, said(voice, " rien", SURE)) == (text.strip(), False)


def test_a_name_among_other_words_was_said_if_there_is_sound_for_it(voice: Voice) -> None:
    prompted = said(voice, " Bonjour Valence", UNSURE)
    alike = said(voice, " Bonjour Valance", UNSURE)
    assert read(voice, prompted, alike) == ("Bonjour Valence", True)
    assert read(voice, prompted, said(voice, " Bonjour", UNSURE)) == ("Bonjour", True)


def test_a_part_of_a_name_is_the_prompts(voice: Voice) -> None:
    noise = said(voice, " Arrgh", UNSURE)
    assert read(voice, said(voice, " Ré-les-Roses", UNSURE), noise) == ("Arrgh", True)


def test_a_sure_list_of_names_has_to_be_heard_without_the_prompt(voice: Voice) -> None:
    names = said(voice, " Dupont, Valence, Dupont", SURE)
    nothing = said(voice, "", 0.0, no_speech=0.9)
    assert read(voice, names, nothing) == ("", True)
    assert read(voice, names, said(voice, " du pont Valance du pont", SURE)) == (
        "Dupont, Valence, Dupont",
        True,
    )
    assert read(voice, said(voice, " Valence, Valence", SURE), nothing) == ("", True)
    one = said(voice, " Valence", SURE)
    assert read(voice, one, nothing) == ("Valence", False)


@pytest.mark.parametrize(
    ("prompt", "once"),
    [
        ("Valence, Valence, Valence", "Valence,"),
        ("Valence Valence valence", "Valence"),
        ("Max, Léa, max, Léa.", "Max, Léa,"),
        ("Appel de Dupont. Appel de Dupont.", "Appel de Dupont."),
        ("M. Martin, M. Durand", "M. Martin, M. Durand"),
        ("Dupont, Valence, numéro de dossier", "Dupont, Valence, numéro de dossier"),
        ("", ""),
    ],
)
def test_a_prompt_says_nothing_twice(prompt: str, once: str) -> None:
    assert said_once(prompt) == once
