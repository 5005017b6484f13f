"""Layers at the precision that the device computes fastest.

On CPUs, int8: the weights have one scale per output row, the activations one per row of input,
so that what one stream says never changes how finely another is read (PyTorch's own dynamic
quantisation takes one scale for a whole batch).
"""

import warnings
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Precision = Literal["float32", "int8", "float16", "bfloat16"]

_LEVELS = 127
_FEWER_LEVELS = 63


class LayerNorm(nn.Module):
    """Normalises the last dimension, in float32 whatever the precision."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.shape = list(norm.normalized_shape)
        self.eps = norm.eps
        self.weight, self.bias = norm.weight.float(), norm.bias.float()

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.float(), self.shape, self.weight, self.bias, self.eps).to(x.dtype)


class FloatLinear(nn.Module):
    """A plain linear layer."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """weight: (outputs, inputs)."""
        super().__init__()
        self.weight = weight
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Int8Linear(nn.Module):
    """A linear layer with weights and activations of 8 bits, sums of 32, results in float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """weight: (outputs, inputs), float32. Raises RuntimeError if the CPU `lacks_int8`."""
        super().__init__()
        self.bias = torch.zeros(len(weight)) if bias is None else bias.clone()
        product = onednn_product(weight) or fbgemm_product(weight)
        if product is None:
            raise RuntimeError("PyTorch has no kernel for products of 8 bits on this CPU")
        self.product = product

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        # abs and amax are many times faster than linalg.vector_norm or aminmax (torch 2.13).
        largest = rows.abs().amax(dim=1, keepdim=True).clamp_(min=1e-12)
        product = self.product(rows * (127 / largest))
        return torch.addcmul(self.bias, product, largest).view(x.shape[:-1] + product.shape[1:])


def lacks_int8() -> bool:
    """Whether PyTorch has no fast kernel for Int8Linear on this CPU.

    torch._int_mm multiplies everywhere, but 20 times slower than float32 where it has no kernel.
    """
    weight = torch.zeros(1, 2)
    return onednn_product(weight) is None and fbgemm_product(weight) is None


# Each takes rows between -127 and 127, which stand for -1 and 1, and may overwrite them; None where
# there is no such kernel. What TorchScript compiles sees no constants of a module: 127 is _LEVELS
# there, and 128 the level that stands for zero.


def onednn_product(weight: Tensor) -> nn.Module | None:
    """For CPUs with VNNI: without it, sums of two products have 16 bits, which the full range
    of 8 bits overflows."""
    if torch.cpu._is_vnni_supported() and hasattr(torch.ops.onednn, "qlinear_pointwise"):
        return _OnednnProduct(weight)
    return None


class _OnednnProduct(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        quantised, self.scale = _quantise(weight, _LEVELS)
        self.packed = torch.ops.onednn.qlinear_prepack(quantised, None)
        self.zeros = torch.zeros(len(weight), dtype=torch.int64)

    def forward(self, rows: Tensor) -> Tensor:
        # Activations are unsigned in this kernel: level 128 is zero, and truncation rounds.
        levels = rows.add_(128.5).to(torch.uint8)
        return torch.ops.onednn.qlinear_pointwise(  # type: ignore[no-any-return]
            levels,
            1 / 127,
            128,
            self.packed,
            self.scale,
            self.zeros,
            None,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )


def fbgemm_product(weight: Tensor) -> nn.Module | None:
    """For all other x86 CPUs with AVX2: weights of 7 bits, so that 16 hold the sum of any two
    products. Up to seven times faster than float32 for few rows, a third faster for many."""
    if (
        "fbgemm" in torch.backends.quantized.supported_engines
        and hasattr(torch.ops.quantized, "linear_with_input_q_dq_qweight_dq_output_fp32")
        and hasattr(torch, "_make_per_channel_quantized_tensor")
    ):
        return _FbgemmProduct(weight)
    return None


class _FbgemmProduct(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        quantised, scale = _quantise(weight, _FEWER_LEVELS)
        zeros = torch.zeros(len(scale), dtype=torch.int64)
        with warnings.catch_warnings():
            # They will go from PyTorch some day: what is missing then is looked for above.
            warnings.simplefilter("ignore", UserWarning)
            tensor = torch._make_per_channel_quantized_tensor(quantised, scale / _LEVELS, zeros, 0)
        engines = torch.backends.quantized
        engine, engines.engine = engines.engine, "fbgemm"
        self.packed = torch.ops.quantized.linear_prepack(tensor, None)
        engines.engine = engine

    def forward(self, rows: Tensor) -> Tensor:
        return torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(  # type: ignore[no-any-return]
            rows, 1.0, 128, self.packed
        )


def _quantise(weight: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """Whole numbers from -levels to levels, and what 1 of each row stands for."""
    scale = (weight.abs().amax(dim=1) / levels).clamp(min=1e-12)
    return (weight / scale[:, None]).round().to(torch.int8), scale


def linear(weight: Tensor, bias: Tensor | None, precision: Precision) -> nn.Module:
    """A layer with these weights."""
    if precision == "int8":
        return Int8Linear(weight.float(), None if bias is None else bias.float())
    return FloatLinear(weight, bias)
