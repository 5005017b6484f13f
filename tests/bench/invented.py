"""Records that nobody has said, on a call answered at Unix time ANSWERED."""

from fsbot.bench.playing import PlayedCall, WriteClock
from fsbot.client import Arrival
from fsbot.transcript.records import (
    EndOfUtterance,
    Record,
    SideName,
    StartOfSpeech,
    StartOfTranscript,
    Transcription,
)

ANSWERED = 1000.0


def final(
    side: SideName, utterance: int, start: float, end: float, text: str, *, live: bool = False
) -> Transcription:
    """A final text, or with `live` newly committed words."""
    return Transcription(
        call_uuid="invented",
        sequence=1,
        emission_time=end,
        emitted_at=ANSWERED + end,
        side=side,
        channel_tag=1,
        utterance=utterance,
        is_final=not live,
        speech_final=not live,
        revised=False,
        text=text,
        start=start,
        end=end,
        audio_start=start,
        audio_end=end,
        tentative="",
        language_code="en",
        alternatives=(),
        latency_ms=0.0,
    )


def end_of_utterance(
    side: SideName, utterance: int, end: float, decided: float, emitted: float
) -> EndOfUtterance:
    """The decision at `decided`, told at `emitted`: seconds since the answer."""
    return EndOfUtterance(
        call_uuid="invented",
        sequence=1,
        emission_time=emitted,
        emitted_at=ANSWERED + emitted,
        side=side,
        channel_tag=1,
        utterance=utterance,
        end=end,
        silence=decided - end,
        probability=0.9,
        audio_end=end,
    )


def played(*arrivals: tuple[float, Record]) -> PlayedCall:
    """A call of 60 s whose sound was written from the answer on, and what arrived (seconds since
    the answer) at a client."""
    start = StartOfTranscript(
        call_uuid="invented",
        sequence=1,
        emission_time=0.0,
        emitted_at=ANSWERED,
        channel_call_uuid="invented",
        recording=1,
        path="/invented-1.raw",
        switch_path="/invented-1.raw",
        rate=16000,
        channels=2,
        sides=("caller", "callee"),
        answered_at=ANSWERED,
        codec_rate=8000,
        leg_uuid="u",
        direction="inbound",
        caller="",
        destination="",
        language_code="en",
    )
    told = [Arrival(ANSWERED, start)]
    told += [Arrival(ANSWERED + at, record) for at, record in arrivals]
    clock = WriteClock((ANSWERED, ANSWERED + 60.0), (0, 3000))
    return PlayedCall("invented", tuple(told), clock)


def start_of_speech(side: SideName, start: float, *, confirmed: bool = False) -> StartOfSpeech:
    return StartOfSpeech(
        call_uuid="invented",
        sequence=1,
        emission_time=start,
        emitted_at=ANSWERED + start,
        side=side,
        channel_tag=1,
        utterance=1,
        start=start,
        audio_start=start,
        confirmed=confirmed,
        echo=False,
    )
