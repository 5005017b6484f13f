"""Which tokens write a script that no language in play is written in."""

import unicodedata
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from whisper.tokenizer import LANGUAGES, Tokenizer, get_tokenizer

from fsbot.engine.decoding import DecodingTask, decode
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions
from fsbot.engine.scripts import (
    LATIN,
    SCRIPTS,
    foreign_tokens,
    scripts_in,
    scripts_of_languages,
)
from fsbot.engine.voice import Voice

GREETINGS = {
    "ru": "Здравствуйте, объём",
    "uk": "Ґанок, її",
    "el": "Καλημέρα, ϊ ΰ",
    "he": "שלום עולם",
    "ar": "مرحبا، كيف حالك؟ ٣",
    "fa": "پنجره گچ ۴",
    "hi": "नमस्ते दुनिया ४।",
    "bn": "নমস্কার ঢাকা",
    "pa": "ਸਤ ਸ੍ਰੀ ਅਕਾਲ",
    "gu": "નમસ્તે",
    "ta": "வணக்கம்",
    "te": "నమస్కారం జ",
    "kn": "ನಮಸ್ಕಾರ ಈ",
    "ml": "നമസ്കാരം",
    "si": "ආයුබෝවන්",
    "th": "สวัสดีครับ",
    "lo": "ສະບາຍດີ",
    "km": "ជំរាបសួរ",
    "my": "မင်္ဂလာပါ",
    "bo": "བཀྲ་ཤིས།",
    "am": "ሰላም ዓለም",
    "ka": "გამარჯობა",
    "hy": "Բարեւ ձեզ",
    "ko": "안녕하세요 뷁 大韓",
    "ja": "こんにちは、カタカナー漢字。㎡",
    "zh": "你好，世界。龘",
}
WESTERN = (
    "Où est l'œuf ? Ça coûte 12,50 € — « voilà » … ¿Señor? Straße Łódź žluťoučký İstanbul ş",
    "Tiếng Việt ở đâu ạ ẽ ỹ, Ẁ, Māori ʻokina º ª µ ² ½ 🙂",
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return get_tokenizer(True, num_languages=99, language="fr")


def written(tokenizer: Tokenizer, text: str) -> set[int]:
    return set(tokenizer.encoding.encode(text, disallowed_special=()))


def barred(tokenizer: Tokenizer, *languages: str) -> set[int]:
    return set(foreign_tokens(tokenizer, scripts_of_languages(languages)))


@pytest.mark.parametrize("language", [*GREETINGS, "fr", "vi"])
def test_a_language_writes_its_own_letters_and_latin_ones(
    tokenizer: Tokenizer, language: str
) -> None:
    foreign = barred(tokenizer, language)
    for text in (*WESTERN, GREETINGS.get(language, "")):
        assert not written(tokenizer, text) & foreign, text


def test_no_other_script_can_be_written(tokenizer: Tokenizer) -> None:
    """Scripts of Asia that share the first byte of their letters may lead into each other."""
    for language in ("fr", *GREETINGS):
        foreign = barred(tokenizer, language)
        own = scripts_of_languages([language])
        leads = {letter.encode()[0] for letter in GREETINGS.get(language, "")}
        for letter in sorted(set("".join(GREETINGS.values()))):
            if scripts_in(letter) <= own or not letter.isalpha() or letter.encode()[0] in leads:
                continue
            assert written(tokenizer, letter) & foreign, (language, letter)
            assert written(tokenizer, " " + letter) & foreign, (language, letter)


def test_every_letter_of_the_scripts_of_europe_keeps_to_its_languages(
    tokenizer: Tokenizer,
) -> None:
    """Letters of the blocks that are written today, as the tokenizer spells each of them."""
    french, russian, greek = (barred(tokenizer, code) for code in ("fr", "ru", "el"))
    for first, last, own in ((0xC0, 0x24F, french), (0x400, 0x4FF, russian), (0x386, 0x3CE, greek)):
        for point in range(first, last + 1):
            if not unicodedata.category(chr(point)).startswith("L"):
                continue
            spelt = written(tokenizer, chr(point)) | written(tokenizer, " " + chr(point))
            assert not spelt & own, chr(point)
            if own is not french:
                assert spelt & french, chr(point)


def test_every_language_of_whispers_is_known() -> None:
    assert set(SCRIPTS) <= set(LANGUAGES)
    assert scripts_of_languages(["fr", "haw"]) == {LATIN}
    assert scripts_of_languages(["fr", "sr"]) == {LATIN, "CYRILLIC"}


def test_nothing_is_foreign_among_all_languages(tokenizer: Tokenizer) -> None:
    assert not barred(tokenizer, *LANGUAGES)


def test_a_prompt_brings_its_script(babbler: SpeechModel) -> None:
    plain = Voice.of(babbler, EngineOptions(), "fr")
    (token,) = plain.tokenizer.encoding.encode(" Москва")[:1]
    prompted = Voice.of(babbler, EngineOptions(), "fr", static_prompt="Москва")
    assert plain.never[token]
    assert not prompted.never[token]
    assert not Voice.of(babbler, EngineOptions(), "fr", beside=("ru",)).never[token]
    assert Voice.of(babbler, EngineOptions(), "ru", task="translate").never[token]


def test_voices_of_one_language_share_their_masks(babbler: SpeechModel) -> None:
    one, other = (Voice.of(babbler, EngineOptions(), "fr", static_prompt=p) for p in ("", "Ada"))
    assert one.never.data_ptr() == other.never.data_ptr()


def test_a_foreign_letter_is_not_chosen_however_likely(
    speech_model: SpeechModel, features: Tensor
) -> None:
    """The model may choose between Korean and the end: without the mask it would write Korean."""
    voice = Voice.of(speech_model, EngineOptions(), "fr")
    korean = voice.tokenizer.encoding.encode("음")
    task = voice.task((), [], 300, 300)
    open_to = torch.ones_like(task.never)
    open_to[korean] = False

    def text(never: Tensor) -> list[int]:
        wanted: DecodingTask = replace(task, never=never, never_first=never, max_tokens=2)
        [decoded] = decode(speech_model, [features], [wanted])
        return [token for token in decoded.tokens if token in korean]

    assert text(open_to)
    open_to[task.end_token] = False
    assert not text(open_to | voice.never)
