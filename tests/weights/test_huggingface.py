import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fsbot.errors import UserError
from fsbot.weights.huggingface import read_huggingface

from .writers import equal, random_checkpoint, write_huggingface


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shards", [1, 3])
def test_tensors_come_back_bit_for_bit(tmp_path: Path, dtype: torch.dtype, shards: int) -> None:
    checkpoint = random_checkpoint(dtype=dtype)
    write_huggingface(tmp_path, checkpoint, shards)
    assert equal(read_huggingface(tmp_path, "mine"), checkpoint)


def edit(folder: Path, changes: dict[str, torch.Tensor | None]) -> None:
    path = folder / "model.safetensors"
    tensors: dict[str, torch.Tensor | None] = {**load_file(path), **changes}
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_written_out_output_projection_must_be_the_token_embedding(tmp_path: Path) -> None:
    checkpoint = random_checkpoint()
    write_huggingface(tmp_path, checkpoint)
    embedding = checkpoint.tensors["decoder.token_embedding.weight"]
    edit(tmp_path, {"proj_out.weight": embedding.clone()})
    assert equal(read_huggingface(tmp_path, "mine"), checkpoint)
    edit(tmp_path, {"proj_out.weight": embedding * 2})
    with pytest.raises(UserError, match="output projection"):
        read_huggingface(tmp_path, "mine")


def test_alignment_heads_come_from_the_generation_config(tmp_path: Path) -> None:
    write_huggingface(tmp_path, random_checkpoint())
    edit_config(tmp_path, alignment_heads=[[0, 0]])
    assert read_huggingface(tmp_path, "mine").alignment_heads == ((0, 0),)
    (tmp_path / "generation_config.json").write_text('{"alignment_heads": [[1, 1]]}')
    assert read_huggingface(tmp_path, "mine").alignment_heads == ((1, 1),)
    (tmp_path / "generation_config.json").write_text('{"alignment_heads": [[2, 1]]}')
    with pytest.raises(UserError, match="alignment_heads"):
        read_huggingface(tmp_path, "mine")


@pytest.mark.parametrize(
    ("name", "tensor", "complaint"),
    [
        ("model.encoder.layers.1.fc1.bias", None, r"lacks .*encoder\.blocks\.1\.mlp\.0\.bias"),
        ("model.encoder.layers.1.lora_A.weight", torch.zeros(2), "unknown .*lora_A"),
        ("model.encoder.layers.1.fc1.bias", torch.zeros(31), r"shape \(31,\), expected \(32,\)"),
        (
            "model.encoder.layers.1.fc1.bias",
            torch.zeros(32, dtype=torch.int8),
            "int8, not a float",
        ),
        ("encoder.layers.1.fc1.bias", torch.zeros(32), "occurs twice"),
    ],
)
def test_what_is_wrong_with_a_tensor_is_said(
    tmp_path: Path, name: str, tensor: torch.Tensor | None, complaint: str
) -> None:
    write_huggingface(tmp_path, random_checkpoint())
    edit(tmp_path, {name: tensor})
    with pytest.raises(UserError, match=complaint):
        read_huggingface(tmp_path, "mine")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model_type": "wav2vec2"}, "model_type"),
        ({"vocab_size": 51870}, "51870 tokens"),
        ({"encoder_layers": 3}, "lacks"),
        ({"decoder_layers": 10**9}, "implausible"),
        ({"d_model": None}, "n_audio_state is None"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    write_huggingface(tmp_path, random_checkpoint())
    edit_config(tmp_path, **changes)
    with pytest.raises(UserError, match=complaint):
        read_huggingface(tmp_path, "mine")


@pytest.mark.parametrize("config", ["", "[]", "{", "[" * 100_000])
def test_a_damaged_configuration_is_refused(tmp_path: Path, config: str) -> None:
    write_huggingface(tmp_path, random_checkpoint())
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(UserError, match=r"config\.json"):
        read_huggingface(tmp_path, "mine")


def test_the_index_may_not_name_files_elsewhere(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "model"
    write_huggingface(outside, random_checkpoint())
    write_huggingface(folder, random_checkpoint(), shards=2)
    index = {"weight_map": {"model.decoder.layer_norm.bias": "../outside/model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="no file beside it"):
        read_huggingface(folder, "mine")


def test_a_shard_cut_short_or_missing_is_refused(tmp_path: Path) -> None:
    write_huggingface(tmp_path, random_checkpoint(), shards=2)
    shard = tmp_path / "model-00002-of-00002.safetensors"
    whole = shard.read_bytes()
    for content in (whole[:-1], whole[:5], b"", b"\xff" * 64):
        shard.write_bytes(content)
        with pytest.raises(UserError, match="00002-of-00002"):
            read_huggingface(tmp_path, "mine")
    shard.unlink()
    with pytest.raises(UserError, match="00002-of-00002"):
        read_huggingface(tmp_path, "mine")
