"""Whisper's encoder over windows of any length, many at a time.

All windows' frames stand in one matrix, one after the other: every linear layer runs once over all
of them without a padded row, and only attention is done window by window. So a window's encoding
does not depend on the company it is in.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from whisper.model import AudioEncoder, Conv1d, ResidualAttentionBlock

from fsbot.engine.layers import LayerNorm, Precision, linear
from fsbot.engine.torchscript import compiled, inference


class Encoder:
    """The weights of one encoder, and its forward pass."""

    def __init__(self, encoder: AudioEncoder, precision: Precision) -> None:
        device = encoder.positional_embedding.device.type
        self._layers = compiled(_Layers(encoder, precision), device)

    @inference
    def __call__(self, mels: Sequence[Tensor]) -> list[Tensor]:
        """Encode windows.

        mels: log-mel spectrograms (bands, 2 * frames), at most 30 s each. Returns (frames, width)
        for each, one frame per 0.02 s.
        """
        return self._layers(list(mels))  # type: ignore[no-any-return]


# What follows is the part of Python that TorchScript compiles, too.


class _Layers(nn.Module):
    positions: Tensor

    def __init__(self, encoder: AudioEncoder, precision: Precision) -> None:
        super().__init__()
        self.first = _Convolution(encoder.conv1, "float32" if precision == "int8" else precision)
        self.second = _Convolution(encoder.conv2, precision)
        self.positions = encoder.positional_embedding
        self.blocks = nn.ModuleList(_Block(block, precision) for block in encoder.blocks)
        self.normalise = LayerNorm(encoder.ln_post)

    def forward(self, mels: list[Tensor]) -> list[Tensor]:
        packed = torch.cat([self.convolve(mel) for mel in mels])
        lengths = [mel.shape[1] // 2 for mel in mels]
        for block in self.blocks:
            packed = block(packed, lengths)
        return list(torch.split(self.normalise(packed), lengths))

    def convolve(self, mel: Tensor) -> Tensor:
        x: Tensor = F.gelu(self.second(F.gelu(self.first(mel.t()))))
        return x + self.positions[: len(x)]


class _Convolution(nn.Module):
    """A convolution over time as a linear layer over its taps."""

    def __init__(self, convolution: Conv1d, precision: Precision) -> None:
        super().__init__()
        self.taps = convolution.kernel_size[0]
        self.stride = convolution.stride[0]
        self.linear = linear(convolution.weight.flatten(1), convolution.bias, precision)

    def forward(self, x: Tensor) -> Tensor:
        """(frames, channels) to (frames / stride, channels)."""
        margin = self.taps // 2
        taps = F.pad(x, [0, 0, margin, margin]).unfold(0, self.taps, self.stride)
        convolved: Tensor = self.linear(taps.flatten(1))
        return convolved


class _Block(nn.Module):
    def __init__(self, block: ResidualAttentionBlock, precision: Precision) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = LayerNorm(block.attn_ln), LayerNorm(block.mlp_ln)
        self.heads = block.attn.n_head
        self.query_key_value = fused_query_key_value(block, precision)
        self.out = linear(block.attn.out.weight, block.attn.out.bias, precision)
        self.up = linear(block.mlp[0].weight, block.mlp[0].bias, precision)
        self.down = linear(block.mlp[2].weight, block.mlp[2].bias, precision)

    def forward(self, x: Tensor, lengths: list[int]) -> Tensor:
        projected = self.query_key_value(self.attention_norm(x))
        attended = [self.attend(window) for window in torch.split(projected, lengths)]
        x = x + self.out(torch.cat(attended))
        added: Tensor = self.down(F.gelu(self.up(self.mlp_norm(x))))
        return x + added

    def attend(self, projected: Tensor) -> Tensor:
        frames, width = len(projected), projected.shape[1] // 3
        split = projected.view(1, frames, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind()
        attended = F.scaled_dot_product_attention(query, key, value)
        return attended.transpose(1, 2).reshape(frames, width)


def fused_query_key_value(block: ResidualAttentionBlock, precision: Precision) -> nn.Module:
    """Query, key and value of self-attention in one layer; Whisper's key has no bias."""
    attention = block.attn
    weight = torch.cat([attention.query.weight, attention.key.weight, attention.value.weight])
    no_bias = torch.zeros_like(attention.query.bias)
    bias = torch.cat([attention.query.bias, no_bias, attention.value.bias])
    return linear(weight, bias, precision)
