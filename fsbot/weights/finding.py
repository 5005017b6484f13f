"""Which file a model's name stands for on this machine. Light: imports no torch."""

import os
from pathlib import Path

from fsbot.errors import UserError
from fsbot.weights.manifest import Model, known_models
from fsbot.weights.store import (
    cache_directory,
    find_stored,
    may_look,
    places,
    possible_places,
    stored_folders,
)


def find_file(name: str, models_dir: Path | None = None) -> Path | None:
    """The weights file of a model on this machine: stored, or openai-whisper's own; else None.

    Whether it is sound is not looked at.
    """
    model = known_models().find(name)
    if stored := find_stored(model.name if model else name, models_dir):
        return stored.path
    return next(iter(openai_files(model, models_dir)), None) if model else None


def openai_files(model: Model, models_dir: Path | None = None) -> list[Path]:
    """openai-whisper's .pt of that model in the models directories and in its own cache."""
    folders = [*places(models_dir), cache_directory() / "whisper"]
    # Not Path.is_file, which raises where this user may not look.
    return [folder / model.file for folder in folders if os.path.isfile(folder / model.file)]


def missing(name: str, models_dir: Path | None = None) -> UserError:
    """The error for a model that is known but not here, or not known at all."""
    model = known_models().find(name)
    if model is None:
        return known_models().unknown(name, stored_folders(models_dir))
    looked = ", ".join(
        str(place) if may_look(place) else f"{place}, which this user may not enter"
        for place in possible_places(models_dir)
    )
    return UserError(
        f"the model {model.name} is not on this machine (looked in {looked})",
        remedy=f"Fetch it: fsbot models pull {model.name}",
    )
