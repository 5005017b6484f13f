"""The final text of an utterance: the whole of it decoded once more, from its start.

What was just said by the same voice stands before it in the window, as sound and as the start of
the text: on 520 s of continuous French readings that took the error rate of `base` from 31.6 % to
28.6 %, where openai-whisper on whole 30 s windows makes 28.2 %.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.engine.decoding import NO_SPEECH_PROBABILITY, Decoded
from fsbot.engine.events import Word
from fsbot.engine.guards import repeats_itself
from fsbot.engine.inference import LONG_PADDING, Job, Window
from fsbot.engine.lost_words import Stretch, lost_stretches
from fsbot.engine.model import FRAME_SECONDS, SAMPLES_PER_FRAME
from fsbot.engine.voice import Voice
from fsbot.engine.words import plain, timed_words, words_with_time

Listen = Callable[[float, float], NDArray[np.float32]]
"""16 kHz samples of the stream between two seconds."""

MaySearch = Callable[[], bool]
"""Whether an unsure text may be searched for a better one; asked right before each search."""

PAUSE_SECONDS = 2.0
"""After a longer silence what was said before does not help any more."""

REST_SECONDS = 0.5
"""Speech behind the last word of a text that a guard cut short, from which on it is decoded too."""

MOST_PARTS = 5

UNSURE_LOG_PROBABILITY = -0.4
"""Mean log-probability of a text below which it is worth a search.

On recorded French calls, each heard three times a few milliseconds apart, word error rates are
48.7 % on average with -0.6, 47.7 % with -0.4 and 45.9 % with -0.2. Every search delays a
final text: with -0.2 turns are answered 0.1 s later at the median of four calls at a time.
"""

SEARCHED_TOKENS = 30
"""Longest text that is searched: a robot does not wait for longer ones."""

ALIKE = 0.5
"""Share of letters that two texts have in common, in their order, if they are of the same sound."""

LEAST_LETTERS = 0.6
"""Of the letters that are read with a prompt, the share that is read without it as well, at least:
names that nobody said are left out."""

LEAST_COPIED = 3
"""Words of the prompt, and no others, that make a sure text doubtful, too; fewer if one of them
stands twice."""

MOST_LOSSES = 2
"""Stretches of one utterance that are read again, lost or not."""

CUT_SEARCH = 0.3
"""Seconds before and behind the place of a cut within which the quietest moment is looked for."""

CUT_FRAME_SECONDS = 0.02

SHORTEST_PART = 0.4
"""Seconds: shorter parts of an utterance are not read by themselves."""

AUDIBLE_DECIBELS = 25.0
"""What is so much quieter than the loudest moment of an utterance, or more, is silence in it."""

HALLUCINATED_SILENCE = 1.5
"""A text that ends this long before the speech does is tried again without what stood before."""


@dataclass(frozen=True, slots=True)
class Speech:
    """An utterance's place in its stream, in seconds; its audio begins before its speech."""

    audio_start: float
    start: float
    end: float
    audio_end: float

    def same_but_for_silence(self, other: "Speech") -> bool:
        """Only in how much silence is heard behind the speech do they differ, if at all."""
        return self == replace(other, audio_end=self.audio_end)


@dataclass(frozen=True, slots=True)
class FinalText:
    """Words with their times, all tokens, and how sure the model was.

    complete: the model itself ended the text. mean_log_prob: of the tokens, 0 without any. watched:
    probabilities of `watched_tokens`. language: Whisper's code of the language it was read in.
    """

    speech: Speech
    words: tuple[Word, ...]
    tokens: tuple[int, ...]
    complete: bool
    mean_log_prob: float
    watched: tuple[float, ...]
    language: str = ""


class FinalDecoder:
    """Decodes the utterances of one stream, in their order, and remembers the latest."""

    def __init__(self, listen: Listen, window: float) -> None:
        """window: seconds of the longest window with earlier utterances in it."""
        self._listen = listen
        self._window = window
        self._heard: list[FinalText] = []

    @property
    def needs_audio_from(self) -> float:
        """Second of the stream before which no audio is needed any more."""
        return self._heard[0].speech.audio_start if self._heard else float("inf")

    def forget_before(self, now: float) -> None:
        """Forget what no utterance that begins from `now` on can have in its window."""
        if self._heard and now - self._heard[-1].speech.end > PAUSE_SECONDS:
            self._heard.clear()
        while self._heard and now - self._heard[0].speech.audio_start > self._window:
            self._heard.pop(0)

    def accept(self, text: FinalText) -> None:
        """The utterance is over, and this is its text: the next ones may build on it."""
        if not text.complete:
            self._heard = []
        elif text.tokens:
            self._heard = [*self._before(text.speech), text]

    def decode(
        self,
        voice: Voice,
        context: tuple[int, ...],
        speech: Speech,
        draft: Sequence[int],
        may_search: MaySearch = lambda: True,
        committed: Sequence[Word] = (),
    ) -> Job[FinalText]:
        """The final text of the utterance of that speech.

        context: text tokens of earlier utterances for the prompt; draft: what was heard of it live;
        committed: the words of it that were committed live, which must not be lost.
        """
        before = _that_leave_room(self._before(speech), voice, speech)
        text = yield from self._decode_parts(voice, context, before, speech, draft, may_search)
        if before and (not text.words or text.words[-1].end < speech.end - HALLUCINATED_SILENCE):
            text = yield from self._decode_parts(voice, context, [], speech, draft, may_search)
        text = yield from self._with_lost_words(voice, context, text, committed)
        if _perhaps_said_by_prompt(text, voice):
            unprompted = replace(voice, static_prompt=())
            other = yield from self._decode_parts(
                unprompted, context, before, speech, (), may_search
            )
            # A name that was said is heard without the prompt as well, spelt in some other way.
            text = text if _sound_alike(text.words, other.words) else other
        return text

    def _with_lost_words(
        self,
        voice: Voice,
        context: tuple[int, ...],
        text: FinalText,
        committed: Sequence[Word],
        readings: int = MOST_LOSSES,
    ) -> Job[FinalText]:
        """The text with what it has left out, if it has and that can be read by itself.

        readings: how many stretches are read again at most.
        """
        speech = text.speech
        sounding = self._sounding(speech)
        lost = lost_stretches(text.words, committed, speech.start, speech.end, sounding)
        while readings and (stretch := next(lost, None)) is not None:
            readings -= 1
            found = yield from self._decode_around(
                voice, context, speech, stretch, committed, readings
            )
            if found is not None:
                text = found
                lost = lost_stretches(text.words, committed, speech.start, speech.end, sounding)
        return text

    def _decode_around(
        self,
        voice: Voice,
        context: tuple[int, ...],
        speech: Speech,
        stretch: Stretch,
        committed: Sequence[Word],
        readings: int,
    ) -> Job[FinalText | None]:
        """Decode a stretch that was lost, and what stands before and behind it, each by itself.

        readings: how many stretches within that one may be read again, should words of the next
        voice that are still in it make the decoder jump over the lost one once more.

        None if the stretch has no sure words when it is read by itself: then it is noise, and live
        words were invented of it.
        """
        bounds = [speech.audio_start]
        for cut in map(self._quietest, stretch.cuts):
            if bounds[-1] + SHORTEST_PART < cut < speech.audio_end - SHORTEST_PART:
                bounds.append(cut)
        if len(bounds) == 1:
            return None
        parts = []
        for start, end in pairwise([*bounds, speech.audio_end]):
            within = Speech(start, max(start, speech.start), min(end, speech.end), end)
            live = [word for word in committed if start <= word.middle < end]
            draft = [token for word in live for token in word.tokens]
            part = yield from self._decode_parts(voice, context, [], within, draft, lambda: True)
            if start <= stretch.middle < end and not _replaces(part, stretch):
                if part.words and readings:
                    part = yield from self._with_lost_words(voice, context, part, live, readings)
                if not _replaces(part, stretch):
                    return None
            parts.append(part)
        return _joined(speech, parts)

    def _sounding(self, speech: Speech) -> Callable[[float, float], float]:
        """Tells for how many seconds between two of an utterance something can be heard."""
        power = _power(self._listen(speech.audio_start, speech.audio_end))
        audible = power > power.max(initial=0.0) * 10 ** (-AUDIBLE_DECIBELS / 10)

        def sounding(start: float, end: float) -> float:
            places = [(second - speech.audio_start) / CUT_FRAME_SECONDS for second in (start, end)]
            first, last = (max(0, round(place)) for place in places)
            return float(audible[first:last].sum()) * CUT_FRAME_SECONDS

        return sounding

    def _quietest(self, moment: float) -> float:
        """The second near `moment` at which a cut does least harm."""
        start = max(0.0, moment - CUT_SEARCH)
        power = _power(self._listen(start, moment + CUT_SEARCH))
        if len(power) < 3:
            return moment
        smoothed = np.convolve(power, np.ones(3), mode="valid")
        return start + (int(np.argmin(smoothed)) + 1.5) * CUT_FRAME_SECONDS

    def _as_far_as_said(self, part: Decoded, voice: Voice, start: float) -> Decoded:
        """A text that a guard cut short, its words in the sound up to where its last one ends.

        Aligned with all of the sound, they would take up what is still to be read. start: second
        of the stream at which the window begins.
        """
        said = [
            frame
            for token, frame in zip(part.tokens, part.frames, strict=True)
            if voice.alike[token] >= 0
        ]
        if not said:
            return part
        end = self._quietest(start + said[-1] * FRAME_SECONDS + CUT_SEARCH)
        frames = max(said[-1] + 1, round((end - start) / FRAME_SECONDS))
        return replace(part, attention=part.attention[:, :frames])

    def _before(self, speech: Speech) -> list[FinalText]:
        if not self._heard or speech.start - self._heard[-1].speech.end > PAUSE_SECONDS:
            return []
        return [
            text
            for text in self._heard
            if speech.audio_end - text.speech.audio_start <= self._window
        ]

    def _decode_parts(
        self,
        voice: Voice,
        context: tuple[int, ...],
        before: list[FinalText],
        speech: Speech,
        draft: Sequence[int],
        may_search: MaySearch,
    ) -> Job[FinalText]:
        """Decode, and go on behind the last word where a guard has stopped the text too early."""
        start = before[0].speech.audio_start if before else speech.audio_start
        prefix = [token for text in before for token in text.tokens]
        words: list[Word] = []
        tokens: list[int] = []
        log_probs: list[float] = []
        watched: tuple[float, ...] = ()
        complete = False
        for _ in range(MOST_PARTS):
            audio = self._listen(start, speech.audio_end)
            part = yield from _decode_window(voice, context, prefix, audio, draft, may_search)
            watched = watched or tuple(part.watched)
            if part.silent:
                complete = True
                break
            if not part.complete:
                part = self._as_far_as_said(part, voice, start)
            timed = timed_words(voice.tokenizer, part, start)
            count = words_with_time(timed)
            words += timed[:count]
            kept = (token for word in timed[:count] for token in word.tokens)
            tokens += part.tokens if timed and count == len(timed) else kept
            log_probs += part.log_probs
            complete = part.complete
            if complete or not words or speech.end - words[-1].end < REST_SECONDS:
                break
            start, prefix, draft = words[-1].end, [], ()
        mean = sum(log_probs) / max(1, len(log_probs))
        return FinalText(
            speech, tuple(words), tuple(tokens), complete, mean, watched, _language(voice)
        )


def _language(voice: Voice) -> str:
    return voice.tokenizer.language or "en"


def _that_leave_room(before: list[FinalText], voice: Voice, speech: Speech) -> list[FinalText]:
    """The latest of some texts, as far as they are in the voice's language, and the decoder can
    hold them with that of the speech: in some languages a few seconds fill it.
    """
    room = voice.room(speech.audio_end - speech.audio_start)
    tokens = 0
    for place in range(len(before) - 1, -1, -1):
        tokens += len(before[place].tokens)
        if tokens > room or before[place].language != _language(voice):
            return before[place + 1 :]
    return before


def _unsure(text: FinalText) -> bool:
    nobody = bool(text.watched) and text.watched[0] > NO_SPEECH_PROBABILITY
    return nobody or text.mean_log_prob < UNSURE_LOG_PROBABILITY


def _perhaps_said_by_prompt(text: FinalText, voice: Voice) -> bool:
    """Whether what the text says may come from the prompt alone.

    A list of the prompt's words is what the model is surest of when it has heard none of them.
    """
    words = [word.text for word in text.words]
    if _unsure(text):
        return any(map(voice.expects, words))
    repeated = len({plain(word) for word in text.words}) < len(words)
    return (repeated or len(words) >= LEAST_COPIED) and voice.prompt_says(words)


def _sound_alike(words: Sequence[Word], others: Sequence[Word]) -> bool:
    one, other = ("".join(word.text for word in each).casefold() for each in (words, others))
    if len(other) < LEAST_LETTERS * len(one):
        return False
    return SequenceMatcher(None, one, other, autojunk=False).ratio() >= ALIKE


def _replaces(part: FinalText, stretch: Stretch) -> bool:
    """Whether that reading of a lost stretch tells that somebody speaks there."""
    enough = len(part.words) >= stretch.least_words
    somebody = not part.watched or part.watched[0] < NO_SPEECH_PROBABILITY
    return enough and somebody and part.mean_log_prob > stretch.least_log_prob


def _power(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean power of each 20 ms."""
    length = round(CUT_FRAME_SECONDS * SAMPLE_RATE)
    whole = samples[: len(samples) // length * length]
    power: NDArray[np.float32] = np.square(whole).reshape(-1, length).mean(axis=1)
    return power


def _joined(speech: Speech, parts: Sequence[FinalText]) -> FinalText:
    """The texts of parts of an utterance as one."""
    tokens = [token for part in parts for token in part.tokens]
    log_prob = sum(part.mean_log_prob * len(part.tokens) for part in parts)
    return FinalText(
        speech,
        tuple(word for part in parts for word in part.words),
        tuple(tokens),
        all(part.complete for part in parts),
        log_prob / max(1, len(tokens)),
        next((part.watched for part in parts if part.watched), ()),
    )


def _decode_window(
    voice: Voice,
    context: tuple[int, ...],
    prefix: list[int],
    audio: NDArray[np.float32],
    draft: Sequence[int],
    may_search: MaySearch,
) -> Job[Decoded]:
    frames = len(audio) // SAMPLES_PER_FRAME
    task = voice.task(context, prefix, frames, rewind_frames=frames, draft=draft)
    window = Window(audio, voice.options.padding, task)
    text = yield window
    doubtful = not text.complete or repeats_itself(text.tokens, task.alike)
    if doubtful and window.padding < LONG_PADDING:
        padded = window.padded()
        other = yield padded
        if _better(text, other) is other:
            window, text = padded, other
    sure = text.silent or text.mean_log_prob > UNSURE_LOG_PROBABILITY
    beams = voice.options.search_beams
    if sure or task.beams >= beams or len(text.tokens) > SEARCHED_TOKENS:
        return text
    if not may_search():
        return text
    searched = yield window.again(beams)
    return _better(text, searched)


def _better(text: Decoded, other: Decoded) -> Decoded:
    """The one that the model ended itself, or else the surer one; the first if they are equal."""
    return max(text, other, key=lambda found: (found.complete, found.mean_log_prob))
