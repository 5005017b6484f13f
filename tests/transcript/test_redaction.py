"""What is taken out of texts, with what French and English callers say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsbot.engine.events import Word
from fsbot.transcript.redaction import NO_REDACTION, Redaction

ALL = ("card", "email", "phone", "number")
CARD = "4970 1000 0000 0006"  # passes Luhn's check


def words(text: str) -> list[Word]:
    return [Word(word, n, n + 0.5, 0.5) for n, word in enumerate(text.split())]


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


def test_number_words_are_told_live_only_where_one_stands_alone() -> None:
    assert live("un conseiller pour deux personnes") == ["un conseiller pour deux personnes"]
    assert live("c'est zéro six", "douze", "quatorze") == [
        "c'est [number] [number]",
        "[number]",
        "[number]",
    ]


def test_an_address_is_not_told_live() -> None:
    masked = Redaction(["email"]).live(words("à a@b.fr"))
    assert [word.text for word in masked] == ["à", "[email]"]


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


@given(st.lists(st.integers(0, 9), min_size=8, max_size=19), st.sampled_from([" ", "", "-", "."]))
def test_no_long_number_gets_through(digits: list[int], between: str) -> None:
    text = between.join(map(str, digits))
    assert not any(map(str.isdecimal, final(f"voici {text}", *ALL)))
    told = Redaction(ALL).live(words(f"voici {text}"))
    assert not any(character.isdecimal() for word in told for character in word.text)
