"""Whisper's decoder over many windows at once: padded caches, masks, alignment heads."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from whisper.model import ResidualAttentionBlock, TextDecoder

from fsbot.engine.encoder import fused_query_key_value
from fsbot.engine.layers import LayerNorm, Precision, linear
from fsbot.engine.torchscript import compiled, inference

_GROWTH = 32
"""Positions by which a full cache grows: growing copies it."""


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

    def make_room(self, positions: int) -> None:
        """Let self-attention's caches have that capacity at least."""
        if positions > self.self_keys[0].shape[2]:
            more = (0, 0, 0, _GROWTH)
            self.self_keys = [F.pad(keys, more) for keys in self.self_keys]
            self.self_values = [F.pad(values, more) for values in self.self_values]


class Decoder:
    """The weights of one decoder, and its forward passes."""

    def __init__(
        self, decoder: TextDecoder, alignment_heads: Sequence[tuple[int, int]], precision: Precision
    ) -> None:
        """alignment_heads: (layer, head) of each."""
        embedding = decoder.token_embedding.weight
        device = embedding.device.type
        self._layers = compiled(_Layers(decoder, alignment_heads, precision), device)
        self._logits = compiled(linear(embedding, None, precision), device)
        # Whisper's weights are published in float16: nothing is lost, and it is the largest table.
        self._embedding = embedding.half() if precision == "int8" else embedding
        self._positions = decoder.positional_embedding

    @inference
    def start(self, features: Sequence[Tensor]) -> DecoderState:
        """Project encoded windows, (frames, width) each, to cross-attention keys and values."""
        return DecoderState(*self._layers.start(list(features)))

    @inference
    def prefill(self, state: DecoderState, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Feed the first tokens of every window, in one pass.

        tokens: (windows, n), shorter rows padded at their end with anything: what stands there
        changes nothing before it, and `state.lengths`, which the caller sets, forgets it. Returns
        hidden states (windows, n, width) and the cross-attention of the alignment heads,
        (heads, windows, n, frames), softmaxed over frames.
        """
        x = self._embedding[tokens].to(self._positions.dtype) + self._positions[: tokens.shape[1]]
        hidden, rows, state.self_keys, state.self_values = self._layers.prefill(
            x, state.cross_keys, state.cross_values, state.cross_mask
        )
        return hidden, rows

    @inference
    def step(self, state: DecoderState, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Append one token to every row.

        tokens: (rows,). Returns hidden states (rows, width) and the alignment heads'
        cross-attention, (heads, windows, beams, frames), softmaxed over frames.
        """
        x = self._embedding[tokens].to(self._positions.dtype) + self._positions[state.lengths]
        used = int(state.lengths.max()) + 1
        state.make_room(used)
        hidden, rows = self._layers.step(
            x[:, None],
            state.lengths,
            used,
            state.self_keys,
            state.self_values,
            state.cross_keys,
            state.cross_values,
            state.cross_mask,
        )
        state.lengths = state.lengths + 1
        return hidden, rows

    @inference
    def logits(self, hidden: Tensor) -> Tensor:
        """(…, width) to (…, vocabulary), float32."""
        return self._logits(hidden).float()  # type: ignore[no-any-return]


# What follows is the part of Python that TorchScript compiles, too.


class _Layers(nn.Module):
    def __init__(
        self, decoder: TextDecoder, alignment_heads: Sequence[tuple[int, int]], precision: Precision
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            _Block(block, [head for of, head in alignment_heads if of == layer], precision)
            for layer, block in enumerate(decoder.blocks)
        )
        self.normalise = LayerNorm(decoder.ln)
        crosses = [block.cross_attn for block in decoder.blocks]
        self.heads = crosses[0].n_head
        weights = [part for cross in crosses for part in (cross.key.weight, cross.value.weight)]
        biases = [
            part
            for cross in crosses
            for part in (torch.zeros_like(cross.value.bias), cross.value.bias)
        ]
        self.cross_keys_values = linear(torch.cat(weights), torch.cat(biases), precision)

    @torch.jit.export
    def start(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Keys, values and mask of cross-attention, as DecoderState has them."""
        longest = max([len(window) for window in features])
        like, windows = features[0], len(features)
        mask = torch.zeros(windows, 1, 1, longest, dtype=like.dtype, device=like.device)
        shape = [windows, self.heads, longest, like.shape[1] // self.heads]
        # One tensor per layer: those of all layers together are so large that the allocator would
        # fetch fresh pages for them every time.
        keys = [torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in self.blocks]
        values = [torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in self.blocks]
        for window, rows in enumerate(features):
            projected = self.cross_keys_values(rows)
            projected = projected.view(len(rows), 2 * len(keys), self.heads, -1)
            projected = projected.permute(1, 2, 0, 3)
            for layer in range(len(keys)):
                keys[layer][window, :, : len(rows)] = projected[2 * layer]
                values[layer][window, :, : len(rows)] = projected[2 * layer + 1]
            mask[window, :, :, len(rows) :] = -torch.inf
        return keys, values, mask

    @torch.jit.export
    def prefill(
        self, x: Tensor, cross_keys: list[Tensor], cross_values: list[Tensor], cross_mask: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
        """Also the keys and values of self-attention."""
        self_keys: list[Tensor] = []
        self_values: list[Tensor] = []
        rows: list[Tensor] = []
        for layer, block in enumerate(self.blocks):
            query, keys, values = block.project(x)  # type: ignore[operator]
            self_keys.append(keys)
            self_values.append(values)
            attended = F.scaled_dot_product_attention(query, keys, values, is_causal=True)
            x = block.finish(  # type: ignore[operator]
                x, attended, cross_keys[layer], cross_values[layer], cross_mask, rows
            )
        return self.normalise(x), torch.cat(rows), self_keys, self_values

    @torch.jit.export
    def step(
        self,
        x: Tensor,
        lengths: Tensor,
        used: int,
        self_keys: list[Tensor],
        self_values: list[Tensor],
        cross_keys: list[Tensor],
        cross_values: list[Tensor],
        cross_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Writes the new keys and values of self-attention behind those that there are."""
        every_row = torch.arange(len(x), device=x.device)
        beyond = torch.arange(used, device=x.device) > lengths[:, None]
        mask = torch.zeros(len(x), 1, 1, used, dtype=x.dtype, device=x.device)
        mask = mask.masked_fill_(beyond[:, None, None], -torch.inf)
        rows: list[Tensor] = []
        for layer, block in enumerate(self.blocks):
            query, key, value = block.project(x)  # type: ignore[operator]
            keys, values = self_keys[layer], self_values[layer]
            keys[every_row, :, lengths] = key[:, :, 0]
            values[every_row, :, lengths] = value[:, :, 0]
            attended, _ = attend(query, keys[:, :, :used], values[:, :, :used], mask)
            x = block.finish(  # type: ignore[operator]
                x, attended, cross_keys[layer], cross_values[layer], cross_mask, rows
            )
        return self.normalise(x[:, 0]), torch.cat(rows)


class _Block(nn.Module):
    alignment_heads: list[int]

    def __init__(
        self, block: ResidualAttentionBlock, alignment_heads: list[int], precision: Precision
    ) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(block.attn_ln)
        self.cross_norm = LayerNorm(block.cross_attn_ln)
        self.mlp_norm = LayerNorm(block.mlp_ln)
        self.heads = block.attn.n_head
        self.alignment_heads = alignment_heads
        self.query_key_value = fused_query_key_value(block, precision)
        cross = block.cross_attn
        self.out = linear(block.attn.out.weight, block.attn.out.bias, precision)
        self.cross_query = linear(cross.query.weight, cross.query.bias, precision)
        self.cross_out = linear(cross.out.weight, cross.out.bias, precision)
        self.up = linear(block.mlp[0].weight, block.mlp[0].bias, precision)
        self.down = linear(block.mlp[2].weight, block.mlp[2].bias, precision)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of self-attention, (rows, heads, n, head width)."""
        projected = self.query_key_value(self.attention_norm(x))
        projected = projected.view(x.shape[0], x.shape[1], 3, self.heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4).unbind()
        return query, key, value

    def finish(
        self,
        x: Tensor,
        attended: Tensor,
        cross_keys: Tensor,
        cross_values: Tensor,
        cross_mask: Tensor,
        rows: list[Tensor],
    ) -> Tensor:
        """What follows self-attention; adds this layer's alignment heads' attention to `rows`."""
        x = x + self.out(_join_heads(attended))
        # The hypotheses of a window are so many queries to its one encoding.
        query = self.cross_query(self.cross_norm(x))
        query = query.view(len(cross_mask), -1, self.heads, x.shape[2] // self.heads)
        attended, weights = attend(query.transpose(1, 2), cross_keys, cross_values, cross_mask)
        x = x + self.cross_out(_join_heads(attended).view(x.shape))
        for head in self.alignment_heads:
            rows.append(weights[:, head].float()[None])
        added: Tensor = self.down(F.gelu(self.up(self.mlp_norm(x))))
        return x + added


def attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Attention that shows its weights; for few queries, where fusing gains nothing."""
    scores = (query * query.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    weights = (scores + mask).softmax(dim=-1)
    return weights @ values, weights


def _join_heads(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(start_dim=2)
