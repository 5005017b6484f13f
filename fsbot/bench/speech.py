"""The recorded speech that benchmarks play: calls and readings with known text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from fsbot.errors import UserError

NEARBY = Path(__file__).parents[3] / "shared" / "speech"
"""Where the recorded speech lies beside the project."""

SIDES = ("caller", "callee")

FRAME_SECONDS = 0.02
VOICE_FRAMES = 10
VOICE_DECIBELS = 20.0

EXPECTED = (
    "--speech wants a folder with calls/NAME.flac (left: caller, right: callee), a calls/NAME.json "
    "beside each with lang, duration and turns (side, start, end, speech_start, speech_end in "
    "seconds, text), and perhaps long/NAME.flac with lang, duration and text"
)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said; seconds of the call. start, end: of the clip, which begins and ends with
    silence; speech_start, speech_end: when it could be heard."""

    side: str
    start: float
    end: float
    speech_start: float
    speech_end: float
    text: str


@dataclass(frozen=True, slots=True)
class Reference:
    """One recorded call. seconds: its length."""

    sound: Path
    language: str
    seconds: float
    turns: tuple[Turn, ...]

    @property
    def name(self) -> str:
        return self.sound.stem

    def turns_of(self, side: str) -> list[Turn]:
        """What a side said, in the order of speaking."""
        return [turn for turn in self.turns if turn.side == side]

    def text(self, side: str) -> str:
        """All that a side said."""
        return " ".join(turn.text for turn in self.turns_of(side))


@dataclass(frozen=True, slots=True)
class Reading:
    """Continuous speech of one voice. seconds: its length."""

    sound: Path
    language: str
    seconds: float
    text: str

    @property
    def name(self) -> str:
        return self.sound.stem


def references(folder: Path = NEARBY, pattern: str = "*") -> list[Reference]:
    """The calls whose name matches the shell pattern, by name; none if there are none.

    Raises UserError for a description that cannot be read.
    """
    return [_reference(path) for path in _descriptions(folder / "calls", pattern)]


def readings(folder: Path = NEARBY, pattern: str = "*") -> list[Reading]:
    """The readings whose name matches, by name. Raises UserError as `references` does."""
    found = []
    for path in _descriptions(folder / "long", pattern):
        said = _read(path, ("lang", "duration", "text"))
        found.append(
            Reading(path.with_suffix(".flac"), said["lang"], float(said["duration"]), said["text"])
        )
    return found


def voice_starts(reference: Reference) -> list[float]:
    """Where the voice of each turn begins, clicks and breaths before it left out: the first 20 ms
    within VOICE_DECIBELS of the turn's loudest from which half of the next 0.2 s is so loud.
    Seconds of the call."""
    samples, rate = soundfile.read(reference.sound, dtype="float64", always_2d=True)
    frame = round(rate * FRAME_SECONDS)
    starts = []
    for turn in reference.turns:
        first, last = round(turn.speech_start * rate), round(turn.speech_end * rate)
        voice = samples[first:last, SIDES.index(turn.side)]
        frames = voice[: len(voice) // frame * frame].reshape(-1, frame)
        power = np.square(frames).mean(axis=1)
        loud = power > power.max(initial=0.0) * 10 ** (-VOICE_DECIBELS / 10)
        ahead = (loud[at : at + VOICE_FRAMES].mean() for at in range(len(loud)))
        begins = (at for at, share in enumerate(ahead) if loud[at] and share >= 0.5)
        starts.append(turn.speech_start + next(begins, 0) * FRAME_SECONDS)
    return starts


def speech_folder(given: Path | None) -> Path:
    """The folder to play from. Raises UserError if no recorded calls are in it."""
    folder = given or NEARBY
    if any((folder / "calls").glob("*.json")):
        return folder
    if given is None:
        raise UserError(f"there is no recorded speech beside the project ({folder})", EXPECTED)
    raise UserError(f"--speech: there are no recorded calls in {folder}", EXPECTED)


def _descriptions(folder: Path, pattern: str) -> list[Path]:
    return [path for path in sorted(folder.glob("*.json")) if fnmatch(path.stem, pattern)]


def _reference(path: Path) -> Reference:
    call = _read(path, ("lang", "duration", "turns"))
    try:
        turns = tuple(
            Turn(
                turn["side"],
                float(turn["start"]),
                float(turn["end"]),
                float(turn["speech_start"]),
                float(turn["speech_end"]),
                turn["text"],
            )
            for turn in call["turns"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: a turn is not as it should be: {error}", EXPECTED) from error
    return Reference(path.with_suffix(".flac"), call["lang"], float(call["duration"]), turns)


def _read(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", EXPECTED) from error
    absent = [key for key in keys if not isinstance(content, dict) or key not in content]
    if absent:
        raise UserError(f"{path} lacks {', '.join(absent)}", EXPECTED)
    if not path.with_suffix(".flac").is_file():
        raise UserError(f"there is no {path.with_suffix('.flac')} beside {path.name}", EXPECTED)
    return dict(content)
