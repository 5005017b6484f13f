"""All streams of the process: schedule, run, report.

Whichever worker thread holds the scheduling lock is the scheduler: it carries out orders, listens
for all streams, and leaves with the most urgent windows as a batch; the next worker takes over.
What has become of a batch is an order, too. So all streams belong to one thread at a time, and only
inference goes on beside it.
"""

import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.audio.vad import SileroModel
from fsbot.engine.cadence import Cadence
from fsbot.engine.decoding import Decoded
from fsbot.engine.events import StreamEvent, StreamFailed
from fsbot.engine.inference import Job, Result, Window, infer
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.stream import LISTEN_SAMPLES, Stream
from fsbot.engine.tasks import Close, Task, Update

log = structlog.get_logger("fsbot.engine")


class StreamHandle:
    """One side, as the rest of the program sees it. Every method may be called from any thread."""

    def __init__(self, engine: "Engine", stream: Stream, cancelled: threading.Event) -> None:
        self._engine = engine
        self._stream = stream
        self._cancelled = cancelled
        self.begin = self._fed = stream.judged
        """The sample of the stream that is to be fed first: 0, unless it goes on."""

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Append 16 kHz float32 samples in -1 to 1."""
        self._fed += len(samples)
        self._engine.tell(_Feed(self._stream, samples))

    def finish(self) -> None:
        """No more will be fed; StreamEnded comes when everything has been transcribed."""
        self._engine.tell(_Finish(self._stream))

    def rest(self) -> None:
        """No more will be fed for a while: an utterance that is open is over with what there is."""
        self._engine.tell(_Rest(self._stream))

    def cancel(self) -> None:
        """Forget the stream; no further events, not even of an inference that is under way."""
        self._cancelled.set()
        self._engine.tell(_Cancel(self._stream))

    @property
    def pending_seconds(self) -> float:
        """Audio fed and not yet listened to, but for what is too short to listen to."""
        unheard = self._fed - self._stream.judged
        return unheard / SAMPLE_RATE if unheard >= LISTEN_SAMPLES else 0.0

    @property
    def transcribed(self) -> float:
        """Second of the stream up to which every word has been dealt with."""
        return self._stream.transcribed


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
class _Rest:
    stream: Stream


@dataclass(frozen=True, slots=True)
class _Cancel:
    stream: Stream


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


@dataclass(slots=True)
class _Run:
    """A stream's job, and the window that it waits for."""

    stream: Stream
    task: Task
    job: Job[None]
    window: Window
    inferring: bool = False


@dataclass(frozen=True, slots=True)
class _Done:
    """Texts of a batch's windows, or what went wrong with one, after `spent` seconds."""

    batch: list[_Run]
    results: list[Decoded | Exception]
    spent: float


_Order = _Open | _Feed | _Finish | _Rest | _Cancel | _Stop | _Done


MOST_WINDOWS = 8
"""Windows decoded together: more gain little on a CPU, and all wait for the slowest."""

MOST_SECONDS = 24.0
"""Audio in a batch, all windows together: what comes meanwhile waits so long as that takes."""

LATE_SECONDS = 2.0
"""What has waited for so long is late."""

LISTENING_INTERVAL = 0.03
"""Seconds between two rounds of listening, at least: 20 ms pieces of many streams, judged together,
cost a fraction of what they cost one by one."""


@dataclass(slots=True)
class EngineTimes:
    """Seconds the workers have spent, by kind of work; what is left of their lives they waited.

    updates, closes: how often; audio: seconds of sound the streams were fed, all together.
    """

    listening: float = 0.0
    updating: float = 0.0
    closing: float = 0.0
    updates: int = 0
    closes: int = 0
    audio: float = 0.0


class Engine:
    """All streams of the process, transcribed by worker threads that share the model.

    Events are delivered by calling `on_event` of the stream on a worker thread, one at a time: hand
    them on, do not work there.
    """

    def __init__(
        self, model: SpeechModel, options: EngineOptions, threads: int = 1, workers: int = 1
    ) -> None:
        """threads: CPU threads of one inference; workers: inferences at a time."""
        self.options = options
        self.times = EngineTimes()
        self.cadence = Cadence(options.chunk)
        self._model = model
        self.silero = SileroModel()
        self._threads = threads
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._scheduling = threading.Lock()
        self._streams: list[Stream] = []
        self._runs: list[_Run] = []
        self._idle_workers = workers
        self._listened = 0.0
        self._stopping = False
        self._workers = [
            threading.Thread(target=self._work, name=f"fsbot-engine-{number}", daemon=True)
            for number in range(1, workers + 1)
        ]

    def start(self) -> None:
        """Start the workers."""
        for worker in self._workers:
            worker.start()

    def stop(self) -> None:
        """Stop the workers after the batches they are at; what streams still hold is dropped."""
        self.tell(_Stop())
        for worker in self._workers:
            worker.join()

    def open(self, options: StreamOptions, on_event: Callable[[StreamEvent], None]) -> StreamHandle:
        """Begin a stream."""
        cancelled = threading.Event()

        def deliver(event: StreamEvent) -> None:
            if not cancelled.is_set():
                on_event(event)

        stream = Stream(self._model, self.options, self.cadence, options, deliver)
        self.tell(_Open(stream))
        return StreamHandle(self, stream, cancelled)

    def tell(self, order: _Order) -> None:
        """Queue an order for whoever schedules; used by StreamHandle."""
        self._orders.put(order)

    def _work(self) -> None:
        torch.set_num_threads(self._threads)
        while batch := self._schedule():
            started = time.perf_counter()
            results = self._infer([run.window for run in batch])
            self.tell(_Done(batch, results, time.perf_counter() - started))

    def _infer(self, windows: Sequence[Window]) -> list[Decoded | Exception]:
        try:
            return list(infer(self._model, windows))
        except Exception as error:
            # One window that the model can't take must not cost the others of its batch theirs.
            if len(windows) == 1:
                log.exception("inference failed")
                return [error]
            return [result for window in windows for result in self._infer([window])]

    # Everything below is done by one worker at a time.

    def _schedule(self) -> list[_Run]:
        """Wait for the next batch; empty when the engine is to stop."""
        with self._scheduling:
            wait = 0.0 if self._runs else None
            while self._take_orders(wait):
                wait = self._listen()
                self._begin_jobs()
                self._end_streams()
                if batch := self._most_urgent():
                    self._idle_workers -= 1
                    return batch
            # The other workers wait for an order, too.
            self.tell(_Stop())
            return []

    def _take_orders(self, wait: float | None) -> bool:
        """Carry out all orders there are; wait so many seconds for the first, None: for ever."""
        if self._stopping:
            return False
        block = True
        while True:
            try:
                order = self._orders.get(block, wait) if block else self._orders.get_nowait()
            except queue.Empty:
                return True
            block = False
            match order:
                case _Open(stream):
                    self._streams.append(stream)
                case _Feed(stream, samples) if stream in self._streams:
                    self._guarded(stream, partial(Stream.push, stream, samples))
                    self.times.audio += len(samples) / SAMPLE_RATE
                case _Finish(stream):
                    stream.finish()
                case _Rest(stream):
                    stream.rest()
                case _Cancel(stream):
                    self._forget(stream)
                case _Done(batch, results, spent):
                    self._idle_workers += 1
                    self._report(batch, results, spent)
                case _Stop():
                    self._stopping = True
                    return False

    def _listen(self) -> float | None:
        """A round of listening, unless the last one was a moment ago.

        Returns how many seconds to wait for the next one: None if nobody wants it.
        """
        if not any(stream.wants_to_listen for stream in self._streams):
            return None
        started = time.perf_counter()
        if (early := self._listened + LISTENING_INTERVAL - started) > 0:
            return early
        while streams := [stream for stream in self._streams if stream.wants_to_listen]:
            offered = [s for s in streams if self._guarded(s, s.offer)]
            if offered:
                probabilities = self.silero.judge([stream.speech for stream in offered])
                for stream, probability in zip(offered, probabilities, strict=True):
                    self._guarded(stream, partial(stream.hear, probability))
        self._listened = time.perf_counter()
        self.times.listening += self._listened - started
        return LISTENING_INTERVAL

    def _begin_jobs(self) -> None:
        for stream in list(self._streams):
            while stream.tasks and not stream.at_work and stream in self._streams:
                stream.at_work = True
                task = stream.tasks[0]
                self._go_on(stream, task, stream.work(), None)

    def _go_on(self, stream: Stream, task: Task, job: Job[None], text: Decoded | None) -> None:
        """Let a job take in a window's text and ask for the next, or end."""

        def take() -> None:
            try:
                window = next(job) if text is None else job.send(text)
            except StopIteration:
                stream.at_work = False
            else:
                self._runs.append(_Run(stream, task, job, window))

        self._guarded(stream, take)

    def _most_urgent(self) -> list[_Run]:
        """The next batch: the most urgent windows, all with as many beams as the first."""
        now = time.monotonic()
        waiting = sorted(
            (run for run in self._runs if not run.inferring),
            key=partial(_urgency, now=now, newest_first=self.options.newest_first),
        )
        if not waiting:
            return []
        share = math.ceil(len(waiting) / self._idle_workers)
        batch: list[_Run] = []
        seconds = 0.0
        for run in waiting:
            if run.window.task.beams != waiting[0].window.task.beams:
                continue
            seconds += len(run.window.samples) / SAMPLE_RATE + run.window.padding
            if batch and (seconds > MOST_SECONDS or len(batch) >= min(share, MOST_WINDOWS)):
                break
            batch.append(run)
        for run in batch:
            run.inferring = True
            if isinstance(run.task, Update) and run.stream.skips_late_updates:
                self.cadence.observe(now - run.task.since)
        return batch

    def _report(self, batch: list[_Run], results: list[Decoded | Exception], spent: float) -> None:
        for run, result in zip(batch, results, strict=True):
            self._count(run.task, spent / len(batch))
            if run not in self._runs:
                continue  # The stream was cancelled meanwhile.
            self._runs.remove(run)
            if isinstance(result, Exception):
                self._fail(run.stream, result)
            else:
                self._go_on(run.stream, run.task, run.job, result)

    def _count(self, task: Task, seconds: float) -> None:
        if isinstance(task, Update):
            self.times.updating += seconds
            self.times.updates += 1
        else:
            self.times.closing += seconds
            self.times.closes += isinstance(task, Close)

    def _end_streams(self) -> None:
        for stream in [stream for stream in self._streams if stream.ended]:
            self._streams.remove(stream)
            _deliver_last(stream.end)

    def _forget(self, stream: Stream) -> None:
        self._streams = [other for other in self._streams if other is not stream]
        self._runs = [run for run in self._runs if run.stream is not stream]

    def _fail(self, stream: Stream, error: Exception) -> None:
        self._forget(stream)
        failure = StreamFailed(f"{type(error).__name__}: {error}")
        _deliver_last(partial(stream.fail, failure))

    def _guarded(self, stream: Stream, step: Callable[[], Result]) -> Result | None:
        try:
            return step()
        except Exception as error:  # one stream's failure must not end all the others'
            log.exception("stream failed")
            self._fail(stream, error)
            return None


def _deliver_last(event: Callable[[], None]) -> None:
    """Deliver a stream's last event; the worker goes on whatever the receiver makes of it."""
    try:
        event()
    except Exception:
        # The receiver's mistake would end the worker, and with it every other stream.
        log.exception("last event of a stream not taken")


def _urgency(run: _Run, now: float, newest_first: bool) -> tuple[bool, bool, float]:
    """Utterances that are or may be over before growing ones, then whoever has waited longest; of
    what is late, if so wished, the newest."""
    since = run.task.since
    late = newest_first and now - since > LATE_SECONDS
    return late, isinstance(run.task, Update), -since if late else since
