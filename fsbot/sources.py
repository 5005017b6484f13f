"""Where the settings come from: defaults, fsbot.toml, environment, flags, in rising precedence."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from fsbot.catalogue import all_settings, by_name, nearest, nearest_setting, sections
from fsbot.errors import UserError
from fsbot.fields import absolute
from fsbot.settings import Settings

FILE_NAME = "fsbot.toml"
FILE_VARIABLE = "FSBOT_CONFIG"
# Read by fsbot.weights, for `fsbot models` too, which takes no settings.
CACHE_VARIABLE = "FSBOT_MODELS_DIR"

Kind = Literal["default", "preset", "file", "environment", "flag"]
RISING: tuple[Kind, ...] = ("default", "preset", "file", "environment", "flag")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: `name` is the preset, `path:line`, the variable or the flag."""

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


@dataclass(frozen=True, slots=True)
class Configuration:
    """Validated settings, each one's origin by its name (`esl.host`), and warnings to be logged."""

    settings: Settings
    origins: Mapping[str, Origin]
    warnings: tuple[str, ...] = ()


def load(flags: Mapping[str, object] | None = None, file: Path | None = None) -> Configuration:
    """Read, merge and validate all sources.

    `flags`: values by name of setting, as given on the command line. `file`: the `--config` file;
    without it FSBOT_CONFIG, without that fsbot.toml of the working directory, if there is one.
    Raises UserError, with one line per problem.
    """
    values: dict[str, object] = {}
    origins = {setting.name: Origin("default") for setting in all_settings()}
    warnings = []

    def take(given: Mapping[str, object], given_origins: Mapping[str, Origin]) -> None:
        values.update(given)
        origins.update(given_origins)

    path = _file(file)
    if path is not None:
        given, places = _read_file(path)
        take(given, places)
        if "esl.password" in given and _others_can_read(path):
            warnings.append(_readable(path, "holds esl.password"))
    take(*_read_environment())
    flag_values = flags or {}
    known = by_name()
    take(flag_values, {name: Origin("flag", known[name].flag) for name in flag_values})

    secret_path = _password_file(values, origins)
    if secret_path is not None:
        values["esl.password"] = _read_password(secret_path, origins["esl.password_file"])
        origins["esl.password"] = origins["esl.password_file"]
        if _others_can_read(secret_path):
            warnings.append(_readable(secret_path, "is esl.password_file"))

    settings = _validated(values, origins)
    pace = {"engine.chunk", "engine.frame_threshold", "engine.beams"}
    for name in pace:
        if getattr(settings.engine, known[name].key) is None:
            origins[name] = Origin("preset", settings.engine.preset)
    return Configuration(settings, origins, tuple(warnings))


def _file(explicit: Path | None) -> Path | None:
    if explicit is not None:
        return explicit
    named = os.environ.get(FILE_VARIABLE, "")
    if named:
        return Path(named).expanduser()
    here = Path(FILE_NAME)
    # Not Path.exists, which raises in a working directory that this user may not enter.
    return here if os.path.exists(here) else None


def _read_file(path: Path) -> tuple[dict[str, object], dict[str, Origin]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")  # a BOM, as Windows' editors write it, is fine
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(
            f"the settings file {path} cannot be read: {why}",
            f"name an existing file with --config or {FILE_VARIABLE}, or none",
        ) from error
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(
            f"the settings file {path} is not valid TOML: {error}",
            "text wants quotes; `fsbot config --format toml` prints a complete valid file",
        ) from error

    lines = _lines_of_keys(text)
    values, origins, problems = {}, {}, []
    for section, key, value in _entries(tables):
        name = ".".join(filter(None, (section, key)))
        place = f"{path}:{lines[name]}" if name in lines else str(path)
        if name in by_name():
            values[name] = value
            origins[name] = Origin("file", place)
        elif not key:
            problems.append(f"{section} is a section: write [{section}] ({place})")
        else:
            near = nearest_setting(section, key)
            problems.append(f"unknown setting {name} ({place})" + _did_you_mean(near))
    _refuse(problems)
    return values, origins


def _entries(tables: Mapping[str, Any]) -> Iterator[tuple[str, str, object]]:
    """(section, key, value); no section: a key at the top; no key: a section that is no table."""
    for section, content in tables.items():
        if isinstance(content, dict) and (content or section in sections()):
            for key, value in content.items():
                yield section, key, value
        elif section in sections():
            yield section, "", content
        else:
            yield "", section, content


def _lines_of_keys(text: str) -> dict[str, int]:
    """Line of each key by its dotted name. tomllib keeps no positions, so quoted keys and the
    insides of multi-line values are not understood: good enough to point at a mistake."""
    section = ""
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            section = header[1]
        elif key := re.match(r"\s*([\w.-]+)\s*=", line):
            found.setdefault(f"{section}.{key[1]}" if section else key[1], number)
    return found


def _read_environment() -> tuple[dict[str, object], dict[str, Origin]]:
    variables = {setting.environment: setting.name for setting in all_settings()}
    given = {name.upper(): name for name in os.environ if name.upper().startswith("FSBOT_")}
    for not_a_setting in (FILE_VARIABLE, CACHE_VARIABLE):
        given.pop(not_a_setting, None)
    _refuse(
        f"unknown environment variable {name}" + _did_you_mean(nearest(upper, variables))
        for upper, name in given.items()
        if upper not in variables
    )
    nested = EnvSettingsSource(Settings)()
    values = {
        f"{section}.{key}": value
        for section, content in nested.items()
        for key, value in content.items()
    }
    origins = {variables[upper]: Origin("environment", name) for upper, name in given.items()}
    return values, origins


def _password_file(values: Mapping[str, object], origins: Mapping[str, Origin]) -> Path | None:
    """The file to take the password from: not if a source of higher precedence gives a password."""
    try:
        path = absolute(values.get("esl.password_file"))
    except ValueError:
        return None  # validation will name the problem
    if not isinstance(path, Path):
        return None
    password, password_file = origins["esl.password"], origins["esl.password_file"]
    if RISING.index(password.kind) > RISING.index(password_file.kind):
        return None
    if password.kind == password_file.kind:
        raise UserError(
            f"esl.password ({password}) and esl.password_file ({password_file}) are both set",
            "keep one of them",
        )
    return path


def _read_password(path: Path, origin: Origin) -> str:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(
            f"the file of esl.password_file ({origin}), {path}, cannot be read: {why}",
            "esl.password_file names a file that holds the event socket's password and nothing "
            "else, readable by the user that runs fsbot",
        ) from error


def _others_can_read(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IROTH)


def _readable(path: Path, role: str) -> str:
    return f"{path} {role} and every user of this machine may read it: chmod o-r it"


def _validated(values: Mapping[str, object], origins: Mapping[str, Origin]) -> Settings:
    nested: dict[str, dict[str, object]] = {}
    for name, value in values.items():
        section, key = name.split(".")
        nested.setdefault(section, {})[key] = value
    try:
        return Settings(**nested)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = []
        for details in error.errors(include_url=False):
            setting = by_name()[f"{details['loc'][0]}.{details['loc'][1]}"]
            value = setting.shown(values.get(setting.name, setting.default))
            shown = value if len(value) <= 60 else f"{value[:57]}…"
            reason = details.get("ctx", {}).get("error") or f"must be {setting.allowed}"
            problems.append(f"{setting.name} = {shown} ({origins[setting.name]}): {reason}")
        # Two wrong items of one list are one problem.
        _refuse(dict.fromkeys(problems))
        raise


def _did_you_mean(near: str) -> str:
    return f": did you mean {near}?" if near else ""


def _refuse(problems: Iterator[str] | list[str] | dict[str, None]) -> None:
    lines = list(problems)
    if lines:
        head = "" if len(lines) == 1 else f"{len(lines)} settings are wrong\n  "
        raise UserError(
            head + "\n  ".join(lines), "`fsbot config --help` lists all settings and their ranges"
        )
