"""When speech begins and when an utterance is over, from the probabilities of speech."""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fsbot.audio.vad import WINDOW_SECONDS

SURE_PROBABILITY = 0.7
"""Mean probability of speech with which one window less than min_speech is enough."""

DECAY_DECIBELS = 35.0
"""A voice that dies away is heard until it is so much quieter than it was at its loudest."""

NOISE_MARGIN = 6.0
"""Decibels above the noise behind it."""

LONGEST_DECAY = 1.0
"""Seconds behind what Silero calls speech."""

DECAY_GAP = 2
"""Windows that a dying voice may be quieter in between."""

CUT_SEARCH = 6.0
"""Seconds before the end of an overlong utterance among which the quietest moment is looked for."""

NOISE_SMOOTHING = 0.02
"""Weight of a window in the mean level of the noise: what it was in the last 1.6 s counts."""


@dataclass(frozen=True, slots=True)
class EndpointerOptions:
    """When speech begins and when an utterance is over; all times in seconds.

    threshold: probability from which a window is speech (0 to 1); below threshold - 0.15 it is
    silence, between the two it stays what it was. min_speech: speech shorter than this opens no
    utterance. min_silence: silence that ends an utterance that sounds finished; max_silence: one
    that ends any, the same if it is shorter. onset: how late Silero is to notice a voice, taken off
    the start it reports (median over the turns of recorded calls: 0.09).
    """

    threshold: float = 0.3
    min_speech: float = 0.096
    min_silence: float = 0.6
    onset: float = 0.1
    max_silence: float = 0.0

    @property
    def release(self) -> float:
        return min(self.threshold, max(0.05, self.threshold - 0.15))


@dataclass(frozen=True, slots=True)
class SpeechStart:
    """Speech began at `at`; it was certain `min_speech` later, or a window before."""

    at: float


@dataclass(frozen=True, slots=True)
class SpeechEnd:
    """The utterance is over: its last speech was at `at`, `min_silence` ago or longer."""

    at: float


class Endpointer:
    """Turns window probabilities into speech starts and ends, on the stream's own clock."""

    def __init__(self, options: EndpointerOptions, start: float = 0.0) -> None:
        """start: second of the stream at which the first window begins, a multiple of
        WINDOW_SECONDS."""
        self._options = options
        self._min_speech = _windows(options.min_speech)
        self._min_silence = _windows(options.min_silence)
        self._max_silence = max(self._min_silence, _windows(options.max_silence))
        # All counted in windows: sums of 0.032 s would make a duration depend on when it is.
        self._now = self._last_speech = round(start / WINDOW_SECONDS)
        self._candidate: int | None = None
        self._sureness = 0.0
        self._started = False
        self._decay = _Decay()
        self._recent: deque[float] = deque(maxlen=round(CUT_SEARCH / WINDOW_SECONDS))

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
    def patience(self) -> float:
        """Seconds of silence that end any utterance."""
        return self._max_silence * WINDOW_SECONDS

    @property
    def in_speech(self) -> bool:
        return self._started

    @property
    def speaking(self) -> bool:
        """The latest window was speech of an utterance."""
        return self._started and self._last_speech == self._now

    def quietest(self, until: float) -> float:
        """The moment before second `until` at which the latest speech was least probable."""
        first = self.now - len(self._recent) * WINDOW_SECONDS
        latest = max(1, int((until - first) / WINDOW_SECONDS))
        smoothed = np.convolve(self._recent, np.ones(3) / 3, mode="same")[:latest]
        return first + (int(np.argmin(smoothed)) + 0.5) * WINDOW_SECONDS

    def feed(
        self, probability: float, level: float = -math.inf, finished: bool = False
    ) -> SpeechStart | SpeechEnd | None:
        """Take in the next window: how probably it is speech, and its level in `decibels`.

        finished: what has been said until `last_speech` sounds finished.
        """
        threshold = self._options.release if self.speaking else self._options.threshold
        speech = probability >= threshold
        self._now += 1
        self._recent.append(probability)
        dying = self._decay.hear(level, speech, self._started)
        if not self._started:
            return self._wait_for_speech(speech, probability)
        if speech or dying:
            self._last_speech = self._now
            return None
        patience = self._min_silence if finished else self._max_silence
        return self.finish() if self._now - self._last_speech >= patience else None

    def go_on(self) -> None:
        """Take it that somebody is speaking: an utterance that was broken off goes on."""
        self._started, self._candidate = True, None
        self._last_speech = self._now

    def _wait_for_speech(self, speech: bool, probability: float) -> SpeechStart | None:
        if not speech:
            self._candidate = None
            return None
        if self._candidate is None:
            self._candidate, self._sureness = self._now - 1, 0.0
        self._sureness += probability
        windows = self._now - self._candidate
        sure = self._sureness >= SURE_PROBABILITY * windows
        if windows < self._min_speech - sure:
            return None
        began = self._candidate * WINDOW_SECONDS
        self._started, self._candidate = True, None
        self._last_speech = self._now
        self._recent.clear()
        return SpeechStart(max(0.0, began - self._options.onset))

    def finish(self) -> SpeechEnd | None:
        """End an open utterance now, at the end of the audio or of patience."""
        if not self._started:
            return None
        self._started = False
        return SpeechEnd(self.last_speech)


class _Decay:
    """Tells a voice that dies away from the noise behind it.

    Silero gives up on the last, quiet syllable of many a turn: 24 of 86 turns of recorded calls go
    on for more than 0.1 s behind it, within 30 dB of their loudest.
    """

    def __init__(self) -> None:
        self._loudest = -math.inf
        self._noise = -math.inf
        self._quiet = 0
        self._unspoken = 0

    def hear(self, level: float, speech: bool, in_utterance: bool) -> bool:
        """Whether a window of that level, in dB, is a voice that was speech until just now."""
        if speech:
            self._loudest = max(self._loudest, level)
            self._quiet = self._unspoken = 0
            return False
        if not in_utterance:
            self._loudest = -math.inf
        self._unspoken += 1
        if self._quiet <= DECAY_GAP and self._audible(level):
            self._quiet = 0
            return True
        self._quiet += 1
        if self._quiet > DECAY_GAP:
            self._hear_noise(level)
        return False

    def _audible(self, level: float) -> bool:
        quietest = max(self._loudest - DECAY_DECIBELS, self._noise + NOISE_MARGIN)
        return level > quietest and self._unspoken * WINDOW_SECONDS <= LONGEST_DECAY

    def _hear_noise(self, level: float) -> None:
        if math.isinf(self._noise):
            self._noise = level
        elif math.isfinite(level):
            self._noise += NOISE_SMOOTHING * (level - self._noise)


def decibels(samples: NDArray[np.float32]) -> float:
    """Mean power of samples in -1 to 1, relative to full scale; minus infinity for zeros."""
    power = float(np.mean(np.square(samples)))
    return 10 * math.log10(power) if power else -math.inf


def _windows(seconds: float) -> int:
    """The fewest whole windows that last `seconds`, but for what float arithmetic adds."""
    return math.ceil(seconds / WINDOW_SECONDS - 1e-6)
