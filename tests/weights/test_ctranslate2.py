import json
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from fsbot.errors import UserError
from fsbot.weights.checkpoint import Checkpoint
from fsbot.weights.ctranslate2 import read_ctranslate2

from .writers import (
    LARGE_V3_SHAPED,
    ctranslate2_variables,
    equal,
    quantise,
    random_checkpoint,
    write_ctranslate2,
)

HEAD = struct.pack("<IH12sI", 6, 12, b"WhisperSpec\0", 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_floats_come_back_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    checkpoint = random_checkpoint(dtype=dtype)
    write_ctranslate2(tmp_path, ctranslate2_variables(checkpoint))
    assert equal(read_ctranslate2(tmp_path, "mine"), checkpoint)


@pytest.mark.parametrize(("dtype", "steps"), [(torch.int8, 127), (torch.int16, 1024)])
def test_integers_are_scaled_back(tmp_path: Path, dtype: torch.dtype, steps: int) -> None:
    checkpoint = random_checkpoint(dtype=torch.float32)
    write_ctranslate2(tmp_path, quantise(ctranslate2_variables(checkpoint), dtype))
    read = read_ctranslate2(tmp_path, "mine")
    for name, expected in checkpoint.tensors.items():
        by_rows = dtype == torch.int8 and expected.dim() > 1
        largest = expected.flatten(1).abs().amax(1) if by_rows else expected.abs().max()
        # Projections share a scale with those that they are stacked with: 4.5 sigma at most each.
        bound = 0.51 * torch.clamp(largest, min=0 if by_rows else 6.0) / steps
        error = (read.tensors[name] - expected).abs()
        assert (error.flatten(1).amax(1) if by_rows else error).le(bound).all(), name


def test_config_json_names_the_alignment_heads(tmp_path: Path) -> None:
    write_ctranslate2(tmp_path, ctranslate2_variables(random_checkpoint()))
    (tmp_path / "config.json").write_text(json.dumps({"alignment_heads": [[0, 1], [1, 0]]}))
    assert read_ctranslate2(tmp_path, "mine").alignment_heads == ((0, 1), (1, 0))


def test_heads_and_tokens_that_are_not_whispers_are_left_out(tmp_path: Path) -> None:
    dims = replace(LARGE_V3_SHAPED, n_mels=80, n_vocab=51865)
    checkpoint = random_checkpoint(dims, torch.float32)
    embedding = checkpoint.tensors["decoder.token_embedding.weight"]
    longer = {"decoder.token_embedding.weight": torch.cat([embedding, embedding[:7]])}
    extended = SimpleNamespace(dims=dims, tensors=checkpoint.tensors | longer)
    write_ctranslate2(tmp_path, ctranslate2_variables(cast(Checkpoint, extended)))
    config = {"alignment_heads": [[7, 0], [1, 0]], "lang_ids": [50259, 50357]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    read = read_ctranslate2(tmp_path, "mine")
    assert read.alignment_heads == ((1, 0),)
    assert equal(replace(read, alignment_heads=checkpoint.alignment_heads), checkpoint)


def test_a_separate_output_projection_is_refused(tmp_path: Path) -> None:
    variables = ctranslate2_variables(random_checkpoint())
    variables["decoder/projection/weight"] = variables["decoder/embeddings/weight"] * 2
    write_ctranslate2(tmp_path, variables, aliases=False)
    with pytest.raises(UserError, match="output projection"):
        read_ctranslate2(tmp_path, "mine")


@pytest.mark.parametrize("missing", ["decoder/layer_1/ffn/linear_0/bias", "encoder/num_heads"])
def test_a_missing_variable_is_named(tmp_path: Path, missing: str) -> None:
    variables = ctranslate2_variables(random_checkpoint())
    del variables[missing]
    write_ctranslate2(tmp_path, variables)
    with pytest.raises(UserError, match=missing):
        read_ctranslate2(tmp_path, "mine")


def test_a_variable_of_the_wrong_shape_is_named(tmp_path: Path) -> None:
    variables = ctranslate2_variables(random_checkpoint())
    variables["encoder/layer_0/self_attention/linear_0/weight"] = torch.zeros(25, 8)
    write_ctranslate2(tmp_path, variables)
    with pytest.raises(UserError, match=r"encoder/layer_0/self_attention/linear_0/weight"):
        read_ctranslate2(tmp_path, "mine")


@pytest.mark.parametrize(
    "scale", [torch.ones(7), torch.ones(0), None], ids=["seven", "none", "absent"]
)
def test_scales_that_do_not_fit_are_refused(tmp_path: Path, scale: torch.Tensor | None) -> None:
    name = "encoder/layer_0/self_attention/linear_1/weight"
    variables = quantise(ctranslate2_variables(random_checkpoint()), torch.int8)
    del variables[f"{name}_scale"]
    if scale is not None:
        variables[f"{name}_scale"] = scale
    write_ctranslate2(tmp_path, variables)
    with pytest.raises(UserError, match=name):
        read_ctranslate2(tmp_path, "mine")


def test_another_version_or_model_is_refused(tmp_path: Path) -> None:
    write_ctranslate2(tmp_path, {}, version=7)
    with pytest.raises(UserError, match="version 7"):
        read_ctranslate2(tmp_path, "mine")
    write_ctranslate2(tmp_path, {}, spec="TransformerSpec")
    with pytest.raises(UserError, match="TransformerSpec"):
        read_ctranslate2(tmp_path, "mine")


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = write_ctranslate2(tmp_path, ctranslate2_variables(random_checkpoint()))
    whole = path.read_bytes()
    ends = [*range(300), *range(300, len(whole), len(whole) // 40), len(whole) - 1]
    for end in ends:
        path.write_bytes(whole[:end])
        with pytest.raises(UserError, match=r"model\.bin"):
            read_ctranslate2(tmp_path, "mine")


def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = write_ctranslate2(tmp_path, ctranslate2_variables(random_checkpoint()))
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(UserError, match="1 bytes too many"):
        read_ctranslate2(tmp_path, "mine")


def hostile(*, rank: int = 0, shape: tuple[int, ...] = (), code: int = 0, size: int = 4) -> bytes:
    head = struct.pack("<IH2sB", 1, 2, b"a\0", rank or len(shape))
    return HEAD + head + struct.pack(f"<{len(shape)}IBI", *shape, code, size) + bytes(64)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(HEAD + struct.pack("<I", 2**32 - 1) + bytes(4096), id="variables"),
        pytest.param(hostile(size=2**32 - 1), id="bytes"),
        pytest.param(hostile(shape=(2**32 - 1, 2**32 - 1), size=4), id="dimensions"),
        pytest.param(hostile(shape=(2**32 - 1,), code=1, size=2**32 - 1), id="consistent"),
        pytest.param(hostile(shape=(0,), size=0), id="empty"),
        pytest.param(hostile(rank=255), id="rank"),
        pytest.param(hostile(code=9), id="type"),
        pytest.param(HEAD + struct.pack("<II", 0, 2**32 - 1) + bytes(64), id="aliases"),
        pytest.param(struct.pack("<IH", 6, 2**16 - 1) + b"WhisperSpec", id="string"),
        pytest.param(bytes(4096), id="zeros"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_hostile_sizes_are_refused_without_allocating(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"model\.bin"):
            read_ctranslate2(tmp_path, "mine")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_flood_of_variables_of_other_names_is_refused(tmp_path: Path) -> None:
    variables = ctranslate2_variables(random_checkpoint())
    for layer in range(2, LARGE_V3_SHAPED.n_text_layer + 100):
        variables[f"decoder/layer_{layer}/x"] = torch.zeros(1)
    write_ctranslate2(tmp_path, variables)
    with pytest.raises(UserError, match="implausible"):
        read_ctranslate2(tmp_path, "mine")
