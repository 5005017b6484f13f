import base64
import dataclasses
import gzip

import numpy as np
import pytest
import whisper
from whisper.model import ModelDimensions, Whisper

from fsbot.errors import UserError
from fsbot.weights.architecture import (
    Dimensions,
    checked_heads,
    heads_for,
    tensor_shapes,
    upper_half,
)

from .writers import LARGE_V3_SHAPED

BASE = Dimensions(80, 1500, 512, 8, 6, 51865, 448, 512, 8, 6)
SIZES = {  # width, heads, encoder layers, decoder layers
    "tiny": (384, 6, 4, 4),
    "base": (512, 8, 6, 6),
    "small": (768, 12, 12, 12),
    "medium": (1024, 16, 24, 24),
    "large": (1280, 20, 32, 32),
    "turbo": (1280, 20, 32, 4),
}


def dimensions_of(name: str) -> Dimensions:
    width, heads, encoder, decoder = SIZES[
        "turbo" if "turbo" in name else name.split(".")[0].split("-")[0]
    ]
    third = name in ("large", "large-v3", "turbo", "large-v3-turbo")
    vocabulary = 51866 if third else 51864 if name.endswith(".en") else 51865
    mels = 128 if third else 80
    return Dimensions(mels, 1500, width, heads, encoder, vocabulary, 448, width, heads, decoder)


def test_tensor_shapes_are_openai_whispers() -> None:
    model = Whisper(ModelDimensions(**LARGE_V3_SHAPED.as_dict()))
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert tensor_shapes(LARGE_V3_SHAPED) == expected


@pytest.mark.parametrize("name", whisper._ALIGNMENT_HEADS)
def test_alignment_heads_of_every_name_are_openai_whispers(name: str) -> None:
    dims = dimensions_of(name)
    dump = gzip.decompress(base64.b85decode(whisper._ALIGNMENT_HEADS[name]))
    mask = np.frombuffer(dump, dtype=bool).reshape(dims.n_text_layer, dims.n_text_head)
    expected = tuple((int(layer), int(head)) for layer, head in np.argwhere(mask))
    assert heads_for(name, dims) == expected
    if name != "large-v1":  # shares its dimensions with large-v2
        assert heads_for("my-own", dims) == expected


def test_alignment_heads_of_an_unknown_shape_are_the_upper_half() -> None:
    dims = dataclasses.replace(BASE, n_text_layer=5)
    expected = Whisper(
        ModelDimensions(**dataclasses.replace(LARGE_V3_SHAPED, n_text_layer=5).as_dict())
    ).alignment_heads.to_dense()
    assert {layer for layer, _ in heads_for("base", dims)} == {2, 3, 4}
    assert upper_half(dataclasses.replace(LARGE_V3_SHAPED, n_text_layer=5)) == tuple(
        (int(layer), int(head)) for layer, head in expected.nonzero()
    )


@pytest.mark.parametrize(
    "dims",
    [
        dataclasses.replace(dimensions_of("large-v3"), n_vocab=51865),
        dataclasses.replace(dimensions_of("large-v3"), n_mels=80),
        dataclasses.replace(dimensions_of("large-v3"), n_text_layer=2),
        dimensions_of("large-v2"),
        dimensions_of("turbo"),
    ],
)
def test_a_name_alone_gives_no_alignment_heads(dims: Dimensions) -> None:
    assert heads_for("large-v3", dims) == heads_for("my-own", dims)
    assert heads_for("large-v3", dims) != heads_for("large-v3", dimensions_of("large-v3"))


def test_configured_alignment_heads_win() -> None:
    assert heads_for("base", BASE, [[1, 2]]) == ((1, 2),)


@pytest.mark.parametrize(
    "pairs", [[], "3,1", [[6, 0]], [[0, 8]], [[-1, 0]], [[1]], [["1", "2"]], [None], {"a": 1}]
)
def test_alignment_heads_that_do_not_exist_are_refused(pairs: object) -> None:
    with pytest.raises(UserError, match="alignment_heads"):
        checked_heads(pairs, BASE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_mels", 81),
        ("n_vocab", 51867),
        ("n_vocab", 2**40),
        ("n_text_layer", 2**31),
        ("n_audio_layer", 0),
        ("n_audio_layer", True),
        ("n_audio_layer", "6"),
        ("n_audio_ctx", -1),
        ("n_text_head", 7),
        ("n_text_state", 256),
    ],
)
def test_implausible_dimensions_are_refused(field: str, value: object) -> None:
    with pytest.raises(UserError):
        Dimensions.from_mapping(BASE.as_dict() | {field: value})


@pytest.mark.parametrize("values", [None, [], {}, {"n_mels": 80}, BASE.as_dict() | {"more": 1}])
def test_dimensions_need_exactly_their_ten_numbers(values: object) -> None:
    with pytest.raises(UserError):
        Dimensions.from_mapping(values)
