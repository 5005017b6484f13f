"""The AlignAtt policy: which frame of the audio does each token listen to?

A token whose attention lies close to the end of the audio heard so far would change if more were
heard, so it waits. See AlignAtt (Papi et al., arXiv 2305.11408) and Simul-Whisper (Wang et al.,
arXiv 2406.10052). Everything here is arithmetic on attention weights; nothing knows the model.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from whisper.timing import median_filter

MEDIAN_WIDTH = 7
"""Frames of the median filter over attention, as openai-whisper's word timing has it."""


class AttentionTracker:
    """Follows the frame that each new token attends to, for several hypotheses at once.

    A head's attention is normalised over all tokens so far, so that frames which every token looks
    at (the start of the window, a silence) don't count as heard. Mean and variance are kept as
    running sums: a step costs the same however many tokens came before.
    """

    def __init__(self, audio_frames: int) -> None:
        """audio_frames: frames of real audio; attention to the padding behind them is ignored."""
        self.audio_frames = audio_frames
        self._count = 0
        self._sum: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, rows: Tensor) -> tuple[list[int], Tensor]:
        """Take in the attention of newly fed tokens.

        rows: (heads, hypotheses, tokens, frames), softmaxed over frames. Returns for the last
        token of each hypothesis the attended frame, and the attention it was read from,
        (hypotheses, audio frames).
        """
        rows = rows[..., : self.audio_frames]
        added, added_squares = rows.sum(dim=2), rows.square().sum(dim=2)
        self._sum = added if self._sum is None else self._sum + added
        self._squares = added_squares if self._squares is None else self._squares + added_squares
        self._count += rows.shape[2]
        mean = self._sum / self._count
        deviation = (self._squares / self._count - mean.square()).clamp(min=1e-12).sqrt()
        normalised = (rows[:, :, -1] - mean) / deviation
        attention = median_filter(normalised, MEDIAN_WIDTH).mean(dim=0)
        return attention.argmax(dim=-1).tolist(), attention

    def reorder(self, hypotheses: list[int]) -> None:
        """Follow DecoderState.reorder."""
        if self._sum is not None and self._squares is not None:
            index = torch.tensor(hypotheses, device=self._sum.device)
            self._sum = self._sum.index_select(1, index)
            self._squares = self._squares.index_select(1, index)


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
