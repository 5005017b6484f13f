"""Numbers and addresses taken out of what is written: words in, words out.

The final text is looked at as a whole. The live text cannot be: of a card number that comes in
pieces the first is out before the last is known. So every word that may be part of one goes from
it, and nothing that comes later changes what was told: each live word is judged by those before it.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby
from statistics import fmean
from typing import Literal

from fsbot.engine.events import UtteranceFinal, Word, WordsCommitted, joined

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
_ARTICLES = frozenset({"un", "une", "one", "oh", "double"})
"""Number words that are mostly something else where they stand alone."""

_JOINING = frozenset({"et", "and", "virgule", "tiret"})
_TRUNK = frozenset({"zéro", "zero", "oh"})

_APART = r"[\s.,/()\-\u2010-\u2015]{0,3}"
_DIGITS = re.compile(rf"\+?\d(?:{_APART}\d)*")
"""Digits that are said in one breath."""

_PIECE = r"[^\s@\[\],;]+"
_POINT = r",?\s(?:point|tiret(?:\sdu\s(?:bas|haut|six|huit|6|8))?|underscore|dot|dash|hyphen),?\s"
_AROBASE = r"ar+oba(?:s|se|z|ze)"
_LOCAL_PART = rf"(?<!\S)(?:\w[.,]?\s)*{_PIECE}(?:{_POINT}{_PIECE})*"
_EMAIL = re.compile(
    rf"{_LOCAL_PART}(?:\s?@\s?|,?\s{_AROBASE},?\s|\sat\s(?:sign\s)?(?=\S+(?:\.\w|\s(?:dot|point)\s)))"
    rf"{_PIECE}(?:{_POINT}{_PIECE})*",
    re.IGNORECASE,
)
_LIVE_EMAIL = re.compile(r"@|\w[._][^\W\d_]{2}")
_LIVE_AROBASE = re.compile(rf"@$|\b{_AROBASE}\b", re.IGNORECASE)
_LIVE_DOMAIN = 5
"""Live words behind an « arobase » that may be the address's."""

_PHONE = re.compile(r"\+|(?<!\d)0")
_CARD_DIGITS = range(13, 20)
_PHONE_DIGITS, _NUMBER_DIGITS = 8, 4  # at least
_SPOKEN = {"card": 10, "phone": 5, "number": 4}
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
                found = list(_without(found, category))
        return tuple(found)

    def live(self, words: Sequence[Word], before: Sequence[Word] = ()) -> tuple[Word, ...]:
        """Of words that are told as they come, behind those of the utterance told before; each
        stays one word."""
        if not self.categories:
            return tuple(words)
        return tuple(self._live([*before, *words]))[len(before) :]

    def committed(self, event: WordsCommitted) -> WordsCommitted:
        """The same event with the live text as it may be told."""
        before = event.spoken[: len(event.spoken) - len(event.words)]
        return replace(
            event,
            words=self.live(event.words, before),
            spoken=self.live(event.spoken),
            tentative=self.live(event.tentative, event.spoken),
        )

    def closed(self, event: UtteranceFinal) -> UtteranceFinal:
        """The same event with the final text as it may be told."""
        words, live = self.final(event.words), self.live(event.words)
        differs = joined(words, event.language) != joined(live, event.language)
        return replace(event, words=words, revised=event.revised or differs)

    def _live(self, words: Iterable[Word]) -> Iterator[Word]:
        numbers = not {"card", "phone", "number"}.isdisjoint(self.categories)
        emails = "email" in self.categories
        in_number, domain = False, 0
        for word in words:
            is_number = _has_digit(word) or (
                _is_number(word) and (in_number or not _ARTICLES.issuperset(_parts(word)))
            )
            in_number = is_number or "[number]" in word.text or (in_number and _joins(word))
            if _LIVE_AROBASE.search(word.text):
                domain = _LIVE_DOMAIN + 1
            if emails and (domain or _LIVE_EMAIL.search(word.text)):
                yield replace(word, text="[email]", tokens=())
            elif numbers and is_number:
                yield replace(word, text="[number]", tokens=())
            else:
                yield word
            domain = max(0, domain - 1)


def _without(words: Sequence[Word], category: str) -> Iterator[Word]:
    """The words, those that stand together in the category made one."""
    ends = list(accumulate(len(word.text) + 1 for word in words))
    text = " ".join(word.text for word in words)
    spans = list(_spans(text, category))
    runs = list(_runs(words, category))

    def is_in(place: int) -> bool:
        start, end = ends[place] - len(words[place].text) - 1, ends[place] - 1
        return any(first < end and last > start for first, last in spans) or any(
            first <= place < last for first, last in runs
        )

    for taken, places in groupby(range(len(words)), is_in):
        stretch = [words[place] for place in places]
        yield from [_one(stretch, category)] if taken else stretch


def _spans(text: str, category: str) -> Iterator[tuple[int, int]]:
    """Where in the text something is written that is of the category."""
    if category == "email":
        yield from (found.span() for found in _EMAIL.finditer(text))
        return
    for found in _DIGITS.finditer(text):
        said = re.sub(r"\d", lambda digit: str(int(digit[0])), found[0])
        # As a whole: behind a card's number come its date and three digits more.
        match category:
            case "card":
                taken = _holds_card(re.findall(r"\d+", said))
            case "phone":
                begin = _PHONE.search(said)
                taken = begin is not None and _digits(said[begin.start() :]) >= _PHONE_DIGITS
            case _:
                taken = _digits(said) >= _NUMBER_DIGITS
        if taken:
            yield found.span()


def _runs(words: Sequence[Word], category: str) -> Iterator[tuple[int, int]]:
    """Stretches of number words that are of the category: places of the first, and behind the
    last."""
    place = 0
    while place < len(words) and category in _SPOKEN:
        end = place
        while end < len(words) and (_is_number(words[end]) or (end > place and _joins(words[end]))):
            end += 1
        while end > place and _joins(words[end - 1]):
            end -= 1
        first = place
        if category == "phone":
            first = next((n for n in range(place, end) if _begins_phone(words, n)), end)
        parts = [part for word in words[first:end] for part in _parts(word)]
        written = all(part.isdecimal() for part in parts)  # whose check is Luhn's
        if len(parts) >= _SPOKEN[category] and not (category == "card" and written):
            yield place, end
        place = max(end, place + 1)


def _begins_phone(words: Sequence[Word], place: int) -> bool:
    first = _parts(words[place])[0]
    after_plus = place > 0 and _parts(words[place - 1]) == ["plus"]
    return after_plus or first in _TRUNK or first.startswith("0")


def _one(words: Sequence[Word], category: str) -> Word:
    closing = re.search(r"[.,;:?!…»\")]*$", words[-1].text)
    return replace(
        words[0],
        text=f"[{category}]{closing[0] if closing else ''}",
        end=words[-1].end,
        probability=fmean(word.probability for word in words),
        tokens=(),
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
    return _digits(word.text) > 0


def _digits(text: str) -> int:
    return sum(map(str.isdecimal, text))


def _holds_card(groups: Sequence[str]) -> bool:
    """Whether some of the groups of digits behind one another are a card's number."""
    return any(
        len(number) in _CARD_DIGITS and _passes_luhn(number)
        for first in range(len(groups))
        for number in accumulate(groups[first : first + max(_CARD_DIGITS)])
    )


def _passes_luhn(number: str) -> bool:
    """Luhn's check (ISO/IEC 7812-1, annex B)."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


NO_REDACTION = Redaction()
