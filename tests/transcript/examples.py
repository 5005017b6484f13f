"""One record of each kind, and words to make more of."""

from fsbot.engine.events import Word
from fsbot.transcript.records import (
    Alternative,
    EndOfTranscript,
    EndOfUtterance,
    Failure,
    Mark,
    Record,
    SpokenWord,
    StartOfSpeech,
    StartOfTranscript,
    Transcription,
)

UUID = "1ad22dfd-de6d-4de5-8f94-483111e7e880"


def start_of_transcript(sequence: int = 1, **changes: object) -> StartOfTranscript:
    fields: dict[str, object] = {
        "call_uuid": UUID,
        "sequence": sequence,
        "emission_time": 0.01,
        "emitted_at": 1_795_400_825.5,
        "channel_call_uuid": UUID,
        "recording": 1,
        "path": "/var/lib/fsbot/a-1.raw",
        "switch_path": "/recordings/a-1.raw",
        "rate": 16000,
        "channels": 2,
        "sides": ("caller", "callee"),
        "answered_at": 1_795_400_825.49,
        "codec_rate": 8000,
        "leg_uuid": UUID,
        "direction": "inbound",
        "caller": "0639980001",
        "destination": "9196",
        "language_code": "fr",
    }
    return StartOfTranscript(**{**fields, **changes})  # type: ignore[arg-type]


def one_of_each() -> list[Record]:
    said = SpokenWord(word="l'été", start_time=0.5, end_time=0.9, confidence=0.75)
    side = {"side": "caller", "channel_tag": 1, "utterance": 1, "call_uuid": UUID}
    at = {"emission_time": 1.0, "emitted_at": 1_795_400_826.5}
    return [
        start_of_transcript(1),
        StartOfSpeech(  # type: ignore[arg-type]
            **side, **at, sequence=2, start=0.5, audio_start=0.49, confirmed=False, echo=False
        ),
        Transcription(  # type: ignore[arg-type]
            **side,
            **at,
            sequence=3,
            is_final=True,
            speech_final=True,
            revised=False,
            text="l'été",
            start=0.5,
            end=0.9,
            audio_start=0.49,
            audio_end=0.89,
            tentative="",
            language_code="fr",
            alternatives=(Alternative(transcript="l'été", confidence=0.75, words=(said,)),),
            latency_ms=480.5,
        ),
        EndOfUtterance(  # type: ignore[arg-type]
            **side, **at, sequence=4, end=0.9, silence=0.512, probability=0.93, audio_end=0.89
        ),
        Failure(call_uuid=UUID, **at, sequence=5, error="no_audio", message="« rien »", over=False),
        Mark(
            call_uuid=UUID,
            **at,
            sequence=6,
            mark="transfer",
            start=4.5,
            party="0612345678",
            leg_uuid="",
            sides=("callee",),
        ),
        EndOfTranscript(
            call_uuid=UUID,
            **at,
            sequence=7,
            reason="hangup",
            duration=6.9,
            words={"caller": 1, "callee": 0},
        ),
    ]


def word(text: str, start: float, end: float, probability: float = 0.5) -> Word:
    return Word(text, start, end, probability)
