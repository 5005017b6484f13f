"""What the rest of the engine asks of the model: windows in, texts out, many at a time."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.engine.decoding import Decoded, DecodingTask, decode
from fsbot.engine.guards import repeats_itself
from fsbot.engine.model import SpeechModel

PACKED_FRAMES = 500
"""Encoder frames packed into one pass: with more, the activations outgrow a core's cache."""

ECHOED_SECONDS = 5.0
"""Audio of a window up to which the model says its words again, for want of silence behind them."""

LONG_PADDING = 10.0
"""Seconds of silence with which such a window is read once more."""


@dataclass(slots=True)
class Window:
    """Audio to decode, and how.

    samples: 16 kHz mono, at most 30 s; padding: seconds of digital silence behind them. features:
    the encoded audio, once it has been encoded.
    """

    samples: NDArray[np.float32]
    padding: float
    task: DecodingTask
    features: Tensor | None = None

    def padded(self) -> "Window":
        """The same audio once more, with so much silence behind it as Whisper is used to."""
        return Window(self.samples, LONG_PADDING, self.task)

    def again(self, beams: int) -> "Window":
        """The same audio once more, with another search."""
        return Window(self.samples, self.padding, replace(self.task, beams=beams), self.features)


Result = TypeVar("Result")

Job = Generator[Window, Decoded, Result]
"""Work that asks for one window after the other and is sent the text of each."""


def infer(model: SpeechModel, windows: Sequence[Window]) -> list[Decoded]:
    """Encode and decode windows, which all have the same number of beams.

    Behind short audio the model may say its words again: a short text with a repetition is read
    once more with more silence behind it, which is how Whisper was trained. What was said twice is
    written twice then, too.
    """
    texts = _read(model, windows)
    doubtful = [n for n, text in enumerate(texts) if _perhaps_echoed(windows[n], text)]
    for number in doubtful:
        windows[number].padding, windows[number].features = LONG_PADDING, None
    again = _read(model, [windows[number] for number in doubtful]) if doubtful else []
    for number, text in zip(doubtful, again, strict=True):
        if text.tokens and text.complete:
            texts[number] = text
    return texts


def _perhaps_echoed(window: Window, text: Decoded) -> bool:
    if len(window.samples) > ECHOED_SECONDS * SAMPLE_RATE or window.padding >= LONG_PADDING:
        return False
    task = window.task
    return bool(task.alike) and repeats_itself((*task.prefix, *text.tokens), task.alike)


def _read(model: SpeechModel, windows: Sequence[Window]) -> list[Decoded]:
    _encode(model, [window for window in windows if window.features is None])
    features = [window.features for window in windows if window.features is not None]
    return decode(model, features, [window.task for window in windows])


def _encode(model: SpeechModel, windows: Sequence[Window]) -> None:
    mels = [model.mel(window.samples, window.padding) for window in windows]
    start = 0
    while start < len(mels):
        end, frames = start + 1, mels[start].shape[1] // 2
        while end < len(mels) and frames + mels[end].shape[1] // 2 <= PACKED_FRAMES:
            frames += mels[end].shape[1] // 2
            end += 1
        encoded = model.encoder(mels[start:end])
        for window, features in zip(windows[start:end], encoded, strict=True):
            window.features = features
        start = end


def finish(model: SpeechModel, job: Job[Result]) -> Result:
    """Do a job by itself, window after window."""
    try:
        window = next(job)
        while True:
            window = job.send(infer(model, [window])[0])
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
