"""From encoded audio to tokens: greedy or beam search that watches where the model listens."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from fsbot.engine.alignatt import AttentionTracker
from fsbot.engine.guards import echoing_tail, looping_tail

if TYPE_CHECKING:
    from fsbot.engine.model import SpeechModel

NO_SPEECH_PROBABILITY = 0.6
SURE_LOG_PROBABILITY = -1.0


@dataclass(frozen=True, slots=True)
class DecodingTask:
    """One window to decode.

    prompt: tokens before the text (context, start of transcript, language, task); prefix: text
    tokens that stand already; audio_frames: frames of real audio in the window; max_tokens: budget
    for new tokens; never, never_first: masks over the vocabulary of tokens not to be chosen, at all
    or as the first; beams: 1 is greedy; rewind_frames: how far attention may jump back before the
    rest counts as invented.
    """

    prompt: tuple[int, ...]
    prefix: tuple[int, ...]
    audio_frames: int
    max_tokens: int
    start_token: int
    end_token: int
    no_speech_token: int
    never: torch.Tensor
    never_first: torch.Tensor
    beams: int = 1
    rewind_frames: int = 200


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text tokens after the prefix, each with the frame it attends to and its log-probability.

    attention: (tokens, audio frames), the rows the frames were read from. complete: the model
    itself ended the text, rather than a guard. no_speech: the model's own probability that nobody
    speaks in the window, 0 to 1.
    """

    tokens: list[int]
    frames: list[int]
    log_probs: list[float]
    attention: NDArray[np.float32]
    complete: bool
    no_speech: float

    @property
    def mean_log_prob(self) -> float:
        """Mean log-probability of the tokens; 0 without any."""
        return sum(self.log_probs) / max(1, len(self.log_probs))

    @property
    def silent(self) -> bool:
        """Nobody speaks: the model says so and is unsure of its words (Whisper's own rule)."""
        unsure = self.mean_log_prob < SURE_LOG_PROBABILITY
        return not self.tokens or (unsure and self.no_speech > NO_SPEECH_PROBABILITY)


@dataclass(frozen=True, slots=True)
class _Hypothesis:
    tokens: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    attention: list[torch.Tensor] = field(default_factory=list)
    complete: bool = False

    @property
    def score(self) -> float:
        """Mean log-probability, its end included: long and short hypotheses compare."""
        return sum(self.log_probs) / max(1, len(self.log_probs))

    def extended(
        self, token: int, log_prob: float, frame: int, attention: torch.Tensor
    ) -> "_Hypothesis":
        return replace(
            self,
            tokens=[*self.tokens, token],
            frames=[*self.frames, frame],
            log_probs=[*self.log_probs, log_prob],
            attention=[*self.attention, attention],
        )

    def ended(self, log_prob: float) -> "_Hypothesis":
        return replace(self, log_probs=[*self.log_probs, log_prob], complete=True)

    def repeated_tail(self) -> int:
        """Tokens at the end that nobody said: a loop, or an echo."""
        return looping_tail(self.tokens) or echoing_tail(self.tokens, self.frames)

    def without_tail(self, tokens: int) -> "_Hypothesis":
        keep = len(self.tokens) - tokens
        return replace(
            self,
            tokens=self.tokens[:keep],
            frames=self.frames[:keep],
            log_probs=self.log_probs[:keep],
            attention=self.attention[:keep],
        )


@torch.inference_mode()
def decode(model: "SpeechModel", features: torch.Tensor, task: DecodingTask) -> Decoded:
    """Decode one window to the end of its text.

    features: (1, frames, width) from SpeechModel.encode. AlignAtt's decision, how much of the
    result is settled, is left to the caller, who also wants the rest as the tentative text.
    """
    state = model.start(features)
    tracker = AttentionTracker(task.audio_frames)
    # The probability of no speech stands behind the start of the transcript, so the prompt is fed
    # in two pieces: up to that token, and the rest.
    head = task.prompt.index(task.start_token) + 1
    log_probs, rows = model.step(state, _row(task.prompt[:head], features))
    tracker.add(rows)
    no_speech = float(log_probs[0, task.no_speech_token].exp())
    tokens = _row(task.prompt[head:] + task.prefix, features)
    forbidden = task.never_first
    live = [_Hypothesis()]
    done: list[_Hypothesis] = []
    for _ in range(task.max_tokens):
        log_probs, rows = model.step(state, tokens)
        frames, attention = tracker.add(rows)
        log_probs = log_probs.masked_fill(forbidden, -torch.inf)
        forbidden = task.never
        live, parents, ended = _extend(live, log_probs, frames, attention, task)
        done += ended
        if not live or len(done) >= task.beams:
            break
        if parents != list(range(tokens.shape[0])):
            state.reorder(parents)
            tracker.reorder(parents)
        tokens = torch.tensor([[h.tokens[-1]] for h in live], device=features.device)
    best = max(done or live, key=lambda hypothesis: (hypothesis.complete, hypothesis.score))
    return _result(best, task, no_speech)


def _row(tokens: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor([tokens], device=like.device)


def _extend(
    live: list[_Hypothesis],
    log_probs: torch.Tensor,
    frames: list[int],
    attention: torch.Tensor,
    task: DecodingTask,
) -> tuple[list[_Hypothesis], list[int], list[_Hypothesis]]:
    """One step of the search: survivors, the row each came from, and hypotheses that ended."""
    choices = []
    best_values, best_tokens = log_probs.topk(task.beams, dim=-1)
    for row, hypothesis in enumerate(live):
        total = sum(hypothesis.log_probs)
        for value, token in zip(best_values[row].tolist(), best_tokens[row].tolist(), strict=True):
            choices.append((total + value, value, token, row))
    choices.sort(key=lambda choice: -choice[0])
    survivors: list[_Hypothesis] = []
    parents: list[int] = []
    ended: list[_Hypothesis] = []
    for _, log_prob, token, row in choices[: task.beams]:
        hypothesis = live[row]
        if token == task.end_token:
            ended.append(hypothesis.ended(log_prob))
            continue
        if hypothesis.frames and frames[row] < hypothesis.frames[-1] - task.rewind_frames:
            ended.append(hypothesis)
            continue
        longer = hypothesis.extended(token, log_prob, frames[row], attention[row])
        if repeated := longer.repeated_tail():
            ended.append(longer.without_tail(repeated))
            continue
        survivors.append(longer)
        parents.append(row)
    return survivors, parents, ended


def _result(best: _Hypothesis, task: DecodingTask, no_speech: float) -> Decoded:
    tokens = len(best.tokens)
    if tokens:
        attention = torch.stack(best.attention).cpu().numpy()
    else:
        attention = np.zeros((0, task.audio_frames), dtype=np.float32)
    return Decoded(
        best.tokens,
        best.frames,
        best.log_probs[:tokens],
        attention,
        complete=best.complete,
        no_speech=no_speech,
    )
