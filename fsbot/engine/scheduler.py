"""One worker thread, all streams: schedule, run, report."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.audio.vad import SileroModel
from fsbot.engine.events import StreamEvent, StreamFailed
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.stream import Close, Stream

log = structlog.get_logger("fsbot.engine")


class StreamHandle:
    """One side, as the rest of the program sees it. Every method may be called from any thread."""

    def __init__(self, engine: "Engine", stream: Stream, cancelled: threading.Event) -> None:
        self._engine = engine
        self._stream = stream
        self._cancelled = cancelled
        self._fed = 0

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Append 16 kHz float32 samples in -1 to 1."""
        self._fed += len(samples)
        self._engine.tell(_Feed(self._stream, samples))

    def finish(self) -> None:
        """No more will be fed; StreamEnded comes when everything has been transcribed."""
        self._engine.tell(_Finish(self._stream))

    def cancel(self) -> None:
        """Forget the stream; no further events, not even of an inference that is under way."""
        self._cancelled.set()
        self._engine.tell(_Cancel(self._stream))

    @property
    def pending_seconds(self) -> float:
        """Audio fed and not yet listened to."""
        return max(0.0, (self._fed - self._stream.judged) / SAMPLE_RATE)


@dataclass(frozen=True, slots=True)
class _Open:
    stream: Stream


@dataclass(frozen=True, slots=True)
class _Feed:
    stream: Stream
    samples: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Finish:
    stream: Stream


@dataclass(frozen=True, slots=True)
class _Cancel:
    stream: Stream


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


_Order = _Open | _Feed | _Finish | _Cancel | _Stop


@dataclass(slots=True)
class EngineTimes:
    """Seconds the worker has spent, by kind of work; what is left of its life it waited.

    updates, closes: how often; audio: seconds of sound it was fed, over all streams.
    """

    listening: float = 0.0
    updating: float = 0.0
    closing: float = 0.0
    updates: int = 0
    closes: int = 0
    audio: float = 0.0


class Engine:
    """All streams of the process, transcribed by one worker thread that owns the model.

    Events are delivered by calling `on_event` of the stream on the worker thread: hand them on, do
    not work there.
    """

    def __init__(self, model: SpeechModel, options: EngineOptions, threads: int = 1) -> None:
        self.options = options
        self.times = EngineTimes()
        self._model = model
        self._silero = SileroModel()
        self._threads = threads
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._streams: list[Stream] = []
        self._thread = threading.Thread(target=self._work, name="fsbot-engine", daemon=True)

    def start(self) -> None:
        """Start the worker."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the worker after the task it is at; what streams still hold is dropped."""
        self.tell(_Stop())
        self._thread.join()

    def open(self, options: StreamOptions, on_event: Callable[[StreamEvent], None]) -> StreamHandle:
        """Begin a stream."""
        cancelled = threading.Event()

        def deliver(event: StreamEvent) -> None:
            if not cancelled.is_set():
                on_event(event)

        stream = Stream(self._model, self._silero, self.options, options, deliver)
        self.tell(_Open(stream))
        return StreamHandle(self, stream, cancelled)

    def tell(self, order: _Order) -> None:
        """Queue an order for the worker; used by StreamHandle."""
        self._orders.put(order)

    def _work(self) -> None:
        torch.set_num_threads(self._threads)
        while self._take_orders():
            for stream in list(self._streams):
                self._guarded(stream, self._listen)
            ready = [stream for stream in self._streams if stream.tasks]
            if ready:
                self._guarded(min(ready, key=_urgency), self._run)
            for stream in [stream for stream in self._streams if stream.ended]:
                self._streams.remove(stream)
                _deliver_last(stream.end)

    def _take_orders(self) -> bool:
        """Carry out all waiting orders, or wait for one if there is nothing else to do."""
        block = not any(stream.busy for stream in self._streams)
        while True:
            try:
                order = self._orders.get(block=block)
            except queue.Empty:
                return True
            block = False
            match order:
                case _Open(stream):
                    self._streams.append(stream)
                case _Feed(stream, samples) if stream in self._streams:
                    self._guarded(stream, partial(Stream.push, samples=samples))
                    self.times.audio += len(samples) / SAMPLE_RATE
                case _Finish(stream):
                    stream.finish()
                case _Cancel(stream):
                    if stream in self._streams:
                        self._streams.remove(stream)
                case _Stop():
                    return False

    def _listen(self, stream: Stream) -> None:
        started = time.perf_counter()
        while stream.wants_to_listen:
            stream.listen()
        self.times.listening += time.perf_counter() - started

    def _run(self, stream: Stream) -> None:
        closing = isinstance(stream.tasks[0], Close)
        started = time.perf_counter()
        stream.run_next()
        spent = time.perf_counter() - started
        if closing:
            self.times.closing += spent
            self.times.closes += 1
        else:
            self.times.updating += spent
            self.times.updates += 1

    def _guarded(self, stream: Stream, step: Callable[[Stream], None]) -> None:
        try:
            step(stream)
        except Exception as error:  # one stream's failure must not end all the others'
            log.exception("stream failed")
            self._streams.remove(stream)
            failure = StreamFailed(f"{type(error).__name__}: {error}")
            _deliver_last(partial(stream.fail, failure))


def _deliver_last(event: Callable[[], None]) -> None:
    """Deliver a stream's last event; the worker goes on whatever the receiver makes of it."""
    try:
        event()
    except Exception:
        # The receiver's mistake would end the worker, and with it every other stream.
        log.exception("last event of a stream not taken")


def _urgency(stream: Stream) -> tuple[bool, float]:
    """Closing utterances before growing ones, then whoever has waited longest."""
    task = stream.tasks[0]
    return not isinstance(task, Close), task.since
