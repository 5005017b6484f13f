"""On what a benchmark ran: without it no figure means anything."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from fsbot import __version__
from fsbot.languages import wrong_language
from fsbot.settings import Settings
from fsbot.weights.finding import find_file, missing
from fsbot.weights.loading import load_checkpoint
from fsbot.weights.store import find_stored, sha256_of

FLAGS = {
    "avx512": "avx512f",
    "vnni": "avx512_vnni",
    "bf16": "avx512_bf16",
    "amx": "amx_tile",
}
"""What is told of the CPU, and the kernel's name for it."""

PACKAGES = ("torch", "openai-whisper", "numpy", "silero-vad", "gevent", "jiwer")


def describe_machine(settings: Settings) -> dict[str, Any]:
    """CPU, versions, weights. Raises UserError if the weights are not here, or do not know the
    language."""
    model, flags = _cpu()
    weights = weights_file(settings)
    _require_language(settings)
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "flags": {name: flag in flags for name, flag in FLAGS.items()},
        "memory_mb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
        "python": platform.python_version(),
        "fsbot": __version__,
        **{package: importlib.metadata.version(package) for package in PACKAGES},
        "model": settings.engine.model,
        "weights_sha256": sha256_of(weights),
    }


def _require_language(settings: Settings) -> None:
    name, models_dir = settings.engine.model, settings.engine.models_dir
    stored = find_stored(name, models_dir)
    dims = stored.dims if stored is not None else load_checkpoint(name, models_dir).dims
    refusal = wrong_language(name, settings.engine.language, dims.n_vocab)
    if refusal is not None:
        raise refusal


def weights_file(settings: Settings) -> Path:
    """The file that the bot will load. Raises UserError."""
    name = settings.engine.model
    if "/" in name:
        path = Path(name)
        inside = [path / "model.safetensors", path / "model.bin"]
        return next((file for file in inside if file.is_file()), path)
    found = find_file(name, settings.engine.models_dir)
    if found is None:
        raise missing(name, settings.engine.models_dir)
    return found


def _cpu() -> tuple[str, set[str]]:
    lines = dict[str, str]()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        lines.setdefault(key.strip(), value.strip())
    return lines.get("model name", platform.machine()), set(lines.get("flags", "").split())
