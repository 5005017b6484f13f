"""What a final text has lost of the words that were committed live."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hearing import check_contract, transcribe
from numpy.typing import NDArray

from fsbot.engine.decoding import Decoded
from fsbot.engine.events import Word
from fsbot.engine.final import FinalDecoder, FinalText, Speech
from fsbot.engine.inference import Window
from fsbot.engine.lost_words import (
    LEAST_WORDS,
    SURE_WITH_WORDS,
    SURE_WITHOUT_WORDS,
    Stretch,
    lost_stretches,
)
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.voice import Voice


def spread(text: str, start: float, end: float) -> list[Word]:
    """The words, evenly between two seconds."""
    words = text.split()
    step = (end - start) / len(words)
    return [
        Word(word, start + n * step, start + (n + 1) * step, 0.9) for n, word in enumerate(words)
    ]


FIRST = spread("This is the agent speaking.", 0.2, 2.4)
SECOND = spread("The book falls onto the sidewalk.", 2.4, 5.4)
SPEECH = (0.2, 5.4)


def silence(start: float, end: float) -> float:
    return 0.0


def voice(start: float, end: float) -> float:
    return end - start


def lost(
    words: Sequence[Word],
    live: Sequence[Word],
    sounding: Callable[[float, float], float] = silence,
) -> Stretch | None:
    return next(lost_stretches(words, live, *SPEECH, sounding), None)


def lasting(words: Sequence[Word], place: int, start: float, end: float) -> list[Word]:
    """The words, one of which lasts for as long as that."""
    word = words[place]
    longer = Word(word.text, start, end, word.probability)
    return [*words[:place], longer, *words[place:][1:]]


def test_the_same_words_lose_nothing() -> None:
    assert lost([*FIRST, *SECOND], [*FIRST, *SECOND], voice) is None


def test_a_text_that_begins_late() -> None:
    assert lost(SECOND, [*FIRST, *SECOND]) == Stretch(
        FIRST[0].start, FIRST[-1].end, (FIRST[-1].end,), 3, SURE_WITH_WORDS
    )


def test_a_text_that_ends_early() -> None:
    stretch = lost(FIRST, [*FIRST, *SECOND])
    assert stretch is not None
    assert stretch.cuts == (SECOND[0].start,)


def test_a_word_that_lasts_for_seconds() -> None:
    text = lasting(SECOND, 0, 0.2, SECOND[0].end)
    stretch = lost(text, [*FIRST, *SECOND])
    assert stretch is not None
    assert stretch.cuts == (FIRST[-1].end,)


def test_a_hole_in_the_middle() -> None:
    third = spread("And it rains.", 5.4, 6.8)
    text = [*lasting(FIRST, 4, FIRST[4].start, 5.4), *third]
    (stretch,) = lost_stretches(text, [*FIRST, *SECOND, *third], 0.2, 6.8, silence)
    assert stretch.cuts == (SECOND[0].start, SECOND[-1].end)


def test_a_text_whose_times_reach_into_the_lost_stretch() -> None:
    """What was lost goes on behind the hole, as far as the final text has none of its words."""
    stretch = lost([*spread("The book", 1.6, 3.4), *SECOND[2:]], [*FIRST, *SECOND])
    assert stretch is not None
    assert (stretch.start, stretch.end) == (FIRST[0].start, FIRST[-1].end)


def test_words_that_are_laid_on_what_was_lost() -> None:
    """No word lasts for long: those behind the lost stretch are spread over its time."""
    third = spread("And it rains on the roof.", 5.4, 7.2)
    text = [*FIRST, *spread("And it rains on the roof.", 2.4, 7.2)]
    (stretch,) = lost_stretches(text, [*FIRST, *SECOND, *third], 0.2, 7.2, silence)
    assert (stretch.start, stretch.end) == (SECOND[0].start, SECOND[-1].end)
    assert stretch.cuts == (SECOND[0].start, SECOND[-1].end)
    assert stretch.least_log_prob == SURE_WITH_WORDS


def test_a_lost_stretch_that_one_other_word_stands_for() -> None:
    text = [*FIRST, *spread("Well.", 2.4, 3.0), *spread("And it rains on the roof.", 3.0, 7.2)]
    live = [*FIRST, *SECOND, *spread("And it rains on the roof.", 5.4, 7.2)]
    (stretch,) = lost_stretches(text, live, 0.2, 7.2, silence)
    assert (stretch.start, stretch.end) == (SECOND[0].start, SECOND[-1].end)


def test_the_voice_goes_on_behind_what_was_committed_of_it() -> None:
    """The hole is lost as a whole, not the few words alone that live text had."""
    live = spread("a long met", 0.2, 0.8)
    stretch = lost(SECOND, live, voice)
    assert stretch is not None
    assert (stretch.start, stretch.end) == (0.2, SECOND[0].start)
    assert stretch.cuts == (SECOND[0].start,)
    assert stretch.least_log_prob == SURE_WITH_WORDS


def test_a_first_word_may_stand_at_the_end_of_its_time() -> None:
    """What was lost before it is read from its beginning."""
    stretch = lost(lasting(SECOND, 0, 0.2, SECOND[0].end), SECOND, voice)
    assert stretch is not None
    assert stretch.cuts == (SECOND[1].start,)


def test_a_word_that_is_equal_by_chance_does_not_end_a_lost_stretch() -> None:
    live = spread("This is the agent speaking to the door.", 0.2, 2.4)
    stretch = lost(SECOND, [*live, *SECOND])
    assert stretch is not None
    assert (stretch.start, stretch.end) == (live[0].start, live[-1].end)


def test_a_text_without_words_is_cut_where_the_voice_paused() -> None:
    live = [*FIRST, *spread("The book falls onto the sidewalk.", 3.0, 5.4)]
    stretch = lost([], live)
    assert stretch is not None
    assert stretch.cuts == ((FIRST[-1].end + 3.0) / 2,)


def test_a_voice_that_neither_text_has() -> None:
    """Cut where the long word is over: its sound may be at either end of its time."""
    stretch = lost(FIRST, FIRST, voice)
    assert stretch is not None
    (cut,) = stretch.cuts
    assert FIRST[-1].end < cut < FIRST[-1].end + 1.0
    assert (stretch.least_words, stretch.least_log_prob) == (LEAST_WORDS, SURE_WITHOUT_WORDS)


def test_what_was_heard_differently_is_not_lost() -> None:
    otherwise = spread("that is his aging speech", 0.2, 2.4)
    assert lost([*FIRST, *SECOND], [*otherwise, *SECOND], voice) is None


def test_silence_without_words_is_no_loss() -> None:
    """A word lasts for seconds, but nothing was committed there, and nothing can be heard."""
    assert lost(lasting(SECOND, 0, 0.2, SECOND[0].end), SECOND) is None
    assert lost([], [], voice) is None


def test_words_that_the_text_has_elsewhere_are_not_lost() -> None:
    """The times of the live text were wrong."""
    early = spread("The book falls onto the sidewalk.", 0.2, 2.0)
    assert lost(SECOND, early) is None


def test_two_words_may_be_one_heard_otherwise() -> None:
    assert lost(SECOND, [*FIRST[:2], *SECOND]) is None


# Reading a lost stretch again

RATE = 16000
SECONDS = 7.0
SURE, UNSURE = -0.3, -1.3


class Reading:
    """A final text being decoded; the test says what is heard in each window."""

    def __init__(self, model: SpeechModel, live: Sequence[Word]) -> None:
        self.voice = Voice.of(model, EngineOptions(), "en")
        decoder = FinalDecoder(self._listen, 15.0)
        speech = Speech(0.0, 0.2, 5.4, 5.7)
        self._job = decoder.decode(self.voice, (), speech, (), committed=live)
        self._heard: list[tuple[float, float]] = []
        self.window: Window | None = next(self._job)
        self.text: FinalText | None = None

    def _listen(self, start: float, end: float) -> NDArray[np.float32]:
        """Loud noise, but for a short silence in the middle between the two voices."""
        samples = np.random.default_rng(1).normal(0, 0.1, round(SECONDS * RATE))
        samples[round(2.36 * RATE) : round(2.44 * RATE)] = 0.0
        self._heard.append((start, end))
        return samples[round(start * RATE) : round(end * RATE)].astype(np.float32)

    @property
    def part(self) -> tuple[float, float]:
        """Start and end of the sound of the latest window, in seconds."""
        return self._heard[-1]

    def answer(
        self, text: str, mean_log_prob: float, start: float, end: float, no_speech: float = 0.0
    ) -> None:
        """A text, said evenly between two seconds of the stream."""
        assert self.window is not None
        tokens = self.voice.tokenizer.encode(" " + text) if text else []
        count = self.window.task.audio_frames
        attention = np.zeros((len(tokens), count), np.float32)
        step = (end - start) / max(1, len(tokens))
        frames = [int((start - self.part[0] + n * step) / 0.02) for n in range(len(tokens))]
        for row, (first, last) in enumerate(pairwise([*frames, frames[-1] + 5] if frames else [])):
            attention[row, first:last] = 1.0
        decoded = Decoded(
            tokens, frames, [mean_log_prob] * len(tokens), attention, True, [no_speech] * 200
        )
        try:
            self.window = self._job.send(decoded)
        except StopIteration as stop:
            self.window, self.text = None, stop.value

    @property
    def said(self) -> str:
        assert self.text is not None
        return " ".join(word.text for word in self.text.words)


WHOLE = "The book falls onto the sidewalk."
LOST = "This is the agent speaking."


def test_a_lost_stretch_is_read_by_itself(babbler: SpeechModel) -> None:
    reading = Reading(babbler, [*FIRST, *SECOND])
    reading.answer(WHOLE, SURE, 2.4, 5.4)
    assert reading.part[0] == 0.0
    assert reading.part[1] == pytest.approx(2.4, abs=0.03), "cut where it is quietest"
    reading.answer(LOST, SURE, 0.2, 2.3)
    assert reading.part == (pytest.approx(2.4, abs=0.03), 5.7)
    reading.answer(WHOLE, SURE, 2.5, 5.4)
    assert reading.said == f"{LOST} {WHOLE}"
    assert reading.text is not None
    assert reading.text.complete
    assert reading.text.mean_log_prob == pytest.approx(SURE)
    assert list(reading.text.tokens) == [
        token for word in reading.text.words for token in word.tokens
    ]


def test_an_unsure_reading_of_a_lost_stretch_changes_nothing(babbler: SpeechModel) -> None:
    """The live words were invented: of noise, say."""
    reading = Reading(babbler, [*FIRST, *SECOND])
    reading.answer(WHOLE, SURE, 2.4, 5.4)
    reading.answer(LOST, UNSURE, 0.2, 2.3)
    while reading.window is not None:  # the search for a better one
        reading.answer(LOST, UNSURE, 0.2, 2.3)
    assert reading.said == WHOLE


def test_a_stretch_that_is_lost_once_more_by_itself(babbler: SpeechModel) -> None:
    """A word of the next voice, still in it, makes the decoder jump over it again."""
    live = [*spread(LOST, 0.2, 1.4), *spread("Well.", 2.0, 2.3), *SECOND]
    reading = Reading(babbler, live)
    reading.answer(WHOLE, SURE, 2.4, 5.4)
    reading.answer("Well.", SURE, 2.0, 2.3)
    assert reading.part == (0.0, pytest.approx(1.4, abs=0.3))
    reading.answer(LOST, SURE, 0.2, 1.1)
    reading.answer("Well.", SURE, 2.0, 2.3)
    reading.answer(WHOLE, SURE, 2.5, 5.4)
    assert reading.said == f"{LOST} Well. {WHOLE}"


def test_a_stretch_in_which_probably_nobody_speaks_changes_nothing(babbler: SpeechModel) -> None:
    reading = Reading(babbler, [*FIRST, *SECOND])
    reading.answer(WHOLE, SURE, 2.4, 5.4)
    reading.answer(LOST, SURE, 0.2, 2.3, no_speech=0.9)
    assert reading.said == WHOLE


def test_what_is_lost_behind_a_stretch_that_was_not_is_found(babbler: SpeechModel) -> None:
    """Noise for which live words were invented keeps nobody from looking on."""
    reading = Reading(babbler, FIRST)
    reading.answer("falls onto", SURE, 2.4, 3.6)
    reading.answer("", SURE, 0.2, 2.3)
    cut = reading.part[1]
    reading.answer("falls onto", SURE, 2.4, 3.2)
    assert reading.part == (cut, 5.7)
    reading.answer(WHOLE, SURE, 4.2, 5.4)
    assert reading.said == f"falls onto {WHOLE}"


def test_a_stretch_without_words_changes_nothing(babbler: SpeechModel) -> None:
    reading = Reading(babbler, [*FIRST, *SECOND])
    reading.answer(WHOLE, SURE, 2.4, 5.4)
    reading.answer("", SURE, 0.2, 2.3)
    assert reading.said == WHOLE


def test_a_whole_text_is_read_once(babbler: SpeechModel) -> None:
    reading = Reading(babbler, [*FIRST, *SECOND])
    reading.answer(f"{LOST} {WHOLE}", SURE, 0.2, 5.4)
    assert reading.said == f"{LOST} {WHOLE}"


JOIN = Path(__file__).parents[3] / "shared" / "faults" / "join-5.5.wav"


@pytest.mark.skipif(not JOIN.exists(), reason=f"there is no {JOIN}")
def test_two_voices_without_a_pause_between_them(speech_model: SpeechModel) -> None:
    """The decoder jumps over the first voice, 5.5 s of it."""
    samples, rate = soundfile.read(JOIN, dtype="float32")
    heard = transcribe(
        speech_model,
        soxr.resample(samples, rate, RATE).astype(np.float32),
        EngineOptions(),
        StreamOptions("en"),
    )
    check_contract(heard)
    assert heard.final_text.startswith("this is the agent speaking your order number is")
    assert heard.final_text.endswith("the book falls onto the sidewalk as the car vanishes")
