"""The policy's arithmetic against the same thing done the long way."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from torch import Tensor
from whisper.timing import median_filter

from fsbot.engine.alignatt import (
    AttentionTracker,
    _median_filter,
    align_monotonically,
    settled,
)

Array = NDArray[np.float64]

MEDIAN_WIDTH = 7


@given(st.lists(st.integers(0, 200)), st.integers(0, 200), st.integers(0, 60))
def test_tokens_are_settled_up_to_the_first_that_listens_to_the_end(
    frames: list[int], audio_frames: int, threshold: int
) -> None:
    count = settled(frames, audio_frames, threshold)
    assert all(frame < audio_frames - threshold for frame in frames[:count])
    assert count == len(frames) or frames[count] >= audio_frames - threshold


def test_a_token_on_the_threshold_waits() -> None:
    assert settled([10, 74, 75, 20], audio_frames=100, frame_threshold=25) == 2


def attended_the_long_way(rows: Array) -> tuple[int, Array]:
    """rows: (heads, tokens, frames). The last token's frame, all tokens in one pass."""
    deviation = np.sqrt(np.maximum(rows.var(axis=1), 1e-12))
    normalised = (rows[:, -1] - rows.mean(axis=1)) / deviation
    reach = MEDIAN_WIDTH // 2
    if rows.shape[2] > reach:
        padded = np.pad(normalised, ((0, 0), (reach, reach)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, MEDIAN_WIDTH, axis=1)
        normalised = np.median(windows, axis=2)
    attention = normalised.mean(axis=0)
    return int(attention.argmax()), attention


@settings(max_examples=100, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(4, 40)),
        # Few values: what is equal must not be lost on the way through the network.
        elements=st.integers(-3, 3).map(float) | st.floats(-9, 9, width=32),
    )
)
def test_the_median_is_openai_whispers(x: NDArray[np.float32]) -> None:
    found = _median_filter(torch.from_numpy(x))
    torch.testing.assert_close(
        found, median_filter(torch.from_numpy(x), MEDIAN_WIDTH), rtol=0, atol=0
    )


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 40)), min_size=1, max_size=3),
    st.integers(0, 4),
)
def test_running_sums_equal_the_whole_sequence(
    seed: int, heads: int, windows: list[tuple[int, int]], steps: int
) -> None:
    """Windows with so many first tokens and so much audio each, then some steps together."""
    generator = torch.Generator().manual_seed(seed)
    counts = [count for count, _ in windows]
    limits = [limit for _, limit in windows]
    frames, longest = max(limits) + 4, max(counts)
    shape = (heads, len(windows), longest + steps, frames)
    rows = torch.rand(shape, generator=generator, dtype=torch.float64).mul(8).softmax(dim=-1)
    tracker = AttentionTracker(limits, rows[:, :, :longest], counts)
    found = [tracker.first(window, count - 1, count) for window, count in enumerate(counts)]
    for window, (count, limit) in enumerate(windows):
        attended, attention = found[window]
        check(rows[:, window, :count].numpy(), limit, attended[0], attention[0])
    for step in range(longest, longest + steps):
        frames_of, together = tracker.add(rows[:, :, step : step + 1])
        for window, (count, limit) in enumerate(windows):
            said = [*range(count), *range(longest, step + 1)]
            past = rows[:, window, said].numpy()
            check(past, limit, frames_of[window][0], together[window, 0])


def check(past: Array, limit: int, frame: int, attention: Tensor) -> None:
    _, expected = attended_the_long_way(past)
    np.testing.assert_allclose(attention[:limit].numpy(), expected[:limit], rtol=1e-4, atol=1e-4)
    assert torch.isinf(attention[limit:]).all()
    assert expected[frame] == pytest.approx(expected[:limit].max(), abs=1e-4)


def test_frames_that_every_token_looks_at_do_not_count() -> None:
    rows = torch.full((1, 1, 3, 30), 0.001)
    rows[..., 0] = 0.6
    for token in range(3):
        rows[0, 0, token, 5 + 8 * token : 10 + 8 * token] = 0.05
    (frame,), _ = AttentionTracker([30], rows, [3]).first(0, 2, 3)
    assert 21 <= frame < 26


def test_hypotheses_take_their_past_along() -> None:
    rows = torch.rand(2, 1, 7, 50, generator=torch.Generator().manual_seed(3))
    several = AttentionTracker([50], rows[:, :, :4], [4])
    several.widen(3)
    several.add(rows[:, :, [4, 5, 4]])
    several.reorder(torch.tensor([1, 0, 1]))
    _, attention = several.add(rows[:, :, [6, 6, 6]])
    for row, past in enumerate([[5, 6], [4, 6], [5, 6]]):
        said = [0, 1, 2, 3, *past]
        _, alone = AttentionTracker([50], rows[:, :, said], [6]).first(0, 5, 6)
        torch.testing.assert_close(attention[0, row], alone[0], atol=1e-4, rtol=1e-3)


def test_first_tokens_that_do_not_stand_leave_no_trace() -> None:
    rows = torch.rand(2, 2, 6, 50, generator=torch.Generator().manual_seed(4))
    tracker = AttentionTracker([50, 50], rows[:, :, :5], [5, 5])
    tracker.truncate(1, 3)
    _, attention = tracker.add(rows[:, :, 5:])
    _, alone = AttentionTracker([50], rows[:, 1:, [0, 1, 2, 5]], [4]).first(0, 3, 4)
    torch.testing.assert_close(attention[1, 0], alone[0], atol=1e-4, rtol=1e-3)


def naive_warping(attention: Array) -> float:
    """Cost of the best path: one token on or one frame on or both, free at both ends in time."""
    tokens, frames = attention.shape
    best = np.full((tokens, frames), np.inf)
    for token in range(tokens):
        for frame in range(frames):
            ways = [0.0] if token == 0 else []
            if token and frame:
                ways.append(best[token - 1, frame - 1])
            if token:
                ways.append(best[token - 1, frame])
            if frame:
                ways.append(best[token, frame - 1])
            best[token, frame] = min(ways) - attention[token, frame]
    return float(best[-1].min())


def cost_of(attention: Array, starts: Sequence[int], end: int) -> float:
    """Cost of the best path on which the tokens begin there.

    A token may share its last frame with the first one of the next.
    """
    cost = 0.0
    for token, start in enumerate(starts):
        following = starts[token + 1] if token + 1 < len(starts) else end
        cost -= attention[token, start : max(following, start + 1)].sum()
        if start < following < end and token + 1 < len(starts):
            cost += min(0.0, -attention[token, following])
    return cost


@settings(max_examples=150, deadline=None)
@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.floats(-4, 4, width=32),
    )
)
def test_alignment_is_a_best_monotonic_path(attention: NDArray[np.float32]) -> None:
    starts, end = align_monotonically(attention)
    tokens, frames = attention.shape
    assert len(starts) == tokens
    assert starts == sorted(starts)
    assert 0 <= starts[0] <= starts[-1] < end <= frames
    exact = attention.astype(np.float64)
    assert cost_of(exact, starts, end) == pytest.approx(naive_warping(exact), abs=1e-6)


def test_tokens_begin_where_they_listen() -> None:
    attention = np.full((3, 40), -1.0, dtype=np.float32)
    for token, (start, end) in enumerate([(4, 9), (9, 20), (25, 30)]):
        attention[token, start:end] = 3.0
    starts, end = align_monotonically(attention)
    assert (starts[0], starts[1], end) == (4, 9, 30)
    assert 20 <= starts[2] <= 25
