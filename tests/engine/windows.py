"""Windows to decode alone and in company, and what the decoder says of tokens it is given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from hearing import Samples
from torch import Tensor

from fsbot.engine.alignatt import AttentionTracker
from fsbot.engine.decoding import Decoded, DecodingTask, decode
from fsbot.engine.model import SAMPLES_PER_FRAME, SpeechModel
from fsbot.engine.voice import Voice


@dataclass(frozen=True)
class Given:
    """An encoded window, and tokens that are forced on it.

    first: fed in one pass, of which the last `dropped` do not stand; then: fed one by one.
    """

    features: Tensor
    first: Sequence[int]
    dropped: int
    then: Sequence[int]


def forced_logits(model: SpeechModel, windows: Sequence[Given]) -> list[Tensor]:
    """Logits behind every token of every window, (tokens, vocabulary), all decoded together.

    Windows whose tokens are over go on with anything until the last one's are.
    """
    decoder = model.decoder
    state = decoder.start([window.features for window in windows])
    hidden, _ = decoder.prefill(state, [window.first for window in windows])
    state.lengths = torch.tensor([len(window.first) - window.dropped for window in windows])
    found = [
        [decoder.logits(hidden[number, : len(window.first)])]
        for number, window in enumerate(windows)
    ]
    for step in range(max(len(window.then) for window in windows)):
        tokens = [window.then[step] if step < len(window.then) else 0 for window in windows]
        hidden, _ = decoder.step(state, torch.tensor(tokens))
        logits = decoder.logits(hidden)
        for number, window in enumerate(windows):
            if step < len(window.then):
                found[number].append(logits[number][None])
    return [torch.cat(parts) for parts in found]


def task_of(voice: Voice, samples: Samples, **changes: object) -> DecodingTask:
    """The task of a whole utterance in those samples."""
    frames = len(samples) // SAMPLES_PER_FRAME
    return replace(voice.task((), [], frames, rewind_frames=frames), **changes)  # type: ignore[arg-type]


def decode_alone(model: SpeechModel, features: Tensor, task: DecodingTask) -> Decoded:
    [decoded] = decode(model, [features], [task])
    return decoded


def read_at_once(model: SpeechModel, features: Tensor, task: DecodingTask, text: Decoded) -> Tensor:
    """The attention of a text's tokens, (tokens, frames), when all are fed in one pass."""
    before = len(task.prompt) + len(task.prefix)
    fed = [*task.prompt, *task.prefix, *text.tokens]
    state = model.decoder.start([features])
    _, rows = model.decoder.prefill(state, [fed])
    tracker = AttentionTracker([task.audio_frames], rows, [len(fed)])
    # A token's frame is that of the position which it is predicted at, the one before it.
    _, attention = tracker.first(0, before - 1, len(fed) - 1)
    return attention[:, : task.audio_frames]


def check_same_text(
    model: SpeechModel,
    features: Tensor,
    task: DecodingTask,
    alone: Decoded,
    other: Decoded,
    tolerance: float,
) -> None:
    """The texts are the same, but for a token whose rival was closer than the tolerance."""
    if alone.tokens == other.tokens:
        assert alone.complete == other.complete
        assert other.log_probs == pytest.approx(alone.log_probs, abs=tolerance)
        assert other.watched == pytest.approx(alone.watched, abs=tolerance)
        return
    same = 0
    while alone.tokens[same : same + 1] == other.tokens[same : same + 1]:
        same += 1
    standing = (*task.prompt, *task.prefix, *alone.tokens[:same])
    [logits] = forced_logits(model, [Given(features, standing, 0, ())])
    never = task.never if same else task.never_first
    best, second = logits[-1].masked_fill(never, -torch.inf).topk(2).values.tolist()
    assert best - second < tolerance, (alone.tokens, other.tokens)
