import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from structlog.testing import capture_logs

from fsbot.errors import UserError
from fsbot.weights.architecture import Dimensions, upper_half
from fsbot.weights.huggingface import read_huggingface

from .writers import LARGE_V3_SHAPED, equal, random_checkpoint, write_huggingface


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
    (tmp_path / "generation_config.json").write_text('{"alignment_heads": [[2]]}')
    with pytest.raises(UserError, match="alignment_heads"):
        read_huggingface(tmp_path, "mine")


TEACHERS = [[7, 0], [10, 17], [12, 18], [13, 12], [16, 1], [17, 14], [19, 11], [21, 4], [24, 1]]
"""Heads of a decoder of 32 layers, which distilled models go on naming."""


@pytest.mark.parametrize(
    ("layers", "heads", "expected"),
    [
        (2, 8, upper_half(replace(LARGE_V3_SHAPED, n_text_layer=2, n_text_head=8))),
        (1, 2, ((0, 0), (0, 1))),
        (16, 8, ((7, 0),)),
        (18, 2, ((7, 0), (16, 1))),
    ],
)
def test_a_distilled_model_goes_without_the_heads_of_its_teacher(
    tmp_path: Path, layers: int, heads: int, expected: tuple[tuple[int, int], ...]
) -> None:
    dims = replace(LARGE_V3_SHAPED, n_text_layer=layers, n_text_head=heads)
    write_huggingface(tmp_path, random_checkpoint(dims))
    (tmp_path / "generation_config.json").write_text(json.dumps({"alignment_heads": TEACHERS}))
    with capture_logs() as log:
        assert read_huggingface(tmp_path, "mine").alignment_heads == expected
    assert [(line["log_level"], line["named"]) for line in log] == [("warning", len(TEACHERS))]


OLDER = replace(LARGE_V3_SHAPED, n_mels=80, n_vocab=51865)
ENGLISH = replace(OLDER, n_vocab=51864)


@pytest.mark.parametrize(
    ("whole", "added", "told"),
    [
        (OLDER, 1, {}),
        (OLDER, 7, {}),
        (OLDER, 1, {"no_timestamps_token_id": 50363}),
        (OLDER, 1, {"lang_to_id": {"<|en|>": 50259, "<|su|>": 50357}}),
        (replace(OLDER, n_mels=128), 1, {"no_timestamps_token_id": 50363}),
        (LARGE_V3_SHAPED, 38, {}),
        (replace(LARGE_V3_SHAPED, n_mels=80), 2, {"no_timestamps_token_id": 50364}),
        (ENGLISH, 1, {"no_timestamps_token_id": 50362}),
    ],
)
@pytest.mark.parametrize("written_out", [False, True])
def test_tokens_behind_whispers_own_are_left_out(
    tmp_path: Path, whole: Dimensions, added: int, told: dict[str, object], written_out: bool
) -> None:
    checkpoint = random_checkpoint(whole)
    write_huggingface(tmp_path, checkpoint)
    embedding = checkpoint.tensors["decoder.token_embedding.weight"]
    longer = torch.cat([embedding, torch.ones(added, embedding.shape[1], dtype=embedding.dtype)])
    edit(tmp_path, {"model.decoder.embed_tokens.weight": longer})
    if written_out:
        edit(tmp_path, {"proj_out.weight": longer.clone()})
    edit_config(tmp_path, vocab_size=whole.n_vocab + added)
    (tmp_path / "generation_config.json").write_text(json.dumps(told))
    with capture_logs() as log:
        read = read_huggingface(tmp_path, "mine")
    assert equal(read, checkpoint)
    assert [line["left_out"] for line in log] == [added]


def test_special_tokens_of_more_than_there_are_are_refused(tmp_path: Path) -> None:
    write_huggingface(tmp_path, random_checkpoint(OLDER))
    (tmp_path / "added_tokens.json").write_text('{"<|notimestamps|>": 50364}')
    with pytest.raises(UserError, match="51865 tokens"):
        read_huggingface(tmp_path, "mine")


def test_fewer_mel_bands_and_languages_than_large_v3_has(tmp_path: Path) -> None:
    """Its name is not enough to have its alignment heads."""
    dims = replace(LARGE_V3_SHAPED, n_mels=80)
    write_huggingface(tmp_path, random_checkpoint(dims))
    (tmp_path / "added_tokens.json").write_text('{"<|notimestamps|>": 50364}')
    read = read_huggingface(tmp_path, "large-v3")
    assert (read.dims, read.alignment_heads) == (dims, upper_half(dims))


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
