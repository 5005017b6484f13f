"""From encoded audio to tokens: greedy or beam search that watches where the model listens.

Many windows are decoded together, a step of the decoder for all of them at a time; each leaves when
its text is over. What an earlier decoding of almost the same audio has found, the draft, is checked
in the pass that reads the prompt, instead of being searched again token by token.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsbot.engine.alignatt import AttentionTracker
from fsbot.engine.guards import echoing_tail, looping_tail
from fsbot.engine.torchscript import inference

if TYPE_CHECKING:
    from fsbot.engine.model import SpeechModel

NO_SPEECH_PROBABILITY = 0.6
SURE_LOG_PROBABILITY = -1.0


@dataclass(frozen=True, slots=True)
class DecodingTask:
    """One window to decode.

    prompt: tokens before the text (context, start of transcript, language, task); prefix: text
    tokens that stand already; draft: tokens that probably follow, which change the speed and not
    the result (greedy search only); audio_frames: frames of real audio in the window; max_tokens:
    budget for new tokens, 0 for none; watched: tokens whose probabilities right after the start of
    the transcript are wanted; never, never_first: masks over the vocabulary of tokens not to be
    chosen, at all or as the first; beams: 1 is greedy; rewind_frames: how far attention may jump
    back before the rest counts as invented.
    """

    prompt: tuple[int, ...]
    prefix: tuple[int, ...]
    audio_frames: int
    max_tokens: int
    start_token: int
    end_token: int
    watched: tuple[int, ...]
    never: Tensor
    never_first: Tensor
    draft: tuple[int, ...] = ()
    beams: int = 1
    rewind_frames: int = 200
    alike: Sequence[int] = ()
    """Of every token of the vocabulary, what it writes, as guards.repeats_itself wants it; empty:
    the text is not looked at."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text tokens after the prefix, each with the frame it attends to and its log-probability.

    attention: (tokens, audio frames), the rows the frames were read from. complete: the model
    itself ended the text, rather than a guard. watched: probabilities of the task's watched tokens,
    0 to 1.
    """

    tokens: list[int]
    frames: list[int]
    log_probs: list[float]
    attention: NDArray[np.float32]
    complete: bool
    watched: list[float]

    @property
    def mean_log_prob(self) -> float:
        """Mean log-probability of the tokens; 0 without any."""
        return sum(self.log_probs) / max(1, len(self.log_probs))

    @property
    def silent(self) -> bool:
        """Nobody speaks: the model says so and is unsure of its words (Whisper's own rule).

        The first watched token is the one for no speech.
        """
        unsure = self.mean_log_prob < SURE_LOG_PROBABILITY
        return not self.tokens or (unsure and self.watched[0] > NO_SPEECH_PROBABILITY)


@dataclass(frozen=True, slots=True)
class _Hypothesis:
    tokens: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    attention: list[Tensor] = field(default_factory=list)
    complete: bool = False

    @property
    def score(self) -> float:
        """Mean log-probability, its end included: long and short hypotheses compare."""
        return sum(self.log_probs) / max(1, len(self.log_probs))

    def extended(self, token: int, log_prob: float, frame: int, attention: Tensor) -> "_Hypothesis":
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
        return looping_tail(self.tokens, self.frames) or echoing_tail(self.tokens, self.frames)

    def without_tail(self, tokens: int) -> "_Hypothesis":
        keep = len(self.tokens) - tokens
        return replace(
            self,
            tokens=self.tokens[:keep],
            frames=self.frames[:keep],
            log_probs=self.log_probs[:keep],
            attention=self.attention[:keep],
        )


class _Search:
    """The hypotheses of one window."""

    def __init__(self, task: DecodingTask) -> None:
        self.task = task
        self.live = [_Hypothesis()]
        self.watched: list[float] = []
        self._done: list[_Hypothesis] = []
        self._steps = 0

    @property
    def over(self) -> bool:
        finished = not self.live or len(self._done) >= self.task.beams
        return finished or self._steps >= self.task.max_tokens

    def advance(
        self,
        log_probs: Sequence[Sequence[float]],
        tokens: Sequence[Sequence[int]],
        frames: Sequence[int],
        attention: Tensor,
    ) -> list[int]:
        """One step: the best next tokens of every live hypothesis; returns whose survived.

        log_probs, tokens: per hypothesis, best first; frames, attention: where each one listens.
        """
        self._steps += 1
        choices = [
            (sum(hypothesis.log_probs) + log_prob, log_prob, token, row)
            for row, hypothesis in enumerate(self.live)
            for log_prob, token in zip(log_probs[row], tokens[row], strict=True)
        ]
        choices.sort(key=lambda choice: -choice[0])
        before, self.live = self.live, []
        parents = []
        for _, log_prob, token, row in choices[: self.task.beams]:
            longer = self._grown(before[row], token, log_prob, frames[row], attention[row])
            if longer is not None:
                self.live.append(longer)
                parents.append(row)
        return parents

    def _grown(
        self, hypothesis: _Hypothesis, token: int, log_prob: float, frame: int, attention: Tensor
    ) -> _Hypothesis | None:
        """The hypothesis with one more token; None if it is over."""
        if token == self.task.end_token:
            self._done.append(hypothesis.ended(log_prob))
            return None
        if hypothesis.frames and frame < hypothesis.frames[-1] - self.task.rewind_frames:
            self._done.append(hypothesis)
            return None
        longer = hypothesis.extended(token, log_prob, frame, attention)
        if repeated := longer.repeated_tail():
            self._done.append(longer.without_tail(repeated))
            return None
        return longer

    def result(self) -> Decoded:
        """The best hypothesis."""
        candidates = self._done or self.live
        best = max(candidates, key=lambda hypothesis: (hypothesis.complete, hypothesis.score))
        frames = self.task.audio_frames
        attention = np.zeros((0, frames), dtype=np.float32)
        if best.tokens:
            attention = torch.stack(best.attention)[:, :frames].cpu().numpy()
        return Decoded(
            best.tokens,
            best.frames,
            best.log_probs[: len(best.tokens)],
            attention,
            best.complete,
            self.watched,
        )


@inference
def decode(
    model: "SpeechModel", features: Sequence[Tensor], tasks: Sequence[DecodingTask]
) -> list[Decoded]:
    """Decode windows to the end of their texts, all with the same number of beams.

    features: (frames, width) of each, from SpeechModel.encode. AlignAtt's decision, how much of a
    result is settled, is left to the caller, who also wants the rest as the tentative text.
    """
    searches = [_Search(task) for task in tasks]
    batch = _Batch(model, features, searches)
    while batch.running:
        batch.step()
    return [search.result() for search in searches]


class _Batch:
    """Searches that go on together, each a window of the decoder's state."""

    def __init__(
        self, model: "SpeechModel", features: Sequence[Tensor], searches: Sequence[_Search]
    ) -> None:
        self._decoder = model.decoder
        self._device = model.device
        self._searches = list(searches)
        self._beams = searches[0].task.beams
        self._never = torch.stack([search.task.never for search in searches])[:, None]
        self._state = self._decoder.start(features)
        self._tracker = self._prefill()
        self._retire()
        if self._beams > 1:
            self._state.widen(self._beams)
            self._tracker.widen(self._beams)

    @property
    def running(self) -> bool:
        return any(not search.over for search in self._searches)

    def step(self) -> None:
        """One more token for every live hypothesis."""
        tokens = [self._last_tokens(search) for search in self._searches]
        hidden, rows = self._decoder.step(self._state, self._tensor(tokens).flatten())
        frames, attention = self._tracker.add(rows)
        log_probs = self._decoder.logits(hidden).log_softmax(dim=-1)
        log_probs = log_probs.view(len(self._searches), self._beams, -1)
        values, best = log_probs.masked_fill_(self._never, -torch.inf).topk(self._beams)
        parents = []
        for window, (search, value, token) in enumerate(
            zip(self._searches, values.tolist(), best.tolist(), strict=True)
        ):
            survivors = []
            if not search.over:
                survivors = search.advance(value, token, frames[window], attention[window])
            first_row = window * self._beams
            # Rows whose hypothesis is gone keep their place with a copy of another.
            filled = (survivors + survivors[:1] * self._beams)[: self._beams] or range(self._beams)
            parents += [first_row + row for row in filled]
        if parents != list(range(len(parents))):
            rows_kept = torch.tensor(parents)
            self._state.reorder(rows_kept)
            self._tracker.reorder(rows_kept)
        self._retire()

    def _prefill(self) -> AttentionTracker:
        """Prompt, prefix and draft of every window in one pass, and the first steps."""
        tasks = [search.task for search in self._searches]
        drafts = [task.draft[: task.max_tokens - 1] if self._beams == 1 else () for task in tasks]
        standing = [len(task.prompt) + len(task.prefix) for task in tasks]
        texts = [(*t.prompt, *t.prefix, *draft) for t, draft in zip(tasks, drafts, strict=True)]
        hidden, rows = self._decoder.prefill(self._state, texts)
        tracker = AttentionTracker([task.audio_frames for task in tasks], rows, standing)
        self._state.lengths = self._tensor(standing)
        for window, search in enumerate(self._searches):
            task = search.task
            start, first = task.prompt.index(task.start_token), standing[window] - 1
            positions = [start, *range(first, len(texts[window]))]
            logits = self._decoder.logits(hidden[window, positions])
            search.watched = logits[0].softmax(dim=-1)[list(task.watched)].tolist()
            if not search.over:
                kept = self._check(search, drafts[window], logits[1:], tracker, window, first)
                tracker.truncate(window, standing[window] + kept)
                self._state.lengths[window] += kept
        return tracker

    def _check(
        self,
        search: _Search,
        draft: Sequence[int],
        logits: Tensor,
        tracker: AttentionTracker,
        window: int,
        first: int,
    ) -> int:
        """The search's first steps, as far as the draft is what it would have found.

        logits: after the standing tokens, and after each of the draft's. Returns how many tokens of
        the draft are kept in the decoder's state.
        """
        log_probs = logits.log_softmax(dim=-1)
        log_probs[0].masked_fill_(search.task.never_first, -torch.inf)
        log_probs[1:].masked_fill_(search.task.never, -torch.inf)
        values, best = log_probs.topk(self._beams)
        frames, attention = tracker.first(window, first, first + len(logits))
        for kept, (value, token) in enumerate(zip(values.tolist(), best.tolist(), strict=True)):
            part = slice(kept, kept + 1)
            search.advance([value], [token], frames[part], attention[part])
            if search.over or kept == len(draft) or search.live[0].tokens[-1] != draft[kept]:
                return kept
        return len(draft)

    def _last_tokens(self, search: _Search) -> list[int]:
        tokens = [] if search.over else [hypothesis.tokens[-1] for hypothesis in search.live]
        return (tokens + [search.task.end_token] * self._beams)[: self._beams]

    def _retire(self) -> None:
        """Drop windows that are over once they are half of all: dropping them copies the rest."""
        going = [window for window, search in enumerate(self._searches) if not search.over]
        if going and len(going) <= len(self._searches) // 2:
            self._searches = [self._searches[window] for window in going]
            self._never = self._never[going]
            self._state.keep(going)
            self._tracker.keep(going)
        elif len(going) < len(self._searches):
            self._forget_finished()

    def _forget_finished(self) -> None:
        # A window that is over starts from nothing again, so as never to outgrow the decoder.
        rows = self._state.lengths.view(len(self._searches), -1)
        for window, search in enumerate(self._searches):
            if search.over:
                rows[window] = 0

    def _tensor(self, values: Sequence[object]) -> Tensor:
        return torch.tensor(values, device=self._device)
