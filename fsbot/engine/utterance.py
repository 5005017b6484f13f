"""One utterance of one side, from its first sound to its final text."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from whisper.audio import SAMPLE_RATE
from whisper.tokenizer import Tokenizer, get_tokenizer

from fsbot.engine import guards
from fsbot.engine.alignatt import settled
from fsbot.engine.decoding import Decoded, DecodingTask, decode
from fsbot.engine.events import UtteranceFinal, Word, WordsCommitted, joined
from fsbot.engine.model import FRAME_SECONDS, SAMPLES_PER_FRAME, SpeechModel
from fsbot.engine.options import EngineOptions
from fsbot.engine.words import (
    continuation_tokens,
    group_tokens,
    timed_words,
    token_mask,
    unspoken_tokens,
)

LIVE_REWIND = 50
"""Frames (1 s) that attention may jump back before the rest of a window counts as invented."""

PROMPT_SHARE = 0.5
"""Share of the decoder's text context that prompt and context may take, as in Whisper."""


@dataclass(frozen=True, slots=True)
class Voice:
    """How to read one side: model, options, language and what stands before its words."""

    model: SpeechModel
    options: EngineOptions
    tokenizer: Tokenizer
    language: str
    static_prompt: tuple[int, ...]
    never: torch.Tensor
    never_first: torch.Tensor

    @staticmethod
    def of(
        model: SpeechModel,
        options: EngineOptions,
        language: str,
        task: str = "transcribe",
        static_prompt: str = "",
    ) -> "Voice":
        """Prepare tokenizer and masks; `language` is one of Whisper's codes."""
        tokenizer = tokenizer_for(model, language, task)
        vocabulary = model.dims.n_vocab
        never = token_mask(unspoken_tokens(tokenizer), vocabulary)
        prompt = tokenizer.encode(f" {static_prompt.strip()}") if static_prompt.strip() else []
        limit = int(model.dims.n_text_ctx * PROMPT_SHARE) - 1
        return Voice(
            model,
            options,
            tokenizer,
            language,
            tuple(prompt[-limit:]),
            never,
            never | token_mask(continuation_tokens(tokenizer), vocabulary),
        )

    def task(self, context: tuple[int, ...], prefix: list[int], frames: int) -> DecodingTask:
        """A window of `frames` real audio frames, with the committed tokens as prefix."""
        limit = int(self.model.dims.n_text_ctx * PROMPT_SHARE) - 1
        room = min(self.options.max_context_tokens, limit - len(self.static_prompt))
        before = self.static_prompt + (context[-room:] if room > 0 else ())
        prompt = self.tokenizer.sot_sequence_including_notimestamps
        if before:
            prompt = (self.tokenizer.sot_prev, *before, *prompt)
        budget = guards.token_budget(frames * FRAME_SECONDS) - len(prefix)
        space = self.model.dims.n_text_ctx - len(prompt) - len(prefix)
        return DecodingTask(
            prompt=prompt,
            prefix=tuple(prefix),
            audio_frames=frames,
            max_tokens=max(1, min(budget, space)),
            start_token=self.tokenizer.sot,
            end_token=self.tokenizer.eot,
            no_speech_token=self.tokenizer.no_speech,
            never=self.never,
            never_first=self.never_first if prefix else self.never,
            beams=self.options.beams,
            rewind_frames=LIVE_REWIND,
        )


class Utterance:
    """Audio of one utterance, the words committed so far, and the decoding of both."""

    def __init__(
        self,
        number: int,
        audio_start: float,
        speech_start: float,
        context: tuple[int, ...] = (),
        continues: "Utterance | None" = None,
    ) -> None:
        """audio_start: second of the stream at which its audio (lead-in included) begins.

        context: tokens of earlier utterances. continues: the utterance before, if it was cut while
        speech went on: what it has committed from this one's audio is not committed again.
        """
        self.number = number
        self.audio_start = audio_start
        self.speech_start = speech_start
        self.spoken: list[Word] = []
        self._context = context
        self._continues = continues
        self._committed_tokens: list[int] = []
        self._word_tokens: list[list[int]] = []
        self._tentative: tuple[Word, ...] = ()

    def update(self, voice: Voice, audio: NDArray[np.float32]) -> WordsCommitted | None:
        """Decode what has been heard so far and commit what AlignAtt calls settled.

        audio: 16 kHz samples from `audio_start` on. None if there is nothing new to say.
        """
        decoded = self._decode_live(voice, audio)
        frames = len(audio) // SAMPLES_PER_FRAME
        ready = settled(decoded.frames, frames, voice.options.frame_threshold)
        if decoded.silent:
            ready = 0
        return self._commit(voice, decoded, ready)

    def flush(self, voice: Voice, audio: NDArray[np.float32]) -> WordsCommitted | None:
        """The words AlignAtt held back, now that the utterance is over; None if there are none."""
        heard_until = self.audio_start + len(audio) / SAMPLE_RATE
        if self.spoken and self.committed_until >= heard_until - FRAME_SECONDS:
            return None
        decoded = self._decode_live(voice, audio)
        if decoded.silent:
            return None
        event = self._commit(voice, decoded, len(decoded.tokens), speech_final=True)
        return event if event is not None and event.words else None

    def final(
        self, voice: Voice, audio: NDArray[np.float32], speech_end: float
    ) -> tuple[UtteranceFinal, tuple[int, ...]]:
        """The whole utterance decoded once more; also its tokens, context for the next ones."""
        features = voice.model.encode(audio, voice.options.padding)
        frames = len(audio) // SAMPLES_PER_FRAME
        decoded = decode(voice.model, features, voice.task(self._context, [], frames))
        words: list[Word] = []
        if not decoded.silent:
            words = timed_words(voice.tokenizer, decoded, self.audio_start)
            words = self._within_speech(words, speech_end)
        live = joined(self.spoken, voice.language)
        event = UtteranceFinal(
            self.number,
            tuple(words),
            words[0].start if words else self.speech_start,
            words[-1].end if words else speech_end,
            revised=joined(words, voice.language) != live,
            language=voice.language,
        )
        return event, tuple(decoded.tokens)

    def tokens_behind(self, cut: float) -> tuple[int, ...]:
        """Tokens of the words committed from the audio behind `cut`, a second of the stream."""
        tokens: list[int] = []
        for word, group in zip(self.spoken, self._word_tokens, strict=True):
            if (word.start + word.end) / 2 >= cut:
                tokens += group
        return tuple(tokens)

    @property
    def committed_until(self) -> float:
        """Second of the stream up to which words have been committed."""
        return self.spoken[-1].end if self.spoken else self.speech_start

    def _decode_live(self, voice: Voice, audio: NDArray[np.float32]) -> Decoded:
        if self._continues is not None:
            self._committed_tokens += self._continues.tokens_behind(self.audio_start)
            self._continues = None
        features = voice.model.encode(audio, voice.options.padding)
        frames = len(audio) // SAMPLES_PER_FRAME
        task = voice.task(self._context, self._committed_tokens, frames)
        return decode(voice.model, features, task)

    def _commit(
        self, voice: Voice, decoded: Decoded, ready: int, speech_final: bool = False
    ) -> WordsCommitted | None:
        words = self._monotonic(timed_words(voice.tokenizer, decoded, self.audio_start))
        groups = group_tokens(voice.tokenizer, decoded.tokens)
        count = 0
        end = 0
        for number, group in enumerate(groups, start=1):
            end += len(group)
            whole = number < len(groups) or decoded.complete or speech_final
            if end > ready or not whole:
                break
            count = number
        committed, tentative = tuple(words[:count]), tuple(words[count:])
        if not committed and tentative == self._tentative:
            return None
        for group in groups[:count]:
            self._committed_tokens += group
        self.spoken += committed
        self._word_tokens += groups[:count]
        self._tentative = tentative
        return WordsCommitted(
            self.number,
            committed,
            tuple(self.spoken),
            tentative,
            self.audio_start + decoded.attention.shape[1] * FRAME_SECONDS,
            speech_final,
            voice.language,
        )

    def _monotonic(self, words: list[Word]) -> list[Word]:
        """Times that never go back behind a word that has been committed."""
        earliest = self.committed_until
        ordered = []
        for word in words:
            start = max(word.start, earliest)
            ordered.append(replace(word, start=start, end=max(word.end, start)))
            earliest = ordered[-1].end
        return ordered

    def _within_speech(self, words: list[Word], speech_end: float) -> list[Word]:
        """The first word begins where speech was heard to begin, the last ends where it ended."""
        if not words:
            return words
        start, end = self.speech_start, max(speech_end, self.speech_start)
        words = [
            replace(
                word, start=min(max(word.start, start), end), end=min(max(word.end, start), end)
            )
            for word in words
        ]
        words[0] = replace(words[0], start=start)
        words[-1] = replace(words[-1], end=end)
        return words


def tokenizer_for(model: SpeechModel, language: str, task: str) -> Tokenizer:
    """The tokenizer of a model's vocabulary, for a language code and task."""
    return get_tokenizer(
        model.whisper.is_multilingual,
        num_languages=model.whisper.num_languages,
        language=language,
        task=task,
    )
