"""Speech or not: Silero's probabilities."""

from collections.abc import Sequence

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
