"""One utterance of one side, from its first sound to its final text."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.engine.alignatt import settled
from fsbot.engine.decoding import Decoded, decode
from fsbot.engine.events import UtteranceFinal, Word, WordsCommitted, joined
from fsbot.engine.final import FinalDecoder
from fsbot.engine.model import FRAME_SECONDS, SAMPLES_PER_FRAME
from fsbot.engine.voice import Voice
from fsbot.engine.words import group_tokens, timed_words

LIVE_REWIND = 50
"""Frames (1 s) that attention may jump back before the rest of a window counts as invented."""


@dataclass(frozen=True, slots=True)
class _Held:
    word: Word
    tokens: list[int]


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
        self._held: list[_Held] = []
        self._heard_until = audio_start

    def update(self, voice: Voice, audio: NDArray[np.float32]) -> WordsCommitted | None:
        """Decode what has been heard so far and commit what AlignAtt calls settled.

        audio: 16 kHz samples from `audio_start` on. None if there is nothing new to say.
        """
        said_before = self._tentative
        decoded = self._hear(voice, audio)
        frames = len(audio) // SAMPLES_PER_FRAME
        ready = settled(decoded.frames, frames, voice.options.frame_threshold)
        count = self._whole_words(ready, decoded.complete)
        if not count and self._tentative == said_before:
            return None
        return self._commit(voice, count)

    def flush(
        self, voice: Voice, audio: NDArray[np.float32], speech_end: float
    ) -> WordsCommitted | None:
        """The words AlignAtt held back, now that the utterance is over; None if there are none.

        speech_end: second of the stream. Usually the latest update has heard all of the speech,
        and its tentative words are the ones.
        """
        audio_end = self.audio_start + len(audio) / SAMPLE_RATE
        if self._heard_until < speech_end and self.committed_until < audio_end - FRAME_SECONDS:
            self._hear(voice, audio)
        self._held = [held for held in self._held if held.word.middle < audio_end]
        return self._commit(voice, len(self._held), speech_final=True) if self._held else None

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
            if word.middle >= cut:
                tokens += group
        return tuple(tokens)

    @property
    def committed_until(self) -> float:
        """Second of the stream up to which words have been committed."""
        return self.spoken[-1].end if self.spoken else self._earliest

    @property
    def _tentative(self) -> tuple[Word, ...]:
        return tuple(held.word for held in self._held)

    def _hear(self, voice: Voice, audio: NDArray[np.float32]) -> Decoded:
        """Decode behind what is committed; the words found are held until they are committed."""
        if self._continues is not None:
            self._committed_tokens += self._continues.tokens_behind(self.audio_start)
            self._earliest = max(self.speech_start, self._continues.committed_until)
            self._continues = None
        features = voice.model.encode(audio, voice.options.padding)
        frames = len(audio) // SAMPLES_PER_FRAME
        task = voice.task(self._context, self._committed_tokens, frames, LIVE_REWIND)
        decoded = decode(voice.model, features, task)
        self._heard_until = self.audio_start + len(audio) / SAMPLE_RATE
        self._held = []
        if not decoded.silent:
            words = self._monotonic(timed_words(voice.tokenizer, decoded, self.audio_start))
            groups = group_tokens(voice.tokenizer, decoded.tokens)
            self._held = [_Held(*pair) for pair in zip(words, groups, strict=True)]
        return decoded

    def _whole_words(self, ready: int, complete: bool) -> int:
        """How many held words lie within the first `ready` tokens and are known to be whole.

        A word is whole when another one follows it, or when the model has ended the text.
        """
        end = 0
        for number, held in enumerate(self._held):
            end += len(held.tokens)
            if end > ready or (number == len(self._held) - 1 and not complete):
                return number
        return len(self._held)

    def _commit(self, voice: Voice, count: int, speech_final: bool = False) -> WordsCommitted:
        committed, self._held = self._held[:count], self._held[count:]
        for held in committed:
            self.spoken.append(held.word)
            self._word_tokens.append(held.tokens)
            self._committed_tokens += held.tokens
        return WordsCommitted(
            self.number,
            tuple(held.word for held in committed),
            tuple(self.spoken),
            self._tentative,
            self._heard_until,
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
