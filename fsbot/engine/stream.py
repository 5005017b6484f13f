"""One side of a call inside the engine: audio in, events out.

A stream does its work in two kinds of step, so that a scheduler can choose what comes first over
many streams: listening (cheap: voice activity detection) and jobs (inferences).
"""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fsbot.audio.endpointer import Endpointer, SpeechStart, decibels
from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.audio.vad import WINDOW_SECONDS, SpeechProbability
from fsbot.engine.buffer import AudioBuffer
from fsbot.engine.cadence import Cadence
from fsbot.engine.diary import Diary
from fsbot.engine.events import (
    AudioCovered,
    StreamEnded,
    StreamEvent,
    StreamFailed,
    UtteranceEnded,
)
from fsbot.engine.final import FinalDecoder, FinalText, Speech
from fsbot.engine.inference import Job
from fsbot.engine.model import SpeechModel
from fsbot.engine.onset import COMPARED_SECONDS, Onset
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.reader import Reader
from fsbot.engine.searches import Clock, Searches
from fsbot.engine.tasks import Close, Preview, Task, Update
from fsbot.engine.turns import end_probability, sounds_finished
from fsbot.engine.utterance import Utterance
from fsbot.engine.voice import Voice, prompt_tokens

LISTEN_SAMPLES = round(WINDOW_SECONDS * SAMPLE_RATE)
"""Samples judged per listening step: a task that one window lines up is seen before the next, so
that events don't depend on the pieces in which the audio comes."""

MOST_UNREAD = 45.0
"""Seconds from the first utterance that waits to be read to what is listened to, at most: the sound
of what waits is held in memory, and what is not listened to waits in its file. More than the
longest utterance, which otherwise would never end."""


class Stream:
    """The state of one side. Belongs to the engine: nobody else calls anything here."""

    def __init__(
        self,
        model: SpeechModel,
        options: EngineOptions,
        cadence: Cadence,
        searches: Searches,
        stream_options: StreamOptions,
        emit: Callable[[StreamEvent], None],
        clock: Clock = time.monotonic,
    ) -> None:
        self._model = model
        self._options = options
        self._cadence = cadence
        self._searches = searches
        self._clock = clock
        self._stream_options = stream_options
        self._emit = emit
        logdir = stream_options.logdir
        self._diary = Diary(logdir) if logdir is not None else None
        self.speech = SpeechProbability()
        self._onset = Onset(self._between)
        self.beside: Stream | None = None
        """The other side of the same call."""
        position = stream_options.position
        begin = position.begin(options.lead_in)
        self._endpointer = Endpointer(options.endpointer, begin)
        self._audio = AudioBuffer(round(begin * SAMPLE_RATE))
        self._reader = Reader(model, options, stream_options, self._between, self._language_beside)
        self._finals = FinalDecoder(self._between, options.final_window)
        self._judged = self._audio.end
        self._open: Utterance | None = None
        self._reading: Utterance | None = None
        self._preview: tuple[Voice, FinalText] | None = None
        self._level = -math.inf
        self._number = position.number
        self._heard_before = position.heard_until
        self._to_go_on = deque(position.utterances)
        self._next_update = 0.0
        self._previewed = 0.0
        self._spoken_until = self._closed_until = position.closed_until
        self._context = prompt_tokens(model, stream_options.init_prompt)
        self._finishing = False
        self._resting = False
        self._covered = begin
        self.tasks: list[Task] = []
        self.at_work = False
        """A job of this stream is under way."""

    def push(self, samples: NDArray[np.float32]) -> None:
        """Append 16 kHz samples."""
        self._audio.append(samples)
        self._resting = False

    def stand_beside(self, other: "Stream | None") -> None:
        """Have another side of the same call, which is fed in step; None: there is none."""
        self.beside = other
        self._onset.beside = other._between if other is not None else None

    def part(self) -> None:
        """Both sides are over."""
        if self.beside is not None:
            self.beside.stand_beside(None)
        self.stand_beside(None)

    def _language_beside(self) -> str:
        return self.beside._reader.language if self.beside is not None else ""

    def finish(self) -> None:
        """No more audio will come."""
        self._finishing = True

    def rest(self) -> None:
        """No audio will come for a while: an utterance that is open is over with what there is."""
        self._resting = True

    @property
    def skips_late_updates(self) -> bool:
        return self._stream_options.skip_late_updates

    @property
    def judged(self) -> int:
        """Samples that have been listened to."""
        return self._judged

    @property
    def wants_to_listen(self) -> bool:
        """There is audio to judge, and no inference to wait for before more is judged.

        While one is wanted, its stream listens on only if it may skip updates: so the end of an
        utterance is decided in time, however long its audio takes to be read.
        """
        there = self._audio.end
        if self.beside is not None and not self.beside._finishing:
            # Whether this is an echo shows only when the other side's voice is there, too.
            there = min(there, self.beside._audio.end)
        unheard = there - self._judged
        if unheard < LISTEN_SAMPLES and not (
            (self._finishing and (unheard or self._unfinished))
            or (self._resting and self._open is not None)
        ):
            return False
        waiting = bool(self.tasks) or self.at_work
        if self.skips_late_updates:
            return self._judged - self._oldest_unread() < MOST_UNREAD * SAMPLE_RATE
        return not waiting

    @property
    def ended(self) -> bool:
        """Everything pushed before `finish` has been dealt with."""
        unheard = self._audio.end > self._judged
        return self._finishing and not (unheard or self.tasks or self.at_work or self._unfinished)

    @property
    def _unfinished(self) -> bool:
        return self._open is not None or bool(self._to_go_on)

    def offer(self) -> bool:
        """Put the next window before the voice activity detection; False at the end of all audio.

        To be called if the stream `wants_to_listen`. What is judged of the window goes to `hear`.
        """
        until = self._judged + LISTEN_SAMPLES
        if until > self._audio.end:
            self._resting = False
            if self._finishing:
                # What is left is shorter than a window.
                self._judged = self._audio.end
                self._go_on(math.inf)
            if (end := self._endpointer.finish()) is not None:
                # What may come next begins behind all this sound, and perhaps minutes later.
                self._close(end.at, self._audio.end / SAMPLE_RATE)
            return False
        window = self._audio.slice(self._judged, until)
        self.speech.feed(window)
        self._level = decibels(window)
        self._judged = until
        return True

    def hear(self, probability: float) -> None:
        """Take in how probably the offered window is speech; lines up the tasks that follow."""
        if self._endpointer.now < self._heard_before:
            probability = 0.0  # what there is to say of this has been said
        text = self._text_of_pause
        finished = text is not None and sounds_finished(text)
        event = self._endpointer.feed(probability, self._level, finished)
        now = self._endpointer.now
        self._go_on(now)
        if isinstance(event, SpeechStart):
            self._begin(event.at)
        elif event is not None:
            self._close(event.at, now)
        elif self._open is not None:
            self._grow(self._open)
        if self._endpointer.speaking and (certain := self._onset.go_on(now, self._level)):
            self._emit(certain)
        self._audio.forget(self._oldest_needed())

    def _go_on(self, now: float) -> None:
        """Take up the utterances that were broken off, as soon as their audio is there."""
        while self._to_go_on:
            open_ = self._to_go_on[0]
            if (open_.decided_at or open_.speech_start) > now:
                return
            self._to_go_on.popleft()
            audio_start = max(open_.speech_start - self._options.lead_in, self._spoken_until, 0.0)
            tokens = partial(prompt_tokens, self._model)
            utterance = Utterance.taken_up(open_, audio_start, self._context, tokens)
            if open_.last_speech is None or open_.decided_at is None:
                self._open = utterance
                self._next_update = now
                self._endpointer.go_on()
            else:
                speech = self._speech(utterance, open_.last_speech, open_.decided_at)
                self._line_up(Close(utterance, speech, open_.decided_at, self._clock()))
                self._spoken_until, self._closed_until = speech.end, open_.decided_at

    def catch_up(self) -> None:
        """Let an update that waits read all that has been listened to meanwhile."""
        for place, task in enumerate(self.tasks):
            if isinstance(task, Update):
                self.tasks[place] = replace(task, upto=self._endpointer.now)

    def work(self) -> Job[None]:
        """The first of `tasks`, which the caller has seen to be there, as a job."""
        task = self.tasks.pop(0)
        self._reading = task.utterance
        over = isinstance(task, Close)
        voice = yield from self._reader.voice(task, over)
        if voice is None:
            return
        reading = self._read(task, voice)
        if self._diary is not None:
            reading = self._diary.noted(reading, task.utterance.number, voice.tokenizer)
        yield from reading
        self._covered = max(self._covered, task.covers)
        self._emit(AudioCovered(task.utterance.number, task.covers))

    def _read(self, task: Task, voice: Voice) -> Job[None]:
        match task:
            case Update(utterance, upto):
                words = yield from utterance.update(voice, self._between, upto)
                if words is not None:
                    self._emit(words)
                self._reader.updated(utterance, voice)
            case Preview(utterance):
                voice, text = yield from self._decode(voice, task)
                self._preview = voice, text
                if (words := utterance.preview(voice, text)) is not None:
                    self._emit(words)
            case Close():
                yield from self._work_close(voice, task)

    def fail(self, failure: StreamFailed) -> None:
        """Say that the stream cannot go on."""
        self._emit(failure)

    def end(self) -> None:
        """Say that everything has been transcribed."""
        self._emit(StreamEnded(self._audio.end / SAMPLE_RATE))

    def _work_close(self, voice: Voice, task: Close) -> Job[None]:
        utterance = task.utterance
        if self._preview is not None and self._preview[1].speech.same_but_for_silence(task.speech):
            voice, text = self._preview
        else:
            voice, text = yield from self._decode(voice, task)
        self._preview = None
        self._finals.accept(text)
        self._reader.closed(utterance, voice)
        room = self._options.max_context_tokens
        self._context = (self._context + text.tokens)[-room:] if room else ()
        if (words := utterance.flush(voice, text)) is not None:
            self._emit(words)
        self._emit(utterance.final(voice, text, task.decided_at))
        if (doubt := self._reader.doubt(utterance.number, voice, text)) is not None:
            self._emit(doubt)

    def _decode(self, voice: Voice, task: Preview | Close) -> Job[tuple[Voice, FinalText]]:
        """The final text, and the voice that has read it: of another language, if it was spoken."""

        def may_search() -> bool:
            if self._open is task.utterance and self._endpointer.last_speech > task.speech.end:
                return False  # The pause is over: this text will never be a final one.
            until = task.search_until if self.skips_late_updates else math.inf
            return self._searches.allow(until, self._clock() - began)

        utterance, began = task.utterance, self._clock()
        text = yield from self._finals.decode(
            voice, utterance.context, task.speech, utterance.draft, may_search, utterance.spoken
        )
        suspected = yield from self._reader.other(utterance, voice, task.speech)
        if suspected is not None:
            other, detected = suspected
            its = yield from self._finals.decode(other, (), task.speech, (), may_search)
            if self._reader.prefers(utterance, detected, text, its):
                return other, its
        return voice, text

    def _between(self, start: float, end: float) -> NDArray[np.float32]:
        return self._audio.slice(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE))

    @property
    def _text_of_pause(self) -> FinalText | None:
        """What was said until the pause that goes on, if that has been read."""
        if self._preview is None or self._preview[1].speech.end != self._endpointer.last_speech:
            return None
        return self._preview[1]

    @property
    def transcribed(self) -> float:
        """Second of the stream up to which every word has been dealt with."""
        judged = self._judged / SAMPLE_RATE
        if self._open is None and not self.tasks and not self.at_work:
            return judged
        return min(judged, max(self._covered, self._oldest_unread() / SAMPLE_RATE))

    def _oldest_unread(self) -> int:
        """Sample at which the first utterance begins that is not read to its end."""
        utterances = [task.utterance for task in self.tasks]
        if self.at_work and self._reading is not None:
            utterances.append(self._reading)
        elif not utterances and self._open is not None:
            utterances.append(self._open)
        starts = [utterance.audio_start for utterance in utterances]
        return round(min(starts) * SAMPLE_RATE) if starts else self._judged

    def _oldest_needed(self) -> int:
        endpointer = self._options.endpointer
        next_speech = self._endpointer.now - endpointer.min_speech - endpointer.onset
        starts = [task.utterance.audio_start for task in self.tasks]
        if self.at_work and self._reading is not None:
            starts.append(self._reading.audio_start)
        starts += [each.speech_start - self._options.lead_in for each in self._to_go_on]
        if self._open is not None:
            starts.append(self._open.audio_start)
        elif self.at_work:
            return self._audio.start
        elif not self.tasks:
            self._finals.forget_before(next_speech)
        starts.append(self._finals.needs_audio_from)
        if self.beside is not None:
            starts.append(self.beside._judged / SAMPLE_RATE - COMPARED_SECONDS)
        return round(min([next_speech - self._options.lead_in, *starts]) * SAMPLE_RATE)

    def _begin(self, speech_start: float) -> None:
        self._number += 1
        # Short pauses: what the utterance before has said is neither heard nor timed again.
        speech_start = max(speech_start, self._closed_until)
        audio_start = max(speech_start - self._options.lead_in, self._spoken_until)
        self._open = Utterance(self._number, audio_start, speech_start, self._context)
        # Speech was perhaps noticed late: the first words shall not wait for a whole chunk more.
        first = max(self._options.chunk / 2, self._options.min_audio)
        self._next_update = speech_start + first
        self._emit(self._onset.begin(self._number, speech_start, self._endpointer.now))

    def _grow(self, utterance: Utterance) -> None:
        now, last_speech = self._endpointer.now, self._endpointer.last_speech
        preview_silence = self._options.preview_silence
        if now - utterance.audio_start >= self._options.max_utterance:
            self._cut(utterance)
        elif now > last_speech:
            # In a pause nothing new is said: what was, is heard again when the pause is longer.
            if self._previewed < last_speech and self._endpointer.silence >= preview_silence:
                self._previewed = last_speech
                speech = self._speech(utterance, last_speech, now)
                patience = self._endpointer.patience - self._endpointer.silence
                self._line_up(Preview(utterance, speech, self._clock(), patience))
        elif now >= self._next_update:
            chunk = self._cadence.chunk if self.skips_late_updates else self._options.chunk
            self._next_update += chunk * math.ceil((now - self._next_update + 1e-6) / chunk)
            self._line_up(Update(utterance, now, self._clock()))

    def _line_up(self, task: Task) -> None:
        """Add a task; one of the same utterance that has not begun is overtaken by it."""
        self.tasks = [
            other
            for other in self.tasks
            if isinstance(other, Close) or other.utterance is not task.utterance
        ]
        self.tasks.append(task)

    def _speech(self, utterance: Utterance, speech_end: float, heard_until: float) -> Speech:
        # What goes on behind a cut may turn out to be the silence that ends the utterance.
        speech_end = max(speech_end, utterance.speech_start)
        upto = min(speech_end + self._options.lead_out, heard_until)
        return Speech(utterance.audio_start, utterance.speech_start, speech_end, upto)

    def _close(self, speech_end: float, heard_until: float) -> None:
        utterance, self._open = self._open, None
        if utterance is not None:
            speech = self._speech(utterance, speech_end, heard_until)
            self._line_up_close(utterance, speech, heard_until)

    def _cut(self, utterance: Utterance) -> None:
        """Close an utterance that outgrows the window at its quietest, and go on from there."""
        settled = self._endpointer.now - self._options.frame_threshold * 0.02
        cut = self._endpointer.quietest(settled)
        speech = Speech(utterance.audio_start, utterance.speech_start, cut, cut)
        self._line_up_close(utterance, speech, cut)
        self._number += 1
        self._open = Utterance(self._number, cut, cut, continues=utterance)
        self._emit(self._onset.begin(self._number, cut, self._endpointer.now))

    def _line_up_close(self, utterance: Utterance, speech: Speech, decided_at: float) -> None:
        self._line_up(Close(utterance, speech, decided_at, self._clock()))
        self._spoken_until, self._closed_until = speech.end, decided_at
        now = max(decided_at, self._endpointer.now)
        probability = end_probability(self._text_of_pause, now - speech.end)
        self._emit(UtteranceEnded(utterance.number, speech.end, now, probability))
