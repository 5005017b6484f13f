"""Settings under which the bot is measured: those in force, and variations of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fsbot.catalogue import Setting, all_settings, by_name, nearest
from fsbot.errors import UserError
from fsbot.pace import PRESETS
from fsbot.settings import Settings
from fsbot.sources import Configuration, load

MEASURED_SECTIONS = ("engine", "vad")
OWN = frozenset({"engine.trace"})
"""Settings that the benchmark itself needs."""

PRESET_POINTS = tuple(f"preset={name}" for name in PRESETS)


@dataclass(frozen=True, slots=True)
class Point:
    """One choice of settings. flags: for `fsbot run` and `fsbot transcribe`."""

    name: str
    settings: Settings
    flags: tuple[str, ...]

    @property
    def values(self) -> dict[str, Any]:
        """What is in force of [engine] and [vad], the preset's share resolved."""
        return {
            setting.name: _plain(self._in_force(setting))
            for setting in all_settings()
            if setting.section in MEASURED_SECTIONS and setting.name not in OWN
        }

    @property
    def summary(self) -> str:
        """The values that decide how soon text comes, in a line."""
        names = ("engine.chunk", "engine.frame_threshold", "engine.beams", "vad.min_silence")
        return ", ".join(f"{name.split('.')[1]} {self.values[name]}" for name in names)

    def _in_force(self, setting: Setting) -> object:
        value = getattr(getattr(self.settings, setting.section), setting.key)
        return getattr(self.settings.engine.pace, setting.key, None) if value is None else value


def point_in_force(configuration: Configuration) -> Point:
    """The settings as given."""
    return _point(configuration.settings.engine.preset, _given(configuration))


def points(texts: Sequence[str], configuration: Configuration) -> list[Point]:
    """Variations of the settings given: `preset=fast,vad.min_silence=0.4`. Raises UserError."""
    given = _given(configuration)
    return [_point(text.removeprefix("preset="), {**given, **_parsed(text)}) for text in texts]


def _given(configuration: Configuration) -> dict[str, object]:
    """The settings of the measured sections that somebody has set, by name."""
    return {
        name: getattr(getattr(configuration.settings, section), key)
        for name, origin in configuration.origins.items()
        for section, key in [name.split(".")]
        if section in MEASURED_SECTIONS
        and name not in OWN
        and origin.kind not in ("default", "preset")
    }


def _parsed(text: str) -> dict[str, object]:
    values: dict[str, object] = {}
    for assignment in text.split(","):
        key, equals, value = assignment.partition("=")
        name = key.strip() if "." in key else f"engine.{key.strip()}"
        known = [n for n in by_name() if n.split(".")[0] in MEASURED_SECTIONS and n not in OWN]
        if name not in known or not equals:
            near = nearest(name, known)
            hint = f": did you mean {near}?" if near else ""
            raise UserError(
                f"--point: {assignment!r} sets no setting of [engine] or [vad]{hint}",
                "Write it as --point preset=fast,vad.min_silence=0.4",
            )
        values[name] = value.strip()
    return values


def _point(name: str, values: Mapping[str, object]) -> Point:
    return Point(name, load(dict(values)).settings, _flags(values))


def _flags(values: Mapping[str, object]) -> tuple[str, ...]:
    flags: list[str] = []
    for name, value in values.items():
        setting = by_name()[name]
        if setting.switch:
            wanted = value is True or str(value).lower() == "true"
            flags.append(setting.flag if wanted else setting.flag.replace("--", "--no-", 1))
        else:
            flags.append(f"{setting.flag}={_text(value)}")
    return tuple(flags)


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | str) else _text(value)
