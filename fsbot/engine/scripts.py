"""Which script is a language written in, and which tokens write another?

On a bad line Whisper now and then puts a character of a script into a word that nobody there
writes. Unicode's own names say what script a character is of: its first word.
"""

import unicodedata
from collections.abc import Collection, Iterable
from functools import lru_cache

from whisper.tokenizer import LANGUAGES, Tokenizer

LATIN = "LATIN"
_CYRILLIC = ("ru", "uk", "bg", "sr", "mk", "be", "kk", "tg", "mn", "ba", "tt", "uz", "bs", "az")
_ARABIC = ("ar", "fa", "ur", "ps", "sd")
_DEVANAGARI = ("hi", "mr", "ne", "sa")
SCRIPTS: dict[str, frozenset[str]] = {
    **dict.fromkeys(_CYRILLIC, frozenset({"CYRILLIC"})),
    **dict.fromkeys(_ARABIC, frozenset({"ARABIC"})),
    **dict.fromkeys(_DEVANAGARI, frozenset({"DEVANAGARI"})),
    **dict.fromkeys(("zh", "yue"), frozenset({"CJK", "BOPOMOFO"})),
    **dict.fromkeys(("he", "yi"), frozenset({"HEBREW"})),
    **dict.fromkeys(("bn", "as"), frozenset({"BENGALI"})),
    "ja": frozenset({"CJK", "HIRAGANA", "KATAKANA"}),
    "ko": frozenset({"CJK", "HANGUL"}),
    "el": frozenset({"GREEK"}),
    "hy": frozenset({"ARMENIAN"}),
    "ka": frozenset({"GEORGIAN"}),
    "pa": frozenset({"GURMUKHI"}),
    "gu": frozenset({"GUJARATI"}),
    "ta": frozenset({"TAMIL"}),
    "te": frozenset({"TELUGU"}),
    "kn": frozenset({"KANNADA"}),
    "ml": frozenset({"MALAYALAM"}),
    "si": frozenset({"SINHALA"}),
    "th": frozenset({"THAI"}),
    "lo": frozenset({"LAO"}),
    "km": frozenset({"KHMER"}),
    "my": frozenset({"MYANMAR"}),
    "bo": frozenset({"TIBETAN"}),
    "am": frozenset({"ETHIOPIC"}),
}
"""Scripts of Whisper's languages beside Latin, as Unicode's character names begin; a language that
is not named is written in Latin letters alone."""

_SCRIPTS = frozenset({LATIN}.union(*SCRIPTS.values()))

_OTHER_NAMES = {
    "ARABIC-INDIC": "ARABIC",
    "EXTENDED": "ARABIC",
    "KATAKANA-HIRAGANA": "KATAKANA",
    "HALFWIDTH": "KATAKANA",
    "FULLWIDTH": "CJK",
    "IDEOGRAPHIC": "CJK",
}
"""What else the names of a script's characters begin with."""

_SHARED_LETTERS = frozenset({"MODIFIER", "FEMININE", "MASCULINE", "MICRO"})
"""How the names of letters begin that belong to no script, such as º."""

_EAST_ASIAN_MARKS = range(0x3000, 0x3400)
_EUROPEAN = frozenset({"", LATIN, "GREEK", "CYRILLIC"})
_SCATTERED = _EUROPEAN | {"ARABIC", "HANGUL"}
_USUAL = (
    range(0x500),
    range(0x600, 0x700),
    range(0x1E00, 0x1F00),
    range(0x2000, 0x2C00),
    range(0x3130, 0x3190),
    range(0xAC00, 0xD7B0),
)
"""Where the letters of the scattered scripts, and shared marks, stand that living languages write:
what is elsewhere is for phonetics and old texts, and begins with bytes of many other scripts."""

_COLUMN = 16
"""Unicode hands code points to scripts in columns of so many."""

_PLANE = 0x10000


def scripts_of_languages(languages: Iterable[str]) -> frozenset[str]:
    """Scripts that these languages, Whisper's codes, are written in; names and brands are written
    in Latin letters everywhere."""
    return frozenset({LATIN}.union(*(SCRIPTS.get(code, frozenset()) for code in languages)))


def scripts_in(text: str) -> frozenset[str]:
    """Scripts of the characters of a text."""
    return frozenset(script_of(character) for character in text) - {""}


@lru_cache(maxsize=1 << 14)
def script_of(character: str) -> str:
    """The script of a character, as its name begins; "" for what all scripts share: ASCII digits,
    common punctuation, symbols."""
    name = unicodedata.name(character, "").partition(" ")[0]
    name = _OTHER_NAMES.get(name, name)
    if name in _SCRIPTS:
        return name
    if ord(character) in _EAST_ASIAN_MARKS:
        return "CJK"
    return name if character.isalpha() and name not in _SHARED_LETTERS else ""


def foreign_tokens(tokenizer: Tokenizer, scripts: frozenset[str]) -> list[int]:
    """Text tokens that write a character of none of these scripts, or begin one.

    Whisper's tokens are bytes, and may hold parts of characters. The part that begins a character
    decides: bytes that only go on with one are never foreign.
    """
    if scripts_of_languages(LANGUAGES) <= scripts:
        return []
    allowed = scripts | {""}
    decode = tokenizer.encoding.decode_single_token_bytes
    texts = [decode(token) for token in range(tokenizer.eot)]
    beginnings = _beginnings({_incomplete_end(text) for text in texts}, allowed)

    def foreign(text: bytes) -> bool:
        whole = text.decode("utf-8", "ignore")
        part = _incomplete_end(text)
        return (bool(part) and part not in beginnings) or any(
            script_of(character) not in allowed for character in whole
        )

    return [token for token, text in enumerate(texts) if not text.isascii() and foreign(text)]


def _incomplete_end(text: bytes) -> bytes:
    """The bytes at the end that begin a character without completing it; b"" if there are none."""
    for length in range(1, min(3, len(text)) + 1):
        lead = text[-length]
        if lead >= 0xC0:
            wanted = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return text[-length:] if length < wanted else b""
        if lead < 0x80:
            break
    return b""


def _beginnings(parts: Collection[bytes], scripts: Collection[str]) -> set[bytes]:
    """Those of the parts that begin a character of these scripts.

    Of Europe's letters only with the longest part of each that there is: their first byte alone
    would open the way to Georgian, Khmer and Korean.
    """
    found = set()
    for column in range(0x80, _PLANE, _COLUMN):
        characters = map(chr, range(column, column + _COLUMN))
        character = next((each for each in characters if unicodedata.name(each, "")), "")
        if not character:
            continue
        script = script_of(character)
        rare = script in _SCATTERED and not any(column in usual for usual in _USUAL)
        if script in scripts and not rare:
            encoded = character.encode()
            known = [part for end in range(1, len(encoded)) if (part := encoded[:end]) in parts]
            found.update(known[-1:] if script in _EUROPEAN else known)
    # Beyond the first 65,536 characters are emoji, and none that these languages write with.
    emoji = "\U0001f600".encode()
    return found.union(emoji[:end] for end in range(1, len(emoji)))
