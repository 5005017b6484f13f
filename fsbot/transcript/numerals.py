"""Numbers in a text, however they were said or written, as groups of digits and their places.

Number words are those of French, English, Spanish, German and Italian, all at a time: a caller may
speak another language than the call is set to, and hardly a word means two numbers.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import product

_UNITS = (
    "zéro zero cero null oh nought naught",
    "un une one uno una ein eins eine einen",
    "deux two dos zwei zwo due",
    "trois three tres drei tre",
    "quatre four cuatro vier quattro",
    "cinq five cinco fünf cinque",
    "six seis sechs sei",
    "sept seven siete sieben sette",
    "huit eight ocho acht otto",
    "neuf nine nueve neun nove",
    "dix ten diez zehn dieci",
    "onze eleven once elf undici",
    "douze twelve doce zwölf dodici",
    "treize thirteen trece dreizehn tredici",
    "quatorze fourteen catorce vierzehn quattordici",
    "quinze fifteen quince fünfzehn quindici",
    "seize sixteen dieciséis dieciseis sechzehn sedici",
    "seventeen diecisiete siebzehn diciassette",
    "eighteen dieciocho achtzehn diciotto",
    "nineteen diecinueve neunzehn diciannove",
)
_TENS = (
    "vingt vingts twenty veinte zwanzig venti",
    "trente thirty treinta dreißig dreissig trenta",
    "quarante forty fourty cuarenta vierzig quaranta",
    "cinquante fifty cincuenta fünfzig cinquanta",
    "soixante sixty sesenta sechzig sessanta",
    "septante seventy setenta siebzig settanta",
    "huitante octante eighty ochenta achtzig ottanta",
    "nonante ninety noventa neunzig novanta",
)


def _listed(text: str) -> list[str]:
    return text.split()


def _names(text: str) -> frozenset[str]:
    return frozenset(_listed(text))


_HUNDRED = _names("cent cents hundred cien ciento hundert cento")
_THOUSAND = _names("mille thousand mil tausend mila")
_TIMES = {"double": 2, "doppel": 2, "doppelt": 2, "doble": 2, "doppio": 2, "triple": 3}
_PLUS = _names("+ plus más mas più piu")
AND = _names("et and y und e")
_BETWEEN = AND | _names(
    # marks
    "virgule tiret comma dash hyphen coma guion guión komma bindestrich strich trattino slash"
    # and what is said while somebody looks for the rest
    " euh heu hum ben puis ensuite uh um er erm uhm then eh luego äh ähm hm hmm dann poi"
)

AMBIGUOUS = _names(
    "un une one oh double uno una ein eine einen due dos tres tre sei elf once null mas plus naught"
)
"""Number words that are mostly something else where they stand alone."""


def _values() -> Iterator[tuple[str, int]]:
    """Words for less than a hundred, and Spanish hundreds."""
    simple = {name: value for value, names in enumerate(_UNITS) for name in names.split()}
    tens = {name: 10 * ten for ten, names in enumerate(_TENS, 2) for name in names.split()}
    yield from (simple | tens).items()
    german = _listed("ein zwei drei vier fünf sechs sieben acht neun")
    for (value, unit), (ten, tenfold) in product(enumerate(german, 1), tens.items()):
        if ten.endswith(("zig", "ßig", "ssig")):
            yield f"{unit}und{ten}", tenfold + value
    spanish = _listed("uno ún un una dos dós tres trés cuatro cinco seis séis siete ocho nueve")
    bare = str.maketrans("úóé", "uoe")
    for unit in spanish:
        yield f"veinti{unit}", 20 + simple[unit.translate(bare)]
    italian = _listed("uno due tre tré quattro cinque sei sette otto nove")
    for (ten, tenfold), unit in product(tens.items(), italian):
        if ten in ("venti", "trenta") or ten.endswith("anta"):
            stem = ten[:-1] if unit in ("uno", "otto") else ten
            yield f"{stem}{unit}", tenfold + simple[unit.translate(bare)]
    for stem, value in (("dos", 2), ("tres", 3), ("cuatro", 4), ("seis", 6), ("ocho", 8)):
        yield from ((f"{stem}cient{ending}", 100 * value) for ending in ("os", "as"))
    for stem, value in (("quin", 5), ("sete", 7), ("nove", 9)):
        yield from ((f"{stem}{ending}", 100 * value) for ending in ("cientos", "cientas"))
    yield from (("quinientos", 500), ("quinientas", 500))


_VALUES = dict(_values())
_GERMAN = re.compile(r"(?:(\w*)tausend)?(?:(\w*)hundert)?(?:und)?(\w*)")


class Kind(Enum):
    """Of what stands in a text."""

    DIGITS = auto()
    VALUE = auto()
    HUNDRED = auto()
    THOUSAND = auto()
    TIMES = auto()
    PLUS = auto()
    BETWEEN = auto()  # a word that may stand between numbers
    MARK = auto()  # so may a comma, but what it parts is not one number
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Atom:
    """start, end: of its characters in the text. value: of a number word, or how many times."""

    kind: Kind
    text: str
    start: int
    end: int
    value: int = 0

    @property
    def is_number(self) -> bool:
        return self.kind in (Kind.DIGITS, Kind.VALUE, Kind.HUNDRED, Kind.THOUSAND, Kind.TIMES)

    @property
    def is_between(self) -> bool:
        return self.kind in (Kind.BETWEEN, Kind.MARK)


@dataclass(frozen=True, slots=True)
class Group:
    """Digits said as one number. start, end: of its characters in the text.

    words: how many words and groups of digits it was said in. spoken: in words. plus: a plus stands
    before it. marked: a comma or point does.
    """

    digits: str
    start: int
    end: int
    words: int
    spoken: bool
    plus: bool
    marked: bool


_MARKS = frozenset(".,;:/…()‐‑‒–—―'’°")
_ATOM = re.compile(r"\d+|[^\W\d]+|[^\w\s-]")


def atoms(text: str) -> list[Atom]:
    """What is in a text, but for blanks and hyphens."""
    return [_atom(found[0], found.start(), found.end()) for found in _ATOM.finditer(text)]


def _atom(text: str, start: int, end: int) -> Atom:
    word = text.lower()
    if word.isdecimal():
        return Atom(Kind.DIGITS, "".join(str(int(digit)) for digit in word), start, end)
    if text in _MARKS:
        return Atom(Kind.MARK, text, start, end)
    for kind, known in (
        (Kind.HUNDRED, _HUNDRED),
        (Kind.THOUSAND, _THOUSAND),
        (Kind.PLUS, _PLUS),
        (Kind.BETWEEN, _BETWEEN),
    ):
        if word in known:
            return Atom(kind, word, start, end)
    if word in _TIMES:
        return Atom(Kind.TIMES, word, start, end, _TIMES[word])
    value = 0 if text == "O" else _value(word)
    return Atom(Kind.OTHER if value is None else Kind.VALUE, word, start, end, value or 0)


def _value(word: str) -> int | None:
    """Of one word; German writes a whole number as one."""
    if word in _VALUES:
        return _VALUES[word]
    if "hundert" not in word and "tausend" not in word:
        return None
    found = _GERMAN.fullmatch(word)
    total = 0
    for part, times in zip(found.groups() if found else (), (1000, 100, 1), strict=False):
        if part is None or (part == "" and times == 1):
            continue
        value = 1 if part == "" else _value(part)
        if value is None:
            return None
        total += times * value
    return total


def groups(run: Sequence[Atom]) -> list[Group]:
    """The numbers of a run of atoms without any OTHER."""
    return list(_groups(run))


def _groups(run: Sequence[Atom]) -> Iterator[Group]:
    place, plus, marked = 0, False, False
    while place < len(run):
        first = run[place]
        if not first.is_number:
            plus = first.kind is Kind.PLUS or (plus and first.kind is Kind.MARK)
            marked = marked or first.kind is Kind.MARK
            place += 1
            continue
        digits, behind = _number(run, place)
        words = sum(atom.is_number for atom in run[place:behind])
        spoken = any(atom.is_number and atom.kind is not Kind.DIGITS for atom in run[place:behind])
        if digits:
            last = run[behind - 1]
            yield Group(digits, first.start, last.end, words, spoken, plus, marked)
        place, plus, marked = behind, False, False


def _number(run: Sequence[Atom], place: int) -> tuple[str, int]:
    """The digits of the number that begins there, and the place behind it."""
    first = run[place]
    if first.kind is Kind.DIGITS:
        return first.text, place + 1
    if first.kind is Kind.TIMES:
        following = run[place + 1] if place + 1 < len(run) else first
        digit = following.text if following.kind is Kind.DIGITS else str(following.value)
        if following.kind in (Kind.DIGITS, Kind.VALUE) and len(digit) == 1:
            return digit * first.value, place + 2
        return "", place + 1
    total, place = _below_thousand(run, place)
    if place < len(run) and run[place].kind is Kind.THOUSAND and total != 0:
        total, place = 1000 * (total or 1), place + 1
        rest, behind = _below_thousand(run, place)
        if rest:
            total, place = total + rest, behind
    return str(total), place


def _below_thousand(run: Sequence[Atom], place: int) -> tuple[int | None, int]:
    total, place = _below_hundred(run, place)
    if place < len(run) and run[place].kind is Kind.HUNDRED and (total is None or 0 < total < 20):
        total, place = 100 * (total or 1), place + 1
    if total and total % 100 == 0:
        skip = place < len(run) and run[place].text in AND
        rest, behind = _below_hundred(run, place + skip)
        if rest:
            return total + rest, behind
    return total, place


def _below_hundred(run: Sequence[Atom], place: int) -> tuple[int | None, int]:
    if place >= len(run) or run[place].kind is not Kind.VALUE:
        return None, place
    value, place = _up_to_nineteen(run, place)
    if value == 4 and place < len(run) and run[place].text in ("vingt", "vingts"):
        value, place = 80, place + 1
    if value < 20 or value % 10 or value > 90:
        return value, place
    french = run[place - 1].text in ("soixante", "vingt", "vingts") and value in (60, 80)
    behind = place + (place < len(run) and run[place].text in AND)
    if behind < len(run) and run[behind].kind is Kind.VALUE:
        more, behind = _up_to_nineteen(run, behind)
        if 0 < more < (20 if french else 10):
            return value + more, behind
    return value, place


def _up_to_nineteen(run: Sequence[Atom], place: int) -> tuple[int, int]:
    """One word, but for French 17 to 19."""
    teen = [atom.text for atom in run[place : place + 2]]
    if len(teen) == 2 and teen[0] == "dix" and teen[1] in ("sept", "huit", "neuf"):
        return 10 + run[place + 1].value, place + 2
    return run[place].value, place + 1
