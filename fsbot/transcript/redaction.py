"""Numbers and addresses taken out of what is written: words in, words out.

The final text is looked at as a whole. The live text cannot be: of a card number that comes in
pieces the first is out before the last is known. So every word with a digit or an @ goes from it,
and number words of which two stand together.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from fsbot.engine.events import Word

Category = Literal["card", "email", "phone", "number"]

_FRENCH = """
zéro zero un une deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze
seize vingt vingts trente quarante cinquante soixante septante huitante nonante cent cents mille
"""
_ENGLISH = """
oh one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand
double
"""
_NUMBER_WORDS = frozenset((_FRENCH + _ENGLISH).split())
_JOINING = frozenset({"et", "and", "virgule", "tiret"})

_APART = r"[ .,\-/]{0,2}"
_CARD = re.compile(rf"(?<!\d)\d(?:{_APART}\d){{12,18}}(?!\d)")
_PHONE = re.compile(rf"(?<![\d+])(?:\+|00)?\d(?:{_APART}\(?0?\)?{_APART}\d){{7,14}}(?!\d)")
_NUMBER = re.compile(rf"(?<!\d)\d(?:{_APART}\d){{3,}}(?!\d)")
_PART = r"[^\s@\[\]]+"
_EMAIL = re.compile(
    rf"{_PART}\s?@\s?{_PART}\.[^\s@.,]+"
    rf"|{_PART}(?:\s(?:point|tiret|dot|dash)\s{_PART}){{0,3}}\s(?:arobase|arrobase|at sign)\s"
    rf"{_PART}(?:\s(?:point|dot)\s{_PART}){{1,3}}",
    re.IGNORECASE,
)
_SPOKEN_PHONE, _SPOKEN_NUMBER = 5, 4
"""Number words that stand together, at least."""


@dataclass(frozen=True, slots=True)
class Redaction:
    """Takes some categories out of words; without any it leaves them as they are."""

    categories: Collection[Category] = ()

    def final(self, words: Sequence[Word]) -> tuple[Word, ...]:
        """Of a whole final text; what is taken out is one word, such as `[card]`."""
        found = list(words)
        for category in ("email", "card", "phone", "number"):
            if category in self.categories:
                found = _without(found, category)
        return tuple(found)

    def live(self, words: Sequence[Word], before: Sequence[Word] = ()) -> tuple[Word, ...]:
        """Of words that are told as they come, behind those told before."""
        if not self.categories:
            return tuple(words)
        told = [*before, *words]
        masked = [_masked(told, place, self.categories) for place in range(len(told))]
        return tuple(masked[len(before) :])


def _masked(told: list[Word], place: int, categories: Collection[Category]) -> Word:
    word = told[place]
    if "email" in categories and "@" in word.text:
        return replace(word, text="[email]")
    if not {"card", "phone", "number"} & set(categories):
        return word
    beside = told[max(0, place - 1) : place] + told[place + 1 : place + 2]
    is_number = _has_digit(word) or (_is_number(word) and any(map(_is_number, beside)))
    return replace(word, text="[number]") if is_number else word


def _without(words: list[Word], category: str) -> list[Word]:
    """The words, those of each span of the category made one."""
    text, starts = "", []
    for word in words:
        starts.append(len(text))
        text += f"{word.text} "
    spans = list(_spans(text, words, starts, category))
    kept: list[Word] = []
    place = 0
    while place < len(words):
        begin, end = starts[place], starts[place] + len(words[place].text)
        span = next((each for each in spans if each[0] < end and each[1] > begin), None)
        if span is None:
            kept.append(words[place])
            place += 1
            continue
        last = place
        while last + 1 < len(words) and starts[last + 1] < span[1]:
            last += 1
        kept.append(_one(words[place : last + 1], category))
        place = last + 1
    return kept


def _spans(
    text: str, words: Sequence[Word], starts: Sequence[int], category: str
) -> Iterator[tuple[int, int]]:
    match category:
        case "email":
            yield from (found.span() for found in _EMAIL.finditer(text))
        case "card":
            yield from (f.span() for f in _CARD.finditer(text) if _is_card(f[0]))
        case "phone":
            yield from (f.span() for f in _PHONE.finditer(text) if _is_phone(f[0]))
            yield from _runs(words, starts, _SPOKEN_PHONE, ("zéro", "zero", "oh", "plus"))
        case "number":
            yield from (found.span() for found in _NUMBER.finditer(text))
            yield from _runs(words, starts, _SPOKEN_NUMBER)


def _runs(
    words: Sequence[Word], starts: Sequence[int], least: int, first: Sequence[str] = ()
) -> Iterator[tuple[int, int]]:
    """Stretches of number words, perhaps only those that begin with certain words."""
    place = 0
    while place < len(words):
        end, count = place, 0
        while end < len(words) and (_is_number(words[end]) or (count and _joins(words[end]))):
            count += len(_parts(words[end]))
            end += 1
        while end > place and _joins(words[end - 1]):
            end -= 1
        if count >= least and (not first or _parts(words[place])[0] in first):
            yield starts[place], starts[end - 1] + len(words[end - 1].text)
        place = max(end, place + 1)


def _one(words: Sequence[Word], category: str) -> Word:
    closing = re.search(r"[.,;:?!…»\")]*$", words[-1].text)
    return replace(
        words[0],
        text=f"[{category}]{closing[0] if closing else ''}",
        end=words[-1].end,
        probability=fmean(word.probability for word in words),
    )


def _parts(word: Word) -> list[str]:
    return [part for part in re.split(r"[^\w]+", word.text.lower()) if part]


def _is_number(word: Word) -> bool:
    parts = _parts(word)
    return (
        bool(parts)
        and all(part in _NUMBER_WORDS or part.isdecimal() or part in _JOINING for part in parts)
        and not _joins(word)
    )


def _joins(word: Word) -> bool:
    return set(_parts(word)) <= _JOINING and bool(_parts(word))


def _has_digit(word: Word) -> bool:
    return any(character.isdecimal() for character in word.text)


def _digits(text: str) -> list[int]:
    return [int(character) for character in text if character.isdecimal()]


def _is_card(text: str) -> bool:
    """13 to 19 digits that pass Luhn's check (ISO/IEC 7812-1, annex B)."""
    digits = _digits(text)[::-1]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _is_phone(text: str) -> bool:
    """8 to 15 digits (E.164), with a trunk prefix or a country's."""
    count = len(_digits(text))
    return 8 <= count <= 15 and text.lstrip("(").startswith(("0", "+"))


NO_REDACTION = Redaction()
