"""The engine that the settings ask for."""

from pathlib import Path

import pytest

from fsbot.engine.setup import make_engine
from fsbot.errors import UserError
from fsbot.settings import Settings
from fsbot.weights.architecture import Dimensions
from tests.weights.writers import random_checkpoint, write_huggingface


@pytest.mark.parametrize(
    ("decoder_layers", "vocabulary"), [(2, 51864), (1, 51866)], ids=["English only", "turbo"]
)
def test_a_model_that_cannot_translate_is_refused(
    tmp_path: Path, decoder_layers: int, vocabulary: int
) -> None:
    dims = Dimensions(80, 1500, 16, 2, 2, vocabulary, 448, 16, 2, decoder_layers)
    path = tmp_path / "model"
    write_huggingface(path, random_checkpoint(dims))
    settings = Settings.model_validate({"engine": {"model": str(path), "task": "translate"}})
    with pytest.raises(UserError) as refusal:
        make_engine(settings)
    assert "engine.task" in refusal.value.message
    assert "engine.model" in (refusal.value.remedy or "")
    make_engine(Settings.model_validate({"engine": {"model": str(path)}}))
