"""One utterance of one side, from its first sound to its final text."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from whisper.audio import SAMPLE_RATE

from fsbot.engine.alignatt import settled
from fsbot.engine.decoding import Decoded, decode
from fsbot.engine.events import UtteranceFinal, Word, WordsCommitted, joined
from fsbot.engine.final import FinalDecoder
from fsbot.engine.model import FRAME_SECONDS, SAMPLES_PER_FRAME
from fsbot.engine.voice import Voice
from fsbot.engine.words import group_tokens, timed_words

LIVE_REWIND = 50
"""Frames (1 s) that attention may jump back before the rest of a window counts as invented."""


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
        self._earliest = speech_start
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
        self, voice: Voice, decoder: FinalDecoder, speech_end: float, audio_end: float
    ) -> tuple[UtteranceFinal, tuple[int, ...]]:
        """The whole utterance decoded once more; also its tokens, context for the next ones.

        speech_end, audio_end: seconds of the stream.
        """
        speech = (self.speech_start, speech_end)
        text = decoder.decode(voice, self._context, self.audio_start, speech, audio_end)
        words = self._within_speech(text.words, speech_end)
        event = UtteranceFinal(
            self.number,
            tuple(words),
            self.speech_start,
            max(speech_end, self.speech_start),
            revised=joined(words, voice.language) != joined(self.spoken, voice.language),
            language=voice.language,
        )
        return event, text.tokens

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
        return self.spoken[-1].end if self.spoken else self._earliest

    def _decode_live(self, voice: Voice, audio: NDArray[np.float32]) -> Decoded:
        if self._continues is not None:
            self._committed_tokens += self._continues.tokens_behind(self.audio_start)
            self._earliest = max(self.speech_start, self._continues.committed_until)
            self._continues = None
        features = voice.model.encode(audio, voice.options.padding)
        frames = len(audio) // SAMPLES_PER_FRAME
        task = voice.task(self._context, self._committed_tokens, frames, LIVE_REWIND)
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
