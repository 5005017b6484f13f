"""Journals and events held against what they should be, on invented ones."""

from invented import end_of_utterance, final, played

from fsbot.bench.wholeness import Sent, compare_call, flaws_of_events, flaws_of_journal
from fsbot.transcript.records import (
    Alternative,
    EndOfTranscript,
    Record,
    SpokenWord,
    StartOfSpeech,
    Transcription,
)

START = played().records[0]


def begin(utterance: int, start: float) -> StartOfSpeech:
    return StartOfSpeech(
        call_uuid="invented",
        sequence=1,
        emission_time=start,
        emitted_at=start,
        side="caller",
        channel_tag=1,
        utterance=utterance,
        start=start,
        audio_start=start,
        confirmed=False,
        echo=False,
    )


def end() -> EndOfTranscript:
    return EndOfTranscript(
        call_uuid="invented",
        sequence=1,
        emission_time=9.0,
        emitted_at=9.0,
        reason="hangup",
        duration=9.0,
        words={"caller": 1, "callee": 0},
    )


def numbered(*records: Record) -> list[Record]:
    return [
        record.model_copy(update={"sequence": number})
        for number, record in enumerate(records, start=1)
    ]


def utterance(number: int, start: float, stop: float, text: str) -> list[Record]:
    """All records of one utterance."""
    words = text.split()
    length = (stop - start) / max(1, len(words))
    spoken = tuple(
        SpokenWord(
            word=word,
            start_time=start + index * length,
            end_time=start + (index + 1) * length,
            confidence=1.0,
        )
        for index, word in enumerate(words)
    )
    whole = (Alternative(transcript=text, confidence=1.0, words=spoken),)
    said = final("caller", number, start, stop, text).model_copy(update={"alternatives": whole})
    live = final("caller", number, start, stop, text, live=True)
    return [begin(number, start), live, end_of_utterance("caller", number, stop, stop, stop), said]


def journal(*utterances: list[Record]) -> list[Record]:
    return numbered(START, *(record for each in utterances for record in each), end())


WHOLE = journal(utterance(1, 1.0, 2.0, "bonjour madame"), utterance(2, 4.0, 6.0, "au revoir"))


def test_a_whole_journal_has_no_flaw() -> None:
    assert flaws_of_journal(WHOLE) == []


def test_what_is_wrong_with_a_journal_is_found() -> None:
    assert flaws_of_journal(WHOLE[:-1])
    assert flaws_of_journal([*WHOLE, numbered(*WHOLE, end())[-1]])
    assert flaws_of_journal([record for record in WHOLE if record.sequence != 3])
    without = [record for record in WHOLE if not _is_final(record, 2)]
    assert flaws_of_journal(numbered(*without)) == ["caller: utterances final: {1: 1}"]
    again = [*WHOLE[:-1], next(record for record in WHOLE if _is_final(record, 1)), WHOLE[-1]]
    assert flaws_of_journal(numbered(*again)) == ["caller: utterances final: {1: 2, 2: 1}"]


def test_events_come_at_least_once_and_say_when_they_are_repetitions() -> None:
    sent = [Sent(record, resent=False) for record in WHOLE]
    assert flaws_of_events(sent, WHOLE) == []
    assert flaws_of_events([*sent, Sent(WHOLE[2], resent=True)], WHOLE) == []
    assert flaws_of_events([*sent, Sent(WHOLE[2], resent=False)], WHOLE) == [
        "3 came again and does not say so"
    ]
    assert flaws_of_events(sent[:-1], WHOLE) == [f"never came: [{len(WHOLE)}]"]
    other = WHOLE[2].model_copy(update={"emitted_at": 0.0})
    assert flaws_of_events([*sent, Sent(other, resent=True)], WHOLE)


def test_a_word_that_no_final_text_covers_is_lost() -> None:
    same = compare_call("call", WHOLE, WHOLE)
    assert (same.words, same.lost, same.unsaid, same.twice) == (4, [], [], [])
    assert (same.sides, same.same_sides) == (2, 2)
    half = journal(utterance(1, 1.0, 2.0, "bonjour madame"))
    assert compare_call("call", half, WHOLE).lost == [
        "call/caller 4.5 s: au",
        "call/caller 5.5 s: revoir",
    ]
    # Heard otherwise is not lost.
    other = journal(utterance(1, 1.0, 2.0, "bonjour"), utterance(2, 4.0, 6.0, "oh rêve"))
    assert compare_call("call", other, WHOLE).lost == []
    assert compare_call("call", other, WHOLE).same_sides == 1


def test_what_was_never_live_and_what_is_there_twice() -> None:
    silent = numbered(*(record for record in WHOLE if not _is_live(record, 2)))
    assert len(compare_call("call", silent, WHOLE).unsaid) == 2
    again = journal(
        utterance(1, 1.0, 2.0, "bonjour madame"),
        utterance(2, 4.0, 6.0, "au revoir"),
        utterance(3, 5.0, 6.0, "revoir"),
    )
    assert compare_call("call", again, WHOLE).twice == ["call/caller 5.0 to 6.0 s"]


def _is_final(record: Record, number: int) -> bool:
    return isinstance(record, Transcription) and record.is_final and record.utterance == number


def _is_live(record: Record, number: int) -> bool:
    return isinstance(record, Transcription) and not record.is_final and record.utterance == number
