"""Which language does a side speak?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from whisper.tokenizer import Tokenizer, get_tokenizer

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
"""Speech of an utterance from which the language that was given is held against what is heard."""

DOUBT = 0.9
"""Probability of another language from which an utterance speaks against the one given."""

DOUBTFUL_UTTERANCES = 2
"""So many running have to, and for the same other language."""


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
        watched=watched_tokens(tokenizer),
        never=nothing,
        never_first=nothing,
    )
    decoded = yield Window(audio, padding, task)
    return likeliest(tokenizer, decoded.watched, candidates)


def watched_tokens(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Tokens whose probabilities at the start of a transcript tell whether anybody speaks, and in
    which language."""
    languages = tokenizer.all_language_tokens if tokenizer.language else ()
    return (tokenizer.no_speech, *languages)


def likeliest(
    tokenizer: Tokenizer, probabilities: Sequence[float], candidates: Sequence[str]
) -> Detected:
    """The likeliest language, by the probabilities of `watched_tokens`. candidates: Whisper's
    codes; none: all that there are."""
    heard = dict(zip(tokenizer.all_language_codes, probabilities[1:], strict=True))
    chosen = {code: heard[code] for code in candidates if code in heard} or heard
    best = max(chosen, key=chosen.__getitem__)
    return Detected(best, chosen[best] / max(sum(chosen.values()), 1e-30))


class LanguageDoubts:
    """Holds the language that was given for a stream against what its utterances sound like."""

    def __init__(self, given: str, candidates: Sequence[str]) -> None:
        """candidates: codes of the languages that are likely, none: all."""
        self._given = given
        self._candidates = (*candidates, given) if candidates else ()
        self._suspect = ""
        self._count = 0
        self._told = False

    def judge(self, tokenizer: Tokenizer, probabilities: Sequence[float]) -> Detected | None:
        """Another utterance of a few seconds: the other language, once it is beyond doubt."""
        if self._told or len(probabilities) < 2:
            return None
        detected = likeliest(tokenizer, probabilities, self._candidates)
        against = detected.language != self._given and detected.probability >= DOUBT
        if not against or detected.language != self._suspect:
            self._count = 0
        self._suspect = detected.language
        self._count += against
        self._told = self._count >= DOUBTFUL_UTTERANCES
        return detected if self._told else None
