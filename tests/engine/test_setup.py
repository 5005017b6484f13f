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
    make_engine(Settings.model_validate({"engine": {"model": str(path), "language": "en"}}))


@pytest.mark.parametrize(
    ("vocabulary", "language", "refused"),
    [
        (51864, "fr", True),
        (51864, "auto", True),
        (51864, "yue", True),
        (51864, "en", False),
        (51865, "yue", True),
        (51865, "auto", False),
        (51865, "de", False),
    ],
)
def test_a_model_that_cannot_write_the_language_is_refused(
    tmp_path: Path, vocabulary: int, language: str, refused: bool
) -> None:
    path = tmp_path / "model"
    dims = Dimensions(80, 1500, 16, 2, 2, vocabulary, 448, 16, 2, 2)
    write_huggingface(path, random_checkpoint(dims))
    settings = Settings.model_validate({"engine": {"model": str(path), "language": language}})
    if not refused:
        engine = make_engine(settings)
        assert engine.known_language(language) == language
        return
    with pytest.raises(UserError) as refusal:
        make_engine(settings)
    assert f"engine.language is {language}" in refusal.value.message
    assert "engine.model" in refusal.value.remedy
    assert "engine.language" in refusal.value.remedy
    english = Settings.model_validate({"engine": {"model": str(path), "language": "en"}})
    with pytest.raises(ValueError, match="the model"):
        make_engine(english).known_language(language)
