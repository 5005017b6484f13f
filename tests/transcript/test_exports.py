"""Plain text, srt and vtt from records."""

import random
import re
from typing import Literal

import pytest

from fsbot.transcript.exports import Exporter, Form, StartOrder, export, timestamp
from fsbot.transcript.records import (
    Record,
    SideName,
    StartOfSpeech,
    StartOfTranscript,
    Transcription,
)

STAMP = re.compile(r"(\d\d):(\d\d):(\d\d)[.,](\d{3})")


def final(
    text: str,
    start: float,
    end: float,
    side: SideName = "caller",
    utterance: int = 1,
    is_final: bool = True,
) -> Transcription:
    return Transcription(
        call_uuid="a",
        sequence=1,
        emission_time=0.0,
        emitted_at=0.0,
        side=side,
        channel_tag=1,
        utterance=utterance,
        is_final=is_final,
        speech_final=is_final,
        revised=False,
        text=text,
        start=start,
        end=end,
        audio_start=max(0.0, start),
        audio_end=max(0.0, end),
        tentative="",
        language_code="fr",
        alternatives=(),
        latency_ms=0.0,
    )


def opening(*sides: SideName) -> StartOfTranscript:
    channels: Literal[1, 2] = 2 if len(sides) > 1 else 1
    return StartOfTranscript(
        call_uuid="a",
        sequence=1,
        emission_time=0.0,
        emitted_at=0.0,
        channel_call_uuid="a",
        recording=1,
        path="",
        switch_path="",
        rate=8000,
        channels=channels,
        sides=sides,
        answered_at=0.0,
        codec_rate=0,
        leg_uuid="u",
        direction="",
        caller="",
        destination="",
        language_code="fr",
    )


def speech(side: SideName, start: float, utterance: int = 1) -> StartOfSpeech:
    return StartOfSpeech(
        call_uuid="a",
        sequence=1,
        emission_time=0.0,
        emitted_at=0.0,
        side=side,
        channel_tag=1,
        utterance=utterance,
        start=start,
        audio_start=max(0.0, start),
        confirmed=False,
        echo=False,
    )


CALL: tuple[Record, ...] = (
    opening("caller", "callee"),
    final("oui", 4.0, 5.25, "callee"),
    final("allô", 1.0, 1.5, is_final=False),
    final("Allô, qui\nest là ?", 0.5, 4.5),
)


def exported(records: tuple[Record, ...], form: Form) -> str:
    return "".join(export(records, form))


def written(form: Form, *finals: Transcription, name_sides: bool = False) -> str:
    exporter = Exporter(form, name_sides=name_sides)
    return "".join([*map(exporter.add, finals), exporter.end()])


def test_text_says_who_and_when() -> None:
    assert exported(CALL, "text") == (
        "caller 00:00:00.500 Allô, qui est là ?\ncallee 00:00:04.000 oui\n"
    )


def test_text_of_one_side_is_only_text() -> None:
    assert exported((opening("caller"), final("Allô", 1, 2)), "text") == "Allô\n"


def test_srt() -> None:
    assert exported(CALL, "srt") == (
        "1\n00:00:00,500 --> 00:00:04,000\ncaller: Allô, qui est là ?\n\n"
        "2\n00:00:04,000 --> 00:00:05,250\ncallee: oui\n\n"
    )


def test_vtt() -> None:
    assert exported(CALL, "vtt") == (
        "WEBVTT\n\n"
        "00:00:00.500 --> 00:00:04.000\n<v caller>Allô, qui est là ?\n\n"
        "00:00:04.000 --> 00:00:05.250\n<v callee>oui\n\n"
    )


def test_a_transcript_without_words_is_still_a_file() -> None:
    assert exported((opening("caller"),), "vtt") == "WEBVTT\n\n"
    assert exported((opening("caller"), final(" \n", 1, 2)), "srt") == ""


def test_vtt_escapes_what_would_be_markup() -> None:
    text = written("vtt", final("R&D <b> 1 --> 2", 1, 2), name_sides=True)
    assert text.endswith("<v caller>R&amp;D &lt;b&gt; 1 --&gt; 2\n\n")


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_no_text_can_end_a_cue_or_begin_another(form: Form) -> None:
    hostile = "un\n\n2\r\n00:00:09,000 --> 00:00:10,000\u2028deux\x1b[2J\x00"
    cue = written(form, final(hostile, 1, 2))
    assert cue.count("-->") == 1
    assert "\x1b" not in cue
    head, *rest = cue.removesuffix("\n\n").splitlines()
    assert len(rest) == (3 if form == "srt" else 2)
    assert "" not in rest
    assert head


@pytest.mark.parametrize(("start", "end"), [(-0.2, 0.5), (3.0, 3.0), (3.0, 2.5), (0, 0.0001)])
@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_every_cue_ends_after_it_starts(form: Form, start: float, end: float) -> None:
    cue = written(form, final("oui", start, end))
    first, second = STAMP.findall(cue)
    assert first < second


def test_srt_numbers_only_what_it_writes() -> None:
    text = written("srt", final("", 0, 1), final("oui", 1, 2), final(" ", 2, 3), final("non", 3, 4))
    assert [block.split("\n")[0] for block in text.split("\n\n")[:-1]] == ["1", "2"]


def test_timestamps_carry_over() -> None:
    assert timestamp(59.9996, ".") == "00:01:00.000"
    assert timestamp(360_000, ",") == "100:00:00,000"


def test_a_text_waits_for_an_utterance_of_the_other_side_that_began_before() -> None:
    order = StartOrder(("caller", "callee"))
    order.note(speech("caller", 1.0))
    order.note(speech("callee", 2.0))
    short, long = final("oui", 2.0, 2.5, "callee"), final("Donc…", 1.0, 9.0, "caller")
    order.note(short)
    order.heard("caller", 10.0)
    order.heard("callee", 10.0)
    assert order.release() == []
    order.note(long)
    assert order.release() == [long, short]


def test_a_text_waits_until_the_other_side_has_been_heard_as_far() -> None:
    order = StartOrder(("caller", "callee"))
    order.note(speech("caller", 5.0))
    done = final("oui", 5.0, 5.5)
    order.note(done)
    order.heard("caller", 7.0)
    assert order.release() == []
    order.heard("callee", 6.0)
    assert order.release() == [done]
    assert order.release_all() == []


def test_any_interleaving_comes_out_sorted_and_whole() -> None:
    chance = random.Random(7)
    for _ in range(200):
        order = StartOrder(("caller", "callee"))
        released: list[Transcription] = []
        pending: dict[SideName, list[Record]] = {"caller": [], "callee": []}
        total = 0
        for side, records in pending.items():
            at = 0.0
            for utterance in range(1, chance.randrange(7)):
                at += chance.uniform(0.1, 5)
                end = at + chance.uniform(0.1, 9)
                records += [
                    speech(side, at, utterance),
                    final("oui", at, end, side, utterance),
                ]
                at = end
                total += 1
        while any(pending.values()):
            side = chance.choice([side for side, records in pending.items() if records])
            order.note(pending[side].pop(0))
            rest = pending[side]
            order.heard(side, rest[0].start if rest else 1e9)  # type: ignore[union-attr]
            released += order.release()
        released += order.release_all()
        assert [each.start for each in released] == sorted(each.start for each in released)
        assert len(released) == total
