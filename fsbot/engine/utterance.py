"""One utterance of one side, from its first sound to its final text."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.engine.alignatt import settled
from fsbot.engine.decoding import Decoded
from fsbot.engine.events import UtteranceFinal, Word, WordsCommitted, joined
from fsbot.engine.final import FinalText, Listen
from fsbot.engine.inference import Job, Window
from fsbot.engine.language import Heard
from fsbot.engine.model import FRAME_SECONDS, SAMPLES_PER_FRAME
from fsbot.engine.position import OpenUtterance
from fsbot.engine.voice import Voice
from fsbot.engine.words import in_turn, timed_words, words_beyond, words_with_time

LIVE_CONTEXT = 3.0
"""Seconds before the last committed word that stay in the window of an utterance that is long."""

SAME_WORD = 0.4
"""Seconds between the starts of two hearings of one word, at most."""

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
        spoken: Sequence[Word] = (),
    ) -> None:
        """audio_start: second of the stream at which its audio (lead-in included) begins.

        context: tokens of earlier utterances. continues: the utterance before, if it was cut while
        speech went on: what it has committed from this one's audio is not committed again. spoken:
        what has been committed of it already.
        """
        self.number = number
        self.audio_start = audio_start
        self.speech_start = speech_start
        self.spoken = list(spoken)
        self._earliest = speech_start
        self.context = context
        self._continues = continues
        self._inherited: tuple[int, ...] = ()
        self._held: list[Word] = []
        self._heard_until = audio_start
        self.heard: Heard | None = None
        """What language its sound has been in, when it was last listened to."""

    @classmethod
    def taken_up(
        cls,
        open_: OpenUtterance,
        audio_start: float,
        context: tuple[int, ...],
        tokens: Callable[[str], tuple[int, ...]],
    ) -> "Utterance":
        """One that was broken off. tokens: of a word's text."""

        def with_tokens(words: Sequence[Word]) -> list[Word]:
            return [replace(word, tokens=tokens(word.text)) for word in words]

        before = None
        if open_.inherited:
            spoken = with_tokens(open_.inherited)
            before = cls(open_.number - 1, audio_start, audio_start, spoken=spoken)
        spoken = with_tokens(open_.spoken)
        return cls(open_.number, audio_start, open_.speech_start, context, before, spoken)

    def update(self, voice: Voice, listen: Listen, upto: float) -> Job[WordsCommitted | None]:
        """Decode what has been heard so far and commit what AlignAtt calls settled.

        upto: second of the stream. None if there is nothing new to say.
        """
        said_before = self._held
        self._inherit()
        start, prefix = self._window()
        audio = listen(start, upto)
        frames = len(audio) // SAMPLES_PER_FRAME
        draft = _tokens(self._held)
        task = voice.task(self.context, prefix, frames, LIVE_REWIND, draft)
        decoded = yield Window(audio, voice.options.live_padding, task)
        self.heard = Heard(tuple(decoded.watched), len(audio) / SAMPLE_RATE)
        self._hold(voice, decoded, start, upto)
        ready = settled(decoded.frames, frames, voice.options.frame_threshold)
        count = self._whole_words(ready, decoded.complete)
        count = self._sure_words(count, said_before, voice.options.sure_probability)
        count = self._said_words(count, said_before, voice)
        began = self.spoken or self._inherited
        if not began and all(voice.expects(held.text) for held in self._held):
            count = 0  # Nothing but what the prompt says: whether it was said, the pause tells.
        if not count and self._held == said_before:
            return None
        return self._commit(voice, count)

    def preview(self, voice: Voice, text: FinalText) -> WordsCommitted | None:
        """What the final text would be if this pause ended the utterance.

        Its words beyond the committed ones are the new tentative ones; those that are long enough
        ago are committed. None if there is nothing new to say.
        """
        said_before = self._held
        self._heard_until = text.speech.audio_end
        self._held = self._monotonic(words_beyond(self.spoken, text.words))
        settled_until = self._heard_until - voice.options.frame_threshold * FRAME_SECONDS
        ready = sum(word.end <= settled_until for word in self._held)
        ready = self._said_words(ready, said_before, voice)
        if not ready and self._held == said_before:
            return None
        return self._commit(voice, ready)

    def flush(self, voice: Voice, text: FinalText) -> WordsCommitted | None:
        """The last live words, now that the utterance is over and its final text is known.

        They are what the final text has beyond those committed; None if there is nothing.
        """
        self._heard_until = text.speech.audio_end
        rest = self._monotonic(words_beyond(self.spoken, text.words))
        if not rest:
            return None
        self._held = rest
        return self._commit(voice, len(rest), speech_final=True)

    def final(self, voice: Voice, text: FinalText, decided_at: float) -> UtteranceFinal:
        """The final text, which replaces the live one. decided_at: second of the stream."""
        words = self._within_speech(text.words, max(text.speech.end, self.speech_start))
        return UtteranceFinal(
            self.number,
            tuple(words),
            self.speech_start,
            decided_at,
            revised=joined(words, voice.language) != joined(self.spoken, voice.language),
            language=voice.language,
        )

    @property
    def draft(self) -> list[int]:
        """Tokens of all that has been heard of it live, committed or not."""
        return _tokens([*self.spoken, *self._held])

    def tokens_behind(self, cut: float) -> tuple[int, ...]:
        """Tokens of the words committed from the audio behind `cut`, a second of the stream."""
        return tuple(_tokens([word for word in self.spoken if word.middle >= cut]))

    @property
    def committed_until(self) -> float:
        """Second of the stream up to which words have been committed."""
        return self.spoken[-1].end if self.spoken else self._earliest

    def _inherit(self) -> None:
        """Take over what the utterance before a cut has said of this one's audio."""
        if self._continues is not None:
            self._inherited = self._continues.tokens_behind(self.audio_start)
            self._earliest = max(self.speech_start, self._continues.committed_until)
            self._continues = None

    def _window(self) -> tuple[float, list[int]]:
        """Where the next live window starts, and the tokens that are said in it already.

        Long after its start an utterance's first words are settled, and hearing them again only
        costs: the window begins at a word a few seconds before the last one committed.
        """
        start, first = self.audio_start, 0
        for number, word in enumerate(self.spoken):
            if word.end <= self.committed_until - LIVE_CONTEXT:
                start, first = word.end, number + 1
        if start - self.audio_start < LIVE_CONTEXT:
            start, first = self.audio_start, 0
        inherited = self._inherited if first == 0 else ()
        return start, [*inherited, *_tokens(self.spoken[first:])]

    def _hold(self, voice: Voice, decoded: Decoded, start: float, upto: float) -> None:
        """The words found are held until they are committed."""
        self._heard_until = upto
        self._held = []
        if not decoded.silent:
            timed = timed_words(voice.tokenizer, decoded, start)
            self._held = self._monotonic(timed[: words_with_time(timed)])

    def _sure_words(self, count: int, said_before: Sequence[Word], probability: float) -> int:
        """How many of the first `count` held words are probable, or were heard before as well."""
        for number, held in enumerate(self._held[:count]):
            if held.probability < probability and not _is_among(held, said_before):
                return number
        return count

    def _said_words(self, count: int, said_before: Sequence[Word], voice: Voice) -> int:
        """How many of the first `count` held words are more than the prompt speaking.

        Of little sound the model makes words that it was told to expect. So what an utterance
        begins with and stands in the prompt must be probable, and have been heard before as well.
        """
        if self.spoken or self._inherited:
            return count
        for number, held in enumerate(self._held[:count]):
            if not voice.expects(held.text):
                return count
            sure = held.probability >= voice.options.sure_probability
            if not sure or not _is_among(held, said_before):
                return number
        return count

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
        self.spoken += committed
        return WordsCommitted(
            self.number,
            tuple(committed),
            tuple(self.spoken),
            tuple(self._held),
            self._heard_until,
            speech_final,
            voice.language,
        )

    def _monotonic(self, words: Sequence[Word]) -> list[Word]:
        """In turn, and none begins before a word that has been committed is over."""
        return in_turn(words, self.committed_until, self._heard_until)

    def _within_speech(self, words: Sequence[Word], end: float) -> list[Word]:
        """The first word begins where speech was heard to begin, the last ends where it ended."""
        if not words:
            return []
        start = self.speech_start
        within = [
            replace(
                word, start=min(max(word.start, start), end), end=min(max(word.end, start), end)
            )
            for word in words
        ]
        within[0] = replace(within[0], start=start)
        within[-1] = replace(within[-1], end=end)
        return in_turn(within, start, end)


def _is_among(held: Word, said_before: Sequence[Word]) -> bool:
    """Whether a word was heard before, at about the same time."""
    return any(
        held.text == word.text and abs(held.start - word.start) < SAME_WORD for word in said_before
    )


def _tokens(words: Sequence[Word]) -> list[int]:
    return [token for word in words for token in word.tokens]
