from collections.abc import Callable
from typing import Any

import pytest
from examples import UUID, word

from fsbot.engine.events import (
    SpeechCertain,
    SpeechStarted,
    StreamEnded,
    UtteranceEnded,
    UtteranceFinal,
    WordsCommitted,
)
from fsbot.transcript.records import (
    EndOfUtterance,
    Failure,
    Record,
    StartOfSpeech,
    Transcription,
)
from fsbot.transcript.redaction import Redaction
from fsbot.transcript.writer import Channel, TranscriptWriter

ANSWERED = 1000.0
CALLER, CALLEE = Channel("caller", 1), Channel("callee", 2)


class Desk:
    """A writer whose recording began 2 s after the answer, and what it has written."""

    def __init__(
        self, wall: Callable[[float], float] = lambda seconds: seconds, **options: Any
    ) -> None:
        self.records: list[Record] = []
        self.now = ANSWERED + 10.0
        self.writer = TranscriptWriter(
            UUID,
            ANSWERED,
            wall=lambda seconds: ANSWERED + 2.0 + wall(seconds),
            put=self.records.append,
            now=lambda: self.now,
            **options,
        )

    @property
    def last(self) -> Record:
        return self.records[-1]


def transcription(desk: Desk) -> Transcription:
    record = desk.last
    assert isinstance(record, Transcription)
    return record


def test_one_sequence_over_sides_and_kinds() -> None:
    desk = Desk(first_sequence=4)
    desk.writer.write_event(CALLER, SpeechStarted(1, 0.5))
    desk.writer.write_event(CALLEE, SpeechStarted(1, 0.7))
    desk.writer.write(Failure, error="no_audio", message="", over=False)
    desk.writer.write_event(CALLER, StreamEnded(3.0))
    assert [record.sequence for record in desk.records] == [4, 5, 6]
    assert {record.call_uuid for record in desk.records} == {UUID}


def test_times_count_from_the_answer() -> None:
    desk = Desk()
    desk.writer.write_event(CALLEE, SpeechStarted(3, 0.5))
    started = desk.last
    assert isinstance(started, StartOfSpeech)
    assert (started.side, started.channel_tag, started.utterance) == ("callee", 2, 3)
    assert started.start == 2.5
    assert started.emission_time == 10.0
    assert started.emitted_at == 1010.0
    desk.writer.write_event(CALLEE, UtteranceEnded(3, 4.0, 4.512, 0.98765))
    ended = desk.last
    assert isinstance(ended, EndOfUtterance)
    assert (ended.end, ended.silence, ended.probability) == (6.0, 0.512, 0.988)


def test_the_beginning_of_speech_is_told_at_once_and_again_when_it_is_certain() -> None:
    desk = Desk()
    desk.writer.write_event(CALLER, SpeechStarted(1, 0.5, echo=True))
    desk.writer.write_event(CALLER, SpeechCertain(1, 0.5))
    first, second = desk.records
    assert isinstance(first, StartOfSpeech)
    assert isinstance(second, StartOfSpeech)
    assert (first.confirmed, first.echo) == (False, True)
    assert (second.confirmed, second.echo) == (True, False)
    assert (first.utterance, first.start) == (second.utterance, second.start)


def test_live_words() -> None:
    first, second = word("l'été", 0.5, 0.9, 0.8), word("dernier,", 0.9, 1.4, 0.6)
    guess = word("nous", 1.4, 1.6, 0.1)
    desk = Desk()
    desk.writer.write_event(
        CALLER, WordsCommitted(1, (second,), (first, second), (guess,), 2.0, False, "fr")
    )
    record = transcription(desk)
    assert (record.text, record.tentative) == ("dernier,", "nous")
    assert (record.start, record.end) == (2.9, 3.4)
    assert (record.is_final, record.speech_final, record.revised) == (False, False, False)
    assert record.latency_ms == pytest.approx(6600.0)
    (alternative,) = record.alternatives
    assert alternative.transcript == "l'été dernier, nous"
    assert alternative.confidence == pytest.approx(0.5)
    assert [(w.word, w.start_time, w.end_time, w.confidence) for w in alternative.words] == [
        ("l'été", 2.5, 2.9, 0.8),
        ("dernier,", 2.9, 3.4, 0.6),
        ("nous", 3.4, 3.6, 0.1),
    ]


def test_a_guess_only_and_nothing_at_all() -> None:
    desk = Desk()
    guess = word("nous", 1.4, 1.6)
    desk.writer.write_event(CALLER, WordsCommitted(1, (), (), (guess,), 2.0, False, "fr"))
    record = transcription(desk)
    assert (record.text, record.tentative, record.start, record.end) == ("", "nous", 3.4, 3.6)
    desk.writer.write_event(CALLER, WordsCommitted(1, (), (), (), 2.0, False, "fr"))
    record = transcription(desk)
    assert (record.text, record.tentative, record.start, record.end) == ("", "", 4.0, 4.0)
    assert record.alternatives[0].confidence == 0.0


def test_the_final_text_and_the_count_of_its_words() -> None:
    desk = Desk()
    words = (word("Bonjour.", 0.5, 0.9), word("Oui ?", 1.0, 1.2))
    desk.writer.write_event(CALLEE, UtteranceFinal(1, words, 0.5, 1.2, True, "fr"))
    record = transcription(desk)
    assert (record.text, record.tentative) == ("Bonjour. Oui ?", "")
    assert (record.is_final, record.speech_final, record.revised) == (True, True, True)
    desk.writer.write_event(CALLEE, UtteranceFinal(2, (), 3.0, 3.4, False, "fr"))
    assert transcription(desk).text == ""
    assert (transcription(desk).start, transcription(desk).end) == (5.0, 5.4)
    assert desk.writer.words == {"caller": 0, "callee": 2}


def test_what_is_taken_out_is_nowhere_in_the_record() -> None:
    desk = Desk(redaction=Redaction(["card"]))
    texts = ["carte", "4970", "1000", "0000", "0006."]
    said = [word(text, n, n + 0.5) for n, text in enumerate(texts)]
    desk.writer.write_event(
        CALLER,
        WordsCommitted(1, (said[1],), tuple(said[:2]), tuple(said[2:]), 5.0, False, "fr"),
    )
    live = transcription(desk)
    assert (live.text, live.tentative) == ("[number]", "[number] [number] [number]")
    assert live.alternatives[0].transcript == "carte [number] [number] [number] [number]"
    assert [word.start_time for word in live.alternatives[0].words] == [2.0, 3.0, 4.0, 5.0, 6.0]
    desk.writer.write_event(CALLER, UtteranceFinal(1, tuple(said), 0.0, 5.0, False, "fr"))
    final = transcription(desk)
    assert (final.text, final.revised) == ("carte [card].", True)
    assert final.alternatives[0].transcript == "carte [card]."
    card = final.alternatives[0].words[1]
    assert (card.word, card.start_time, card.end_time) == ("[card].", 3.0, 6.5)
    for record in desk.records:
        assert not any(digits in record.model_dump_json() for digits in ("4970", "1000", "0006"))


def test_languages_without_blanks() -> None:
    desk = Desk()
    words = (word("今日", 0.5, 0.9), word("は", 0.9, 1.0))
    desk.writer.write_event(CALLER, UtteranceFinal(1, words, 0.5, 1.0, False, "ja"))
    assert transcription(desk).text == "今日は"


@pytest.mark.parametrize(
    ("start", "end", "written"),
    [
        pytest.param(4.95, 5.4, (16.95, 17.4), id="noticed just before the hole, spoken behind it"),
        pytest.param(4.95, 5.0, (6.95, 7.0), id="so short that it was over by then"),
        pytest.param(4.8, 5.4, (6.8, 17.4), id="spoken on both sides"),
    ],
)
def test_a_word_at_a_hole(start: float, end: float, written: tuple[float, float]) -> None:
    """Ten seconds are missing behind the fifth."""
    desk = Desk(wall=lambda seconds: seconds + 10.0 if seconds > 5.0 else seconds)
    said = word("oui", start, end)
    desk.writer.write_event(CALLER, UtteranceFinal(1, (said,), start, end, False, "fr"))
    record = transcription(desk)
    assert (record.start, record.end) == written
    (spoken,) = record.alternatives[0].words
    assert (spoken.start_time, spoken.end_time) == written


def test_speech_noticed_just_before_a_hole_began_behind_it() -> None:
    desk = Desk(wall=lambda seconds: seconds + 10.0 if seconds > 5.0 else seconds)
    desk.writer.write_event(CALLER, SpeechStarted(1, 4.95))
    started = desk.last
    assert isinstance(started, StartOfSpeech)
    assert started.start == 16.95


def test_an_event_that_makes_no_record_leaves_no_hole() -> None:
    desk = Desk()
    impossible = word("ah", 0.5, 0.9, probability=float("nan"))
    with pytest.raises(ValueError, match="confidence"):
        desk.writer.write_event(CALLER, UtteranceFinal(1, (impossible,), 0.5, 0.9, False, "fr"))
    desk.writer.write_event(CALLER, SpeechStarted(2, 1.0))
    assert [record.sequence for record in desk.records] == [1]
