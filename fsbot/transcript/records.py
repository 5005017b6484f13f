"""The records: what journals hold, events carry and `--format jsonl` prints.

One transcript is one call. Its records are numbered from 1 without holes, over both sides and all
kinds. `fsbot schema` prints these classes as JSON Schema.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    model_validator,
)


def _whole(text: str) -> str:
    """Without lone surrogates, which stand for bytes that were no UTF-8: JSON can't hold them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


Text = Annotated[str, AfterValidator(_whole)]
"""Text from strangers: callers, dialplans, FreeSWITCH's replies."""

Seconds = Annotated[float, Field(description="seconds since the answer of the recorded leg")]
SideName = Literal["caller", "callee"]

EndReason = Literal["hangup", "stopped", "refused", "lost", "shutdown", "failed", "recovered"]

MarkName = Literal[
    "hold",
    "unhold",
    "mask",
    "unmask",
    "pause",
    "resume",
    "mute",
    "unmute",
    "joined",
    "parted",
    "transfer",
]

AudioSeconds = Annotated[
    float,
    Field(
        ge=0,
        description="second of the audio itself: of the call's recordings behind one another, in "
        "which holes (hold, pause) take no time",
    ),
]


class SpokenWord(BaseModel):
    """One word of an alternative."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    word: str
    start_time: Seconds
    end_time: Seconds
    confidence: float = Field(ge=0, le=1, description="mean probability of its tokens")


class Alternative(BaseModel):
    """The whole utterance so far, committed and tentative, as Google's interim results are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    transcript: str
    confidence: float = Field(ge=0, le=1, description="mean probability of the words")
    words: tuple[SpokenWord, ...]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    call_uuid: Text = Field(description="the recorded leg")
    sequence: int = Field(ge=1, description="position in the call's transcript, without holes")
    emission_time: Seconds
    emitted_at: float = Field(description="Unix seconds")


class _OfSide(_Record):
    side: SideName
    channel_tag: Literal[1, 2] = Field(description="1: what the leg says; 2: what it hears")
    utterance: int = Field(ge=1, description="number of the utterance, per call and side")


class StartOfTranscript(_Record):
    """A recording is about to be asked for: everything needed to read it without FreeSWITCH.

    The first record of a transcript; again with the next `recording` when a call goes on in
    another file.
    """

    kind: Literal["start_of_transcript"] = "start_of_transcript"
    channel_call_uuid: Text
    recording: int = Field(ge=1, description="number of the recording within the call")
    path: str = Field(description="the .raw file as the bot sees it")
    switch_path: str = Field(description="the same file as FreeSWITCH sees it")
    rate: int = Field(description="samples per second of each channel")
    channels: Literal[1, 2]
    sides: tuple[SideName, ...] = Field(
        description="whose voice each channel holds; one twice if the leg's codec is stereo"
    )
    answered_at: float = Field(description="Unix seconds; zero of all times")
    codec_rate: int = Field(description="Channel-Read-Codec-Rate when asked, 0 if unknown")
    leg_uuid: Text = Field(
        description="the leg that is recorded: after a transfer perhaps the one left behind"
    )
    direction: Text
    caller: Text
    destination: Text
    language_code: str


class StartOfSpeech(_OfSide):
    """A side began to speak. Told at once, and once more when it is certain."""

    kind: Literal["start_of_speech"] = "start_of_speech"
    start: Seconds
    audio_start: AudioSeconds
    confirmed: bool = Field(
        description="it has gone on for 0.4 s, and is no echo: the same utterance once more"
    )
    echo: bool = Field(description="it sounds like the other side's voice coming back")


class EndOfUtterance(_OfSide):
    """A side has been silent long enough: the utterance is over, its final text follows."""

    kind: Literal["end_of_utterance"] = "end_of_utterance"
    end: Seconds
    silence: float = Field(description="seconds of silence after which this was decided")
    probability: float = Field(
        ge=0, le=1, description="that the speaker has finished, by the silence and the text"
    )
    audio_end: AudioSeconds


class Transcription(_OfSide):
    """Newly committed words, or with `is_final` the whole final text of an utterance."""

    kind: Literal["transcription"] = "transcription"
    is_final: bool
    speech_final: bool = Field(
        description="the last live words of the utterance, or its final text"
    )
    revised: bool = Field(description="the final text differs from the live text")
    text: str = Field(description="newly committed words, or the whole final text")
    start: Seconds
    end: Seconds
    audio_start: AudioSeconds
    audio_end: AudioSeconds
    tentative: str = Field(description="the guess beyond `text`; may change")
    language_code: str
    alternatives: tuple[Alternative, ...]
    latency_ms: float = Field(
        description="emission minus the time at which the end of the last word was in the file"
    )


class EndOfTranscript(_Record):
    """Nothing follows: everything recorded has been transcribed."""

    kind: Literal["end_of_transcript"] = "end_of_transcript"
    reason: EndReason = Field(
        description="why: the leg hung up; the recording was stopped; FreeSWITCH refused it; the "
        "leg vanished while the link was down; the bot was shut down; the bot could not go on; the "
        "call was over when the bot, which had been killed, came back"
    )
    duration: float = Field(description="seconds of audio per side")
    words: dict[SideName, int] = Field(description="words of the final texts")


class Mark(_Record):
    """Something happened to the call that its words do not tell."""

    kind: Literal["mark"] = "mark"
    mark: MarkName = Field(
        description="a leg of the call holds; the sound is masked, or transcription is paused, "
        "and what is said is neither heard nor written; nobody else hears the side, nor is it "
        "written; the words of the sides are in another transcript meanwhile; the call has another "
        "party"
    )
    start: Seconds
    party: Text = Field(
        description="transfer: number or name of the new party, or empty; joined: call_uuid of the "
        "transcript that has the words"
    )
    leg_uuid: Text = Field(
        description="the leg that holds, masks or declines; empty if it is no single one"
    )
    sides: tuple[SideName, ...] = Field(
        description="the sides that it is about; empty: both, or the call as a whole"
    )
    reason: Text = Field(
        description="mask, pause and their ends: the recording of that leg that is masked, "
        "`fsbot::control` if a client asked for it, `fsbot=false` if the leg declines; both sides "
        "stay silent until everyone of these has ended"
    )

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_version(cls, values: Any) -> Any:
        """Journals of earlier versions lack these."""
        if isinstance(values, dict) and "reason" not in values:
            return {"leg_uuid": "", "sides": (), "reason": ""} | values
        return values


class Failure(_Record):
    """Something went wrong with this call; `end_of_transcript` says whether it went on."""

    kind: Literal["error"] = "error"
    error: str = Field(description="a fixed name, e.g. recording_refused")
    message: Text
    over: bool = Field(description="the trouble of that name is over")


Record = (
    StartOfTranscript
    | StartOfSpeech
    | Transcription
    | EndOfUtterance
    | EndOfTranscript
    | Mark
    | Failure
)
"""A record of any kind; `kind` tells which."""

_ADAPTER: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])


def parse(line: str | bytes) -> Record:
    """A record from its JSON. Raises pydantic.ValidationError."""
    return _ADAPTER.validate_json(line)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a record of any kind."""
    return _ADAPTER.json_schema()
