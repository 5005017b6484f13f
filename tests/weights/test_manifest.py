from pathlib import Path

import pytest
import whisper

from fsbot.weights.manifest import known_models

ROOT = Path(__file__).parents[2]


def test_the_packaged_manifest_is_the_one_in_models() -> None:
    packaged = ROOT / "fsbot" / "weights" / "manifest.toml"
    assert packaged.resolve() == (ROOT / "models" / "manifest.toml").resolve()


@pytest.mark.parametrize("name", whisper.available_models())
@pytest.mark.parametrize("suffix", ["", ".pt"])
def test_every_model_of_openai_whisper_is_known_with_its_url_and_sum(
    name: str, suffix: str
) -> None:
    model = known_models().find(name + suffix)
    assert model is not None
    assert model.url == whisper._MODELS[name]
    assert model.sha256 == model.url.split("/")[-2]
    assert model.file == model.url.split("/")[-1]


def test_members_of_an_upload_make_up_the_whole_file() -> None:
    uploads = [upload for model in known_models().models for upload in model.uploads]
    assert len(uploads) == 3
    for upload in uploads:
        assert sum(wheel.member_bytes for wheel in upload.wheels) == upload.bytes
        for wheel in upload.wheels:
            assert wheel.file.endswith(".whl"), "pip runs the setup.py of anything else"


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    error = known_models().unknown("bese", ["my-french"])
    assert "'bese'" in error.message
    assert "base" in error.remedy
    assert "my-french" in known_models().unknown("my-frensh", ["my-french"]).remedy
