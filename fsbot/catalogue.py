"""The settings as data: names, flags, ranges and descriptions, read off the models.

Whatever shows or looks up settings by name uses this list, so that a field added to
`fsbot.settings` appears in `--help`, `fsbot config`, the environment and README at once.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from fsbot.fields import Section
from fsbot.settings import Settings

MASK = "********"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `default` is as declared, before paths are made absolute.

    `allowed`: type and range in words. `secret`: the value is never shown. `switch`: true or
    false, so that its flag takes no value and has a `--no-…` twin.
    """

    section: str
    key: str
    description: str
    allowed: str
    default: object
    secret: bool
    switch: bool

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}"

    @property
    def environment(self) -> str:
        return f"FSBOT_{self.section}_{self.key}".upper()

    @property
    def flag(self) -> str:
        return f"--{self.section}-{self.key}".replace("_", "-")

    def shown(self, value: object) -> str:
        """`value` as a TOML literal, on one line, without control characters, masked if secret."""
        return f'"{MASK}"' if self.secret else toml_literal(value)

    @property
    def shown_default(self) -> str:
        """The default in words; a public one, so the password's is not masked."""
        if isinstance(self.default, SecretStr):
            return self.default.get_secret_value()
        return "empty" if self.default in (None, "", ()) else toml_literal(self.default).strip('"')


@cache
def sections() -> Mapping[str, type[Section]]:
    """The sections of fsbot.toml in their order, by name."""
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


@cache
def all_settings() -> tuple[Setting, ...]:
    """Every setting, in the order of the sections and of the fields in them."""
    return tuple(
        Setting(
            section=section,
            key=key,
            description=str(field.description),
            allowed=_allowed(field),
            default=field.default,
            secret=field.annotation is SecretStr,
            switch=bool in _kinds(field),
        )
        for section, model in sections().items()
        for key, field in model.model_fields.items()
    )


def by_name() -> dict[str, Setting]:
    return {setting.name: setting for setting in all_settings()}


def nearest(word: str, candidates: Iterable[str]) -> str:
    """The candidate that `word` was probably meant to be, or an empty string."""
    found = difflib.get_close_matches(word, list(candidates), n=1)
    return found[0] if found else ""


def nearest_setting(section: str, key: str) -> str:
    """Name of the setting that an unknown `key` in `section` (empty: no section) was meant to be.

    A key that is right but in the wrong section finds its section.
    """
    keys = {setting.key: setting.name for setting in reversed(all_settings())}
    if section in sections():
        own = {s.key: s.name for s in all_settings() if s.section == section}
        near = nearest(key, own)
        return own[near] if near else keys.get(key, "")
    whole = nearest(f"{section}.{key}" if section else key, by_name())
    return whole or keys.get(nearest(key, keys), "")


def toml_literal(value: object) -> str:
    """A value of a setting as TOML; None, which TOML lacks, as an empty string."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case list() | tuple():
            return "[" + ", ".join(toml_literal(item) for item in value) + "]"
        case None:
            return '""'
        case _:
            # A JSON string is a TOML basic string but for DEL, which TOML wants escaped.
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def markdown_table() -> str:
    """All settings as a Markdown table, for README."""
    rows = [
        "| setting | default | allowed | meaning |",
        "|---|---|---|---|",
    ]
    for setting in all_settings():
        default = setting.shown_default
        cells = (
            f"`{setting.name}`",
            default if default == "empty" else f"`{default}`",
            setting.allowed,
            setting.description,
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _kinds(field: FieldInfo) -> list[Any]:
    is_union = get_origin(field.annotation) in (Union, UnionType)
    return list(get_args(field.annotation)) if is_union else [field.annotation]


def _allowed(field: FieldInfo) -> str:
    if isinstance(field.json_schema_extra, dict):
        return str(field.json_schema_extra["allowed"])
    kinds = _kinds(field)
    words = _kind_in_words(kinds[0])
    for limit in field.metadata:
        match limit:
            case Ge(ge=bound):
                words += f" from {bound:g}"
            case Gt(gt=bound):
                words += f" above {bound:g}"
            case Le(le=bound):
                words += f" to {bound:g}"
            case Lt(lt=bound):
                words += f" and below {bound:g}"
            case _:
                pass
    return f"{words}, or empty" if type(None) in kinds else words


def _kind_in_words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        *rest, last = map(str, get_args(kind))
        return f"{', '.join(rest)} or {last}"
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return "a list of " + (_kind_in_words(item) if get_origin(item) is Literal else "text")
    names = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}
    return names.get(kind, "text")
