"""Speech or not: Silero's probabilities, and the state machine that makes utterances of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from silero_vad import load_silero_vad

_VAD_RATE = 8000
_WINDOW = 256
_CONTEXT = 32
_STATE_SHAPE = (2, 1, 128)

WINDOW_SECONDS = _WINDOW / _VAD_RATE
"""Audio that Silero judges at a time: 32 ms."""


class SileroModel:
    """Silero VAD's 8 kHz network without the Python wrapper that keeps one stream's state inside.

    The wrapper checks and copies on every 32 ms window, which costs ten times the network itself,
    and holds the state of one stream; here the state belongs to `SpeechProbability`. The 16 kHz
    network misses speech that reached us through a telephone's 3.4 kHz: of 86 turns of recorded
    calls it hears 7 for less than half their length, the 8 kHz one 4 (threshold 0.3).
    """

    def __init__(self) -> None:
        self.network = load_silero_vad()._model_8k

    @torch.inference_mode()
    def judge(self, streams: Sequence["SpeechProbability"]) -> list[float]:
        """Probability of speech of the next window of each stream, which all have one."""
        windows = torch.from_numpy(np.stack([stream.take() for stream in streams]))
        states = torch.cat([stream.state for stream in streams], dim=1)
        output, states = self.network(windows, states)
        for stream, state in zip(streams, states.split(1, dim=1), strict=True):
            stream.state = state
        return output[:, 0].tolist()  # type: ignore[no-any-return]


class SpeechProbability:
    """One stream's way through Silero, 32 ms windows of it at a time."""

    def __init__(self) -> None:
        self.state = torch.zeros(_STATE_SHAPE)
        self._pending = np.zeros(_CONTEXT, dtype=np.float32)
        self._phase = 0

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Append 16 kHz samples.

        Every second one is taken as it is: what a telephone sends has nothing above 4 kHz, and from
        wideband audio an aliased sibilant is still speech.
        """
        halved = samples[self._phase :: 2]
        self._phase = (self._phase + len(samples)) % 2
        self._pending = np.concatenate((self._pending, halved))

    @property
    def ready(self) -> bool:
        """A whole window waits."""
        return len(self._pending) >= _CONTEXT + _WINDOW

    def take(self) -> NDArray[np.float32]:
        """The next window, with the context before it."""
        window = self._pending[: _CONTEXT + _WINDOW]
        self._pending = self._pending[_WINDOW:]
        return window


@dataclass(frozen=True, slots=True)
class EndpointerOptions:
    """When speech begins and when an utterance is over; all times in seconds.

    threshold: probability from which a window is speech (0 to 1); below threshold - 0.15 it is
    silence, between the two it stays what it was. min_speech: speech shorter than this opens no
    utterance. min_silence: silence that ends an utterance. onset: how late Silero is to notice a
    voice, taken off the start it reports (median over the turns of recorded calls: 0.09).
    """

    threshold: float = 0.3
    min_speech: float = 0.096
    min_silence: float = 0.7
    onset: float = 0.1

    @property
    def release(self) -> float:
        return min(self.threshold, max(0.05, self.threshold - 0.15))


@dataclass(frozen=True, slots=True)
class SpeechStart:
    """Speech began at `at`; it was certain `min_speech` later."""

    at: float


@dataclass(frozen=True, slots=True)
class SpeechEnd:
    """The utterance is over: its last speech was at `at`, `min_silence` ago."""

    at: float


class Endpointer:
    """Turns window probabilities into speech starts and ends, on the stream's own clock."""

    def __init__(self, options: EndpointerOptions, start: float = 0.0) -> None:
        """start: second of the stream at which the first window begins, a multiple of
        WINDOW_SECONDS."""
        self._options = options
        self._min_speech = _windows(options.min_speech)
        self._min_silence = _windows(options.min_silence)
        # All counted in windows: sums of 0.032 s would make a duration depend on when it is.
        self._now = self._last_speech = round(start / WINDOW_SECONDS)
        self._candidate: int | None = None
        self._started = False

    @property
    def now(self) -> float:
        """End of the latest window judged, in seconds of the stream."""
        return self._now * WINDOW_SECONDS

    @property
    def last_speech(self) -> float:
        """End of the latest window that was speech, in seconds of the stream."""
        return self._last_speech * WINDOW_SECONDS

    @property
    def silence(self) -> float:
        """Seconds since the latest speech."""
        return (self._now - self._last_speech) * WINDOW_SECONDS

    @property
    def in_speech(self) -> bool:
        return self._started

    def feed(self, probability: float) -> SpeechStart | SpeechEnd | None:
        """Take in the next window's probability."""
        speaking = self._started and self._last_speech == self._now
        self._now += 1
        speech = probability >= (self._options.release if speaking else self._options.threshold)
        if not self._started:
            return self._wait_for_speech(speech)
        if speech:
            self._last_speech = self._now
        elif self._now - self._last_speech >= self._min_silence:
            return self.finish()
        return None

    def go_on(self) -> None:
        """Take it that somebody is speaking: an utterance that was broken off goes on."""
        self._started, self._candidate = True, None
        self._last_speech = self._now

    def _wait_for_speech(self, speech: bool) -> SpeechStart | None:
        if not speech:
            self._candidate = None
            return None
        if self._candidate is None:
            self._candidate = self._now - 1
        if self._now - self._candidate < self._min_speech:
            return None
        began = self._candidate * WINDOW_SECONDS
        self._started, self._candidate = True, None
        self._last_speech = self._now
        return SpeechStart(max(0.0, began - self._options.onset))

    def finish(self) -> SpeechEnd | None:
        """End an open utterance now, at the end of the audio or of patience."""
        if not self._started:
            return None
        self._started = False
        return SpeechEnd(self.last_speech)


def _windows(seconds: float) -> int:
    """The fewest whole windows that last `seconds`, but for what float arithmetic adds."""
    return math.ceil(seconds / WINDOW_SECONDS - 1e-6)
