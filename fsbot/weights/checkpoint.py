"""A Whisper model in memory, whatever file it came from, and openai-whisper's object made of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fsbot.errors import UserError
from fsbot.weights.architecture import Dimensions, Head, tensor_shapes

if TYPE_CHECKING:
    from whisper.model import Whisper

FLOATS = (torch.float16, torch.bfloat16, torch.float32)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors under openai-whisper's names, each float16, bfloat16 or float32.

    Raises UserError if a tensor is missing, superfluous, of another shape or type.
    """

    dims: Dimensions
    tensors: dict[str, Tensor]
    alignment_heads: tuple[Head, ...]

    def __post_init__(self) -> None:
        shapes = tensor_shapes(self.dims)
        for problem, names in (
            ("lacks", shapes.keys() - self.tensors.keys()),
            ("has unknown", self.tensors.keys() - shapes.keys()),
        ):
            if names:
                first = ", ".join(sorted(names)[:3])
                raise UserError(f"the model {problem} tensors: {first} ({len(names)} in all)")
        for name, shape in shapes.items():
            tensor = self.tensors[name]
            if tuple(tensor.shape) != shape:
                found = tuple(tensor.shape)
                raise UserError(f"tensor {name} has shape {found}, expected {shape}")
            if tensor.dtype not in FLOATS:
                raise UserError(f"tensor {name} is {tensor.dtype}, not a float of 16 or 32 bits")


def build_whisper(checkpoint: Checkpoint) -> "Whisper":
    """openai-whisper's model with these weights: float32, on the CPU, in eval mode."""
    from whisper.model import ModelDimensions, Whisper

    model = Whisper(ModelDimensions(**checkpoint.dims.as_dict()))
    model.load_state_dict(checkpoint.tensors)
    mask = torch.zeros(checkpoint.dims.n_text_layer, checkpoint.dims.n_text_head, dtype=torch.bool)
    for layer, head in checkpoint.alignment_heads:
        mask[layer, head] = True
    model.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)
    return model.eval()
