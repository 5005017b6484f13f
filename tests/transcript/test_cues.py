"""Subtitles that people can read: short, two lines, one at a time, with every word."""

import random
import re
from itertools import pairwise

import pytest
from rich.cells import cell_len

from fsbot.transcript.cues import Cue, cues_of
from fsbot.transcript.exports import Exporter, Form
from fsbot.transcript.records import Alternative, SideName, SpokenWord, Transcription

STAMP = re.compile(r"(\d+):(\d\d):(\d\d)[.,](\d{3})")


def spoken(
    words: list[tuple[str, float, float]],
    side: SideName = "caller",
    language: str = "fr",
    text: str | None = None,
) -> Transcription:
    between = "" if language in ("ja", "zh") else " "
    whole = between.join(word for word, _, _ in words) if text is None else text
    return Transcription(
        call_uuid="a",
        sequence=1,
        emission_time=0.0,
        emitted_at=0.0,
        side=side,
        channel_tag=1,
        utterance=1,
        is_final=True,
        speech_final=True,
        revised=False,
        text=whole,
        start=words[0][1],
        end=words[-1][2] + 0.8,
        audio_start=max(0.0, words[0][1]),
        audio_end=max(0.0, words[-1][2] + 0.8),
        tentative="",
        language_code=language,
        alternatives=(
            Alternative(
                transcript=whole,
                confidence=0.9,
                words=tuple(
                    SpokenWord(word=word, start_time=start, end_time=end, confidence=0.9)
                    for word, start, end in words
                ),
            ),
        ),
        latency_ms=0.0,
    )


def steady(text: str, start: float = 0.0, each: float = 0.35) -> list[tuple[str, float, float]]:
    """Words of the same length without pauses."""
    return [
        (word, start + number * each, start + (number + 1) * each)
        for number, word in enumerate(text.split())
    ]


LONG = (
    "Bonjour, je vous appelle au sujet de la facture du mois dernier, que je n'ai pas reçue. "
    "Il me semble que mon adresse a changé depuis, et que personne ne vous l'a dit; pourriez-vous "
    "la corriger et me renvoyer cette facture à la bonne adresse avant la fin de la semaine ? "
    "Sans cela je ne pourrai pas la régler à temps, et votre service m'enverra encore un rappel."
)


def check(cues: list[Cue], words: list[str]) -> None:
    for cue in cues:
        assert 0 < cue.end - cue.start <= 7.0
        assert 1 <= len(cue.lines) <= 2
        assert all(0 < cell_len(line) <= 42 for line in cue.lines), cue
    for before, after in pairwise(cues):
        assert before.end <= after.start
    said = "".join("".join(cue.lines) for cue in cues)
    assert said.replace(" ", "") == "".join(words).replace(" ", "")


def test_a_long_utterance_is_cut_at_its_words() -> None:
    words = steady(LONG)
    cues = cues_of(spoken(words))
    check(cues, LONG.split())
    assert len(cues) >= 4
    for cue in cues:
        first = cue.lines[0].split()[0]
        assert cue.start in [start for word, start, _ in words if word == first]
    # A sentence's end is the better place.
    assert cues[0].lines[-1].endswith("reçue.") or cues[0].lines[-1].endswith(",")


def test_no_last_word_is_left_alone() -> None:
    text = "le numéro composé n'est pas en service veillez vérifier le numéro et essayer de nouveau"
    first, second = cues_of(spoken(steady(text)))
    check([first, second], text.split())
    counts = [len(" ".join(cue.lines).split()) for cue in (first, second)]
    assert abs(counts[0] - counts[1]) <= 1


def test_a_pause_ends_a_cue() -> None:
    words = [*steady("un deux trois"), *steady("quatre cinq", start=4.0)]
    first, second = cues_of(spoken(words))
    assert (first.lines, second.lines) == (("un deux trois",), ("quatre cinq",))
    assert first.end < 2.0
    assert second.start == 4.0


@pytest.mark.parametrize("seconds", [0.0, 0.02, 3.0, 23.0, 4000.0])
def test_without_times_of_its_words(seconds: float) -> None:
    final = spoken(steady(LONG)).model_copy(
        update={"alternatives": (), "start": 3.0, "end": 3.0 + seconds}
    )
    check(cues_of(final), LONG.split())


def test_words_that_are_not_those_of_the_text_do_not_count() -> None:
    check(cues_of(spoken(steady("un deux"), text="[card] trois")), ["[card]", "trois"])


def test_words_without_length_and_words_that_go_back() -> None:
    words = [("un", 1.0, 1.0), ("deux", 1.0, 1.0), ("trois", 0.5, 0.2), ("quatre", 1.0, 1.0)]
    check(cues_of(spoken(words)), ["un", "deux", "trois", "quatre"])


def test_a_word_that_lasts_too_long() -> None:
    cues = cues_of(spoken([("Alors", 0.0, 20.0), ("oui", 20.0, 20.3)]))
    check(cues, ["Alors", "oui"])
    assert cues[1].start == 20.0


def test_words_longer_than_a_line() -> None:
    url = "https://" + "x" * 200
    check(cues_of(spoken([("voici", 0.0, 0.3), (url, 0.3, 9.0)]), "caller: "), url_parts(url))


def url_parts(url: str) -> list[str]:
    """With the prefix of each cue, which `check` must find too."""
    cues = cues_of(spoken([("voici", 0.0, 0.3), (url, 0.3, 9.0)]), "caller: ")
    text = "".join("".join(cue.lines) for cue in cues)
    assert text.replace("caller: ", "") == "voici" + url or "voici " + url
    return [text]


def test_a_language_without_blanks() -> None:
    text = "私は先月の請求書をまだ受け取っていないので確認していただけますか" * 3
    words = [(each, number * 0.2, number * 0.2 + 0.2) for number, each in enumerate(text)]
    cues = cues_of(spoken(words, language="ja"))
    check(cues, list(text))
    assert all(" " not in line for cue in cues for line in cue.lines)
    unspaced = spoken(words, language="ja").model_copy(update={"alternatives": ()})
    check(cues_of(unspaced), list(text))


def seconds(stamp: tuple[str, ...]) -> float:
    hours, minutes, whole, thousandths = map(int, stamp)
    return hours * 3600 + minutes * 60 + whole + thousandths / 1000


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_two_sides_never_overlap_and_lose_no_word(form: Form) -> None:
    chance = random.Random(11)
    vocabulary = LONG.split()
    for _ in range(100):
        finals: list[Transcription] = []
        sides: tuple[SideName, ...] = ("caller", "callee")
        for side in sides:
            at = chance.uniform(0, 2)
            for _ in range(chance.randrange(1, 5)):
                words = []
                for _ in range(chance.randrange(1, 40)):
                    length = chance.choice([0.0, 0.02, 0.2, 0.4, 2.0])
                    words.append((chance.choice(vocabulary), at, at + length))
                    at += length + chance.choice([0.0, 0.0, 0.3, 1.5])
                finals.append(spoken(words, side))
                at += chance.uniform(0, 3)
        finals.sort(key=lambda final: final.start)
        exporter = Exporter(form, name_sides=True)
        pieces = [*map(exporter.add, finals), exporter.end()]
        blocks = "".join(pieces).removesuffix("\n\n").split("\n\n")
        times = [tuple(map(seconds, STAMP.findall(block))) for block in blocks]
        for start, end in times:
            assert start < end <= start + 7.7
        for (_, end), (start, _) in pairwise(times):
            assert end <= start
        texts = [line for block in blocks for line in block.split("\n") if "-->" not in line]
        assert all(len(re.sub("^<v calle[er]>", "", line)) <= 42 for line in texts)
        heard = sorted(" ".join(line for line in texts if not line.isdigit()).split())
        said = sorted(word for final in finals for word in final.text.split())
        marks = {"caller:", "callee:", "<v"}
        clean = [re.sub(r"^calle[er]>", "", word) for word in heard if word not in marks]
        assert sorted(clean) == said
