"""Which language does a side speak?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from whisper.tokenizer import get_tokenizer

from fsbot.engine.decoding import DecodingTask
from fsbot.engine.inference import Job, Window
from fsbot.engine.model import SAMPLES_PER_FRAME, SpeechModel
from fsbot.engine.words import token_mask

DETECTION_SECONDS = 2.0
"""Audio from which a detected language may be kept for the rest of the stream."""

SURE = 0.8
"""Probability from which it is kept. Of the 28 sides of our recorded calls the first two seconds
of three are less sure, and two of these wrong; all are right where they are sure first."""

DOUBT_SECONDS = 3.0
"""Audio of an utterance from which the language that was given is held against what is heard."""

DOUBT = 0.95
"""Probability of another language from which it is called into question."""


@dataclass(frozen=True, slots=True)
class Detected:
    """Whisper's code of a language, and its probability among the candidates, 0 to 1."""

    language: str
    probability: float


def detect_language(
    model: SpeechModel, audio: NDArray[np.float32], padding: float, candidates: Sequence[str]
) -> Job[Detected]:
    """The likeliest of some languages in 16 kHz audio of at most 30 s.

    candidates: Whisper's codes; none: all languages that the model knows. What is not among them
    is not heard: on a telephone line Whisper takes hard French for Hebrew or Latin. "en" for an
    English-only model.
    """
    if not model.is_multilingual:
        return Detected("en", 1.0)
    tokenizer = get_tokenizer(True, num_languages=model.num_languages)
    nothing = token_mask([], model.dims.n_vocab)
    task = DecodingTask(
        prompt=(tokenizer.sot,),
        prefix=(),
        audio_frames=len(audio) // SAMPLES_PER_FRAME,
        max_tokens=0,
        start_token=tokenizer.sot,
        end_token=tokenizer.eot,
        watched=tuple(tokenizer.all_language_tokens),
        never=nothing,
        never_first=nothing,
    )
    decoded = yield Window(audio, padding, task)
    heard = dict(zip(tokenizer.all_language_codes, decoded.watched, strict=True))
    chosen = {code: heard[code] for code in candidates if code in heard} or heard
    best = max(chosen, key=chosen.__getitem__)
    return Detected(best, chosen[best] / max(sum(chosen.values()), 1e-30))
