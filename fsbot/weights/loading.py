"""From a model's name or path to its tensors, through whichever reader its files need."""

import os
import re
from pathlib import Path

from fsbot.errors import UserError
from fsbot.weights.checkpoint import Checkpoint
from fsbot.weights.ctranslate2 import read_ctranslate2
from fsbot.weights.finding import find_file, missing
from fsbot.weights.huggingface import INDEX, WHOLE, read_huggingface
from fsbot.weights.manifest import known_models
from fsbot.weights.openai import read_openai
from fsbot.weights.store import SIDECAR, read_stored, sha256_of


def load_checkpoint(name_or_path: str, models_dir: Path | None = None) -> Checkpoint:
    """See fsbot.weights.load_model."""
    path = Path(name_or_path).expanduser()
    if "/" in name_or_path or (path.suffix and os.path.isfile(path)):
        return read_path(path)
    if file := find_file(name_or_path, models_dir):
        return read_path(file)
    if os.path.isdir(path):
        return read_path(path)
    raise missing(name_or_path, models_dir)


def read_path(path: Path, name: str = "", sha256: str = "") -> Checkpoint:
    """The model at `path`, a .pt file or a folder (or a weights file in it).

    `sha256`: what a .pt file must have if it is none of openai-whisper's. `name`: what a folder
    is going to be called; a known one chooses its alignment heads.

    Raises UserError if there is none, or none that can be read safely.
    """
    if path.suffix == ".pt" and path.is_file():
        return _read_pt(path, sha256)
    folder = path.parent if path.is_file() else path
    if (folder / SIDECAR).is_file():
        return read_stored(folder).load()
    if (folder / WHOLE).is_file() or (folder / INDEX).is_file():
        return read_huggingface(folder, name)
    if (folder / "model.bin").is_file():
        return read_ctranslate2(folder, name)
    if any(folder.glob("pytorch_model*.bin")):
        raise UserError(
            f"{folder} holds its weights as pytorch_model.bin, a pickle that could run anything",
            remedy="Convert it to safetensors where you trust it (transformers: "
            "save_pretrained(…, safe_serialization=True)) and give that folder.",
        )
    if not path.exists():
        raise UserError(
            f"{path}: no such file or folder",
            remedy="Give a model's name without a slash, or the path of a model.",
        )
    raise UserError(
        f"{path} is no model",
        remedy=f"Give openai-whisper's .pt, or a folder with {WHOLE} (Hugging Face) or "
        "model.bin (CTranslate2).",
    )


def _read_pt(path: Path, sha256: str) -> Checkpoint:
    found = sha256_of(path)
    official = known_models().with_sha256(found)
    if official is None and not sha256:
        raise UserError(
            f"{path} ({path.stat().st_size} bytes) has sha256 {found}, "
            f"{_expected(path)}: it is damaged, or a fine-tuned model",
            remedy="If it is damaged, delete it and run fsbot models pull. If it is fine-tuned "
            "and its publisher gives this very sha256: "
            f"fsbot models import {path} --sha256 …",
        )
    return read_openai(path, official.name if official else "", sha256 or found)


def _expected(path: Path) -> str:
    named = known_models().find(path.name)
    return f"expected {named.sha256}" if named else "which is none of openai-whisper's"


def default_name(path: Path) -> str:
    """A name for the model at `path`: that of its folder or file, as far as it can be one."""
    resolved = path.expanduser().resolve()
    name = resolved.stem if resolved.is_file() else resolved.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:100]
