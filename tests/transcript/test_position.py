"""Where a transcript goes on, by its own records."""

import dataclasses
import math

import pytest
from examples import UUID, start_of_transcript

from fsbot.engine.events import (
    SpeechCertain,
    SpeechStarted,
    StreamEvent,
    UtteranceEnded,
    UtteranceFinal,
    Word,
    WordsCommitted,
)
from fsbot.engine.position import START, OpenUtterance, StreamPosition
from fsbot.transcript.position import TranscriptPosition
from fsbot.transcript.records import Record
from fsbot.transcript.writer import Channel, TranscriptWriter

SHIFT = 5.0
"""Seconds from the answer to the first audio."""

CALLER = Channel("caller", 1)


def word(text: str, start: float) -> Word:
    return Word(text, start, start + 0.4, 0.9)


def committed(utterance: int, *words: Word, before: tuple[Word, ...] = ()) -> WordsCommitted:
    guess = (word("peut-être", words[-1].end),)
    return WordsCommitted(utterance, words, (*before, *words), guess, 9.0, False, "fr")


def written(*events: StreamEvent, channel: Channel = CALLER) -> list[Record]:
    records: list[Record] = [start_of_transcript(1)]
    writer = TranscriptWriter(UUID, 100.0, lambda at: 100.0 + SHIFT + at, records.append, 2)
    for event in events:
        writer.write_event(channel, event)
    return records


def position(*events: StreamEvent) -> StreamPosition:
    found = TranscriptPosition.of(written(*events))
    assert found.positions["callee"] == START
    return found.positions["caller"]


HELLO, THERE = word("Bonjour,", 1.0), word("c'est", 1.5)
FIRST = (
    SpeechStarted(1, 0.992),
    SpeechCertain(1, 0.992),
    committed(1, HELLO),
    UtteranceEnded(1, 1.984, 2.688, 0.9),
    UtteranceFinal(1, (HELLO, THERE), 0.992, 2.688, True, "fr"),
)


def test_nothing_said() -> None:
    assert position() == START


def test_stretches_in_which_nothing_is_to_be_heard() -> None:
    records: list[Record] = [start_of_transcript(1)]
    writer = TranscriptWriter(UUID, 100.0, lambda at: 100.0 + at, records.append, 2)
    writer.mark("hold", 102.0)
    writer.mark("mask", 103.0)
    writer.mark("unmask", 107.5)
    assert TranscriptPosition.of(records).hidden == ((3.0, 7.5),)
    writer.mark("pause", 110.0)
    assert TranscriptPosition.of(records).hidden == ((3.0, 7.5), (10.0, math.inf))


def test_a_stretch_ends_with_the_last_of_those_who_want_it() -> None:
    records: list[Record] = [start_of_transcript(1)]
    writer = TranscriptWriter(UUID, 100.0, lambda at: 100.0 + at, records.append, 2)
    writer.mark("mask", 103.0, leg="a", reason="/x.wav")
    writer.mark("mask", 104.0, leg="a", reason="/y.wav")
    writer.mark("pause", 105.0, leg="a", reason="/x.wav")
    writer.mark("pause", 105.0, leg="b", reason="fsbot=false")
    for end, mark, leg, reason in (
        (106.0, "unmask", "a", "/x.wav"),
        (107.0, "resume", "b", "fsbot=false"),
        (108.0, "resume", "a", "/x.wav"),
    ):
        writer.mark(mark, end, leg=leg, reason=reason)
        assert TranscriptPosition.of(records).hidden == ((3.0, math.inf),)
    (still,) = TranscriptPosition.of(records).hiding
    assert (still.leg_uuid, still.reason) == ("a", "/y.wav")
    writer.mark("unmask", 109.0, leg="a", reason="/y.wav")
    assert TranscriptPosition.of(records).hidden == ((3.0, 9.0),)
    assert TranscriptPosition.of(records).hiding == ()


def test_everything_has_its_final_text() -> None:
    assert position(*FIRST) == StreamPosition(1, 2.688)
    found = TranscriptPosition.of(written(*FIRST))
    assert found.words == {"caller": 2, "callee": 0}
    assert found.languages == {"caller": "fr", "callee": ""}
    assert not found.over


@pytest.mark.parametrize("words", [0, 1, 2])
def test_in_mid_utterance(words: int) -> None:
    again, second = word("Encore", 4.0), word("moi", 4.6)
    told = [committed(2, again), committed(2, second, before=(again,))][:words]
    found = position(*FIRST, SpeechStarted(2, 3.968), *told)
    (open_,) = found.utterances
    assert (found.number, found.closed_until) == (2, 2.688)
    assert (open_.number, open_.speech_start, open_.ended) == (2, 3.968, False)
    for got, expected in zip(open_.spoken, (again, second)[:words], strict=True):
        assert got.text == expected.text
        assert (got.start, got.end) == pytest.approx((expected.start, expected.end), abs=0.002)
    assert found.heard_until == 3.968


def test_the_end_was_told_and_the_final_text_was_not() -> None:
    found = position(*FIRST, SpeechStarted(2, 3.968), UtteranceEnded(2, 5.024, 5.728, 0.9))
    assert found.utterances == (OpenUtterance(2, 3.968, (), 5.024, 5.728),)
    assert found.heard_until == 5.728


def test_an_overlong_utterance_was_cut() -> None:
    """The second one began where the first was cut, before the first had its final text."""
    cut = position(
        SpeechStarted(1, 0.0), UtteranceEnded(1, 20.016, 20.7, 0.9), SpeechStarted(2, 20.016)
    )
    first, second = cut.utterances
    assert (first.last_speech, first.decided_at) == (20.016, 20.016)
    assert (second.speech_start, second.ended) == (20.016, False)
    untold = position(SpeechStarted(1, 0.0), SpeechStarted(2, 20.016))
    assert untold.utterances[0] == OpenUtterance(1, 0.0, (), 20.016, 20.016)


def test_a_transcript_that_went_on_after_a_shutdown_is_on_a_new_tape() -> None:
    from fsbot.transcript.records import EndOfTranscript

    records = written(*FIRST)
    end = EndOfTranscript(
        call_uuid=UUID,
        sequence=len(records) + 1,
        emission_time=1.0,
        emitted_at=1.0,
        reason="shutdown",
        duration=3.0,
        words={"caller": 2, "callee": 0},
    )
    assert TranscriptPosition.of([*records, end]).over
    more = TranscriptPosition.of([*records, end, start_of_transcript(9, recording=2)])
    assert not more.over
    assert [each.recording for each in more.recordings] == [2]
    assert more.positions["caller"] == StreamPosition(number=1)


def test_audio_begins_early_enough() -> None:
    open_ = OpenUtterance(3, 10.0)
    for lead_in in (0.0, 0.5):
        begin = StreamPosition(3, 8.0, (open_,)).begin(lead_in)
        assert 7.0 < begin <= 7.5
        assert begin / 0.032 == pytest.approx(round(begin / 0.032))
    assert StreamPosition(3, 8.0, (dataclasses.replace(open_, speech_start=6.0),)).begin(0.5) <= 5.5
    assert START.begin(0.5) == 0


def test_words_behind_a_cut_are_not_said_again() -> None:
    early, late = word("avant", 19.0), word("après", 20.2)
    told = (SpeechStarted(1, 0.0), committed(1, early, late), UtteranceEnded(1, 20.016, 20.7, 0.9))
    final = UtteranceFinal(1, (early,), 0.0, 20.016, True, "fr")
    for events in ((*told, SpeechStarted(2, 20.016)), (*told, SpeechStarted(2, 20.016), final)):
        second = position(*events).utterances[-1]
        assert [each.text for each in second.inherited] == ["après"]
