"""Numbers and addresses taken out of what is written: words in, words out.

The final text is looked at as a whole. The live text cannot be: of a card number that comes in
pieces the first is out before the last is known. So every word that may be part of one goes from
it, and nothing that comes later changes what was told: each live word is judged by those before it.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise
from statistics import fmean
from typing import Literal

from fsbot.engine.events import UtteranceFinal, Word, WordsCommitted, joined
from fsbot.transcript.numerals import AMBIGUOUS, AND, Atom, Group, Kind, atoms, groups

Category = Literal["card", "email", "phone", "number"]

_PIECE = r"[^\s@\[\],;]+"
_POINT = (
    r",?\s(?:point|tiret(?:\sdu\s(?:bas|haut|six|huit|6|8))?|underscore|dot|dash|hyphen|punto"
    r"|gui[oó]n(?:\sbajo)?|punkt|bindestrich|unterstrich|trattino(?:\sbasso)?),?\s"
)
_AT = r"(?:ar+oba(?:s|se|z|ze)?|chiocciola|klammeraffe)"
_LOCAL_PART = (
    rf"(?<!\S)(?:\w[.,]?\s){{0,40}}{_PIECE}(?:{_POINT}{_PIECE})*"
    # digits that are part of a name
    r"(?:\s[\d.,]+){0,6}"
)
_EMAIL = re.compile(
    rf"{_LOCAL_PART}(?:\s?@\s?|,?\s{_AT},?\s|,?\s(?:at|ät)\s(?:sign\s)?"
    r"(?=\S+(?:\.\w|,?\s(?:dot|point|punkt|punto)\s)))"
    rf"{_PIECE}(?:{_POINT}{_PIECE})*",
    re.IGNORECASE,
)
_LIVE_EMAIL = re.compile(r"@|\w[._][^\W\d_]{2}")
_LIVE_AT = re.compile(rf"@$|\b{_AT}\b", re.IGNORECASE)
_LIVE_DOMAIN = 5
"""Live words behind an « arobase » that may be the address's."""

_DATE = re.compile(r"(?<![\d./-])\d{1,2}([./-])\d{1,2}\1(?:19|20)\d\d(?![./-]?\d)")
_TIME = re.compile(r"(?<![\d:])\d{1,2}:\d\d(?![\d:])")
_UNIT = re.compile(
    r"[\s.,]*(?:[€$£%]|(?:euros?|dollars?|pounds?|livres?|francs?|dólares|libras|pfund|habitants"
    r"|inhabitants|personnes|people|personas|menschen|einwohner|km|kilom\w+|mètres|meters)\b)",
    re.IGNORECASE,
)
_DECIMAL = re.compile(r"\d+[.,]\d{1,2}\Z")
_IBAN = re.compile(
    r"(?<!\w)[A-Z][\s.,-]{0,2}[A-Z][\s.,-]{0,2}\d[\s.,-]{0,2}\d(?:[\s.,-]{0,3}[A-Z\d]){10,30}(?!\w)"
)
_SECRET = re.compile(
    r"(?i:cvc|cvv|cryptogramme|code\sde\ssécurité|security\scode|expir\w*|prüfnummer|prüfziffer"
    r"|sicherheitscode|código\sde\sseguridad|caduc\w*|valable\sjusqu\w*|valid\suntil|gültig\sbis)"
)
"""What is said before the numbers that go with a card's."""

_SECRET_WORDS = 5
"""Words between that and the numbers, at most."""

_CARD_DIGITS = range(13, 20)
_PHONE_DIGITS, _NUMBER_DIGITS = 8, 4  # at least
_LOCAL_DIGITS = range(9, 12)
"""Of a telephone number without a 0 or + before it."""

_BREATH = 8.0
"""Seconds that somebody takes in the middle of a number, at most."""

_SPOKEN = {"card": 10, "phone": 5, "number": 4}
"""Number words that stand together, at least."""


@dataclass(frozen=True, slots=True)
class Redaction:
    """Takes some categories out of words; without any it leaves them as they are."""

    categories: Collection[Category] = ()

    def final(self, words: Sequence[Word], before: Sequence[Word] = ()) -> tuple[Word, ...]:
        """Of a whole final text; what is taken out is one word, such as `[card]`.

        before: the text before of the same voice. A number may have begun there: what follows of
        it here is taken out, too.
        """
        found, earlier = list(words), _going_on(before, words)
        for category in ("email", "card", "phone", "number"):
            if category in self.categories:
                hidden = list(_hidden([*earlier, *found], category))
                found = list(_without(found, hidden[len(earlier) :], category))
                earlier = list(_without(earlier, hidden[: len(earlier)], category))
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

    def closed(self, event: UtteranceFinal, before: Sequence[Word] = ()) -> UtteranceFinal:
        """The same event with the final text as it may be told. before: as in `final`."""
        words, live = self.final(event.words, before), self.live(event.words)
        differs = joined(words, event.language) != joined(live, event.language)
        return replace(event, words=words, revised=event.revised or differs)

    def _live(self, words: Iterable[Word]) -> Iterator[Word]:
        numbers = not {"card", "phone", "number"}.isdisjoint(self.categories)
        emails = "email" in self.categories
        in_number, behind_one, domain = False, False, 0
        for word in words:
            known = atoms(word.text)
            is_number = any(atom.kind is Kind.DIGITS for atom in known) or (
                _is_number(known) and (in_number or behind_one or not _ambiguous(known))
            )
            between = all(atom.is_between for atom in known) and (
                in_number or (behind_one and not any(map(str.isalpha, word.text)))
            )
            hidden = is_number or (between and not _SHOWN.fullmatch(word.text))
            behind_one = _is_number(known) or (between and behind_one)
            in_number = hidden or "[number]" in word.text or (between and in_number)
            if _LIVE_AT.search(word.text):
                domain = _LIVE_DOMAIN + 1
            if emails and (domain or _LIVE_EMAIL.search(word.text)):
                yield replace(word, text="[email]", tokens=())
            elif numbers and hidden:
                yield replace(word, text="[number]", tokens=())
            else:
                yield word
            domain = max(0, domain - 1)


_SHOWN = re.compile(r"(?:et|and|[-/()])?[.,]*", re.IGNORECASE)
"""Of what stands between numbers: it stays in live text."""


def _going_on(before: Sequence[Word], words: Sequence[Word]) -> list[Word]:
    """The end of a text, from where a number may go on in the words that follow."""
    if not (before and words) or words[0].start - before[-1].end > _BREATH:
        return []
    first = len(before)
    while first and all(atom.kind is not Kind.OTHER for atom in atoms(before[first - 1].text)):
        first -= 1
    return list(before[first:])


def _hidden(words: Sequence[Word], category: str) -> Iterator[bool]:
    """Of each word, whether it is part of something of the category."""
    text = " ".join(word.text for word in words)
    ends = list(accumulate(len(word.text) + 1 for word in words))
    spans = list(_spans(text, category))
    for end, word in zip(ends, words, strict=True):
        start, last = end - len(word.text) - 1, end - 1
        yield any(first < last and behind > start for first, behind in spans)


def _without(words: Sequence[Word], hidden: Sequence[bool], category: str) -> Iterator[Word]:
    """The words, those that are hidden and stand together made one."""
    for taken, places in groupby(range(len(words)), hidden.__getitem__):
        stretch = [words[place] for place in places]
        yield from [_one(stretch, category)] if taken else stretch


def _spans(text: str, category: str) -> Iterator[tuple[int, int]]:
    """Where in the text something stands that is of the category."""
    if category == "email":
        yield from (found.span() for found in _EMAIL.finditer(text))
        return
    known = atoms(text)
    if category == "card":
        yield from _cards(text, known)
        return
    apart: list[tuple[int, int]] = []
    if category == "phone":
        apart = [found.span() for rule in (_DATE, _TIME) for found in rule.finditer(text)]
    for run in _runs(known, apart, by_plus=category == "phone"):
        said = groups(run)
        if not said:
            continue
        if _is_phone(said, text) if category == "phone" else _is_long(said):
            yield said[0].start, said[-1].end


def _cards(text: str, known: Sequence[Atom]) -> Iterator[tuple[int, int]]:
    yield from (found.span() for found in _IBAN.finditer(text))
    yield from _secrets(text, known)
    for run in _runs(known, (), by_plus=False):
        # « 4970 1000 0000 0006 et 12 » is a card and another number, unless only both are a card.
        parts = [said for _, part in groupby(run, _is_and) if (said := groups(list(part)))]
        whole = groups(run)
        cards = [said for said in parts if _is_card(said)]
        if any(group.spoken for group in whole) or not cards:
            cards = [whole] if whole and _is_card(whole) else []
        yield from ((said[0].start, said[-1].end) for said in cards)


def _is_and(atom: Atom) -> bool:
    return atom.text in AND


def _runs(
    known: Sequence[Atom], apart: Sequence[tuple[int, int]], *, by_plus: bool
) -> Iterator[list[Atom]]:
    """Stretches of numbers with nothing else between them than what may be.

    apart: characters of the text that part them; by_plus: a plus begins one, or else it parts them.
    """
    run: list[Atom] = []
    for atom in known:
        parts = any(start <= atom.start < end for start, end in apart)
        if parts or atom.kind is Kind.OTHER or atom.kind is Kind.PLUS:
            if any(each.is_number for each in run):
                yield run
            run = [atom] if by_plus and atom.kind is Kind.PLUS and not parts else []
        else:
            run.append(atom)
    if any(each.is_number for each in run):
        yield run


def _is_card(said: Sequence[Group]) -> bool:
    """As a whole: behind a card's number come its date and three digits more."""
    words = sum(group.words for group in said)
    if not any(group.spoken for group in said):
        return _holds_card([group.digits for group in said])
    digits = sum(len(group.digits) for group in said)
    # What was said in words can be written in more ways than one: Luhn's check proves nothing.
    return words >= _SPOKEN["card"] or digits >= _CARD_DIGITS[0]


def _is_phone(said: Sequence[Group], text: str) -> bool:
    first = next((n for n, group in enumerate(said) if group.plus or group.digits[0] == "0"), None)
    if _is_amount(said):
        return False
    if first is None:
        return _is_local_number(said, text)
    rest = said[first:]
    if [len(group.digits) for group in said] == [2, 2, 4] and said[2].digits[:2] in ("19", "20"):
        return False  # a date
    spoken = any(group.spoken for group in rest)
    words = sum(group.words for group in rest)
    digits = sum(len(group.digits) for group in rest)
    return digits >= _PHONE_DIGITS or (spoken and words >= _SPOKEN["phone"])


def _is_local_number(said: Sequence[Group], text: str) -> bool:
    """Without a 0 or + before it, as in Spain, Italy or America; and no list of quantities."""
    if sum(len(group.digits) for group in said) not in _LOCAL_DIGITS:
        return False
    counting = all(int(one.digits) < int(two.digits) < 100 for one, two in pairwise(said))
    years = all(re.fullmatch(r"(?:19|20)\d\d", group.digits) for group in said)
    prices = any(_DECIMAL.search(piece) for piece in _pieces(said, text))
    measured = _UNIT.match(text, said[-1].end)
    postcodes = len(said) == 2 and len(said[0].digits) == 5 and len(said[1].digits) in (4, 5)
    counted = counting and len(said) > 1
    return not (prices or years or measured or postcodes or counted)


def _pieces(said: Sequence[Group], text: str) -> Iterator[str]:
    """What stands between blanks, of what was said."""
    stretch = text[said[0].start : said[-1].end]
    yield from (piece.rstrip(".,;:") for piece in stretch.split())


def _is_amount(said: Sequence[Group]) -> bool:
    """A round number, in groups of three digits: 1 250 000."""
    first, *rest = (group.digits for group in said)
    return (
        bool(rest)
        and len(first) <= 3
        and first[0] != "0"
        and all(len(digits) == 3 for digits in rest)
        and rest[-1] == "000"
    )


def _is_long(said: Sequence[Group]) -> bool:
    words = sum(group.words for group in said)
    digits = sum(len(group.digits) for group in said)
    if any(group.spoken for group in said):
        return words >= _SPOKEN["number"] or (words > 1 and digits >= _NUMBER_DIGITS)
    return digits >= _NUMBER_DIGITS


def _secrets(text: str, known: Sequence[Atom]) -> Iterator[tuple[int, int]]:
    """Numbers behind the name of what goes with a card: its date of expiry, its code."""
    for found in _SECRET.finditer(text):
        behind = [atom for atom in known if atom.start >= found.end() and atom.kind != Kind.MARK]
        first = next((n for n, atom in enumerate(behind) if atom.is_number), len(behind))
        if first > _SECRET_WORDS:
            continue
        last = first
        while last < len(behind) and (behind[last].is_number or behind[last].kind is Kind.BETWEEN):
            last += 1
        said = groups(behind[first:last])
        if said and sum(len(group.digits) for group in said) >= len("123"):
            yield said[0].start, said[-1].end


def _one(words: Sequence[Word], category: str) -> Word:
    closing = re.search(r"[.,;:?!…»\")]*$", words[-1].text)
    return replace(
        words[0],
        text=f"[{category}]{closing[0] if closing else ''}",
        end=words[-1].end,
        probability=fmean(word.probability for word in words),
        tokens=(),
    )


def _is_number(known: Sequence[Atom]) -> bool:
    """A word that is a number, and nothing else."""
    return any(atom.is_number for atom in known) and all(
        atom.is_number or atom.is_between for atom in known
    )


def _ambiguous(known: Sequence[Atom]) -> bool:
    return all(atom.text in AMBIGUOUS for atom in known if atom.kind is not Kind.MARK)


def _holds_card(written: Sequence[str]) -> bool:
    """Whether some of the groups of digits behind one another are a card's number."""
    return any(
        len(number) in _CARD_DIGITS and _passes_luhn(number)
        for first in range(len(written))
        for number in accumulate(written[first : first + max(_CARD_DIGITS)])
    )


def _passes_luhn(number: str) -> bool:
    """Luhn's check (ISO/IEC 7812-1, annex B)."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


NO_REDACTION = Redaction()
