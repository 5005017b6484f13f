"""Whisper's decoder over many windows at once.

Every linear layer runs once over the tokens of all windows; attention goes window by window, over
what each of them has. Where a layer takes row by row, as those of int8 do, what a window says is
the same to the last bit in any company.
"""

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
    values: (windows, heads, frames, head width) per layer, of which window w holds `frames[w]`;
    self-attention's: (rows, heads, capacity, head width), of which row r holds `lengths[r]`
    positions, as many as all other rows of its window.
    """

    def __init__(self, keys: list[Tensor], values: list[Tensor], frames: list[int]) -> None:
        self.beams = 1
        self.cross_keys = keys
        self.cross_values = values
        self.frames = frames
        self.self_keys: list[Tensor] = []
        self.self_values: list[Tensor] = []
        self.lengths = torch.zeros(len(frames), dtype=torch.int64, device=keys[0].device)

    def keep(self, windows: Sequence[int]) -> None:
        """Go on with these windows only, in that order."""
        index = torch.tensor(windows, device=self.lengths.device)
        self.cross_keys = [keys[index] for keys in self.cross_keys]
        self.cross_values = [values[index] for values in self.cross_values]
        self.frames = [self.frames[window] for window in windows]
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
        keys, values = self._layers.start(list(features))
        return DecoderState(keys, values, [len(window) for window in features])

    @inference
    def prefill(
        self, state: DecoderState, tokens: Sequence[Sequence[int]]
    ) -> tuple[Tensor, Tensor]:
        """Feed the first tokens of every window, in one pass.

        How many of them stand the caller says by `state.lengths`. Returns hidden states (windows,
        n, width) and the cross-attention of the alignment heads, (heads, windows, n, frames),
        softmaxed over frames; both are meaningless behind a window's own tokens.
        """
        counts = [len(row) for row in tokens]
        longest = max(counts)
        padded = [[*row, *[0] * (longest - len(row))] for row in tokens]
        index = torch.tensor(padded, device=state.lengths.device)
        x = self._embedding[index].to(self._positions.dtype) + self._positions[:longest]
        hidden, rows, state.self_keys, state.self_values = self._layers.prefill(
            x, counts, state.cross_keys, state.cross_values, state.frames
        )
        return hidden, rows

    @inference
    def step(self, state: DecoderState, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Append one token to every row.

        tokens: (rows,). Returns hidden states (rows, width) and the alignment heads'
        cross-attention, (heads, windows, beams, frames), softmaxed over frames.
        """
        x = self._embedding[tokens].to(self._positions.dtype) + self._positions[state.lengths]
        used = (state.lengths[:: state.beams] + 1).tolist()
        state.make_room(max(used))
        hidden, rows = self._layers.step(
            x[:, None],
            state.lengths,
            used,
            state.self_keys,
            state.self_values,
            state.cross_keys,
            state.cross_values,
            state.frames,
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
    def start(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Keys and values of cross-attention, as DecoderState has them."""
        longest = max([len(window) for window in features])
        like = features[0]
        shape = [len(features), self.heads, longest, like.shape[1] // self.heads]
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
        return keys, values

    @torch.jit.export
    def prefill(
        self,
        x: Tensor,
        counts: list[int],
        cross_keys: list[Tensor],
        cross_values: list[Tensor],
        frames: list[int],
    ) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
        """Also the keys and values of self-attention."""
        self_keys: list[Tensor] = []
        self_values: list[Tensor] = []
        rows: list[Tensor] = []
        for layer, block in enumerate(self.blocks):
            query, keys, values = block.project(x)  # type: ignore[operator]
            self_keys.append(keys)
            self_values.append(values)
            attended = torch.zeros_like(query)
            for window, count in enumerate(counts):
                attended[window, :, :count] = F.scaled_dot_product_attention(
                    query[window : window + 1, :, :count],
                    keys[window : window + 1, :, :count],
                    values[window : window + 1, :, :count],
                    is_causal=True,
                )[0]
            x = block.finish(  # type: ignore[operator]
                x, attended, counts, cross_keys[layer], cross_values[layer], frames, rows
            )
        return self.normalise(x), torch.cat(rows), self_keys, self_values

    @torch.jit.export
    def step(
        self,
        x: Tensor,
        lengths: Tensor,
        used: list[int],
        self_keys: list[Tensor],
        self_values: list[Tensor],
        cross_keys: list[Tensor],
        cross_values: list[Tensor],
        frames: list[int],
    ) -> tuple[Tensor, Tensor]:
        """Writes the new keys and values of self-attention behind those that there are.

        used: positions of self-attention per window, the new one included.
        """
        every_row = torch.arange(len(x), device=x.device)
        beams = len(x) // len(frames)
        counts = [beams for _ in frames]
        rows: list[Tensor] = []
        for layer, block in enumerate(self.blocks):
            query, key, value = block.project(x)  # type: ignore[operator]
            keys, values = self_keys[layer], self_values[layer]
            keys[every_row, :, lengths] = key[:, :, 0]
            values[every_row, :, lengths] = value[:, :, 0]
            attended = torch.zeros_like(query)
            for window, length in enumerate(used):
                first, end = window * beams, (window + 1) * beams
                attended[first:end], _ = attend(
                    query[first:end], keys[first:end, :, :length], values[first:end, :, :length]
                )
            x = block.finish(  # type: ignore[operator]
                x, attended, counts, cross_keys[layer], cross_values[layer], frames, rows
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
        counts: list[int],
        cross_keys: Tensor,
        cross_values: Tensor,
        frames: list[int],
        rows: list[Tensor],
    ) -> Tensor:
        """What follows self-attention; adds this layer's alignment heads' attention to `rows`.

        counts: queries of each window.
        """
        x = x + self.out(_join_heads(attended))
        # The hypotheses of a window are so many queries to its one encoding.
        query = self.cross_query(self.cross_norm(x))
        query = query.view(len(frames), -1, self.heads, x.shape[2] // self.heads).transpose(1, 2)
        attended = torch.zeros_like(query)
        heads = self.alignment_heads
        shown = torch.zeros(
            len(heads), len(frames), query.shape[2], cross_keys.shape[2], device=x.device
        )
        for window, length in enumerate(frames):
            count = counts[window]
            attended[window, :, :count], weights = attend(
                query[window, :, :count],
                cross_keys[window, :, :length],
                cross_values[window, :, :length],
            )
            for number, head in enumerate(heads):
                shown[number, window, :count, :length] = weights[head]
        rows.append(shown)
        x = x + self.cross_out(_join_heads(attended).view(x.shape))
        added: Tensor = self.down(F.gelu(self.up(self.mlp_norm(x))))
        return x + added


def attend(query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Attention that shows its weights; for few queries, where fusing gains nothing."""
    scores = (query * query.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    weights = scores.softmax(dim=-1)
    return weights @ values, weights


def _join_heads(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(start_dim=2)
