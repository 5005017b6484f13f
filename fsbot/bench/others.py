"""Results of other systems, or of this one at another time, that figures are held against."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsbot.errors import UserError


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word and when it came out, computing included: seconds of its track."""

    text: str
    emission_time: float


@dataclass(frozen=True, slots=True)
class OtherTrack:
    """What another system made of one side of a call, or of a reading."""

    language: str
    seconds: float
    cpu_seconds: float
    text: str
    words: tuple[TimedWord, ...]


@dataclass(frozen=True, slots=True)
class OtherSystem:
    """A system that does on a file what fsbot does live. calls: by `NAME/side`; readings: by name;
    encoder_pass: CPU seconds of one pass where it ran."""

    name: str
    calls: Mapping[str, OtherTrack]
    readings: Mapping[str, OtherTrack]
    encoder_pass: float

    def cost(self, tracks: Mapping[str, OtherTrack]) -> float | None:
        """CPU seconds per second of these tracks."""
        seconds = sum(track.seconds for track in tracks.values())
        return sum(track.cpu_seconds for track in tracks.values()) / seconds if seconds else None


def read_other_system(path: Path) -> OtherSystem:
    """What `python -m fsbot.bench.simulstreaming` has written. Raises UserError."""
    content = _read(path, "--reference-results")
    try:
        calls: dict[str, OtherTrack] = {}
        readings: dict[str, OtherTrack] = {}
        for track in content["tracks"]:
            made = OtherTrack(
                track["lang"],
                float(track["seconds"]),
                float(track["cpu_seconds"]),
                track["text"],
                tuple(TimedWord(w["text"], float(w["emission_time"])) for w in track["words"]),
            )
            (calls if track["set"] == "calls" else readings)[track["track"]] = made
        return OtherSystem(
            content.get("system", "SimulStreaming"),
            calls,
            readings,
            float(content["encoder_pass_cpu_seconds"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"--reference-results: {path} is not as it should be: {type(error).__name__} {error}",
            "Give the file that `python -m fsbot.bench.simulstreaming` wrote.",
        ) from error


def read_texts(path: Path) -> dict[str, dict[str, str]]:
    """Of an earlier report of `fsbot bench`: the final and live text by track. Raises UserError."""
    content = _read(path, "--compare")
    for case in content.get("cases", []):
        if case["case"] == "accuracy":
            return dict(case["details"]["texts"])
    raise UserError(
        f"--compare: {path} holds no accuracy of fsbot bench",
        "Give a file that `fsbot bench accuracy --json FILE` wrote.",
    )


def _read(path: Path, flag: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{flag}: {path} cannot be read: {error}") from error
    return content if isinstance(content, dict) else {}
