"""What is taken out of texts, with what French and English callers say."""

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
