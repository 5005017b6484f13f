"""Whisper's decoder over many windows at once: padded caches, masks, alignment heads."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from whisper.model import ResidualAttentionBlock, TextDecoder

from fsbot.engine.encoder import fused_query_key_value
from fsbot.engine.layers import Precision, linear


class DecoderState:
    """What the decoder remembers of a batch: encoded audio, and the tokens so far.

    A window has `beams` rows, one per hypothesis; they share its audio. Cross-attention's keys and
    values: (windows, heads, frames, head width) per layer, with a mask over the frames that a
    shorter window lacks; self-attention's: (rows, heads, capacity, head width), of which row r
    holds `lengths[r]` positions.
    """

    def __init__(self, keys: list[Tensor], values: list[Tensor], mask: Tensor) -> None:
        self.beams = 1
        self.cross_keys = keys
        self.cross_values = values
        self.cross_mask = mask
        self.self_keys: list[Tensor] = []
        self.self_values: list[Tensor] = []
        self.lengths = torch.zeros(len(mask), dtype=torch.int64, device=mask.device)

    def keep(self, windows: Sequence[int]) -> None:
        """Go on with these windows only, in that order."""
        index = torch.tensor(windows, device=self.cross_mask.device)
        self.cross_keys = [keys[index] for keys in self.cross_keys]
        self.cross_values = [values[index] for values in self.cross_values]
        self.cross_mask = self.cross_mask[index]
        rows = index[:, None] * self.beams + torch.arange(self.beams, device=index.device)
        self.reorder(rows.flatten())

    def widen(self, beams: int) -> None:
        """Give every window, which has one row so far, `beams` equal ones."""
        self.reorder(torch.arange(len(self.lengths)).repeat_interleave(beams))
        self.beams = beams

    def reorder(self, rows: Tensor) -> None:
        """Replace the rows by these of them; one may appear several times."""
        rows = rows.to(self.lengths.device)
        self.self_keys = [keys[rows] for keys in self.self_keys]
        self.self_values = [values[rows] for values in self.self_values]
        self.lengths = self.lengths[rows]


class Decoder:
    """The weights of one decoder, and its forward passes."""

    def __init__(
        self, decoder: TextDecoder, alignment_heads: Sequence[tuple[int, int]], precision: Precision
    ) -> None:
        """alignment_heads: (layer, head) of each."""
        heads_by_layer: dict[int, list[int]] = {}
        for layer, head in alignment_heads:
            heads_by_layer.setdefault(layer, []).append(head)
        embedding = decoder.token_embedding.weight
        # Whisper's weights are published in float16: nothing is lost, and it is the largest table.
        self._embedding = embedding.half() if precision == "int8" else embedding
        self._positions = decoder.positional_embedding
        self._blocks = [
            _Block(block, heads_by_layer.get(layer, []), precision)
            for layer, block in enumerate(decoder.blocks)
        ]
        self._normalise = decoder.ln
        self._logits = linear(embedding, None, precision)
        crosses = [block.cross_attn for block in decoder.blocks]
        self._cross_heads = crosses[0].n_head
        weights = [part for cross in crosses for part in (cross.key.weight, cross.value.weight)]
        biases = [
            part
            for cross in crosses
            for part in (torch.zeros_like(cross.value.bias), cross.value.bias)
        ]
        self._cross_keys_values = linear(torch.cat(weights), torch.cat(biases), precision)

    @torch.inference_mode()
    def start(self, features: Sequence[Tensor]) -> DecoderState:
        """Project encoded windows, (frames, width) each, to cross-attention keys and values."""
        lengths = [len(window) for window in features]
        like, heads = features[0], self._cross_heads
        shape = len(lengths), heads, max(lengths), like.shape[1] // heads
        # One tensor per layer: those of all layers together are so large that the allocator would
        # fetch fresh pages for them every time.
        parts = [like.new_zeros(shape) for _ in range(2 * len(self._blocks))]
        mask = like.new_zeros(len(lengths), 1, 1, max(lengths))
        for window, rows in enumerate(features):
            projected = self._cross_keys_values(rows).view(len(rows), len(parts), heads, -1)
            for part, split in zip(parts, projected.permute(1, 2, 0, 3), strict=True):
                part[window, :, : len(rows)] = split
            mask[window, ..., len(rows) :] = -torch.inf
        return DecoderState(parts[0::2], parts[1::2], mask)

    @torch.inference_mode()
    def prefill(self, state: DecoderState, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Feed the first tokens of every window, in one pass.

        tokens: (windows, n), shorter rows padded at their end with anything: what stands there
        changes nothing before it, and `state.lengths`, which the caller sets, forgets it. Returns
        hidden states (windows, n, width) and the cross-attention of the alignment heads,
        (heads, windows, n, frames), softmaxed over frames.
        """
        x = self._embedding[tokens].to(self._positions.dtype) + self._positions[: tokens.shape[1]]
        all_rows = []
        for layer, block in enumerate(self._blocks):
            query, keys, values = block.project(x)
            state.self_keys.append(keys)
            state.self_values.append(values)
            attended = F.scaled_dot_product_attention(query, keys, values, is_causal=True)
            x, rows = block.finish(x, attended, state, layer)
            all_rows += rows
        return self._normalise(x), torch.cat(all_rows)

    @torch.inference_mode()
    def step(self, state: DecoderState, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Append one token to every row.

        tokens: (rows,). Returns hidden states (rows, width) and the alignment heads'
        cross-attention, (heads, windows, beams, frames), softmaxed over frames.
        """
        x = self._embedding[tokens].to(self._positions.dtype) + self._positions[state.lengths]
        x = x[:, None]
        used = int(state.lengths.max()) + 1
        capacity = state.self_keys[0].shape[2]
        rows_index = torch.arange(len(tokens), device=tokens.device)
        beyond = torch.arange(used, device=tokens.device) > state.lengths[:, None]
        mask = x.new_zeros(len(tokens), 1, 1, used).masked_fill_(beyond[:, None, None], -torch.inf)
        all_rows = []
        for layer, block in enumerate(self._blocks):
            query, key, value = block.project(x)
            if used > capacity:
                state.self_keys[layer] = F.pad(state.self_keys[layer], (0, 0, 0, _GROWTH))
                state.self_values[layer] = F.pad(state.self_values[layer], (0, 0, 0, _GROWTH))
            keys, values = state.self_keys[layer], state.self_values[layer]
            keys[rows_index, :, state.lengths] = key[:, :, 0]
            values[rows_index, :, state.lengths] = value[:, :, 0]
            attended, _ = attend(query, keys[:, :, :used], values[:, :, :used], mask)
            x, rows = block.finish(x, attended, state, layer)
            all_rows += rows
        state.lengths = state.lengths + 1
        return self._normalise(x[:, 0]), torch.cat(all_rows)

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """(…, width) to (…, vocabulary), float32."""
        return self._logits(hidden).float()


_GROWTH = 32
"""Positions by which a full cache grows: growing copies it."""


class _Block:
    def __init__(
        self, block: ResidualAttentionBlock, alignment_heads: list[int], precision: Precision
    ) -> None:
        self._attention_norm, self._cross_norm = block.attn_ln, block.cross_attn_ln
        self._mlp_norm = block.mlp_ln
        self._heads = block.attn.n_head
        self._alignment_heads = alignment_heads
        self._query_key_value = fused_query_key_value(block, precision)
        cross = block.cross_attn
        self._out = linear(block.attn.out.weight, block.attn.out.bias, precision)
        self._cross_query = linear(cross.query.weight, cross.query.bias, precision)
        self._cross_out = linear(cross.out.weight, cross.out.bias, precision)
        self._up = linear(block.mlp[0].weight, block.mlp[0].bias, precision)
        self._down = linear(block.mlp[2].weight, block.mlp[2].bias, precision)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of self-attention, (rows, heads, n, head width)."""
        rows, count, _ = x.shape
        projected = self._query_key_value(self._attention_norm(x))
        query, key, value = projected.view(rows, count, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        return query, key, value

    def finish(
        self, x: Tensor, attended: Tensor, state: DecoderState, layer: int
    ) -> tuple[Tensor, list[Tensor]]:
        """What follows self-attention; also the weights of this layer's alignment heads."""
        x = x + self._out(_join_heads(attended))
        rows, count, width = x.shape
        windows = len(state.cross_mask)
        query = self._cross_query(self._cross_norm(x))
        # The hypotheses of a window are so many queries to its one encoding.
        query = query.view(windows, -1, self._heads, width // self._heads).transpose(1, 2)
        keys, values = state.cross_keys[layer], state.cross_values[layer]
        attended, weights = attend(query, keys, values, state.cross_mask)
        x = x + self._cross_out(_join_heads(attended).view(rows, count, width))
        x = x + self._down(F.gelu(self._up(self._mlp_norm(x))))
        return x, [weights[:, head].float()[None] for head in self._alignment_heads]


def attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Attention that shows its weights; for few queries, where fusing gains nothing."""
    scores = (query * query.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    weights = (scores + mask).softmax(dim=-1)
    return weights @ values, weights


def _join_heads(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(start_dim=2)
