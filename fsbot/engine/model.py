"""Whisper's forward pass as AlignAtt needs it: short windows, a KV cache, alignment heads only.

openai-whisper's modules hold the weights; its own `forward` insists on 30 s windows and either
fuses attention (hiding the weights) or materialises it for every head of every layer. Here the
encoder takes windows of any length up to 30 s and the decoder materialises cross-attention only
for the alignment heads, leaving every other head to PyTorch's fused kernel.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from whisper.audio import HOP_LENGTH, N_FRAMES, N_SAMPLES, SAMPLE_RATE, log_mel_spectrogram
from whisper.model import MultiHeadAttention, Whisper

FRAME_SECONDS = 2 * HOP_LENGTH / SAMPLE_RATE
"""One encoder frame: two mel frames, 0.02 s."""

WINDOW_SECONDS = N_SAMPLES / SAMPLE_RATE
"""The longest audio one pass can hear: 30 s."""

SAMPLES_PER_FRAME = 2 * HOP_LENGTH


@dataclass(slots=True)
class DecoderState:
    """What the decoder remembers of one window: encoded audio and the tokens so far.

    Keys and values have shape (hypotheses, heads, positions, head width); cross-attention's are
    shared by all hypotheses of a window (first dimension 1).
    """

    cross_keys: list[Tensor]
    cross_values: list[Tensor]
    self_keys: list[Tensor] = field(default_factory=list)
    self_values: list[Tensor] = field(default_factory=list)
    length: int = 0

    def reorder(self, hypotheses: list[int]) -> None:
        """Keep the given hypotheses, in that order; one may appear several times."""
        index = torch.tensor(hypotheses, device=self.cross_keys[0].device)
        self.self_keys = [keys.index_select(0, index) for keys in self.self_keys]
        self.self_values = [values.index_select(0, index) for values in self.self_values]


class SpeechModel:
    """Encoder and decoder of one Whisper model. Not thread-safe: one worker owns it."""

    def __init__(self, whisper: Whisper) -> None:
        self.whisper = whisper
        self.dims = whisper.dims
        self.device = whisper.device
        heads_by_layer: dict[int, list[int]] = {}
        for layer, head in whisper.alignment_heads.indices().T.tolist():
            heads_by_layer.setdefault(layer, []).append(head)
        self._alignment_heads = {
            layer: torch.tensor(heads, device=self.device)
            for layer, heads in heads_by_layer.items()
        }

    @torch.inference_mode()
    def encode(self, samples: NDArray[np.float32], padding: float) -> Tensor:
        """Encode one window.

        samples: 16 kHz mono, at most 30 s; padding: seconds of digital silence after them, as far
        as the 30 s allow. Returns (1, frames, width), one frame per 0.02 s, padding included.
        """
        if len(samples) > N_SAMPLES:
            raise ValueError(f"window of {len(samples) / SAMPLE_RATE:.2f} s exceeds 30 s")
        wanted = len(samples) + round(padding * SAMPLE_RATE)
        # A whole number of encoder frames, so that frame k always starts at k * 0.02 s.
        wanted = min(N_SAMPLES, -(-wanted // SAMPLES_PER_FRAME) * SAMPLES_PER_FRAME)
        mel = log_mel_spectrogram(
            torch.from_numpy(samples),
            n_mels=self.dims.n_mels,
            padding=wanted - len(samples),
            device=self.device,
        )
        return self._encode_mel(mel[None, :, :N_FRAMES])

    def _encode_mel(self, mel: Tensor) -> Tensor:
        encoder = self.whisper.encoder
        x = F.gelu(encoder.conv1(mel))
        x = F.gelu(encoder.conv2(x)).permute(0, 2, 1)
        x = x + encoder.positional_embedding[: x.shape[1]]
        for block in encoder.blocks:
            x = block(x)
        features: Tensor = encoder.ln_post(x)
        return features

    @torch.inference_mode()
    def start(self, features: Tensor) -> DecoderState:
        """Project encoded audio (1, frames, width) to cross-attention keys and values, once."""
        state = DecoderState([], [])
        for block in self.whisper.decoder.blocks:
            attention = block.cross_attn
            state.cross_keys.append(_split_heads(attention.key(features), attention.n_head))
            state.cross_values.append(_split_heads(attention.value(features), attention.n_head))
        return state

    @torch.inference_mode()
    def step(self, state: DecoderState, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Append tokens to every hypothesis.

        tokens: (hypotheses, n) of int64. Returns log-probabilities after the last of them,
        (hypotheses, vocabulary), and the cross-attention of the alignment heads for all of them,
        (heads, hypotheses, n, frames), softmaxed over frames.
        """
        decoder = self.whisper.decoder
        count = tokens.shape[1]
        positions = slice(state.length, state.length + count)
        x = decoder.token_embedding(tokens) + decoder.positional_embedding[positions]
        attention_rows = []
        for layer, block in enumerate(decoder.blocks):
            x = x + self._self_attention(block.attn, block.attn_ln(x), state, layer)
            attended, rows = self._cross_attention(
                block.cross_attn, block.cross_attn_ln(x), state, layer
            )
            x = x + attended
            x = x + block.mlp(block.mlp_ln(x))
            if rows is not None:
                attention_rows.append(rows)
        state.length += count
        last = decoder.ln(x[:, -1])
        logits = (last @ decoder.token_embedding.weight.T).float()
        return logits.log_softmax(dim=-1), torch.cat(attention_rows)

    @staticmethod
    def _self_attention(
        attention: MultiHeadAttention, x: Tensor, state: DecoderState, layer: int
    ) -> Tensor:
        query = _split_heads(attention.query(x), attention.n_head)
        keys = _split_heads(attention.key(x), attention.n_head)
        values = _split_heads(attention.value(x), attention.n_head)
        if layer == len(state.self_keys):
            state.self_keys.append(keys)
            state.self_values.append(values)
        else:
            keys = torch.cat([state.self_keys[layer], keys], dim=2)
            values = torch.cat([state.self_values[layer], values], dim=2)
            state.self_keys[layer], state.self_values[layer] = keys, values
        count, total = query.shape[2], keys.shape[2]
        mask = None
        if count > 1:
            mask = torch.ones(count, total, dtype=torch.bool, device=x.device)
            mask = mask.tril(diagonal=total - count)
        attended = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        return attention.out(_join_heads(attended))  # type: ignore[no-any-return]

    def _cross_attention(
        self, attention: MultiHeadAttention, x: Tensor, state: DecoderState, layer: int
    ) -> tuple[Tensor, Tensor | None]:
        query = _split_heads(attention.query(x), attention.n_head)
        keys, values = state.cross_keys[layer], state.cross_values[layer]
        hypotheses = query.shape[0]
        attended = F.scaled_dot_product_attention(
            query,
            keys.expand(hypotheses, -1, -1, -1),
            values.expand(hypotheses, -1, -1, -1),
        )
        rows = None
        if (heads := self._alignment_heads.get(layer)) is not None:
            scale = query.shape[-1] ** -0.5
            scores = (query[:, heads] * scale) @ keys[:, heads].transpose(-1, -2)
            rows = scores.float().softmax(dim=-1).transpose(0, 1)
        return attention.out(_join_heads(attended)), rows


def _split_heads(x: Tensor, heads: int) -> Tensor:
    batch, positions, width = x.shape
    return x.view(batch, positions, heads, width // heads).transpose(1, 2)


def _join_heads(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(start_dim=2)
