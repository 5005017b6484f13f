"""Types of settings: what a text, a number or a list from a file, a flag or the environment has to
be."""

from __future__ import annotations

import os
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from fsbot.languages import known_language


def _one_line(value: str) -> str:
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in value):
        raise ValueError("must be text without line breaks and other control characters")
    return value


def printable_secret(value: SecretStr) -> SecretStr:
    secret = value.get_secret_value()
    if not secret or not secret.isprintable():
        raise ValueError("must be text, not empty, without control characters")
    return value


def absolute(value: object) -> object:
    """`~` expanded, relative paths taken from the working directory; other types untouched."""
    if isinstance(value, str | Path) and str(value):
        return Path(os.path.abspath(os.path.expanduser(_one_line(str(value)))))
    return value


def empty_is_none(value: object) -> object:
    return None if value == "" else value


def comma_list(value: object) -> object:
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def _spoken_languages(values: tuple[str, ...]) -> tuple[str, ...]:
    codes = []
    for value in values:
        try:
            codes.append(known_language(value))
        except ValueError as error:
            raise ValueError(f"has {value!r}, which {error}") from None
    if "auto" in codes:
        raise ValueError("has auto in it, which is no language")
    return tuple(codes)


def whole_number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def lower_level(value: object) -> object:
    # DEBUG and CRITICAL are Python's names, and SimulStreaming's.
    lower = value.lower() if isinstance(value, str) else value
    return "error" if lower == "critical" else lower


def _path_to_text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a path")
    return str(absolute(value))


def model_or_path(value: str) -> str:
    return _path_to_text(value) if "/" in value or value.startswith("~") else value


def directory_on_switch(value: str) -> str:
    # FreeSWITCH cuts the path of uuid_record at a space and puts a relative one under
    # sound_prefix (FACTS.md 3); braces would open the list of recording variables.
    if value and (not value.startswith("/") or set(value) & set(" {}'\"\\,") or "$" in value):
        raise ValueError("must be an absolute path without blanks, quotes, commas or braces")
    return value.rstrip("/") if value != "/" else value


def _days(value: object) -> object:
    """A number of days, also as text; words are left to the type."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, int | float) and not 0 < value <= MOST_DAYS:
        raise ValueError(f"must be a number of days above 0, {MOST_DAYS} at most")
    return value


def _transcripts_kept(value: object) -> object:
    if isinstance(value := _days(value), str) and value != "forever":
        raise ValueError("must be forever, or a number of days above 0")
    return value


def _recordings_kept(value: object) -> object:
    if isinstance(value := _days(value), str) and value not in ("on_close", "forever"):
        raise ValueError("must be on_close, forever, or a number of days above 0")
    return value


def _engine_and_voice(value: str) -> str:
    # FreeSWITCH ends a call whose `speak` lacks one of them.
    if [bool(part.strip()) for part in value.split("|")] != [True, True]:
        raise ValueError("must be an engine and a voice, as in flite|slt")
    return value


MOST_DAYS = 36_500

RecordingsKept = Annotated[
    float | Literal["on_close", "forever"], BeforeValidator(_recordings_kept)
]
TranscriptsKept = Annotated[float | Literal["forever"], BeforeValidator(_transcripts_kept)]
Line = Annotated[str, AfterValidator(_one_line)]
EngineAndVoice = Annotated[Line, AfterValidator(_engine_and_voice)]
Patterns = Annotated[tuple[Line, ...], BeforeValidator(comma_list)]
Languages = Annotated[
    tuple[Line, ...], BeforeValidator(comma_list), AfterValidator(_spoken_languages)
]
Directory = Annotated[Path, BeforeValidator(_path_to_text), BeforeValidator(str)]
OptionalPath = Annotated[Path | None, BeforeValidator(absolute), BeforeValidator(empty_is_none)]


class Section(BaseModel):
    """One table of fsbot.toml."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and bool not in (field.annotation, *get_args(field.annotation)):
            raise ValueError("cannot be true or false")
        return value
