"""What is taken out of texts, with what French and English callers say."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsbot.engine.events import UtteranceFinal, Word, WordsCommitted
from fsbot.transcript.redaction import NO_REDACTION, Redaction

ALL = ("card", "email", "phone", "number")
CARD = "4970 1000 0000 0006"  # passes Luhn's check


def words(text: str) -> list[Word]:
    return [Word(word, n, n + 0.5, 0.5) for n, word in enumerate(filter(None, text.split(" ")))]


def final(text: str, *categories: Any) -> str:
    return " ".join(word.text for word in Redaction(categories).final(words(text)))


@pytest.mark.parametrize(
    ("category", "text", "masked"),
    [
        ("card", f"Ma carte est {CARD}, merci.", "Ma carte est [card], merci."),
        ("card", "4970100000000006.", "[card]."),
        ("card", "4970-1000-0000-0006", "[card]"),
        ("card", "4970 1000 0000 0001", "4970 1000 0000 0001"),
        ("card", "le 06 12 34 56 78", "le 06 12 34 56 78"),
        ("phone", "Rappelez-moi au 06 12 34 56 78.", "Rappelez-moi au [phone]."),
        ("phone", "0612345678", "[phone]"),
        ("phone", "06.12.34.56.78", "[phone]"),
        ("phone", "au +33 6 12 34 56 78 ce soir", "au [phone] ce soir"),
        ("phone", "au zéro six, douze, trente-quatre, cinquante-six, demain", "au [phone], demain"),
        ("phone", "le 12 mars 2026 à 14 heures 30", "le 12 mars 2026 à 14 heures 30"),
        ("phone", "oh seven seven double two one please", "[phone] please"),
        ("number", "dossier 12 34 56", "dossier [number]"),
        ("number", "dossier 123456, page 12.", "dossier [number], page 12."),
        ("number", "quatre-vingt-dix-sept mille deux", "[number]"),
        ("number", "j'ai un chien et deux chats", "j'ai un chien et deux chats"),
        ("email", "C'est jean.dupont@gmail.com.", "C'est [email]."),
        ("email", "jean point dupont arobase gmail point com, voilà", "[email], voilà"),
        ("email", "arrobase", "arrobase"),
        # The expiry date and the three digits behind a card's number go with it.
        ("card", f"{CARD}, 12/27, 123. Merci.", "[card]. Merci."),
        ("card", f"le 2 {CARD}", "le [card]"),
        ("card", "4970–1000–0000–0006", "[card]"),
        ("card", "4970\u202f1000\u00a00000 0006", "[card]"),
        ("card", "4970 1000", "4970 1000"),
        (
            "card",
            "quatre mille neuf cent soixante-dix, mille, zéro, zéro zéro zéro six.",
            "[card].",
        ),
        ("card", "0 6 1 2 3 4 5 6 7 8", "0 6 1 2 3 4 5 6 7 8"),
        ("phone", "le 15, 06 12 34 56 78", "le [phone]"),
        ("phone", "06 12 34 56 78, 06 98 76 54 32", "[phone]"),
        ("phone", "06 12 34 56 78 ou 07 98 76 54 32", "[phone] ou [phone]"),
        ("phone", "06 12 et 34 et 56 78", "[phone]"),
        ("phone", "au +33 (0)6 12 34 56 78", "au [phone]"),
        ("phone", "le six douze zéro six douze trente-quatre", "le [phone]"),
        ("phone", "plus trente-trois six douze trente-quatre", "plus [phone]"),
        ("phone", "٠٦ ١٢ ٣٤ ٥٦ ٧٨", "[phone]"),
        ("number", "12 et 34 et 56 et 78", "[number]"),
        ("email", "jean.dupont arobase gmail.com", "[email]"),
        ("email", "jean point dupont@gmail.com", "[email]"),
        ("email", "jean point dupont, arobase, gmail point com.", "[email]."),
        ("email", "c'est j tiret du bas dupont arobase free.fr", "c'est [email]"),
        ("email", "c'est D, U, P, O, N, T, arobase free point fr", "c'est [email]"),
        ("email", "john at gmail dot com", "[email]"),
        ("email", "un point important, at home", "un point important, at home"),
    ],
)
def test_one_category(category: str, text: str, masked: str) -> None:
    assert final(text, category) == masked
    assert final(text) == text


@pytest.mark.parametrize(
    ("category", "text"),
    [
        ("phone", "plus 33 612345678"),
        ("phone", "Rappelez au plus 44 7911 123456."),
        ("phone", "0612... 345678"),
        ("phone", "06 12… 34, 56… 78"),
        ("phone", "zero six 12 34 cinquante-six soixante-dix-huit"),
        ("phone", "plus trente-trois six douze trente-quatre cinquante-six soixante-dix-huit"),
        ("phone", "plus three three six one two three four five six seven eight"),
        ("phone", "más treinta y cuatro seis uno dos tres cuatro cinco seis siete ocho"),
        ("phone", "mas 34 612 345 678"),
        ("phone", "612 34 56 78"),
        ("phone", "seis uno dos, tres cuatro cinco, seis siete ocho"),
        ("phone", "oh seven nine double one 1 2 3 4 5 6"),
        ("phone", "zero seven triple nine one two three four five six"),
        ("phone", "null eins sieben eins zwei drei vier fünf sechs sieben"),
        ("phone", "0171 einundzwanzig zweiunddreißig fünfundvierzig"),
        ("phone", "555-123-4567"),
        ("phone", "(555) 123-4567"),
        ("phone", "zéro quatre, septante-deux, nonante et un, zéro deux"),
        ("phone", "06 12 euh 34 puis 56 78"),
        ("phone", "double zero three three six one two three four five six"),
        ("phone", "0033 6 12 34 56 78"),
        ("phone", "+41 79 123 45 67"),
        ("phone", "zéro, six, un, deux, trois, quatre, cinq, six, sept, huit"),
        ("phone", "O seven seven 1 2 3 4 5 6 7"),
        ("phone", "06-12-34-56-78"),
        ("phone", "06 12 34 56. 78"),
        ("phone", "plus quarante-quatre 7911 123456"),
        ("phone", "zero sechs zwölf vierunddreißig sechsundfünfzig"),
        ("card", "4970 mille zéro zéro zéro zéro 0006"),
        ("card", "4970 1000, 0000... 0006"),
        ("card", "four nine seven zero 1000 0000 0006"),
        ("card", "quarante-neuf soixante-dix dix zéro zéro zéro zéro zéro zéro 0 0 0 6"),
        ("card", "4970. 1000. 0000. 0006."),
        ("card", "4970 1000 euh 0000 0006"),
        ("card", "cryptogramme 123."),
        ("card", "CVC one two three"),
        ("card", "elle expire en 12 27"),
        ("card", "FR76 3000 6000 0112 3456 7890 189"),
        ("card", "IBAN DE89 3704 0044 0532 0130 00"),
        ("card", "F R 76 3000 6000 0112 3456 7890 189"),
        (
            "card",
            "vier neun sieben null eins null null null null null null null null null null sechs",
        ),
        ("number", "12 trente-quatre"),
        ("number", "deux mille vingt-six"),
        ("number", "zwölf vierunddreißig"),
        ("number", "1 two 3 four"),
        ("number", "einundzwanzig zweiundzwanzig"),
        ("email", "jean point dupont arroba gmail punto com"),
        ("email", "juan guión bajo perez arroba gmail punto com"),
        ("email", "hans punkt müller at gmx punkt de"),
        ("email", "john dot smith at gmail dot com"),
        ("email", "marie 75 arobase free point fr"),
        ("email", "marie@example.com"),
        ("email", "jean.dupont @ gmail.com"),
        ("email", "hans Klammeraffe web punkt de"),
        ("phone", "call plus forty-four seven nine eleven, one two three four five six."),
        ("phone", "zéro sept soixante-quinze quatre-vingt-douze 11 23"),
        ("phone", "plus neunundvierzig eins fünf eins zwei drei vier fünf sechs sieben acht"),
        ("phone", "plus 33, 6... 12, 34, 56... 78"),
        ("phone", "+1 (555) 123-4567"),
        ("card", "cinq mille trois cent un, deux mille trois cent quarante-cinq, 6789, 0123"),
        ("email", "hans punkt meier ät web punkt de"),
    ],
)
def test_what_is_said_in_any_manner_goes(category: str, text: str) -> None:
    told = final(text, category)
    assert f"[{category}]" in told
    assert not any(map(str.isdecimal, told))
    # Nothing but what is said around a number is left.
    assert len(told.split()) <= 4
    live = Redaction(ALL).live(words(text))
    assert not any(character.isdecimal() for word in live for character in word.text)


@pytest.mark.parametrize(
    ("category", "text"),
    [
        ("phone", "le 01/02/1980"),
        ("phone", "né le 12.03.1975 à Lyon"),
        ("phone", "1 250 000 euros"),
        ("phone", "il y a plus 12 000 000 habitants"),
        ("phone", "12,50, 13,90, 8,20"),
        ("phone", "de 08:30 à 09:45"),
        ("phone", "08:30, 09:45, 10:15"),
        ("phone", "il coûte 1299 euros et 2 chats"),
        ("phone", "2019, 2020"),
        ("phone", "10, 12, 15, 20, 25"),
        ("phone", "75001 Paris"),
        ("phone", "le 05 06 2026"),
        ("phone", "12 mars 2026 à 14 heures 30"),
        ("phone", "un deux trois quatre cinq six sept huit neuf"),
        ("phone", "dossier 12345678"),
        ("phone", "trois cent cinquante mille"),
        ("phone", "1 299,00 €"),
        ("phone", "j'ai un chien et deux chats"),
        ("phone", "plus de 20 personnes"),
        ("phone", "plus two or three"),
        ("phone", "my zip is 90210-1234"),
        ("phone", "75001, 69002"),
        ("phone", "123456789 euros"),
        ("phone", "chapitre 1, 2, 3, 4, 5, 6, 7, 8 et 9"),
        ("phone", "appelez le 3631 ou le 15"),
        ("card", "le 06 12 34 56 78"),
        ("card", "1 250 000 000 euros"),
        ("card", "12 mars 2026"),
        ("card", "4970 1000 0000 0001"),
        ("card", "le code postal 75001"),
        ("card", "expire demain"),
        ("card", "expire dans trois jours"),
        ("email", "un point important, at home"),
        ("email", "I was at home dot"),
        ("email", "look at this. dot"),
        ("number", "page 12"),
        ("number", "dix-sept"),
        ("number", "mille fois merci"),
        ("number", "trente-deux"),
    ],
)
def test_what_is_something_else_stays(category: str, text: str) -> None:
    assert final(text, category) == text


def test_a_number_that_goes_on_in_the_next_text_goes_there() -> None:
    first, second = words("C'est le 06 12 34,"), words("56 78, merci.")
    later = [replace(word, start=word.start + 9, end=word.end + 9) for word in second]
    phone = Redaction(["phone"])
    assert [word.text for word in phone.final(later, first)] == ["[phone],", "merci."]
    much_later = [replace(word, start=word.start + 30, end=word.end + 30) for word in second]
    assert list(phone.final(much_later, first)) == much_later
    assert list(phone.final(later, words("C'est le 12 mars."))) == later
    card = Redaction(["card"])
    assert [word.text for word in card.final(words("0000 0006."), words("4970 1000"))] == [
        "[card]."
    ]


def test_a_card_is_no_number_and_an_address_no_card() -> None:
    assert final(f"{CARD} et 12345 et a@b.fr", *ALL) == "[card] et [number] et [email]"


def test_a_word_that_stands_for_several_takes_their_time() -> None:
    (first, *_, last) = words(CARD)
    (one,) = Redaction(["card"]).final(words(CARD))
    assert (one.start, one.end) == (first.start, last.end)
    assert one.probability == pytest.approx(0.5)


def live(*commits: str) -> list[str]:
    """The live text as it goes out, words by words."""
    redaction, before, told = Redaction(["card"]), [], []
    for text in commits:
        fresh = words(text)
        told.append(" ".join(word.text for word in redaction.live(fresh, before)))
        before += fresh
    return told


def test_no_digit_is_told_live() -> None:
    assert live("Ma carte est 4970", "1000", "0000 0000, merci.") == [
        "Ma carte est [number]",
        "[number]",
        "[number] [number] merci.",
    ]


def test_of_number_words_only_an_article_is_told_live() -> None:
    assert live("un conseiller pour deux personnes") == ["un conseiller pour [number] personnes"]
    assert live("c'est zéro", "un", "vingt et", "un ami") == [
        "c'est [number]",
        "[number]",
        "[number] et",
        "[number] ami",
    ]


def test_behind_a_crash_live_text_goes_on_from_what_the_journal_has() -> None:
    (told,) = Redaction(["card"]).live(words("un"), before=words("c'est [number]"))
    assert told.text == "[number]"


def test_an_address_is_not_told_live_from_where_it_is_known_for_one() -> None:
    def told(text: str) -> str:
        return " ".join(word.text for word in Redaction(["email"]).live(words(text)))

    assert told("à a@b.fr, le 3.5, S.N.C.F.") == "à [email] le 3.5, S.N.C.F."
    assert told("j.dupont arobase free point fr") == "[email] [email] [email] [email] [email]"
    assert told("dupont arobase a b c d e f") == f"dupont{' [email]' * 6} f"


def test_a_final_text_that_hides_otherwise_than_the_live_one_is_revised() -> None:
    def revised(text: str, *categories: Any) -> bool:
        event = UtteranceFinal(1, tuple(words(text)), 0.0, 9.0, revised=False, language="fr")
        return Redaction(categories).closed(event).revised

    assert not revised("Ma carte.", "card")
    assert not revised("le 06 12")
    assert revised("le 06 12", "card")
    assert revised(CARD, "card")


def test_tokens_do_not_tell_what_the_text_hides() -> None:
    spoken = tuple(Word(text, 0.0, 1.0, 0.5, (7,)) for text in ("le", "06", "a@b.fr", "zéro"))
    event = WordsCommitted(1, spoken[1:], spoken, spoken[1:], 1.0, False, "fr")
    told = Redaction(ALL).committed(event)
    assert [word.tokens for word in told.spoken] == [(7,), (), (), ()]
    assert told.words == told.tentative == told.spoken[1:]
    assert all(word.tokens == () for word in Redaction(ALL).final(words(CARD)))


SPOKEN = st.lists(
    st.sampled_from(
        ["un", "six", "06", "12", "4970", "a@b.fr", "arobase", "point", "et", "oui,", "x.", "+33"]
    )
    | st.text(min_size=1, max_size=6).filter(lambda text: not set(text) & set(" \t\n")),
    max_size=14,
).map(" ".join)


@given(SPOKEN)
def test_nothing_but_spans_changes(text: str) -> None:
    given_words = words(text)
    assert list(NO_REDACTION.final(given_words)) == given_words
    assert list(NO_REDACTION.live(given_words)) == given_words
    once = Redaction(ALL).final(given_words)
    assert Redaction(ALL).final(once) == once
    kept = [word for word in once if not word.text.startswith("[")]
    assert all(word in given_words for word in kept)
    assert [word.start for word in once] == sorted(word.start for word in once)


@given(SPOKEN, SPOKEN)
def test_what_comes_later_changes_no_live_text(first: str, second: str) -> None:
    told, fresh = words(first), words(second)
    redaction = Redaction(ALL)
    whole = redaction.live([*told, *fresh])
    assert whole == redaction.live(told) + redaction.live(fresh, told)
    assert redaction.live(whole) == whole
    assert [(word.start, word.end) for word in whole] == [
        (word.start, word.end) for word in (*told, *fresh)
    ]


@given(SPOKEN, st.sampled_from(["card", "phone", "number"]))
def test_live_text_tells_no_number_that_the_final_text_hides(text: str, category: Any) -> None:
    given_words, redaction = words(text), Redaction([category])
    final_words, live_words = redaction.final(given_words), redaction.live(given_words)
    hidden = [word for word in final_words if word not in given_words]
    for word in live_words:
        if any(mask.start <= word.start < mask.end for mask in hidden):
            assert word.text.startswith("[") or set(word.text.strip(".,")) <= set("unet /-()")


@given(
    st.lists(st.integers(0, 9), min_size=12, max_size=18),
    st.lists(st.integers(1, 5), min_size=19, max_size=19),
    st.sampled_from([" ", "-", ".", ", ", " - ", "\u00a0"]),
    st.sampled_from(["", "le 2 ", "12/27, "]),
    st.sampled_from(["", " 12/27", ", 123", " 12 27 123"]),
)
def test_no_card_gets_through_however_it_is_grouped(
    digits: list[int], sizes: list[int], between: str, ahead: str, behind: str
) -> None:
    check = next(n for n in range(10) if luhn([*digits, n]))
    number = "".join(map(str, [*digits, check]))
    groups = []
    for size in sizes:
        groups.append(number[:size])
        number = number[size:]
    card = between.join(filter(None, groups))
    assert not any(map(str.isdecimal, final(f"{ahead}{card}{behind}", "card")))


def luhn(digits: list[int]) -> bool:
    """By the table of doubled digits, as the check is taught."""
    table = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
    places = enumerate(reversed(digits))
    return sum(table[d] if place % 2 else d for place, d in places) % 10 == 0


@given(st.lists(st.integers(0, 9), min_size=8, max_size=19), st.sampled_from([" ", "", "-", "."]))
def test_no_long_number_gets_through(digits: list[int], between: str) -> None:
    text = between.join(map(str, digits))
    assert not any(map(str.isdecimal, final(f"voici {text}", *ALL)))
    told = Redaction(ALL).live(words(f"voici {text}"))
    assert not any(character.isdecimal() for word in told for character in word.text)
