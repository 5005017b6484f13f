"""Whisper weights: found, fetched, proven whole, converted and loaded."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whisper.model import Whisper


def load_model(name_or_path: str, models_dir: Path | None = None) -> "Whisper":
    """openai-whisper's model: float32, on the CPU, in eval mode, its alignment heads set.

    `name_or_path`: a model's name (`base`, `large-v3.pt`, an imported one's), one of
    openai-whisper's own .pt files, or the folder (or a file in it) of a stored, Hugging Face or
    CTranslate2 model. `models_dir`: None for $FSBOT_MODELS_DIR or the user's cache. Nothing is
    downloaded.

    Raises UserError if it is unknown, not on this machine, damaged or no Whisper model.
    """
    # torch takes seconds to import; the command line must not wait for it.
    from fsbot.weights.checkpoint import build_whisper
    from fsbot.weights.loading import load_checkpoint

    return build_whisper(load_checkpoint(name_or_path, models_dir))


__all__ = ["load_model"]
