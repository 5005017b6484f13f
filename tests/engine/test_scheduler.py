"""Many streams, one worker: nobody's trouble is another's."""

import platform
import resource
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hearing import (
    EVERY_SECOND,
    FRENCH,
    PATIENCE,
    RATE,
    Heard,
    Samples,
    between,
    check_contract,
    silence,
    sound,
    without_probabilities,
)

from fsbot.audio.endpointer import EndpointerOptions
from fsbot.engine.events import (
    SpeechCertain,
    SpeechStarted,
    StreamEnded,
    StreamEvent,
    StreamFailed,
    WordsCommitted,
)
from fsbot.engine.inference import Job
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.orders import Feed, StreamHandle
from fsbot.engine.scheduler import Engine
from fsbot.engine.stream import Stream

STEREO = np.zeros((100, 2), np.float32)
"""What no stream can take."""


@pytest.fixture
def engine(babbler: SpeechModel) -> Iterator[Engine]:
    running = Engine(babbler, EVERY_SECOND)
    running.start()
    yield running
    running.stop()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_two_streams_at_once_say_what_each_says_alone(
    speech_model: SpeechModel, heard: Heard
) -> None:
    running = Engine(speech_model, EVERY_SECOND)
    running.start()
    one, other = Heard(), Heard()
    streams = [running.open(FRENCH, each.take) for each in (one, other)]
    late = np.concatenate([silence(1.3), sound("utterance-fr")])
    for start in range(0, len(late), 1700):
        streams[0].feed(sound("utterance-fr")[start : start + 1700])
        streams[1].feed(late[start : start + 1700])
    for stream in streams:
        stream.finish()
    assert without_probabilities(one.wait().events) == without_probabilities(heard.events)
    check_contract(other.wait())
    assert other.final_text == heard.final_text
    assert other.finals[0].start == pytest.approx(heard.finals[0].start + 1.3, abs=0.05)
    running.stop()


def test_events_come_on_the_worker_and_everything_fed_is_heard(engine: Engine) -> None:
    listener = Heard()
    stream = engine.open(FRENCH, listener.take)
    assert stream.pending_seconds == 0
    samples = sound("utterance-fr")
    stream.feed(samples)
    assert 0 < stream.pending_seconds <= len(samples) / RATE
    stream.finish()
    check_contract(listener.wait())
    assert stream.pending_seconds == 0
    assert listener.threads == {"fsbot-engine-1"}
    assert engine.times.audio == pytest.approx(len(samples) / RATE)
    assert engine.times.updates > 0
    assert 0 <= engine.times.closes <= len(listener.finals)


def feed(streams: Sequence[StreamHandle], sounds: Sequence[Samples], size: int = 1700) -> None:
    for start in range(0, len(sounds[0]), size):
        for stream, samples in zip(streams, sounds, strict=True):
            stream.feed(samples[start : start + size])


def test_what_comes_back_from_the_other_side_is_an_echo(engine: Engine) -> None:
    robot, caller = Heard(), Heard()
    speech = np.concatenate([sound("utterance-fr"), silence(1.0)])
    echo = 0.1 * np.roll(speech, round(0.1 * RATE))
    first = engine.open(FRENCH, caller.take)
    streams = [first, engine.open(FRENCH, robot.take, first)]
    feed(streams, [echo, speech])
    for stream in streams:
        stream.finish()
    for heard in (caller, robot):
        check_contract(heard.wait())
    assert [start.echo for start in robot.starts] == [False]
    assert [start.echo for start in caller.starts] == [True] * len(caller.starts) != []
    assert [isinstance(event, SpeechCertain) for event in robot.events].count(True) == 1
    assert not any(isinstance(event, SpeechCertain) for event in caller.events)


@pytest.mark.parametrize("gone", ["cancelled", "failed"])
def test_a_side_whose_other_side_is_gone_is_heard_to_its_end(engine: Engine, gone: str) -> None:
    first, second = Heard(), Heard()
    other = engine.open(FRENCH, first.take)
    stream = engine.open(FRENCH, second.take, other)
    samples = sound("utterance-fr")
    feed([other, stream], [samples[: 2 * RATE]] * 2)
    if gone == "cancelled":
        other.cancel()
    else:
        engine.tell(Feed(other.stream, STEREO))
    stream.feed(samples[2 * RATE :])
    stream.finish()
    check_contract(second.wait())
    assert second.final_text


def test_a_stream_that_is_never_fed_ends(engine: Engine) -> None:
    listener = Heard()
    engine.open(FRENCH, listener.take).finish()
    assert listener.wait().events == [StreamEnded(0.0)]


def test_a_cancelled_stream_is_not_heard_of_again_and_harms_no_other(engine: Engine) -> None:
    cancelled, other = Heard(), Heard()
    streams = [engine.open(FRENCH, each.take) for each in (cancelled, other)]
    samples = between(sound("demo-fr"), 9.3, 20.0)
    for stream in streams:
        stream.feed(samples[: 3 * RATE])
    until(lambda: len(cancelled.commits) > 0)
    streams[0].cancel()
    count = len(cancelled.events)
    for stream in streams:
        stream.feed(samples[3 * RATE :])
        stream.finish()
    check_contract(other.wait())
    assert len(cancelled.events) <= count + 1  # one may have been on its way
    assert not cancelled.over.is_set()
    assert streams[0].pending_seconds > 0


def test_not_even_the_inference_under_way_speaks_after_a_cancel(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, go_on = threading.Event(), threading.Event()
    mel = SpeechModel.mel

    def mel_at_leisure(self: SpeechModel, samples: Samples, padding: float) -> object:
        at_work.set()
        go_on.wait(PATIENCE)
        return mel(self, samples, padding)

    monkeypatch.setattr(SpeechModel, "mel", mel_at_leisure)
    cancelled, other = Heard(), Heard()
    stream = engine.open(FRENCH, cancelled.take)
    stream.feed(sound("utterance-fr"))
    stream.finish()
    assert at_work.wait(PATIENCE)
    stream.cancel()
    go_on.set()
    engine.open(FRENCH, other.take).finish()
    other.wait()
    assert [type(event) for event in cancelled.events] == [SpeechStarted, SpeechCertain]


def test_a_stream_that_fails_fails_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, log_lines: list[dict[str, object]]
) -> None:
    work = Stream.work
    failing: list[Stream] = []

    def work_or_fail(self: Stream) -> Job[None]:
        failing.append(self)
        if self is failing[0]:
            raise RuntimeError("no more memory")
        yield from work(self)

    monkeypatch.setattr(Stream, "work", work_or_fail)
    first, second = Heard(), Heard()
    stream = engine.open(FRENCH, first.take)
    stream.feed(sound("utterance-fr"))
    first.wait()
    stream.feed(sound("utterance-fr"))
    stream.finish()
    other = engine.open(FRENCH, second.take)
    other.feed(sound("utterance-fr"))
    other.finish()
    check_contract(second.wait())
    kinds = [type(event) for event in first.events]
    assert kinds == [SpeechStarted, SpeechCertain, StreamFailed]
    assert first.events[-1] == StreamFailed("RuntimeError: no more memory")
    assert [line["event"] for line in log_lines] == ["stream failed"]


def test_audio_of_the_wrong_shape_is_refused_and_fails_no_other_stream(engine: Engine) -> None:
    refusing, failing, mono = Heard(), Heard(), Heard()
    refused = engine.open(FRENCH, refusing.take)
    with pytest.raises(ValueError, match="one channel"):
        refused.feed(STEREO)
    refused.finish()
    engine.tell(Feed(engine.open(FRENCH, failing.take).stream, STEREO))
    engine.open(FRENCH, mono.take).finish()
    assert isinstance(failing.wait().events[0], StreamFailed)
    assert refusing.wait().events == mono.wait().events == [StreamEnded(0.0)]


def test_a_receiver_that_raises_ends_nothing_but_its_stream(
    engine: Engine, log_lines: list[dict[str, object]]
) -> None:
    refused: list[StreamEvent] = []

    def refuse(event: StreamEvent) -> None:
        refused.append(event)
        raise ValueError("not now")

    bad = engine.open(FRENCH, refuse)
    bad.feed(sound("utterance-fr"))
    bad.finish()
    empty = engine.open(FRENCH, refuse)
    empty.finish()
    listener = Heard()
    good = engine.open(FRENCH, listener.take)
    good.feed(sound("utterance-fr"))
    good.finish()
    check_contract(listener.wait())
    kinds = {type(event) for event in refused}
    assert kinds == {SpeechStarted, StreamFailed, StreamEnded}
    assert len(log_lines) == 3


def test_stopping_a_busy_engine_drops_what_is_left(babbler: SpeechModel) -> None:
    busy = Engine(babbler, EVERY_SECOND)
    busy.start()
    listener = Heard()
    stream = busy.open(FRENCH, listener.take)
    for _ in range(10):
        stream.feed(sound("demo-fr"))
    until(lambda: bool(listener.commits))
    busy.stop()
    count = len(listener.events)
    assert not listener.over.is_set()
    stream.feed(sound("utterance-fr"))
    stream.finish()
    stream.cancel()
    busy.stop()
    assert len(listener.events) == count


def test_late_updates_give_way_but_no_final_does(babbler: SpeechModel) -> None:
    """All of a file at once: the guesses in between are not worth their time."""
    endpointer = EndpointerOptions(min_silence=0.6)
    hasty = Engine(babbler, EngineOptions(chunk=0.3, endpointer=endpointer))
    hasty.start()
    listener = Heard()
    stream = hasty.open(StreamOptions(), listener.take)
    stream.feed(sound("demo-fr"))
    stream.finish()
    check_contract(listener.wait())
    assert len(listener.finals) >= 4
    assert hasty.times.updates < 20
    hasty.stop()


def test_large_v3s_shape_goes_through_the_engine(large_babbler: SpeechModel) -> None:
    running = Engine(large_babbler, EngineOptions(chunk=2.0, beams=3))
    running.start()
    listener = Heard()
    stream = running.open(StreamOptions("auto", static_prompt="Asterisk"), listener.take)
    stream.feed(sound("utterance-fr"))
    stream.finish()
    check_contract(listener.wait())
    assert any(isinstance(event, WordsCommitted) for event in listener.events)
    running.stop()


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to")
def test_the_holes_of_the_heap_go_back_to_the_machine(
    babbler: SpeechModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fsbot.engine.scheduler.TRIM_SECONDS", 0.0)
    small_enough_for_the_heap = [np.ones(8_000) for _ in range(4_000)]
    before = resident_megabytes()
    # Those that stay keep the heap from shrinking by itself.
    kept = small_enough_for_the_heap[::20]
    del small_enough_for_the_heap
    with_holes = resident_megabytes()
    running, listener = Engine(babbler, EVERY_SECOND), Heard()
    running.start()
    stream = running.open(FRENCH, listener.take)
    stream.feed(sound("utterance-fr"))
    stream.finish()
    listener.wait()
    running.stop()
    assert len(kept) == 200
    assert with_holes > before - 50
    assert resident_megabytes() < before - 150
