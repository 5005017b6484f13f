"""One side of a call inside the engine: audio in, events out.

A stream does its work in two kinds of step, so that a scheduler can choose what comes first over
many streams: listening (cheap: voice activity detection) and running a task (an inference).
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.audio.vad import WINDOW_SECONDS, Endpointer, SileroModel, SpeechProbability, SpeechStart
from fsbot.engine.events import (
    AudioCovered,
    SpeechStarted,
    StreamEnded,
    StreamEvent,
    StreamFailed,
    UtteranceEnded,
)
from fsbot.engine.final import FinalDecoder
from fsbot.engine.language import DETECTION_SECONDS, detect_language
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.utterance import Utterance
from fsbot.engine.voice import Voice

LISTEN_SAMPLES = round(WINDOW_SECONDS * SAMPLE_RATE)
"""Samples judged per listening step: a task that one window lines up is seen before the next, so
that events don't depend on the pieces in which the audio comes."""

CUT_SEARCH = 6.0
"""Seconds before the end of an overlong utterance among which the quietest moment is looked for."""


@dataclass(frozen=True, slots=True)
class Update:
    """Decode the open utterance as far as `upto`, a sample of the stream.

    since: when it was lined up, of time.monotonic.
    """

    utterance: Utterance
    upto: int
    since: float


@dataclass(frozen=True, slots=True)
class Close:
    """Flush an utterance that is over and decode it once more; its audio ends at `upto`."""

    utterance: Utterance
    upto: int
    speech_end: float
    since: float


Task = Update | Close


class Stream:
    """The state of one side. Belongs to the worker: no other thread calls anything here."""

    def __init__(
        self,
        model: SpeechModel,
        silero: SileroModel,
        options: EngineOptions,
        stream_options: StreamOptions,
        emit: Callable[[StreamEvent], None],
    ) -> None:
        self._model = model
        self._options = options
        self._stream_options = stream_options
        self._emit = emit
        self._voice: Voice | None = None
        self._speech = SpeechProbability(silero)
        self._endpointer = Endpointer(options.endpointer)
        self._audio = _Audio()
        self._finals = FinalDecoder(self._between)
        self._judged = 0
        self._recent: deque[float] = deque(maxlen=round(CUT_SEARCH / WINDOW_SECONDS))
        self._open: Utterance | None = None
        self._number = 0
        self._next_update = 0
        self._updated = 0.0
        self._spoken_until = 0.0
        self._closed_until = 0.0
        self._context: tuple[int, ...] = ()
        self._finishing = False
        self.tasks: list[Task] = []

    def push(self, samples: NDArray[np.float32]) -> None:
        """Append 16 kHz samples."""
        self._audio.append(samples)

    def finish(self) -> None:
        """No more audio will come."""
        self._finishing = True

    @property
    def judged(self) -> int:
        """Samples that have been listened to."""
        return self._judged

    @property
    def unheard(self) -> int:
        """Samples pushed that have not been listened to."""
        return self._audio.end - self._judged

    @property
    def busy(self) -> bool:
        """There is something to do without waiting for audio."""
        return bool(self.tasks) or self.unheard > 0 or self._finishing

    @property
    def wants_to_listen(self) -> bool:
        """There is audio to judge, and no task that should be run before more is judged.

        While a task waits, its stream listens on only if it is late and may skip updates.
        """
        if self._finishing and not self.unheard and self._open is not None and not self.tasks:
            return True
        if not self.unheard:
            return False
        late = self.unheard >= self._options.chunk * SAMPLE_RATE
        return not self.tasks or (late and self._options.skip_late_updates)

    @property
    def ended(self) -> bool:
        """Everything pushed before `finish` has been dealt with."""
        return self._finishing and not self.unheard and not self.tasks and self._open is None

    def listen(self) -> None:
        """Judge the next window, and line up the tasks that follow from it."""
        until = min(self._audio.end, self._judged + LISTEN_SAMPLES)
        samples = self._audio.slice(self._judged, until)
        self._judged = until
        for probability in self._speech.feed(samples):
            self._hear(probability)
        if self._finishing and not self.unheard:
            self._end_of_audio()
        self._audio.forget(self._oldest_needed())

    def run_next(self) -> None:
        """Do the first of `tasks`, which the caller has seen to be there."""
        task = self.tasks.pop(0)
        audio = self._between(task.utterance.audio_start, task.upto / SAMPLE_RATE)
        voice = self._reader(audio, over=isinstance(task, Close))
        if voice is None:
            return
        if isinstance(task, Update):
            if (words := task.utterance.update(voice, audio)) is not None:
                self._emit(words)
            self._emit(AudioCovered(task.utterance.number, task.upto / SAMPLE_RATE))
            return
        if (words := task.utterance.flush(voice, audio, task.speech_end)) is not None:
            self._emit(words)
        final, tokens = task.utterance.final(
            voice, self._finals, task.speech_end, task.upto / SAMPLE_RATE
        )
        self._context = (self._context + tokens)[-voice.model.dims.n_text_ctx :]
        self._emit(final)
        self._emit(AudioCovered(task.utterance.number, task.upto / SAMPLE_RATE))

    def fail(self, failure: StreamFailed) -> None:
        """Say that the stream cannot go on."""
        self._emit(failure)

    def end(self) -> None:
        """Say that everything has been transcribed."""
        self._emit(StreamEnded(self._audio.end / SAMPLE_RATE))

    def _between(self, start: float, end: float) -> NDArray[np.float32]:
        return self._audio.slice(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE))

    def _oldest_needed(self) -> int:
        endpointer = self._options.endpointer
        next_speech = self._endpointer.now - endpointer.min_speech - endpointer.onset
        starts = [task.utterance.audio_start for task in self.tasks]
        if self._open is not None:
            starts.append(self._open.audio_start)
        elif not self.tasks:
            self._finals.forget_before(next_speech)
        starts.append(self._finals.needs_audio_from)
        return round(min([next_speech - self._options.lead_in, *starts]) * SAMPLE_RATE)

    def _hear(self, probability: float) -> None:
        self._recent.append(probability)
        event = self._endpointer.feed(probability)
        if isinstance(event, SpeechStart):
            self._begin(event.at)
        elif event is not None:
            self._close(event.at, self._endpointer.now)
        elif self._open is not None:
            self._grow(self._open)

    def _begin(self, speech_start: float) -> None:
        self._number += 1
        # Short pauses: what the utterance before has said is neither heard nor timed again.
        speech_start = max(speech_start, self._closed_until)
        audio_start = max(speech_start - self._options.lead_in, self._spoken_until)
        self._open = Utterance(self._number, audio_start, speech_start, self._context)
        self._recent.clear()
        self._next_update = round((speech_start + self._options.chunk) * SAMPLE_RATE)
        self._emit(SpeechStarted(self._number, speech_start))

    def _grow(self, utterance: Utterance) -> None:
        now = round(self._endpointer.now * SAMPLE_RATE)
        if self._endpointer.now - utterance.audio_start >= self._options.max_utterance:
            self._cut(utterance)
        elif now >= self._next_update:
            self._next_update += round(self._options.chunk * SAMPLE_RATE)
            if self._endpointer.last_speech <= self._updated:
                return
            self._updated = self._endpointer.now
            # An update that has not been run yet is overtaken: the newer one hears all it would.
            self.tasks = [task for task in self.tasks if not isinstance(task, Update)]
            self.tasks.append(Update(utterance, now, time.monotonic()))

    def _close(self, speech_end: float, heard_until: float) -> None:
        utterance, self._open = self._open, None
        if utterance is None:
            return
        # What goes on behind a cut may turn out to be the silence that ends the utterance.
        speech_end = max(speech_end, utterance.speech_start)
        upto = round(min(speech_end + self._options.lead_out, heard_until) * SAMPLE_RATE)
        self._line_up_close(Close(utterance, upto, speech_end, time.monotonic()))

    def _cut(self, utterance: Utterance) -> None:
        """Close an utterance that outgrows the window at its quietest, and go on from there."""
        settled = self._endpointer.now - self._options.frame_threshold * 0.02
        first = self._endpointer.now - len(self._recent) * WINDOW_SECONDS
        latest = max(1, int((settled - first) / WINDOW_SECONDS))
        smoothed = np.convolve(self._recent, np.ones(3) / 3, mode="same")[:latest]
        cut = first + (int(np.argmin(smoothed)) + 0.5) * WINDOW_SECONDS
        self._line_up_close(Close(utterance, round(cut * SAMPLE_RATE), cut, time.monotonic()))
        self._number += 1
        self._open = Utterance(self._number, cut, cut, continues=utterance)
        self._emit(SpeechStarted(self._number, cut))

    def _line_up_close(self, close: Close) -> None:
        self.tasks = [
            task
            for task in self.tasks
            if not (isinstance(task, Update) and task.utterance is close.utterance)
        ]
        self.tasks.append(close)
        self._spoken_until, self._closed_until = close.speech_end, close.upto / SAMPLE_RATE
        self._emit(UtteranceEnded(close.utterance.number, close.speech_end, self._endpointer.now))

    def _end_of_audio(self) -> None:
        end = self._endpointer.finish()
        if end is not None:
            self._close(end.at, self._audio.end / SAMPLE_RATE)

    def _speak(self, language: str) -> Voice:
        options = self._stream_options
        return Voice.of(self._model, self._options, language, options.task, options.static_prompt)

    def _reader(self, audio: NDArray[np.float32], over: bool) -> Voice | None:
        """The voice to read `audio` with; None while too little of it tells the language."""
        if self._voice is None:
            language = self._stream_options.language
            enough = len(audio) >= DETECTION_SECONDS * SAMPLE_RATE
            if language == "auto":
                if not enough and not over:
                    return None
                language = detect_language(self._model, audio, self._options.padding)
                if not enough:
                    return self._speak(language)
            self._voice = self._speak(language)
        return self._voice


class _Audio:
    """The part of a stream's audio that is still needed, addressed by sample of the stream."""

    def __init__(self) -> None:
        self._buffer = np.zeros(8 * SAMPLE_RATE, dtype=np.float32)
        self.start = 0
        self.end = 0

    def append(self, samples: NDArray[np.float32]) -> None:
        held = self.end - self.start
        if held + len(samples) > len(self._buffer):
            larger = np.zeros(2 * (held + len(samples)), dtype=np.float32)
            larger[:held] = self._buffer[:held]
            self._buffer = larger
        self._buffer[held : held + len(samples)] = samples
        self.end += len(samples)

    def slice(self, start: int, end: int) -> NDArray[np.float32]:
        """A copy of the samples from `start` to `end`, as far as they are held."""
        first, last = max(0, start - self.start), max(0, min(end, self.end) - self.start)
        return self._buffer[first:last].copy()

    def forget(self, before: int) -> None:
        """Drop samples before the given one, a second or more at a time."""
        surplus = min(before, self.end) - self.start
        if surplus < SAMPLE_RATE:
            return
        held = self.end - self.start
        self._buffer[: held - surplus] = self._buffer[surplus:held].copy()
        self.start += surplus
