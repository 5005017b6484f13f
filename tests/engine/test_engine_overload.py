"""More than the engine can do at the moment: what waits, what is read first, what is held."""

import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
from hearing import (
    EVERY_SECOND,
    FRENCH,
    PATIENCE,
    RATE,
    Heard,
    between,
    check_contract,
    silence,
    sound,
)

from fsbot.engine.events import AudioCovered, StreamEnded, StreamEvent
from fsbot.engine.fairness import Fairness
from fsbot.engine.inference import Job
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.scheduler import Engine, _urgency
from fsbot.engine.stream import MOST_UNREAD, Stream
from fsbot.engine.tasks import Close, Task, Update


def wait_for(condition) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_utterance_is_over_when_no_more_audio_comes_for_a_while(
    speech_model: SpeechModel,
) -> None:
    """And what comes later is another one, behind all that there was."""
    engine = Engine(speech_model, EngineOptions())
    engine.start()
    try:
        heard = Heard()
        stream = engine.open(FRENCH, heard.take)
        said = sound("utterance-fr")
        stream.feed(between(said, 0.0, 2.75))
        wait_for(lambda: stream.pending_seconds == 0)
        assert not heard.ends
        stream.rest()
        wait_for(lambda: heard.finals)
        assert heard.finals[0].words[-1].end <= 2.75
        stream.rest()  # once more is no more
        stream.feed(between(said, 2.75, 7.0))
        stream.finish()
        heard.wait()
    finally:
        engine.stop()
    check_contract(heard)
    assert heard.starts[1].at >= 2.75
    assert heard.final_text.startswith("le numéro composé n'est pas en")
    assert heard.final_text.endswith("nouveau")
    assert heard.events[-1] == StreamEnded(len(between(said, 0.0, 7.0)) / RATE)


def test_a_stream_that_rests_in_silence_says_nothing(babbler: SpeechModel) -> None:
    engine = Engine(babbler, EngineOptions())
    engine.start()
    try:
        heard = Heard()
        stream = engine.open(FRENCH, heard.take)
        stream.feed(silence(1.01))
        stream.rest()
        stream.finish()
        heard.wait()
    finally:
        engine.stop()
    assert heard.events == [StreamEnded(1.01)]


def test_what_waits_to_be_read_is_not_listened_to_for_ever(
    speech_model: SpeechModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sound of what waits is in memory: so not all of an hour may wait."""
    may_read = threading.Event()
    engine = Engine(speech_model, EngineOptions())
    infer = engine._infer

    def late(windows):  # type: ignore[no-untyped-def]
        may_read.wait(PATIENCE)
        return infer(windows)

    monkeypatch.setattr(engine, "_infer", late)
    heard = Heard()
    stream = engine.open(StreamOptions(), heard.take)
    spoken = np.concatenate([sound("utterance-fr"), silence(1.0)])
    rounds = int(3 * MOST_UNREAD / (len(spoken) / RATE))
    for _ in range(rounds):
        stream.feed(spoken)
    stream.finish()
    engine.start()  # its only worker listens to what is there, and is then held up
    try:
        wait_for(lambda: stream._stream.judged > MOST_UNREAD * RATE / 2)
        time.sleep(0.5)
        assert stream._stream.judged <= (MOST_UNREAD + 2) * RATE
        assert stream.transcribed < 2.0
        may_read.set()
        heard.wait()
    finally:
        may_read.set()
        engine.stop()
    check_contract(heard)
    assert heard.final_text.count("nouveau") == rounds
    assert stream.transcribed == pytest.approx(rounds * len(spoken) / RATE)


def test_listening_goes_on_when_what_waited_needs_no_more_reading(
    speech_model: SpeechModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No order comes that would wake the engine: whoever feeds waits until it has listened."""
    may_read = threading.Event()
    engine = Engine(speech_model, EngineOptions(), workers=2)
    infer = engine._infer
    work = Stream.work
    begun: list[Stream] = []

    def late(windows):  # type: ignore[no-untyped-def]
        may_read.wait(PATIENCE)
        return infer(windows)

    def work_without_windows(stream: Stream) -> Job[None]:
        begun.append(stream)
        if len(begun) == 1:
            yield from work(stream)
        else:
            stream.tasks.pop(0)

    monkeypatch.setattr(engine, "_infer", late)
    monkeypatch.setattr(Stream, "work", work_without_windows)
    engine.start()
    try:
        heard = Heard()
        stream = engine.open(StreamOptions(), heard.take)
        spoken = np.concatenate([sound("utterance-fr"), silence(1.0)])
        stream.feed(between(spoken, 0.0, 2.0))
        wait_for(lambda: begun)
        rounds = int(1.5 * MOST_UNREAD / (len(spoken) / RATE))
        stream.feed(np.tile(spoken, rounds)[2 * RATE :])
        wait_for(lambda: stream._stream.judged >= MOST_UNREAD * RATE)
        assert stream.pending_seconds > 0
        may_read.set()
        wait_for(lambda: stream.pending_seconds == 0)
    finally:
        may_read.set()
        engine.stop()


def lined_up(task: type[Update] | type[Close], since: float) -> Task:
    return Update(None, 0.0, since) if task is Update else Close(None, None, 0.0, since)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("newest_first", "order"),
    [
        (False, ["close -60", "close -30", "close -1", "update -40", "update 0"]),
        (True, ["close -1", "update 0", "close -30", "close -60", "update -40"]),
    ],
)
def test_what_is_read_first_of_what_is_late(newest_first: bool, order: list[str]) -> None:
    tasks = {
        f"{kind.__name__.lower()} {since}": lined_up(kind, 1000.0 + since)
        for kind, since in ((Close, -60), (Close, -30), (Close, -1), (Update, -40), (Update, 0))
    }
    found = sorted(tasks, key=lambda name: _urgency(tasks[name], 0.0, 1000.0, newest_first))
    assert found == order


def test_who_pauses_more_is_not_served_more(
    babbler: SpeechModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two speakers of the same length of sound, one of whom is silent for two thirds of it."""
    # The babbler reads so fast that its worker would find only one of them listened to.
    monkeypatch.setattr("fsbot.engine.scheduler.LISTENING_INTERVAL", 0.0)
    engine = Engine(babbler, EVERY_SECOND)
    spoken = sound("utterance-fr")
    pause = silence(2 * len(spoken) / RATE)
    talkative, pausing = Heard(), Heard()
    covered: list[float] = []

    def take(event: StreamEvent) -> None:
        pausing.take(event)
        read = (event for event in talkative.events if isinstance(event, AudioCovered))
        covered.append(max((event.until for event in read), default=0.0))

    sounds = [np.tile(spoken, 9), np.tile(np.concatenate([pause, spoken]), 3)]
    for listener, samples in zip([talkative.take, take], sounds, strict=True):
        stream = engine.open(FRENCH, listener)
        stream.feed(samples)
        stream.finish()
    engine.start()
    try:
        pausing.wait()
        talkative.wait()
    finally:
        engine.stop()
    assert covered[-1] > 0.7 * len(sounds[0]) / RATE


@dataclass(eq=False)
class Racer:
    """What Fairness sees of a stream."""

    judged: int = 0
    skips_late_updates: bool = False
    at_work: bool = True

    def hear(self, seconds: float) -> None:
        self.judged += round(seconds * RATE)


def test_nobody_saves_up_a_claim_by_being_idle() -> None:
    fairness = Fairness()
    first, second, live = Racer(), Racer(), Racer(skips_late_updates=True)

    def leads(*waiting: Racer) -> list[float]:
        fairness.measure(waiting)  # type: ignore[arg-type]
        return [fairness.lead(racer) for racer in waiting]  # type: ignore[arg-type]

    first.hear(30)
    second.hear(20)
    assert leads(first, second, live) == [10, 0, 0]
    comer = Racer()
    assert leads(first, second, comer) == [10, 0, 0]
    second.hear(5)
    comer.hear(7)
    assert leads(first, second, comer) == [5, 0, 2]
    first.hear(20)
    assert leads(first, second) == [25, 0]
    second.hear(100)
    assert leads(first, second) == [0, 75]
    comer.hear(1)  # of a long silence, while the others went on
    assert leads(first, comer) == [0, 0]
