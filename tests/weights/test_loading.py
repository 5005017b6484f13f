import pickle
from pathlib import Path

import pytest
import torch
import whisper

from fsbot.errors import UserError
from fsbot.weights import load_model
from fsbot.weights.loading import default_name, load_checkpoint, read_path
from fsbot.weights.manifest import known_models
from fsbot.weights.openai import read_openai
from fsbot.weights.pull import import_model
from fsbot.weights.store import Origin, StoredModel, locked, save, sha256_of

from .writers import (
    LARGE_V3_SHAPED,
    ctranslate2_variables,
    equal,
    random_checkpoint,
    write_ctranslate2,
    write_huggingface,
    write_openai,
)


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("something was unpickled",))


@pytest.mark.parametrize("name", ["large-v3", "large-v3.pt", "large", "turbo.pt"])
def test_a_model_shaped_like_large_v3_by_every_spelling(store: Path, name: str) -> None:
    known = known_models().find(name)
    assert known is not None
    with locked(store):
        save(known.name, random_checkpoint(), Origin("a test", "", "MIT"), store)
    model = load_model(name)
    assert not model.training
    assert model.is_multilingual
    assert model.num_languages == 100
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    mel = torch.randn(2, 128, 2 * LARGE_V3_SHAPED.n_audio_ctx)
    with torch.inference_mode():
        logits = model(mel, torch.tensor([[50258, 50265], [50258, 50259]]))
    assert logits.shape == (2, 2, 51866)
    assert logits.isfinite().all()
    assert model.alignment_heads.to_dense().tolist() == [[False, False], [True, True]]


def test_the_real_base_is_whole_and_thinks(base: StoredModel) -> None:
    """Silence in, a plausible Whisper out: it was trained to answer it with no speech."""
    model = load_model("base")
    reference = whisper.model.Whisper(model.dims)
    reference.set_alignment_heads(whisper._ALIGNMENT_HEADS["base"])
    heads = model.alignment_heads
    assert heads.is_sparse
    assert torch.equal(heads.to_dense(), reference.alignment_heads.to_dense())
    # Stored as float16, hence the tolerance.
    sinusoids = reference.encoder.positional_embedding
    assert torch.allclose(model.encoder.positional_embedding, sinusoids, atol=1e-3)
    mel = whisper.log_mel_spectrogram(torch.zeros(whisper.audio.N_SAMPLES))
    with torch.inference_mode():
        features = model.embed_audio(mel[None])
        logits = model.logits(torch.tensor([[50258, 50265, 50359]]), features)
    assert features.isfinite().all()
    probabilities = logits[0].softmax(-1)
    no_speech = probabilities[0, 50362]
    assert no_speech > 0.5
    # After <|startoftranscript|> comes that or a language, and nothing else.
    assert no_speech + probabilities[0, 50259:50358].sum() > 0.99


def test_base_survives_every_format_bit_for_bit(
    base: StoredModel, store: Path, tmp_path: Path
) -> None:
    original = base.load()
    write_huggingface(tmp_path / "hf", original)
    from_huggingface = import_model(tmp_path / "hf", "", "").load()
    assert equal(from_huggingface, original)  # heads too: the dimensions are those of base
    write_ctranslate2(tmp_path / "ct2", ctranslate2_variables(from_huggingface))
    from_ctranslate2 = import_model(tmp_path / "ct2", "my-base", "").load()
    assert equal(from_ctranslate2, original)
    for folder in (tmp_path / "hf", tmp_path / "ct2", store):
        for path in folder.rglob("model.*"):
            path.unlink()  # pytest keeps its folders, and these are large


@pytest.mark.parametrize("where", ["cache", "models", "store"])
def test_a_pt_of_a_known_name_with_another_sum_is_never_unpickled(
    store: Path, where: str, tmp_path: Path
) -> None:
    folder = {"cache": tmp_path / "cache" / "whisper", "models": Path("models"), "store": store}
    path = folder[where] / "base.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError) as caught:
        load_checkpoint("base")
    assert "base.pt" in caught.value.message
    known = known_models().find("base")
    assert known is not None
    assert f"sha256 {sha256_of(path)}, expected {known.sha256}" in caught.value.message
    with pytest.raises(UserError, match="expected"):
        load_checkpoint(str(path))


def test_even_a_vouched_for_pt_may_hold_nothing_but_tensors(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    torch.save({"dims": Bomb(), "model_state_dict": {}}, path)
    with pytest.raises(UserError, match="not a PyTorch checkpoint"):
        read_openai(path, "", sha256_of(path))


@pytest.mark.parametrize("content", [[], {}, {"dims": {}, "model_state_dict": {}}, {"dims": 1}])
def test_a_pt_that_is_no_whisper_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "mine.pt"
    torch.save(content, path)
    with pytest.raises(UserError, match=r"mine\.pt"):
        read_openai(path, "", sha256_of(path))


def test_a_fine_tuned_pt_needs_its_sum(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    write_openai(path, random_checkpoint())
    with pytest.raises(UserError, match="none of openai-whisper's") as caught:
        load_checkpoint(str(path))
    assert "--sha256" in caught.value.remedy
    with pytest.raises(UserError, match="expected ffff"):
        import_model(path, "", "f" * 64)
    stored = import_model(path, "", sha256_of(path).upper())
    assert stored.name == "mine"
    assert equal(load_checkpoint("mine"), random_checkpoint())


def test_a_path_may_be_a_folder_or_the_weights_in_it(store: Path, tmp_path: Path) -> None:
    write_huggingface(tmp_path / "hf", random_checkpoint())
    write_ctranslate2(tmp_path / "ct2", ctranslate2_variables(random_checkpoint()))
    stored = import_model(tmp_path / "hf", "mine", "")
    for path in (
        tmp_path / "hf",
        tmp_path / "hf" / "model.safetensors",
        tmp_path / "ct2",
        tmp_path / "ct2" / "model.bin",
        stored.folder,
        stored.path,
    ):
        assert equal(load_checkpoint(str(path)), random_checkpoint())
    (tmp_path / "hf").rename("relative")
    assert equal(load_checkpoint("relative"), random_checkpoint())


def test_pytorch_model_bin_is_refused_with_a_remedy(store: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match=r"pytorch_model\.bin") as caught:
        import_model(tmp_path, "mine", "")
    assert "safetensors" in caught.value.remedy


def test_what_is_not_there_says_so(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_checkpoint("./nowhere.pt")
    with pytest.raises(UserError, match="is no model"):
        read_path(tmp_path)
    with pytest.raises(UserError, match="large-v3 is not on this machine") as caught:
        load_checkpoint("large.pt")
    assert "fsbot models pull large-v3" in caught.value.remedy
    with pytest.raises(UserError, match="no model 'smal'") as caught:
        load_checkpoint("smal")
    assert "small" in caught.value.remedy


@pytest.mark.parametrize(
    ("path", "name"),
    [("my model/", "my-model"), ("x/..fine~tuned..", "fine-tuned"), ("é", "")],
)
def test_names_made_from_folders(path: str, name: str) -> None:
    assert default_name(Path(path)) == name


def test_a_folder_that_gives_no_name_needs_one(store: Path, tmp_path: Path) -> None:
    write_huggingface(tmp_path / "é", random_checkpoint())
    with pytest.raises(UserError, match="cannot name a model") as caught:
        import_model(tmp_path / "é", "", "")
    assert "--name" in caught.value.remedy
