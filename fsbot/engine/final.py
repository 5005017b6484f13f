"""The final text of an utterance: the whole of it decoded once more, from its start.

What was just said by the same voice stands before it in the window, as sound and as the start of
the text: on 520 s of continuous French readings that took the error rate of `base` from 31.6 % to
28.6 %, where openai-whisper on whole 30 s windows makes 28.2 %.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fsbot.engine.decoding import Decoded, decode
from fsbot.engine.events import Word
from fsbot.engine.model import SAMPLES_PER_FRAME
from fsbot.engine.voice import Voice
from fsbot.engine.words import timed_words

Listen = Callable[[float, float], NDArray[np.float32]]
"""16 kHz samples of the stream between two seconds."""

PAUSE_SECONDS = 2.0
"""After a longer silence what was said before does not help any more."""

WINDOW_SECONDS = 15.0
"""Longest window with earlier utterances in it; longer ones gain little and cost encoding."""

REST_SECONDS = 0.5
"""Speech behind the last word of a text that a guard cut short, from which on it is decoded too."""

MOST_PARTS = 5

UNSURE_LOG_PROBABILITY = -0.6
"""Mean log-probability of a text below which it is worth a search.

On 14 recorded calls that is every third utterance; their word errors fall by 5 in a hundred.
"""

SEARCH_BEAMS = 5

HALLUCINATED_SILENCE = 1.5
"""A text that ends this long before the speech does is tried again without what stood before."""


@dataclass(frozen=True, slots=True)
class _Heard:
    audio_start: float
    speech_end: float
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FinalText:
    """Words with their times, and the tokens they were made of."""

    words: list[Word]
    tokens: tuple[int, ...]


class FinalDecoder:
    """Decodes the utterances of one stream, in their order, and remembers the latest."""

    def __init__(self, listen: Listen) -> None:
        self._listen = listen
        self._heard: list[_Heard] = []

    @property
    def needs_audio_from(self) -> float:
        """Second of the stream before which no audio is needed any more."""
        return self._heard[0].audio_start if self._heard else float("inf")

    def forget_before(self, now: float) -> None:
        """Forget what no utterance that begins from `now` on can have in its window."""
        if self._heard and now - self._heard[-1].speech_end > PAUSE_SECONDS:
            self._heard.clear()
        while self._heard and now - self._heard[0].audio_start > WINDOW_SECONDS:
            self._heard.pop(0)

    def decode(
        self,
        voice: Voice,
        context: tuple[int, ...],
        audio_start: float,
        speech: tuple[float, float],
        audio_end: float,
    ) -> FinalText:
        """The final text of the utterance with the given audio and speech, seconds of the stream.

        context: text tokens of earlier utterances for the prompt.
        """
        speech_start, speech_end = speech
        before = self._before(speech_start, audio_end)
        words, tokens, complete = self._decode_parts(
            voice, context, before, audio_start, speech_end, audio_end
        )
        if before and (not words or words[-1].end < speech_end - HALLUCINATED_SILENCE):
            words, tokens, complete = self._decode_parts(
                voice, context, [], audio_start, speech_end, audio_end
            )
        self._heard = [*before, _Heard(audio_start, speech_end, tuple(tokens))] if complete else []
        return FinalText(words, tuple(tokens))

    def _before(self, speech_start: float, audio_end: float) -> list[_Heard]:
        if not self._heard or speech_start - self._heard[-1].speech_end > PAUSE_SECONDS:
            return []
        return [item for item in self._heard if audio_end - item.audio_start <= WINDOW_SECONDS]

    def _decode_parts(
        self,
        voice: Voice,
        context: tuple[int, ...],
        before: list[_Heard],
        audio_start: float,
        speech_end: float,
        audio_end: float,
    ) -> tuple[list[Word], list[int], bool]:
        """Decode, and go on behind the last word where a guard has stopped the text too early."""
        start = before[0].audio_start if before else audio_start
        prefix = [token for item in before for token in item.tokens]
        words: list[Word] = []
        tokens: list[int] = []
        for _ in range(MOST_PARTS):
            part = self._decode_window(voice, context, prefix, start, audio_end)
            if part.silent:
                return words, tokens, True
            words += timed_words(voice.tokenizer, part, start)
            tokens += part.tokens
            if part.complete or not words or speech_end - words[-1].end < REST_SECONDS:
                return words, tokens, part.complete
            start, prefix = words[-1].end, []
        return words, tokens, False

    def _decode_window(
        self, voice: Voice, context: tuple[int, ...], prefix: list[int], start: float, end: float
    ) -> Decoded:
        audio = self._listen(start, end)
        frames = len(audio) // SAMPLES_PER_FRAME
        task = voice.task(context, prefix, frames, rewind_frames=frames)
        features = voice.model.encode(audio, voice.options.padding)
        text = decode(voice.model, features, task)
        if text.silent or text.mean_log_prob > UNSURE_LOG_PROBABILITY or task.beams > 1:
            return text
        searched = decode(voice.model, features, replace(task, beams=SEARCH_BEAMS))
        return max(text, searched, key=lambda found: (found.complete, found.mean_log_prob))
