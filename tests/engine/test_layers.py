"""Layers at 8 bits: a row's result is its own, whatever kernel computes it."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from whisper.model import Whisper

from fsbot.engine import layers
from fsbot.engine.layers import (
    FloatLinear,
    Int8Linear,
    fbgemm_product,
    lacks_int8,
    linear,
    onednn_product,
)
from fsbot.engine.torchscript import compiled

Kernel = Callable[[Tensor], nn.Module | None]

LEVELS = {onednn_product: 127, fbgemm_product: 63}

WIDEST = 600

RELATIVE_ERROR = 0.02
"""Of a whole product, as Euclidean norms: weights and activations lose at most one part in
254 of their row's largest each."""


def matrix(seed: int, rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(2, WIDEST)
counts = st.integers(1, 40)


@pytest.fixture(params=[onednn_product, fbgemm_product])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    if request.param(torch.zeros(1, 2)) is None:
        pytest.skip("this machine has no such kernel")
    found: Kernel = request.param
    return found


def test_this_machine_has_a_kernel() -> None:
    assert not lacks_int8()


def test_without_a_kernel_8_bits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    monkeypatch.setattr(torch, "_make_per_channel_quantized_tensor", None)
    monkeypatch.delattr(torch, "_make_per_channel_quantized_tensor")
    assert lacks_int8()
    with pytest.raises(RuntimeError, match="no kernel"):
        Int8Linear(torch.ones(2, 2), None)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=seeds, inputs=sizes, outputs=sizes, rows=counts)
def test_a_kernel_multiplies_whole_numbers(
    kernel: Kernel, seed: int, inputs: int, outputs: int, rows: int
) -> None:
    """Nothing is rounded but activations to 8 bits, and these are given such."""
    levels = LEVELS[kernel]
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randint(-levels, levels + 1, (outputs, inputs), generator=generator).double()
    weight[:, 0] = levels  # so that 1 stands for 1
    x = torch.randint(-127, 128, (rows, inputs), generator=generator).double()
    expected = x @ weight.T / 127
    product = kernel(weight.float())
    assert product is not None
    torch.testing.assert_close(product(x.float()).double(), expected, rtol=1e-5, atol=1e-3)


def test_the_full_range_of_8_bits_does_not_overflow(kernel: Kernel) -> None:
    """All weights and activations as large as they get, and of either sign."""
    weight = torch.ones(3, WIDEST)
    weight[1] = -1.0
    weight[2, ::2] = -1.0
    product = kernel(weight)
    assert product is not None
    x = 127 * torch.stack([torch.ones(WIDEST), -torch.ones(WIDEST)])
    expected = torch.tensor([[WIDEST, -WIDEST, 0], [-WIDEST, WIDEST, 0]], dtype=torch.float32)
    torch.testing.assert_close(product(x), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("product", [layers._OnednnProduct, layers._FbgemmProduct])
def test_a_kernel_compiles_on_any_cpu(product: Callable[[Tensor], nn.Module]) -> None:
    """Numbers so small that nothing overflows without VNNI either."""
    weight = torch.tensor([[3.0, -2.0, 1.0], [0.0, 3.0, -3.0]])
    x = torch.tensor([[1.0, 2.0, 3.0], [-3.0, 0.0, 1.0]])
    found = compiled(product(weight))(x.clone())
    torch.testing.assert_close(found, x @ weight.T / 127, rtol=0.02, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(seeds, sizes, sizes, counts, st.floats(1, 1e6))
def test_a_loud_row_changes_no_quiet_one(
    seed: int, inputs: int, outputs: int, rows: int, loudness: float
) -> None:
    layer = Int8Linear(matrix(seed, outputs, inputs), matrix(seed + 1, 1, outputs)[0])
    quiet, loud = matrix(seed + 2, 3, inputs) * 1e-3, matrix(seed + 3, rows, inputs) * loudness
    alone, together = layer(quiet), layer(torch.cat([loud, quiet]))
    torch.testing.assert_close(together[rows:], alone, rtol=1e-6, atol=1e-6)
    by_itself = torch.cat([layer(row[None]) for row in quiet])
    torch.testing.assert_close(by_itself, alone, rtol=1e-6, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(seeds, sizes, sizes, counts, st.floats(1e-6, 1e6))
def test_it_is_almost_what_full_precision_says(
    seed: int, inputs: int, outputs: int, rows: int, loudness: float
) -> None:
    weight, x = matrix(seed, outputs, inputs), matrix(seed + 1, rows, inputs) * loudness
    exact, rounded = FloatLinear(weight, None)(x), Int8Linear(weight, None)(x)
    lengths = weight.norm(dim=1) * x.norm(dim=1, keepdim=True)
    assert float((rounded - exact).norm()) <= RELATIVE_ERROR * float(lengths.norm())


def test_nothing_is_nothing_and_leaves_the_bias() -> None:
    weight, bias = matrix(1, 5, 4), matrix(2, 1, 5)[0]
    weight[3] = 0.0
    layer = linear(weight, bias, "int8")
    torch.testing.assert_close(layer(torch.zeros(2, 4)), bias.expand(2, 5))
    assert layer(matrix(3, 2, 4))[:, 3].tolist() == pytest.approx([float(bias[3])] * 2)


def test_leading_dimensions_stay() -> None:
    layer = linear(matrix(1, 5, 4), None, "int8")
    x = matrix(2, 6, 4)
    torch.testing.assert_close(layer(x.view(2, 3, 4)), layer(x).view(2, 3, 5))


@torch.inference_mode()
def test_real_weights_lose_hardly_more(whisper_model: Whisper) -> None:
    """Their rows are less even than random ones: one layer of 48 loses 2.2 %, the others less;
    with weights of 7 bits, 4.1 %."""
    most = 0.025 if torch.cpu._is_vnni_supported() else 0.045
    for block in [*whisper_model.encoder.blocks, *whisper_model.decoder.blocks]:
        for part in (block.attn.query, block.attn.out, block.mlp[0], block.mlp[2]):
            x = matrix(1, 20, part.in_features)
            exact, rounded = FloatLinear(part.weight, None)(x), Int8Linear(part.weight, None)(x)
            assert float((rounded - exact).norm()) <= most * float(exact.norm())
