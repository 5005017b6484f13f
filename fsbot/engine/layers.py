"""Linear layers at the precision that the device computes fastest.

On CPUs, int8: the weights have one scale per output row, the activations one per row of input,
so that what one stream says never changes how finely another is read (PyTorch's own dynamic
quantisation takes one scale for a whole batch).
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Precision = Literal["float32", "int8", "float16", "bfloat16"]

Linear = Callable[[Tensor], Tensor]
"""(…, inputs) to (…, outputs)."""

_LEVELS = 127
_ZERO_LEVEL = 128


class FloatLinear:
    """A plain linear layer."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """weight: (outputs, inputs)."""
        self._weight = weight
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self._weight, self._bias)


class Int8Linear:
    """A linear layer with weights and activations of 8 bits, sums of 32, results in float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """weight: (outputs, inputs), float32."""
        self._scale = (weight.abs().amax(dim=1) / _LEVELS).clamp(min=1e-12)
        quantised = (weight / self._scale[:, None]).round().to(torch.int8)
        self._bias = torch.zeros(len(weight)) if bias is None else bias.clone()
        self._product = _packed_product(quantised, self._scale) or _product(quantised, self._scale)

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        # abs and amax are many times faster than linalg.vector_norm or aminmax (torch 2.13).
        largest = rows.abs().amax(dim=1, keepdim=True).clamp_(min=1e-12)
        product = self._product(rows * (_LEVELS / largest))
        return torch.addcmul(self._bias, product, largest).view(*x.shape[:-1], -1)


def _product(quantised: Tensor, scale: Tensor) -> Linear:
    """Rows between -127 and 127, which stand for -1 and 1, times the weights, wherever PyTorch
    multiplies int8 matrices. The rows may be overwritten."""
    transposed, scale = quantised.T, scale / _LEVELS

    def multiply(rows: Tensor) -> Tensor:
        return torch._int_mm(rows.round_().to(torch.int8), transposed) * scale

    return multiply


def _packed_product(quantised: Tensor, scale: Tensor) -> Linear | None:
    """The same by oneDNN with weights packed for it, two to four times faster for few rows.

    None where PyTorch has no such kernel, or where the CPU adds up pairs of products in 16 bits
    (without VNNI), which overflows at the full range of 8 bits.
    """
    if not torch.cpu._is_vnni_supported() or not hasattr(torch.ops.onednn, "qlinear_pointwise"):
        return None
    packed = torch.ops.onednn.qlinear_prepack(quantised, None)
    zeros = torch.zeros(len(scale), dtype=torch.int64)
    multiply = torch.ops.onednn.qlinear_pointwise.default

    def product(rows: Tensor) -> Tensor:
        # Activations are unsigned in this kernel: level 128 is zero, and truncation rounds.
        levels = rows.add_(_ZERO_LEVEL + 0.5).to(torch.uint8)
        scales = (levels, 1 / _LEVELS, _ZERO_LEVEL, packed, scale, zeros)
        result: Tensor = multiply(*scales, None, 1.0, 0, torch.float32, "none", [], "")
        return result

    return product


def linear(weight: Tensor, bias: Tensor | None, precision: Precision) -> Linear:
    """A layer with these weights."""
    if precision == "int8":
        return Int8Linear(weight.float(), None if bias is None else bias.float())
    return FloatLinear(weight, bias)
