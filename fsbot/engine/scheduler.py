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

import structlog
import torch

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.audio.vad import SileroModel
from fsbot.engine.cadence import Cadence
from fsbot.engine.decoding import Decoded
from fsbot.engine.events import StreamEvent, StreamFailed
from fsbot.engine.fairness import Fairness
from fsbot.engine.inference import Job, Result, Window, infer
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.orders import Answer, Cancel, Feed, Finish, Open, Order, Rest, Stop, StreamHandle
from fsbot.engine.searches import Clock, Searches
from fsbot.engine.stream import Stream
from fsbot.engine.tasks import Close, Task, Update
from fsbot.languages import beyond, known_language
from fsbot.memory import return_free_memory

log = structlog.get_logger("fsbot.engine")


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


_Order = Order | _Done


MOST_WINDOWS = 8
"""Windows decoded together: more gain little on a CPU, and all wait for the slowest."""

MOST_SECONDS = 24.0
"""Audio in a batch, all windows together: what comes meanwhile waits so long as that takes."""

MOST_PADDED_SECONDS = 40.0
"""The same with every window as long as the longest, as the decoder keeps keys and values of it:
1.2 MB a second with model base, for each worker."""

LATE_SECONDS = 2.0
"""What has waited for so long is late."""

LEAD_SECONDS = 5.0
"""A stream that is so much further than others waits with the ends of its utterances, too, and is
not taken along in their batches."""

LISTENING_INTERVAL = 0.03
"""Seconds between two rounds of listening, at least: 20 ms pieces of many streams, judged together,
cost a fraction of what they cost one by one."""

TRIM_SECONDS = 5.0
"""Between two times that the memory which freed tensors have left behind goes back to the machine:
10 to 20 ms of a worker. Otherwise 280 MB of such holes stand beside 190 MB in use within hours."""


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
        self,
        model: SpeechModel,
        options: EngineOptions,
        threads: int = 1,
        workers: int = 1,
        clock: Clock = time.monotonic,
    ) -> None:
        """threads: CPU threads of one inference; workers: inferences at a time."""
        self.options = options
        self.times = EngineTimes()
        self.cadence = Cadence(options.chunk)
        self.searches = Searches(clock)
        self._clock = clock
        self._model = model
        self.silero = SileroModel()
        self._threads = threads
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._scheduling = threading.Lock()
        self._streams: list[Stream] = []
        self._runs: list[_Run] = []
        self._fairness = Fairness()
        self._idle_workers = workers
        self._listened = 0.0
        self._trimmed = clock()
        self._stopping = False
        self._workers = [
            threading.Thread(target=self._work, name=f"fsbot-engine-{number}", daemon=True)
            for number in range(1, workers + 1)
        ]

    def known_language(self, value: str) -> str:
        """Whisper's code for a language's code or name, or "auto", that the model can write.

        Raises ValueError that says why it can't.
        """
        language = known_language(value)
        if (reason := beyond(self._model.dims.n_vocab, language)) is not None:
            raise ValueError(f"cannot be had: the model {reason[0]}")
        return language

    def start(self) -> None:
        """Start the workers."""
        for worker in self._workers:
            worker.start()

    def stop(self, timeout: float | None = None) -> bool:
        """Stop the workers after the batches they are at; what streams still hold is dropped.

        timeout: seconds to wait for each of them. False if one is still at work.
        """
        self.tell(Stop())
        for worker in self._workers:
            worker.join(timeout)
        return not any(worker.is_alive() for worker in self._workers)

    def answers(self, timeout: float) -> bool:
        """Whether orders are carried out within so many seconds. Blocks; not for the hub."""
        given = threading.Event()
        self.tell(Answer(given))
        return given.wait(timeout)

    def open(
        self,
        options: StreamOptions,
        on_event: Callable[[StreamEvent], None],
        beside: StreamHandle | None = None,
    ) -> StreamHandle:
        """Begin a stream. beside: the other side of the same call."""
        cancelled = threading.Event()

        def deliver(event: StreamEvent) -> None:
            if not cancelled.is_set():
                on_event(event)

        stream = Stream(
            self._model,
            self.options,
            self.cadence,
            self.searches,
            options,
            deliver,
            self._clock,
        )
        self.tell(Open(stream, beside.stream if beside is not None else None))
        return StreamHandle(self.tell, stream, cancelled)

    def tell(self, order: _Order) -> None:
        """Queue an order for whoever schedules; used by StreamHandle."""
        self._orders.put(order)

    def _work(self) -> None:
        torch.set_num_threads(self._threads)
        while self._work_once():
            pass

    def _work_once(self) -> bool:
        """Infer the next batch; False when the engine is to stop.

        A method of its own so that a worker that waits holds nothing of a call that is over.
        """
        batch = self._schedule()
        if batch:
            started = time.perf_counter()
            results = self._infer([run.window for run in batch])
            self.tell(_Done(batch, results, time.perf_counter() - started))
            self._trim()
        return bool(batch)

    def _trim(self) -> None:
        if self._clock() - self._trimmed >= TRIM_SECONDS:
            self._trimmed = self._clock()
            return_free_memory()

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
            wait = 0.0 if self._runs else self._until_listening()
            while self._take_orders(wait):
                if batch := self._next_batch():
                    return batch
                # A job that needed no window may have made room for more to be listened to.
                wait = self._until_listening()
            # The other workers wait for an order, too.
            self.tell(Stop())
            return []

    def _next_batch(self) -> list[_Run]:
        """Do what is due, and take a batch for a worker that is idle; empty if there is none."""
        if self._until_listening() == 0.0:
            self._listen()
        self._begin_jobs()
        self._end_streams()
        batch = self._most_urgent()
        self._idle_workers -= bool(batch)
        return batch

    def _take_orders(self, wait: float | None) -> bool:
        """Carry out all orders there are; wait so many seconds for the first, None: for ever."""
        block = True
        while not self._stopping:
            try:
                self._carry_out(self._orders.get(block, wait))
            except queue.Empty:
                break
            block = False
        return not self._stopping

    def _carry_out(self, order: _Order) -> None:
        match order:
            case Open(stream, beside):
                self._streams.append(stream)
                if beside in self._streams:
                    stream.stand_beside(beside)
                    beside.stand_beside(stream)
            case Feed(stream, samples) if stream in self._streams:
                self._guarded(stream, partial(Stream.push, stream, samples))
                self.times.audio += len(samples) / SAMPLE_RATE
            case Finish(stream):
                stream.finish()
            case Rest(stream):
                stream.rest()
            case Cancel(stream):
                self._forget(stream)
            case Answer(given):
                given.set()
            case _Done(batch, results, spent):
                self._idle_workers += 1
                self._report(batch, results, spent)
            case Stop():
                self._stopping = True

    def _until_listening(self) -> float | None:
        """Seconds until the next round of listening is due; None if nobody wants it."""
        if not any(stream.wants_to_listen for stream in self._streams):
            return None
        return max(0.0, self._listened + LISTENING_INTERVAL - self._clock())

    def _listen(self) -> None:
        """A round of listening: all that streams want judged."""
        started = time.perf_counter()
        while streams := [stream for stream in self._streams if stream.wants_to_listen]:
            offered = [s for s in streams if self._guarded(s, s.offer)]
            if offered:
                probabilities = self.silero.judge([stream.speech for stream in offered])
                for stream, probability in zip(offered, probabilities, strict=True):
                    self._guarded(stream, partial(stream.hear, probability))
        self._listened = self._clock()
        self.times.listening += time.perf_counter() - started

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
        now = self._clock()
        self._fairness.measure(self._streams)

        def urgency(run: _Run) -> tuple[bool, bool, float]:
            lead = self._fairness.lead(run.stream)
            return _urgency(run.task, lead, now, self.options.newest_first)

        waiting = sorted((run for run in self._runs if not run.inferring), key=urgency)
        if not waiting:
            return []
        share = math.ceil(len(waiting) / self._idle_workers)
        batch: list[_Run] = []
        seconds = longest = 0.0
        for run in waiting:
            ahead = self._fairness.lead(run.stream) > LEAD_SECONDS
            if batch and (ahead or run.window.task.beams != batch[0].window.task.beams):
                continue
            own = len(run.window.samples) / SAMPLE_RATE + run.window.padding
            seconds, longest = seconds + own, max(longest, own)
            full = len(batch) >= min(share, MOST_WINDOWS)
            padded = longest * (len(batch) + 1)
            if batch and (full or seconds > MOST_SECONDS or padded > MOST_PADDED_SECONDS):
                break
            batch.append(run)
        for run in batch:
            run.inferring = True
            if isinstance(run.task, Update) and run.stream.skips_late_updates:
                self.cadence.observe(now - run.task.since, now)
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
            self._forget(stream)
            _deliver_last(stream.end)

    def _forget(self, stream: Stream) -> None:
        self._streams = [other for other in self._streams if other is not stream]
        self._runs = [run for run in self._runs if run.stream is not stream]
        stream.finish()  # The other side of the call does not wait for its sound any more.
        if stream.beside not in self._streams:
            stream.part()

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


def _urgency(task: Task, lead: float, now: float, newest_first: bool) -> tuple[bool, bool, float]:
    """Utterances that are or may be over before growing ones, then whoever has waited longest; of
    what is late, if so wished, the newest. lead: of the stream, as Fairness
    measures it; its seconds count as so much less waited."""
    since = task.since + lead
    late = newest_first and now - since > LATE_SECONDS
    return late, isinstance(task, Update) or lead > LEAD_SECONDS, -since if late else since
