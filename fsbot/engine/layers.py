"""Linear layers at the precision that the device computes fastest.

On CPUs, int8: the weights have one scale per output row, the activations one per row of input,
so that what one stream says never changes how finely another is read (PyTorch's own dynamic
quantisation takes one scale for a whole batch).
"""

import warnings
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Precision = Literal["float32", "int8", "float16", "bfloat16"]

Linear = Callable[[Tensor], Tensor]
"""(…, inputs) to (…, outputs)."""

_LEVELS = 127
_FEWER_LEVELS = 63
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
        """weight: (outputs, inputs), float32. Raises RuntimeError if the CPU `lacks_int8`."""
        self._bias = torch.zeros(len(weight)) if bias is None else bias.clone()
        product = _onednn_product(weight) or _fbgemm_product(weight)
        if product is None:
            raise RuntimeError("PyTorch has no kernel for products of 8 bits on this CPU")
        self._product = product

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        # abs and amax are many times faster than linalg.vector_norm or aminmax (torch 2.13).
        largest = rows.abs().amax(dim=1, keepdim=True).clamp_(min=1e-12)
        product = self._product(rows * (_LEVELS / largest))
        return torch.addcmul(self._bias, product, largest).view(*x.shape[:-1], -1)


def lacks_int8() -> bool:
    """Whether PyTorch has no fast kernel for Int8Linear on this CPU.

    torch._int_mm multiplies everywhere, but 20 times slower than float32 where it has no kernel.
    """
    weight = torch.zeros(1, 2)
    return _onednn_product(weight) is None and _fbgemm_product(weight) is None


# Each takes rows between -127 and 127, which stand for -1 and 1, and may overwrite them; None where
# there is no such kernel.


def _onednn_product(weight: Tensor) -> Linear | None:
    """For CPUs with VNNI: without it, sums of two products have 16 bits, which the full range
    of 8 bits overflows."""
    if not torch.cpu._is_vnni_supported() or not hasattr(torch.ops.onednn, "qlinear_pointwise"):
        return None
    quantised, scale = _quantise(weight, _LEVELS)
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


def _fbgemm_product(weight: Tensor) -> Linear | None:
    """For all other x86 CPUs with AVX2: weights of 7 bits, so that 16 hold the sum of any two
    products. Up to seven times faster than float32 for few rows, a third faster for many."""
    name = "linear_with_input_q_dq_qweight_dq_output_fp32"
    engines = torch.backends.quantized
    if (
        "fbgemm" not in engines.supported_engines
        or not hasattr(torch.ops.quantized, name)
        or not hasattr(torch, "_make_per_channel_quantized_tensor")
    ):
        return None
    quantised, scale = _quantise(weight, _FEWER_LEVELS)
    zeros = torch.zeros(len(scale), dtype=torch.int64)
    with warnings.catch_warnings():
        # They will go from PyTorch some day: what is missing then is looked for above.
        warnings.simplefilter("ignore", UserWarning)
        tensor = torch._make_per_channel_quantized_tensor(quantised, scale / _LEVELS, zeros, 0)
    engine, engines.engine = engines.engine, "fbgemm"
    packed = torch.ops.quantized.linear_prepack(tensor, None)
    engines.engine = engine
    multiply = getattr(torch.ops.quantized, name).default

    def product(rows: Tensor) -> Tensor:
        result: Tensor = multiply(rows, 1.0, _ZERO_LEVEL, packed)
        return result

    return product


def _quantise(weight: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """Whole numbers from -levels to levels, and what 1 of each row stands for."""
    scale = (weight.abs().amax(dim=1) / levels).clamp(min=1e-12)
    return (weight / scale[:, None]).round().to(torch.int8), scale


def linear(weight: Tensor, bias: Tensor | None, precision: Precision) -> Linear:
    """A layer with these weights."""
    if precision == "int8":
        return Int8Linear(weight.float(), None if bias is None else bias.float())
    return FloatLinear(weight, bias)
