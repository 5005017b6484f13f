"""The AlignAtt policy: which frame of the audio does each token listen to?

A token whose attention lies close to the end of the audio heard so far would change if more were
heard, so it waits. See AlignAtt (Papi et al., arXiv 2305.11408) and Simul-Whisper (Wang et al.,
arXiv 2406.10052). Everything here is arithmetic on attention weights; nothing knows the model.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fsbot.engine.torchscript import compiled


class AttentionTracker:
    """Follows the frames that new tokens attend to, for a batch of windows with their hypotheses.

    A head's attention is normalised over all tokens so far, so that frames which every token looks
    at (the start of the window, a silence) don't count as heard. Mean and variance are kept as
    running sums: a step costs the same however many tokens came before.
    """

    def __init__(self, audio_frames: Sequence[int], rows: Tensor, counts: Sequence[int]) -> None:
        """audio_frames: frames of real audio per window; attention to what is behind is ignored.

        rows: attention of the tokens fed first, (heads, windows, tokens, frames), softmaxed over
        frames; counts: how many of the tokens count, per window.
        """
        self._attend = _attention_on_cpu if rows.device.type == "cpu" else _attention
        frames = rows.shape[-1]
        limits = torch.tensor(audio_frames, device=rows.device)
        self._unheard = torch.arange(frames, device=rows.device) >= limits[:, None]
        self._counts = torch.tensor(counts, device=rows.device)
        self._rows = rows
        self._sums = rows.cumsum(dim=2)
        self._squares = rows.square().cumsum(dim=2)
        index = (slice(None), torch.arange(len(limits)), self._counts - 1)
        self._sum = self._sums[index][:, :, None]
        self._square = self._squares[index][:, :, None]

    def first(self, window: int, start: int, end: int) -> tuple[list[int], Tensor]:
        """Frames that the tokens `start` to `end` of those fed first attend to.

        Also the attention they were read from, (tokens, frames).
        """
        part = (slice(None), window, slice(start, end))
        counts = torch.arange(start + 1, end + 1, device=self._rows.device)[:, None]
        attention = self._attend(self._rows[part], self._sums[part], self._squares[part], counts)
        attention[:, self._unheard[window]] = -torch.inf
        return attention.argmax(dim=-1).tolist(), attention

    def truncate(self, window: int, count: int) -> None:
        """Of the tokens fed first only `count` stand."""
        self._counts[window] = count
        self._sum[:, window, 0] = self._sums[:, window, count - 1]
        self._square[:, window, 0] = self._squares[:, window, count - 1]

    def add(self, rows: Tensor) -> tuple[list[list[int]], Tensor]:
        """Take in one more token per hypothesis.

        rows: (heads, windows, hypotheses, frames), softmaxed over frames. Returns the attended
        frame per window and hypothesis, and the attention it was read from, (windows, hypotheses,
        frames).
        """
        self._sum = self._sum + rows
        self._square = self._square + rows.square()
        self._counts = self._counts + 1
        counts = self._counts[:, None, None]
        attention = self._attend(rows, self._sum, self._square, counts)
        attention = attention.masked_fill_(self._unheard[:, None], -torch.inf)
        return attention.argmax(dim=-1).tolist(), attention

    def widen(self, beams: int) -> None:
        """Follow DecoderState.widen."""
        self._sum = self._sum.repeat(1, 1, beams, 1)
        self._square = self._square.repeat(1, 1, beams, 1)

    def keep(self, windows: Sequence[int]) -> None:
        """Follow DecoderState.keep."""
        index = torch.tensor(windows, device=self._sum.device)
        self._sum, self._square = self._sum[:, index], self._square[:, index]
        self._counts, self._unheard = self._counts[index], self._unheard[index]

    def reorder(self, rows: Tensor) -> None:
        """Follow DecoderState.reorder."""
        rows = rows.to(self._sum.device)
        self._sum = self._sum.flatten(1, 2)[:, rows].view_as(self._sum)
        self._square = self._square.flatten(1, 2)[:, rows].view_as(self._square)


def _median_filter(x: Tensor) -> Tensor:
    """Median of seven neighbours along the last dimension, mirrored at both ends.

    That of openai-whisper's word timing. A sorting network of whole arrays, which leaves the median
    in the middle, is five to ten times faster here than its way, which sorts every seven.
    """
    padded = F.pad(x.flatten(0, -2)[None], [3, 3], "reflect")[0]
    shifted = [padded[:, offset : offset + x.shape[-1]] for offset in range(7)]
    exchanges = [(0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6)]
    exchanges += [(2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4)]
    for low, high in exchanges:
        lower = torch.minimum(shifted[low], shifted[high])
        shifted[high] = torch.maximum(shifted[low], shifted[high])
        shifted[low] = lower
    return shifted[3].view(x.shape)


def _attention(rows: Tensor, sums: Tensor, squares: Tensor, counts: Tensor) -> Tensor:
    """Normalised over tokens, smoothed over frames, averaged over heads (the first dimension)."""
    mean = sums / counts
    deviation = (squares / counts - mean.square()).clamp_(min=1e-12).sqrt_()
    return _median_filter((rows - mean).div_(deviation)).mean(dim=0)


_attention_on_cpu = compiled(_attention)


def settled(frames: list[int], audio_frames: int, frame_threshold: int) -> int:
    """How many leading tokens no longer depend on audio that is still to come.

    frames: attended frame of each token; frame_threshold: distance from the end of the audio, in
    frames of 0.02 s, within which a token has to wait.
    """
    limit = audio_frames - frame_threshold
    for position, frame in enumerate(frames):
        if frame >= limit:
            return position
    return len(frames)


def align_monotonically(attention: NDArray[np.float32]) -> tuple[list[int], int]:
    """Where each token begins on the best monotonic path through the attention.

    attention: (tokens, frames), higher where a token listens. Returns the first frame of each
    token and the frame behind the last one. Dynamic time warping as in openai-whisper's timing.py,
    with the path free to begin and end anywhere (a window has silence around its words), and one
    vectorised row per token: there numba compiles for seconds at every start of the program, here
    a row is a cumulated sum and a running minimum.
    """
    tokens, frames = attention.shape
    cost = -attention.astype(np.float64)
    total = np.full((tokens + 1, frames + 1), np.inf)
    total[0, :] = 0.0
    for token in range(tokens):
        entered = np.minimum(total[token, :-1], total[token, 1:])
        along = np.concatenate(([0.0], np.cumsum(cost[token])))
        total[token + 1, 1:] = along[1:] + np.minimum.accumulate(entered - along[:-1])
    starts = [0] * tokens
    token, frame = tokens, 1 + int(np.argmin(total[tokens, 1:]))
    end = frame
    while token > 0:
        starts[token - 1] = frame - 1
        came_from = (total[token - 1, frame - 1], total[token - 1, frame], total[token, frame - 1])
        step = int(np.argmin(came_from))
        if step != 1:
            frame -= 1
        if step != 2:
            token -= 1
    return starts, end
