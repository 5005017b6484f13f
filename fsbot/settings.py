"""Which settings exist: their types, ranges, defaults and one-line descriptions.

`Settings` is a tree of frozen models, one per section of fsbot.toml. Building one in code reads
neither environment nor file: `fsbot.sources.load` does that. `fsbot.catalogue` lists the same
fields as data: flags, `fsbot config`, error messages and README's table are made from that list.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from fsbot.fields import (
    Directory,
    EngineAndVoice,
    Line,
    OptionalPath,
    Patterns,
    RecordingsKept,
    Section,
    TranscriptsKept,
    comma_list,
    directory_on_switch,
    empty_is_none,
    lower_level,
    printable_secret,
    whole_number,
)
from fsbot.speech_settings import Engine, Vad


class Esl(Section):
    """FreeSWITCH's event socket."""

    host: Line = Field("127.0.0.1", min_length=1, description="host name or address of FreeSWITCH")
    port: int = Field(8021, ge=1, le=65535, description="port of its event socket")
    password: Annotated[SecretStr, AfterValidator(printable_secret)] = Field(
        SecretStr("ClueCon"),
        description="password of the event socket; flags show in the process list, so prefer "
        "password_file or the environment",
    )
    password_file: OptionalPath = Field(
        None, description="file that holds the password, instead of password"
    )
    connect_timeout: float = Field(
        5.0, gt=0, le=120, description="seconds to wait for connection and login"
    )
    request_timeout: float = Field(
        10.0, gt=0, le=300, description="seconds to wait for the reply to a command"
    )
    heartbeat_timeout: float = Field(
        70.0,
        gt=0,
        le=3600,
        description="seconds without HEARTBEAT (FreeSWITCH sends one every 20 s) after which "
        "the link counts as dead",
    )


class Recordings(Section):
    """Where FreeSWITCH writes the calls' audio, and how."""

    directory: Directory = Field(Path("recordings"), description="directory of the .raw files")
    switch_directory: Annotated[Line, AfterValidator(directory_on_switch)] = Field(
        "",
        description="the same directory as FreeSWITCH sees it (other host, container); "
        "empty: the same path",
        json_schema_extra={"allowed": "an absolute path without blanks, or empty"},
    )
    shared_group: Line = Field(
        "", description="group shared with FreeSWITCH's user; empty: the process's own"
    )
    sample_rate: Annotated[Literal[8000, 16000, 48000], BeforeValidator(whole_number)] = Field(
        16000, description="samples per second that FreeSWITCH is asked to write"
    )
    each_leg: bool = Field(
        False, description="record each leg of a bridged call by itself, not the first in stereo"
    )
    loopback: bool = Field(False, description="record loopback/… channels too")
    follow_transfer: bool = Field(
        True,
        description="when a call's leg ends and the one that it talked to lives on, as after a "
        "transfer, record that one, in the same transcript",
    )
    follow_mask: bool = Field(
        True,
        description="mask a call's recording, and write nothing, while any other recording of it "
        "is masked",
    )
    retention: RecordingsKept = Field(
        "on_close",
        description="when recordings are deleted: once their transcript is complete, some days "
        "after it, or never",
        json_schema_extra={"allowed": "on_close, forever, or a number of days above 0"},
    )
    min_free: int = Field(
        1024,
        ge=0,
        le=999_999,
        description="MB free where recordings and transcripts go below which fsbot warns",
    )


class Filter(Section):
    """Which calls are transcribed. Empty lists take every call."""

    contexts: Patterns = Field((), description="dialplan contexts, shell-style patterns")
    destinations: Patterns = Field((), description="called numbers, shell-style patterns")
    directions: Annotated[
        tuple[Literal["inbound", "outbound"], ...], BeforeValidator(comma_list)
    ] = Field((), description="directions of the call as FreeSWITCH sees it")


class Transcripts(Section):
    """Where the journals go."""

    directory: Directory = Field(
        Path("transcripts"), description="directory of the journals, one .jsonl per call"
    )
    retention: TranscriptsKept = Field(
        "forever",
        description="when a journal is deleted, and with it the recordings it names: some days "
        "after it was last written, or never",
        json_schema_extra={"allowed": "forever, or a number of days above 0"},
    )
    redact: Annotated[
        tuple[Literal["card", "email", "phone", "number"], ...], BeforeValidator(comma_list)
    ] = Field((), description="what is taken out of all texts before they are written or sent")


class Serve(Section):
    """The TCP server that speaks SimulStreaming's line protocol (`fsbot serve`)."""

    enabled: bool = Field(False, description="`fsbot run` serves TCP clients beside the calls")
    host: Line = Field("127.0.0.1", min_length=1, description="address or host name to listen on")
    port: int = Field(43001, ge=0, le=65535, description="port to listen on; 0: any free one")
    allow_remote: bool = Field(
        False, description="listen on an address that other machines reach; nothing is encrypted"
    )
    format: Literal["text", "jsonl"] = Field(
        "text", description="lines of `start_ms end_ms text`, or SimulStreaming's JSON lines"
    )
    rate: Annotated[int | None, BeforeValidator(empty_is_none)] = Field(
        None,
        ge=8000,
        le=48000,
        description="samples per second that clients send; empty: 16000, and what sounds like "
        "another rate is refused",
    )
    channels: Annotated[int | None, BeforeValidator(empty_is_none)] = Field(
        None,
        ge=1,
        le=2,
        description="2: interleaved, caller left and callee right, each heard by itself; empty: "
        "1, and what sounds like 2 is refused",
    )
    max_clients: int = Field(32, ge=1, le=10_000, description="clients at a time")
    backlog: float = Field(
        20.0,
        gt=0,
        le=3600,
        description="seconds of sound per client that may wait for the engine; what is more waits "
        "at the client",
    )
    idle_timeout: float = Field(
        300.0, gt=0, le=86_400, description="seconds without sound after which a client is cut off"
    )
    send_timeout: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="seconds after which a client that does not read its lines is cut off",
    )


class Events(Section):
    """What FreeSWITCH and its other clients are told, beside fsbot's own events."""

    compatibility: Annotated[
        tuple[Literal["google_transcribe", "detected_speech"], ...], BeforeValidator(comma_list)
    ] = Field(
        (),
        description="other shapes of the same events: google_transcribe as drachtio's modules fire "
        "them, detected_speech for the input callback of a script on the channel",
    )
    channel_variables: bool = Field(
        True,
        description="set fsbot_transcript_path, fsbot_language and fsbot_words on the channel",
    )


class RobotSection(Section):
    """A robot for the calls that a dialplan hands over (application socket)."""

    file: OptionalPath = Field(
        None, description="Python file with one subclass of fsbot.api.Robot; empty: no robot"
    )
    host: Line = Field("127.0.0.1", min_length=1, description="address or host name to listen on")
    port: int = Field(8084, ge=0, le=65535, description="port to listen on; 0: any free one")
    voice: EngineAndVoice = Field(
        "flite|slt", min_length=1, description="FreeSWITCH's engine and voice for spoken texts"
    )
    max_calls: int = Field(
        100, ge=1, le=10_000, description="calls at a time; more are given back to the dialplan"
    )


class Metrics(Section):
    """Figures for Prometheus, over HTTP."""

    port: int = Field(0, ge=0, le=65535, description="port to serve them on; 0: they are not")
    host: Line = Field("127.0.0.1", min_length=1, description="address or host name to listen on")


class Service(Section):
    """How the process ends."""

    stop_timeout: float = Field(
        20.0,
        ge=2,
        le=3600,
        description="seconds after SIGTERM or SIGINT within which it ends, whatever is left to do",
    )


class Log(Section):
    """What fsbot says on stderr."""

    format: Literal["console", "json"] = Field(
        "console", description="lines for people, or one JSON object per line"
    )
    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower_level)] = (
        Field("info", description="least important lines shown")
    )
    text: Annotated[bool | None, BeforeValidator(empty_is_none)] = Field(
        None,
        description="spoken text and callers' numbers in the log; empty: on for console, off "
        "for json",
    )

    @property
    def shows_text(self) -> bool:
        return self.format == "console" if self.text is None else self.text


class Settings(BaseSettings):
    """Everything that can be set, validated. Building one reads no file and no environment."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        env_prefix="FSBOT_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        enable_decoding=False,
    )

    esl: Esl = Field(default_factory=Esl)
    recordings: Recordings = Field(default_factory=Recordings)
    filter: Filter = Field(default_factory=Filter)
    transcripts: Transcripts = Field(default_factory=Transcripts)
    engine: Engine = Field(default_factory=Engine)
    vad: Vad = Field(default_factory=Vad)
    serve: Serve = Field(default_factory=Serve)
    events: Events = Field(default_factory=Events)
    robot: RobotSection = Field(default_factory=RobotSection)
    metrics: Metrics = Field(default_factory=Metrics)
    service: Service = Field(default_factory=Service)
    log: Log = Field(default_factory=Log)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)
