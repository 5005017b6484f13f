"""A side whose language is found out: it may change, and what stays in one is read in that one."""

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hearing import RATE, Samples, check_contract, silence, sound, transcribe
from whisper.tokenizer import Tokenizer, get_tokenizer

from fsbot.engine.language import Detected, Heard, LanguageChoice
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import StreamOptions

LANGUAGES = Path(__file__).parents[1] / "fixtures" / "languages"
LIKELY = ("fr", "en", "es", "de", "it")
AUTO = StreamOptions("auto", auto_languages=LIKELY)


def prompts(*names: str) -> Samples:
    """Announcements, with a second and more between them."""
    pieces: list[Samples] = []
    for name in names:
        path = LANGUAGES / f"{name}.flac"
        if path.exists():
            samples, rate = soundfile.read(path, dtype="float32")
            pieces.append(soxr.resample(samples, rate, RATE).astype(np.float32))
        else:
            pieces.append(sound(name))
        pieces.append(silence(1.4))
    return np.concatenate(pieces)


def test_a_call_that_changes_its_language_is_read_in_it(speech_model: SpeechModel) -> None:
    spoken = prompts(
        "utterance-fr",
        "en-pbx-invalid",
        "en-ten",
        "en-invalid",
        "utterance-fr",
        "es-pbx-invalid",
        "es-pbx-invalid",
    )
    heard = transcribe(speech_model, spoken, stream_options=AUTO)
    check_contract(heard)
    finals = [event for event in heard.finals if event.words]
    assert [language for language, _ in groupby(event.language for event in finals)] == [
        "fr",
        "en",
        "fr",
        "es",
    ]
    english = " ".join(word.text for event in finals for word in event.words)
    assert "extension" in english
    assert english.count("service") >= 2


def test_a_short_word_changes_no_language(speech_model: SpeechModel) -> None:
    spoken = prompts("utterance-fr", "en-ten", "en-ten", "utterance-fr")
    heard = transcribe(speech_model, spoken, stream_options=AUTO)
    assert {event.language for event in heard.finals} == {"fr"}


def test_a_stream_that_goes_on_knows_its_language(speech_model: SpeechModel) -> None:
    """And may leave it."""
    known = StreamOptions("auto", auto_languages=LIKELY, heard_language="fr")
    heard = transcribe(speech_model, prompts("en-ten"), stream_options=known)
    assert {event.language for event in heard.finals} == {"fr"}
    heard = transcribe(speech_model, prompts("en-pbx-invalid"), stream_options=known)
    assert {event.language for event in heard.finals} == {"en"}


# The choice


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return get_tokenizer(True, num_languages=99)


def utterance(
    tokenizer: Tokenizer, seconds: float, no_speech: float = 0.05, **spoken: float
) -> Heard:
    """spoken: probabilities of languages."""
    codes = tokenizer.all_language_codes
    return Heard((no_speech, *(spoken.get(code, 0.0) for code in codes)), seconds)


def read(
    choice: LanguageChoice,
    tokenizer: Tokenizer,
    heard: Heard,
    own: float = -0.8,
    in_other: float = -0.3,
) -> str:
    """The language in which one utterance is read, if it is as sure as that in both."""
    language, other = choice.language, choice.suspect(tokenizer, heard)
    if other is not None and choice.changes(other, heard, own, in_other):
        language = other.language
    choice.close(tokenizer, language, heard)
    assert choice.language == language
    return language


@pytest.fixture
def french(tokenizer: Tokenizer) -> LanguageChoice:
    """One that has heard French."""
    choice = LanguageChoice(LIKELY, "fr")
    read(choice, tokenizer, utterance(tokenizer, 4.0, fr=0.97))
    return choice


def test_a_long_utterance_changes_the_language_at_once(
    french: LanguageChoice, tokenizer: Tokenizer
) -> None:
    assert read(french, tokenizer, utterance(tokenizer, 3.0, en=0.97)) == "en"
    assert read(french, tokenizer, utterance(tokenizer, 3.0, en=0.97)) == "en"
    assert read(french, tokenizer, utterance(tokenizer, 3.0, fr=0.97)) == "fr"


@pytest.mark.parametrize(
    ("seconds", "no_speech", "english", "own", "in_other"),
    [
        (1.4, 0.05, 0.99, -0.8, -0.3),  # too short
        (1.9, 0.05, 0.99, -0.8, -0.3),
        (4.0, 0.05, 0.80, -0.8, -0.3),  # not sure enough
        (4.0, 0.40, 0.97, -0.8, -0.3),  # perhaps no speech at all
        (4.0, 0.05, 0.97, -0.3, -0.8),  # reads worse in the other
        (4.0, 0.05, 0.97, -1.9, -1.2),  # reads badly in both
        (4.0, 0.05, 0.97, -0.4, -0.3),  # hardly reads better
        (4.0, 0.05, 0.20, -0.8, -0.3),  # a language that is none of the candidates
    ],
)
def test_one_doubtful_utterance_changes_nothing(
    french: LanguageChoice,
    tokenizer: Tokenizer,
    seconds: float,
    no_speech: float,
    english: float,
    own: float,
    in_other: float,
) -> None:
    heard = utterance(tokenizer, seconds, no_speech, en=english, fr=max(0.01, 0.9 - english))
    assert read(french, tokenizer, heard, own, in_other) == "fr"


def test_two_doubtful_ones_running_do(french: LanguageChoice, tokenizer: Tokenizer) -> None:
    heard = utterance(tokenizer, 2.0, en=0.8, fr=0.1)
    assert read(french, tokenizer, heard) == "fr"
    assert read(french, tokenizer, utterance(tokenizer, 0.9, fr=0.9)) == "fr"
    assert read(french, tokenizer, heard) == "en"


def test_two_that_are_not_running_do_not(french: LanguageChoice, tokenizer: Tokenizer) -> None:
    heard = utterance(tokenizer, 2.0, en=0.8, fr=0.1)
    for _ in range(3):
        assert read(french, tokenizer, heard) == "fr"
        assert read(french, tokenizer, utterance(tokenizer, 2.0, fr=0.9)) == "fr"


def test_two_that_suspect_another_language_each_do_not(
    french: LanguageChoice, tokenizer: Tokenizer
) -> None:
    for other in ("en", "es", "en", "it"):
        heard = utterance(tokenizer, 2.0, fr=0.1, **{other: 0.8})
        assert read(french, tokenizer, heard) == "fr"


def test_many_short_words_change_nothing(french: LanguageChoice, tokenizer: Tokenizer) -> None:
    for _ in range(10):
        assert read(french, tokenizer, utterance(tokenizer, 1.2, en=0.9)) == "fr"


def test_a_first_guess_is_taken_back_by_the_first_utterance(tokenizer: Tokenizer) -> None:
    choice = LanguageChoice(LIKELY)
    assert choice.suspect(tokenizer, utterance(tokenizer, 3.0, en=0.97)) == Detected("en", 1.0)
    choice.language = "en"  # from the first two seconds
    assert read(choice, tokenizer, utterance(tokenizer, 2.0, fr=0.75, en=0.15)) == "fr"


@pytest.mark.parametrize(
    ("english", "own", "beside_it", "leaves"),
    [(0.7, -0.3, -0.8, False), (0.9, -0.7, -0.8, False), (0.9, -0.3, -0.8, True)],
)
def test_a_first_word_is_in_the_language_of_the_other_side_unless_it_is_clear(
    tokenizer: Tokenizer, english: float, own: float, beside_it: float, leaves: bool
) -> None:
    heard = utterance(tokenizer, 1.4, en=english, fr=1 - english)
    choice = LanguageChoice(LIKELY)
    assert choice.leaves(tokenizer, "fr", heard, own, beside_it) is leaves


def test_only_a_candidate_is_suspected(french: LanguageChoice, tokenizer: Tokenizer) -> None:
    assert read(french, tokenizer, utterance(tokenizer, 5.0, he=0.97, fr=0.02)) == "fr"
    whatever = LanguageChoice((), "fr")
    assert read(whatever, tokenizer, utterance(tokenizer, 5.0, he=0.97, fr=0.02)) == "he"


def test_live_text_changes_only_where_nothing_is_left_to_doubt(
    french: LanguageChoice, tokenizer: Tokenizer
) -> None:
    assert french.certain(tokenizer, utterance(tokenizer, 2.5, en=0.99)) is None
    assert french.certain(tokenizer, utterance(tokenizer, 3.5, en=0.9, fr=0.05)) is None
    assert french.certain(tokenizer, utterance(tokenizer, 3.5, en=0.99)) == Detected("en", 1.0)
