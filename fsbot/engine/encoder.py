"""Whisper's encoder over windows of any length, many at a time.

All windows' frames stand in one matrix, one after the other: every linear layer runs once over all
of them without a padded row, and only attention is done window by window. So a window's encoding
does not depend on the company it is in.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from whisper.model import AudioEncoder, Conv1d, ResidualAttentionBlock

from fsbot.engine.layers import Linear, Precision, linear


class Encoder:
    """The weights of one encoder, and its forward pass."""

    def __init__(self, encoder: AudioEncoder, precision: Precision) -> None:
        self._convolutions = [
            _Convolution(encoder.conv1, "float32" if precision == "int8" else precision),
            _Convolution(encoder.conv2, precision),
        ]
        self._positions = encoder.positional_embedding
        self._blocks = [_Block(block, precision) for block in encoder.blocks]
        self._normalise = encoder.ln_post

    @torch.inference_mode()
    def __call__(self, mels: Sequence[Tensor]) -> list[Tensor]:
        """Encode windows.

        mels: log-mel spectrograms (bands, 2 * frames), at most 30 s each. Returns (frames, width)
        for each, one frame per 0.02 s.
        """
        packed = torch.cat([self._convolve(mel) for mel in mels])
        lengths = [mel.shape[1] // 2 for mel in mels]
        for block in self._blocks:
            packed = block(packed, lengths)
        return list(self._normalise(packed).split(lengths))

    def _convolve(self, mel: Tensor) -> Tensor:
        x = mel.T
        for convolution in self._convolutions:
            x = F.gelu(convolution(x))
        positions: Tensor = self._positions[: len(x)]
        return x + positions


class _Convolution:
    """A convolution over time as a linear layer over its taps."""

    def __init__(self, convolution: Conv1d, precision: Precision) -> None:
        self._taps = convolution.kernel_size[0]
        self._stride = convolution.stride[0]
        self._linear = linear(convolution.weight.flatten(1), convolution.bias, precision)

    def __call__(self, x: Tensor) -> Tensor:
        """(frames, channels) to (frames / stride, channels)."""
        margin = self._taps // 2
        taps = F.pad(x, (0, 0, margin, margin)).unfold(0, self._taps, self._stride)
        return self._linear(taps.flatten(1))


class _Block:
    def __init__(self, block: ResidualAttentionBlock, precision: Precision) -> None:
        self._attention_norm, self._mlp_norm = block.attn_ln, block.mlp_ln
        self._heads = block.attn.n_head
        self._query_key_value = fused_query_key_value(block, precision)
        self._out = linear(block.attn.out.weight, block.attn.out.bias, precision)
        self._up = linear(block.mlp[0].weight, block.mlp[0].bias, precision)
        self._down = linear(block.mlp[2].weight, block.mlp[2].bias, precision)

    def __call__(self, x: Tensor, lengths: list[int]) -> Tensor:
        projected = self._query_key_value(self._attention_norm(x))
        attended = [self._attend(window) for window in torch.split(projected, lengths)]
        x = x + self._out(torch.cat(attended))
        return x + self._down(F.gelu(self._up(self._mlp_norm(x))))

    def _attend(self, projected: Tensor) -> Tensor:
        frames, width = len(projected), projected.shape[1] // 3
        split = projected.view(1, frames, 3, self._heads, width // self._heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        return attended.transpose(1, 2).reshape(frames, width)


def fused_query_key_value(block: ResidualAttentionBlock, precision: Precision) -> Linear:
    """Query, key and value of self-attention in one layer; Whisper's key has no bias."""
    attention = block.attn
    weight = torch.cat([attention.query.weight, attention.key.weight, attention.value.weight])
    no_bias = torch.zeros_like(attention.query.bias)
    bias = torch.cat([attention.query.bias, no_bias, attention.value.bias])
    return linear(weight, bias, precision)
