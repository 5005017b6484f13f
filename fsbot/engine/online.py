"""The engine for other programs: SimulStreaming's online processor, and an interface of our own.

`OnlineProcessor` has the methods of SimulStreaming's `SimulWhisperOnline` (with its voice activity
controller) and returns dictionaries of the same shape, so that code written against that runs. It
works when it is called, in the caller's thread, for one stream.

`Transcriber` is for whoever has many streams: it owns an engine with its worker threads, and gives
typed events.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakSet

from numpy.typing import ArrayLike

from fsbot.audio.pcm import SAMPLE_RATE, checked_samples
from fsbot.audio.vad import SileroModel
from fsbot.engine.cadence import Cadence
from fsbot.engine.events import (
    StreamEnded,
    StreamEvent,
    StreamFailed,
    UtteranceFinal,
    Word,
    WordsCommitted,
    blank,
)
from fsbot.engine.inference import finish
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.scheduler import Engine
from fsbot.engine.searches import Searches
from fsbot.engine.setup import engine_options, load_speech_model, make_engine, stream_options
from fsbot.engine.stream import Stream
from fsbot.settings import Settings


def spaced_text(words: Sequence[Word], language: str) -> str:
    """The words, each with the blank before it that the language wants."""
    return "".join(blank(language) + word.text for word in words)


def words_record(words: Sequence[Word], language: str, offset: float = 0.0) -> dict[str, Any]:
    """start, end (seconds, `offset` added), text, tokens (Whisper's) and words, at least one, as
    SimulStreaming's records have them."""
    return {
        "start": round(offset + words[0].start, 3),
        "end": round(offset + words[-1].end, 3),
        "text": spaced_text(words, language),
        "tokens": [token for word in words for token in word.tokens],
        "words": [
            {
                "start": round(offset + word.start, 3),
                "end": round(offset + word.end, 3),
                "text": spaced_text([word], language),
                "tokens": list(word.tokens),
            }
            for word in words
        ],
    }


class OnlineProcessor:
    """One stream of 16 kHz mono, in SimulStreaming's manner: insert audio, then ask for words.

        online = OnlineProcessor.of(Settings())
        online.insert_audio_chunk(samples)      # float32, -1 to 1
        online.process_iter()                   # {} or {"start": …, "end": …, "text": …, …}
        online.finish()                         # the rest

    Words are committed, and never change. `is_final` is true at the end of an utterance.
    """

    SAMPLING_RATE = SAMPLE_RATE

    def __init__(
        self, model: SpeechModel, options: EngineOptions, stream_options: StreamOptions
    ) -> None:
        self._model = model
        self._options = options
        # All audio that is there is listened to before anything is read: one update per call.
        self._stream_options = replace(stream_options, skip_late_updates=True)
        self._silero = SileroModel()
        self.init()

    @classmethod
    def of(cls, settings: Settings) -> OnlineProcessor:
        """With the weights loaded that the settings name. Raises UserError."""
        return cls(load_speech_model(settings), engine_options(settings), stream_options(settings))

    def init(self, offset: float | None = None) -> None:
        """Begin anew. offset: seconds to be added to all times."""
        self._offset = offset or 0.0
        self._committed: deque[WordsCommitted | UtteranceFinal] = deque()
        self._stream = Stream(
            self._model,
            self._options,
            Cadence(self._options.chunk),
            Searches(),
            self._stream_options,
            self._take,
        )

    def insert_audio_chunk(self, audio: ArrayLike) -> None:
        """Append 16 kHz mono samples, -1 to 1. Raises TypeError and ValueError, as
        `fsbot.audio.pcm.checked_samples` does; then nothing is appended."""
        self._stream.push(checked_samples(audio))

    def process_iter(self) -> dict[str, Any]:
        """The next words that are committed, of one utterance at most; {} if there are none.

        With is_final only, if an utterance has ended and its words have all been returned.
        """
        self._work()
        words: list[WordsCommitted] = []
        while self._committed:
            event = self._committed.popleft()
            if isinstance(event, UtteranceFinal):
                return self._record(words, is_final=True)
            words.append(event)
        return self._record(words, is_final=False) if words else {}

    def finish(self) -> dict[str, Any]:
        """No more audio will come: all words that are left. `init` begins anew."""
        self._stream.finish()
        self._work()
        words = [event for event in self._committed if isinstance(event, WordsCommitted)]
        self._committed.clear()
        return self._record(words, is_final=True)

    def _take(self, event: StreamEvent) -> None:
        if isinstance(event, WordsCommitted | UtteranceFinal):
            self._committed.append(event)

    def _work(self) -> None:
        stream = self._stream
        while stream.wants_to_listen or stream.tasks:
            while stream.wants_to_listen:
                if stream.offer():
                    stream.hear(self._silero.judge([stream.speech])[0])
            stream.catch_up()
            while stream.tasks:
                finish(self._model, stream.work())

    def _record(self, events: Sequence[WordsCommitted], *, is_final: bool) -> dict[str, Any]:
        words = [word for event in events for word in event.words]
        record = words_record(words, events[-1].language, self._offset) if words else {}
        return {**record, "is_final": is_final} if record or is_final else {}


class Transcriber:
    """An engine with its weights, for as many streams as the machine holds.

    with Transcriber(Settings()) as transcriber:
        stream = transcriber.open(language="fr")
        stream.feed(samples)                # 16 kHz float32, as it comes
        stream.finish()
        for event in stream.events():
            ...                             # fsbot.engine.events

    """

    def __init__(self, settings: Settings) -> None:
        """Load the weights. Raises UserError."""
        self._settings = settings
        self._engine = make_engine(settings)
        self._streams: WeakSet[LiveStream] = WeakSet()

    def __enter__(self) -> Transcriber:
        self._engine.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.stop()
        for stream in self._streams:
            stream.cancel()

    def open(
        self,
        language: str | None = None,
        static_prompt: str | None = None,
        *,
        skip_late_updates: bool = True,
    ) -> LiveStream:
        """Begin a stream; what is None is as the settings have it.

        language: a code or name of Whisper's, or "auto"; raises ValueError with a hint if it is
        neither, or the model does not know it. skip_late_updates: false for audio that comes
        faster than it is spoken and whose live text shall not depend on the machine's speed.
        """
        options = stream_options(self._settings, skip_late_updates=skip_late_updates)
        if language is not None:
            options = replace(options, language=self._engine.known_language(language))
        if static_prompt is not None:
            options = replace(options, static_prompt=static_prompt)
        stream = LiveStream(self._engine, options)
        self._streams.add(stream)
        return stream


class EngineFailed(Exception):
    """The engine could not go on with a stream; the message says why."""


class LiveStream:
    """One stream of a Transcriber. Every method may be called from any thread."""

    def __init__(self, engine: Engine, options: StreamOptions) -> None:
        self._events: queue.SimpleQueue[StreamEvent | None] = queue.SimpleQueue()
        self._over = False
        self._handle = engine.open(options, self._events.put)

    def feed(self, samples: ArrayLike) -> None:
        """Append 16 kHz mono samples, -1 to 1, in pieces of any length; they are copied. Raises
        TypeError and ValueError, as `fsbot.audio.pcm.checked_samples` does; then nothing is
        appended."""
        self._handle.feed(samples)

    def finish(self) -> None:
        """No more will be fed; the last event comes when everything has been transcribed."""
        self._handle.finish()

    def cancel(self) -> None:
        """Forget the stream; no further events, and nobody waits for one any more."""
        self._handle.cancel()
        self._events.put(None)

    @property
    def pending_seconds(self) -> float:
        """Audio fed and not yet listened to: who feeds faster than the engine reads should wait."""
        return self._handle.pending_seconds

    def next_event(self, timeout: float | None = None) -> StreamEvent | None:
        """Wait for the next event, so many seconds (None: for ever); None if there was none.

        StreamEnded is the last. Raises EngineFailed.
        """
        if self._over:
            return None
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        self._over = event is None or isinstance(event, StreamEnded | StreamFailed)
        if isinstance(event, StreamFailed):
            raise EngineFailed(event.reason)
        return event

    def events(self) -> Iterator[StreamEvent]:
        """All events until StreamEnded, as they come. Raises EngineFailed."""
        while (event := self.next_event()) is not None:
            yield event
            if isinstance(event, StreamEnded):
                return
