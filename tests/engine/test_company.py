"""Several streams through one engine: batches, workers and cancellations change nothing."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

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
    transcribe,
    without_probabilities,
)

import fsbot.engine.scheduler as scheduler
from fsbot.audio.endpointer import EndpointerOptions
from fsbot.engine.decoding import Decoded
from fsbot.engine.inference import Window, infer
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions
from fsbot.engine.orders import StreamHandle
from fsbot.engine.scheduler import Engine

BUSY = EngineOptions(
    chunk=0.3,
    frame_threshold=15,
    max_utterance=8.0,
    max_context_tokens=20,
    endpointer=EndpointerOptions(min_silence=0.2),
)
"""Many updates, previews, cuts and ends."""

CALL = sound("demo-fr")
SIDES = [
    between(CALL, 0.0, 14.0),
    np.concatenate([silence(0.7), between(CALL, 9.0, 20.0)]),
    between(CALL, 20.0, 33.0),
    np.concatenate([silence(2.0), sound("utterance-fr")]),
]


@pytest.fixture(scope="module")
def alone(babbler: SpeechModel) -> list[Heard]:
    """What each side says when nobody else is there."""
    heard = [transcribe(babbler, side, BUSY) for side in SIDES]
    for each in heard:
        check_contract(each)
        assert len(each.commits) > 5
    return heard


def feed_in_turn(
    streams: Sequence[StreamHandle], sides: Sequence[Samples], sizes: Sequence[int]
) -> None:
    """Feed pieces of every side, each of its own size, as if they came at the same time."""
    longest = max(len(side) / size for side, size in zip(sides, sizes, strict=True))
    for number in range(int(longest) + 1):
        for stream, side, size in zip(streams, sides, sizes, strict=True):
            stream.feed(side[number * size : (number + 1) * size])
    for stream in streams:
        stream.finish()


def check_the_same(heard: Heard, alone: Heard) -> None:
    check_contract(heard)
    assert without_probabilities(heard.events) == without_probabilities(alone.events)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("size", [320, 8000, 1 << 20], ids=["20 ms", "500 ms", "whole"])
def test_streams_say_together_what_each_says_alone(
    babbler: SpeechModel, alone: list[Heard], workers: int, size: int
) -> None:
    engine = Engine(babbler, BUSY, workers=workers)
    engine.start()
    try:
        heard = [Heard() for _ in SIDES]
        streams = [engine.open(FRENCH, each.take) for each in heard]
        feed_in_turn(streams, SIDES, [size] * len(SIDES))
        for each, expected in zip(heard, alone, strict=True):
            check_the_same(each.wait(), expected)
    finally:
        engine.stop()


def test_two_workers_say_of_real_speech_what_one_says(
    speech_model: SpeechModel, heard: Heard
) -> None:
    engine = Engine(speech_model, EVERY_SECOND, workers=2)
    engine.start()
    try:
        listeners = [Heard() for _ in range(3)]
        streams = [engine.open(FRENCH, each.take) for each in listeners]
        feed_in_turn(streams, [sound("utterance-fr")] * 3, [320, 8000, 1700])
        for each in listeners:
            check_the_same(each.wait(), heard)
    finally:
        engine.stop()


def test_pieces_of_any_size_say_the_same_at_int8(int8_model: SpeechModel) -> None:
    """One stream: the same windows in the same batches, whatever the pieces."""
    samples = sound("utterance-fr")
    whole = transcribe(int8_model, samples)
    for size in (320, 8000):
        sizes = [size] * (len(samples) // size)
        check_the_same(transcribe(int8_model, samples, sizes=sizes), whole)


# A batch is held until the test lets it go


class Held:
    """The engine's inference, stopped at the first batch of the first side and others."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.sizes: list[int] = []

    def infer(self, model: SpeechModel, windows: Sequence[Window]) -> list[Decoded]:
        self.sizes.append(len(windows))
        first_side = SIDES[0].tobytes()
        mixed = {window.samples.tobytes() in first_side for window in windows}
        if len(mixed) == 2 and not self.begun.is_set():
            self.begun.set()
            assert self.go_on.wait(PATIENCE)
        return infer(model, windows)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    found = Held()
    monkeypatch.setattr(scheduler, "infer", found.infer)
    yield found
    found.go_on.set()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cancel_in_the_middle_of_a_batch_harms_no_other(
    babbler: SpeechModel, alone: list[Heard], held: Held, workers: int
) -> None:
    engine = Engine(babbler, BUSY, workers=workers)
    # All audio is there before the first batch, so that several streams have a window for it.
    heard = [Heard() for _ in SIDES]
    streams = [engine.open(FRENCH, each.take) for each in heard]
    feed_in_turn(streams, SIDES, [8000] * len(SIDES))
    engine.start()
    try:
        assert held.begun.wait(PATIENCE)
        streams[0].cancel()
        count = len(heard[0].events)
        time.sleep(0.1)  # so that another worker meets the cancellation while the batch is held
        held.go_on.set()
        for each, expected in zip(heard[1:], alone[1:], strict=True):
            check_the_same(each.wait(), expected)
        assert len(heard[0].events) <= count + 1  # one may have been on its way
        assert not heard[0].over.is_set()
    finally:
        held.go_on.set()
        engine.stop()


def test_a_window_that_the_model_cannot_take_fails_its_stream_alone(
    babbler: SpeechModel,
    alone: list[Heard],
    monkeypatch: pytest.MonkeyPatch,
    log_lines: list[dict[str, object]],
) -> None:
    """Its batch is done again without it."""
    mel = SpeechModel.mel
    assert np.abs(CALL).max() < 1.0
    loud = 3.0 * SIDES[0]  # limited to 1.0 where it overshoots

    def mel_of_the_quiet(self: SpeechModel, samples: Samples, padding: float) -> object:
        if np.abs(samples).max(initial=0.0) == 1.0:
            raise RuntimeError("too loud")
        return mel(self, samples, padding)

    monkeypatch.setattr(SpeechModel, "mel", mel_of_the_quiet)
    engine = Engine(babbler, BUSY)
    heard = [Heard() for _ in SIDES]
    streams = [engine.open(FRENCH, each.take) for each in heard]
    feed_in_turn(streams, [loud, *SIDES[1:]], [8000] * len(SIDES))
    engine.start()
    try:
        for each, expected in zip(heard[1:], alone[1:], strict=True):
            check_the_same(each.wait(), expected)
        failed = heard[0].wait().events[-1]
        assert getattr(failed, "reason", "") == "RuntimeError: too loud"
        assert [line["event"] for line in log_lines].count("inference failed") == 1
    finally:
        engine.stop()


def test_batches_hold_several_streams(babbler: SpeechModel, held: Held) -> None:
    held.go_on.set()
    engine = Engine(babbler, replace(BUSY, chunk=1.0))
    heard = [Heard() for _ in range(12)]
    streams = [engine.open(FRENCH, each.take) for each in heard]
    feed_in_turn(streams, [SIDES[0][: 5 * RATE]] * 12, [1 << 20] * 12)
    engine.start()
    try:
        for each in heard:
            check_contract(each.wait())
    finally:
        engine.stop()
    assert 1 < max(held.sizes) <= scheduler.MOST_WINDOWS
