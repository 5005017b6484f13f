"""From a model name or a path to openai-whisper's model object."""

from pathlib import Path
from typing import TYPE_CHECKING

from fsbot.errors import UserError
from fsbot.weights.checkpoint import build_whisper
from fsbot.weights.store import find_stored

if TYPE_CHECKING:
    from whisper.model import Whisper


def load_model(name_or_path: str, models_dir: Path | None = None) -> "Whisper":
    """openai-whisper's model: float32, on the CPU, in eval mode, alignment heads set."""
    stored = find_stored(name_or_path, models_dir)
    if stored is None:
        raise UserError(
            f"the model {name_or_path} is not here",
            remedy=f"Fetch it: fsbot models pull {name_or_path}",
        )
    return build_whisper(stored.load())
