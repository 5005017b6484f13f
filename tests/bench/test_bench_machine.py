"""What a benchmark finds wrong before it plays anything."""

import hashlib
import json
from pathlib import Path

import pytest

from fsbot.bench.machine import describe_machine
from fsbot.errors import UserError
from fsbot.sources import load
from fsbot.weights.architecture import Dimensions


def english_model(folder: Path) -> None:
    folder.mkdir(parents=True)
    content = b"numbers"
    (folder / "model.safetensors").write_bytes(content)
    dims = Dimensions(80, 1500, 512, 8, 6, 51864, 448, 512, 8, 6)
    sidecar = {
        "format": 1,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "dims": {name: getattr(dims, name) for name in dims.__dataclass_fields__},
        "alignment_heads": [[3, 1]],
        "origin": {"source": "a test", "sha256": "", "licence": "MIT"},
    }
    (folder / "model.json").write_text(json.dumps(sidecar))


def test_a_language_that_the_model_does_not_know(tmp_path: Path) -> None:
    english_model(tmp_path / "tiny.en")
    wanted = {"engine.model": "tiny.en", "engine.models_dir": str(tmp_path)}
    with pytest.raises(UserError, match="knows English only"):
        describe_machine(load(wanted | {"engine.language": "fr"}).settings)
    assert describe_machine(load(wanted | {"engine.language": "en"}).settings)["model"] == "tiny.en"
