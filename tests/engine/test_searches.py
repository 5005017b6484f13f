"""When an unsure final text is searched for a better one, live and from a file."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from fsbot.audio.endpointer import EndpointerOptions
from fsbot.engine.cadence import Cadence
from fsbot.engine.decoding import Decoded
from fsbot.engine.events import StreamEvent, UtteranceEnded, UtteranceFinal
from fsbot.engine.inference import Job, Window
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.searches import SEARCH_COST, SEARCH_ROOM, Searches
from fsbot.engine.stream import LISTEN_SAMPLES, Stream
from fsbot.engine.tasks import Close, Preview, Update

OPTIONS = EngineOptions(endpointer=EndpointerOptions(min_silence=0.5, max_silence=0.8))
BEAMS = OPTIONS.search_beams
UNSURE, SURE = -0.7, -0.1


@dataclass
class Scripted:
    """A stream that hears what a test says it hears, on a clock that the test moves."""

    model: SpeechModel
    live: bool = True
    now: float = 100.0
    events: list[StreamEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.searches = Searches(lambda: self.now)
        self.stream = Stream(
            self.model,
            OPTIONS,
            Cadence(OPTIONS.chunk),
            self.searches,
            StreamOptions("fr", skip_late_updates=self.live),
            self.events.append,
            lambda: self.now,
        )

    def hear(self, seconds: float, probability: float) -> None:
        """Sound that is speech with that probability; no task of it is begun."""
        for _ in range(round(seconds * 16000 / LISTEN_SAMPLES)):
            self.stream.push(np.full(LISTEN_SAMPLES, 0.01 * probability, np.float32))
            assert self.stream.offer()
            self.stream.hear(probability)

    def begin(self, kind: type[Update] | type[Preview] | type[Close]) -> "Asked":
        """Begin the first task, which must be of that kind."""
        assert isinstance(self.stream.tasks[0], kind)
        return Asked(self.stream.work())

    @property
    def finals(self) -> list[UtteranceFinal]:
        return [event for event in self.events if isinstance(event, UtteranceFinal)]


class Asked:
    """A task under way, and the windows that it asks for."""

    def __init__(self, job: Job[None]) -> None:
        self._job = job
        self.window: Window | None = next(job, None)

    def answer(self, mean_log_prob: float) -> None:
        """A text that ends like a sentence, as sure as that."""
        try:
            self.window = self._job.send(said(self.window, mean_log_prob))
        except StopIteration:
            self.window = None


def said(window: Window | None, mean_log_prob: float) -> Decoded:
    assert window is not None
    tokens = [3802, 13]  # " oui" and a full stop, of some letters or other
    frames = window.task.audio_frames
    attention = np.zeros((2, frames), np.float32)
    attention[0, frames // 3] = attention[1, frames // 2] = 1.0
    frames_of = [frames // 3, frames // 2]
    return Decoded(tokens, frames_of, [mean_log_prob] * 2, attention, True, [0.0] * 200)


@pytest.fixture
def scripted(babbler: SpeechModel) -> Callable[..., Scripted]:
    return lambda live=True: Scripted(babbler, live)


def test_an_unsure_text_is_searched_until_a_long_pause_would_end_it(
    scripted: Callable[..., Scripted],
) -> None:
    call = scripted()
    call.hear(1.0, 0.9)
    call.stream.tasks.clear()
    call.hear(0.32, 0.0)
    asked = call.begin(Preview)
    call.now += (0.45 + SEARCH_ROOM) / (1 + SEARCH_COST)
    asked.answer(UNSURE)
    assert asked.window is not None
    assert asked.window.task.beams == BEAMS
    assert (call.searches.begun, call.searches.left_out) == (1, 0)


def test_a_sure_text_is_not_searched(scripted: Callable[..., Scripted]) -> None:
    call = scripted()
    call.hear(1.0, 0.9)
    call.stream.tasks.clear()
    call.hear(0.32, 0.0)
    asked = call.begin(Preview)
    asked.answer(SURE)
    assert asked.window is None
    assert (call.searches.begun, call.searches.left_out) == (0, 0)


IN_TIME = SEARCH_ROOM / (1 + SEARCH_COST) - 0.001


@pytest.mark.parametrize("took", [0.0, IN_TIME, IN_TIME + 0.01])
def test_a_text_that_was_never_previewed_is_searched_if_there_is_time(
    scripted: Callable[..., Scripted], took: float
) -> None:
    call = scripted()
    call.hear(1.0, 0.9)
    call.stream.tasks.clear()
    call.stream.finish()
    call.stream.offer()
    asked = call.begin(Close)
    call.now += took
    asked.answer(UNSURE)
    searched = took <= IN_TIME
    assert (call.searches.begun, call.searches.left_out) == (searched, not searched)
    assert (asked.window is not None) == searched
    if searched:
        asked.answer(SURE)
    assert len(call.finals) == 1


def test_a_file_has_all_the_time_there_is(scripted: Callable[..., Scripted]) -> None:
    call = scripted(live=False)
    call.hear(1.0, 0.9)
    call.stream.tasks.clear()
    call.stream.finish()
    call.stream.offer()
    asked = call.begin(Close)
    call.now = math.inf
    asked.answer(UNSURE)
    assert asked.window is not None
    assert call.searches.begun == 1


def test_nobody_searches_for_a_text_that_will_not_be_the_final_one(
    scripted: Callable[..., Scripted],
) -> None:
    call = scripted()
    call.hear(1.0, 0.9)
    call.stream.tasks.clear()
    call.hear(0.32, 0.0)
    asked = call.begin(Preview)
    call.hear(0.1, 0.9)
    asked.answer(UNSURE)
    assert asked.window is None
    assert (call.searches.begun, call.searches.left_out) == (0, 0)


def test_a_search_goes_on_when_the_pause_has_ended_the_utterance(
    scripted: Callable[..., Scripted],
) -> None:
    call = scripted()
    call.hear(1.0, 0.9)
    call.stream.tasks.clear()
    call.hear(0.32, 0.0)
    preview = call.begin(Preview)
    call.hear(0.6, 0.0)
    assert any(isinstance(event, UtteranceEnded) for event in call.events)
    preview.answer(UNSURE)
    assert preview.window is not None
    preview.answer(SURE)
    assert preview.window is None
    close = call.begin(Close)
    assert close.window is None, "it takes the preview's text"
    assert len(call.finals) == 1
