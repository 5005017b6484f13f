"""Read openai-whisper's own checkpoints (.pt): a pickle, so only if its sha256 is the right one."""

import hashlib
from pathlib import Path

import torch

from fsbot.errors import UserError
from fsbot.weights.architecture import heads_for
from fsbot.weights.checkpoint import Checkpoint
from fsbot.weights.vocabulary import own_dimensions, own_tokens


def read_openai(path: Path, name: str, sha256: str) -> Checkpoint:
    """The checkpoint in `path`. `name` only chooses alignment heads if it is a known one.

    Raises UserError if the file has another sha256 (it is not parsed then) or is no checkpoint.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha256:
                raise UserError(
                    f"{path} ({path.stat().st_size} bytes) has sha256 {found}, expected {sha256}",
                    remedy=f"Delete it and fetch the model again: fsbot models pull {name}",
                )
            file.seek(0)  # the same open file: nobody can exchange it in between
            content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except UserError:
        raise
    except Exception as error:  # torch.load documents no errors
        raise UserError(f"{path} is not a PyTorch checkpoint: {type(error).__name__}") from None
    if not isinstance(content, dict) or not isinstance(content.get("model_state_dict"), dict):
        raise UserError(f"{path} is not openai-whisper's: it has no dims and model_state_dict")
    try:
        dims = own_dimensions(content.get("dims"))
        tensors = own_tokens(content["model_state_dict"], content["dims"]["n_vocab"], dims)
        return Checkpoint(dims, tensors, heads_for(name, dims))
    except UserError as error:
        raise UserError(f"{path}: {error.message}", remedy=error.remedy) from None
