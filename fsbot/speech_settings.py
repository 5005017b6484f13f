"""Settings of what is heard and read: the sections `engine` and `vad`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from fsbot.fields import Languages, Line, OptionalPath, Section, empty_is_none, model_or_path
from fsbot.languages import known_language
from fsbot.pace import PRESETS, Pace


class Engine(Section):
    """Speech to text."""

    model: Annotated[Line, AfterValidator(model_or_path)] = Field(
        "base", min_length=1, description="Whisper model: a name of `fsbot models list` or a path"
    )
    models_dir: OptionalPath = Field(
        None, description="directory of the weights; empty: where `fsbot models` puts them"
    )
    language: Annotated[Line, AfterValidator(known_language)] = Field(
        "fr",
        description="language spoken; auto finds it out per side",
        json_schema_extra={"allowed": "a code or name of Whisper's languages (fr, en, …), or auto"},
    )
    auto_languages: Languages = Field(
        ("fr", "en", "es", "de", "it"),
        description="languages that auto chooses from; empty: all that Whisper knows",
        json_schema_extra={"allowed": "a list of codes or names of Whisper's languages"},
    )
    preset: Literal["fast", "balanced", "accurate"] = Field(
        "balanced",
        description="sets chunk, frame_threshold, beams, vad.min_silence and vad.max_silence "
        "together",
    )
    chunk: Annotated[float | None, BeforeValidator(empty_is_none)] = Field(
        None, ge=0.05, le=10, description="seconds of new audio per update; empty: from preset"
    )
    frame_threshold: Annotated[int | None, BeforeValidator(empty_is_none)] = Field(
        None,
        ge=1,
        le=500,
        description="frames of 20 ms at the end of the audio whose words wait; empty: from preset",
    )
    beams: Annotated[int | None, BeforeValidator(empty_is_none)] = Field(
        None,
        ge=1,
        le=10,
        description="hypotheses kept while decoding, 1 is greedy; empty: from preset",
    )
    threads: int = Field(1, ge=1, le=64, description="CPU threads of one inference")
    workers: Annotated[int | None, BeforeValidator(empty_is_none)] = Field(
        None,
        ge=1,
        le=64,
        description="inferences at a time, each with its own threads; empty: one per CPU core, "
        "one on a GPU",
    )
    precision: Literal["auto", "float32", "int8", "float16", "bfloat16"] = Field(
        "auto",
        description="number format of the model; auto: int8 on a CPU that is fast at it, "
        "float16 on a GPU",
    )
    task: Literal["transcribe", "translate"] = Field(
        "transcribe", description="write what is said, or translate it to English"
    )
    static_prompt: Line = Field(
        "", description="names and terms that calls are about, shown to the model at all times"
    )
    init_prompt: Line = Field(
        "", description="text shown to the model before the first utterance, as if it had been said"
    )
    max_context_tokens: int = Field(
        0, ge=0, le=200, description="tokens of earlier utterances shown to the model"
    )
    min_audio: float = Field(
        0.0, ge=0, le=10, description="seconds of an utterance that its first update waits for"
    )
    lag_warning: float = Field(
        10.0,
        gt=0,
        le=3600,
        description="seconds that a call may be behind before the error `lagging` is told",
    )
    backlog: Literal["oldest", "newest"] = Field(
        "oldest", description="what is read first of what is late"
    )
    trace: OptionalPath = Field(
        None,
        description="file for one JSON line per engine update, for benchmarks; empty: none",
    )
    logdir: OptionalPath = Field(
        None,
        description="directory for the sound and text of all that the model reads, for debugging; "
        "empty: none",
    )

    @property
    def pace(self) -> Pace:
        """The preset's pace, with chunk, frame_threshold and beams as set themselves."""
        preset = PRESETS[self.preset]
        return Pace(
            chunk=preset.chunk if self.chunk is None else self.chunk,
            frame_threshold=preset.frame_threshold
            if self.frame_threshold is None
            else self.frame_threshold,
            beams=preset.beams if self.beams is None else self.beams,
            min_silence=preset.min_silence,
            max_silence=preset.max_silence,
        )


class Vad(Section):
    """Speech or silence (Silero VAD)."""

    threshold: float = Field(
        0.3, gt=0, lt=1, description="probability from which 32 ms of sound are speech"
    )
    min_silence: Annotated[float | None, BeforeValidator(empty_is_none)] = Field(
        None,
        ge=0.05,
        le=10,
        description="seconds of silence that end an utterance whose text sounds finished; empty: "
        "from preset",
    )
    max_silence: Annotated[float | None, BeforeValidator(empty_is_none)] = Field(
        None,
        ge=0.05,
        le=10,
        description="seconds of silence that end any utterance; not above min_silence: whatever "
        "its text; empty: from preset",
    )
    max_utterance: float = Field(
        24.0,
        ge=5,
        le=28,
        description="seconds after which an utterance is closed although speech goes on",
    )
    lead_in: float = Field(
        0.5, ge=0, le=2, description="seconds before the first sound of speech that are decoded too"
    )

    def silences(self, pace: Pace) -> tuple[float, float]:
        """min_silence and max_silence in force: the pace's where they are not set, and never the
        former longer than the latter."""
        shortest = pace.min_silence if self.min_silence is None else self.min_silence
        longest = pace.max_silence if self.max_silence is None else self.max_silence
        if self.min_silence is None:
            shortest = min(shortest, longest)
        return shortest, max(shortest, longest)
