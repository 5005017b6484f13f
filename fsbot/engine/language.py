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


SUSPICIOUS_SECONDS, SUSPICIOUS = 1.5, 0.7
"""Audio of an utterance, and probability of another language in it, from which it is read in both.
Twice running, or before any utterance has confirmed the language, the better reading decides."""

CHANGE_SECONDS, CHANGE = 2.0, 0.9
CHANGE_NO_SPEECH, CHANGE_MARGIN, CHANGE_LOG_PROBABILITY = 0.3, 0.2, -1.0
"""The same for a change after one utterance: at most that probability of no speech, and at least
that gain in mean log-probability and that one."""

CERTAIN_SECONDS, CERTAIN = 3.0, 0.985
"""The same for live text, which nobody reads twice."""

RUNNER_UP = 0.1
"""Probability of the second likeliest language from which a first, short utterance is read in both:
of 38 that sound most like a wrong one, more than half read better in their own."""

AUDIBLE = 0.3
"""Probability among all languages below which none of the candidates is spoken."""


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
    tokenizer = _tokenizer(model)
    watched = yield from hear_languages(model, audio, padding)
    detected = likeliest(tokenizer, watched, candidates)
    if watched[1 + tokenizer.all_language_codes.index(detected.language)] < AUDIBLE:
        # Another language is likelier than all candidates, or none: this one is a guess.
        return Detected(detected.language, min(detected.probability, SUSPICIOUS))
    return detected


def hear_languages(
    model: SpeechModel, audio: NDArray[np.float32], padding: float
) -> Job[tuple[float, ...]]:
    """The probabilities of `watched_tokens` at the start of a transcript of 16 kHz audio of at most
    30 s, with nothing before it. padding: seconds of silence behind it."""
    tokenizer = _tokenizer(model)
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
    return tuple(decoded.watched)


def _tokenizer(model: SpeechModel) -> Tokenizer:
    return get_tokenizer(True, num_languages=model.num_languages)


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


@dataclass(frozen=True, slots=True)
class Heard:
    """What one utterance, alone in a window, sounds like.

    probabilities: of `watched_tokens`; seconds: of the window's audio.
    """

    probabilities: tuple[float, ...]
    seconds: float


class LanguageChoice:
    """The language of a side whose language is found out: chosen, doubted, and chosen anew.

    An utterance in another language than the chosen one looks suspicious first: its language's
    token is improbable. What the model makes of it in both languages then decides. Every number
    here is from 86 turns of our recorded calls and 140 announcements in French, English, Spanish
    and Italian. Under 1.5 s of sound half of the guesses are wrong. Drawn 20 at a time and 360
    times, utterances of one language never changed it, and up to 4 % of them were read twice.
    """

    def __init__(self, candidates: Sequence[str], language: str = "") -> None:
        """candidates: codes to choose from, none: all. language: chosen before."""
        self._candidates = candidates
        self.language = language
        self._confirmed = bool(language)
        """A whole utterance was in that language, as far as one can hear."""
        self._suspect = ""
        """Another language that the utterance before sounded like."""

    def suspect(self, tokenizer: Tokenizer, heard: Heard | None) -> Detected | None:
        """Another language in which the utterance is worth a reading, too; else None."""
        other = self._other(tokenizer, heard)
        if heard is None or other is None or other.language == self.language:
            return None
        if heard.seconds < SUSPICIOUS_SECONDS or other.probability < SUSPICIOUS:
            return None
        return other

    def agrees(self, tokenizer: Tokenizer, heard: Heard | None) -> bool:
        """Whether an utterance sounds like the language that is chosen, and confirmed."""
        other = self._other(tokenizer, heard)
        return (
            self._confirmed
            and other is not None
            and other.language == self.language
            and other.probability >= SURE
        )

    def runner_up(self, tokenizer: Tokenizer, heard: Heard, language: str) -> Detected | None:
        """Before any language is chosen: the likeliest but that one, if it is worth a reading."""
        codes = [
            code for code in self._candidates or tokenizer.all_language_codes if code != language
        ]
        known = dict(zip(tokenizer.all_language_codes, heard.probabilities[1:], strict=True))
        total = sum(known.get(code, 0.0) for code in (*codes, language))
        best = max(codes, key=lambda code: known.get(code, 0.0), default=language)
        share = known.get(best, 0.0) / max(total, 1e-30)
        return Detected(best, share) if best != language and share >= RUNNER_UP else None

    def leaves(
        self, tokenizer: Tokenizer, beside: str, heard: Heard, own: float, beside_it: float
    ) -> bool:
        """Before any language is chosen: whether an utterance is in another one than the other side
        speaks, which is likelier than what a word or two sound like.

        own, beside_it: mean log-probabilities in the language that it sounds like, and in `beside`.
        """
        detected = likeliest(tokenizer, heard.probabilities, self._candidates)
        clear = detected.language != beside and detected.probability >= SURE
        return clear and own > beside_it + CHANGE_MARGIN

    def certain(self, tokenizer: Tokenizer, heard: Heard) -> Detected | None:
        """The same if live text should be in it at once."""
        other = self.suspect(tokenizer, heard)
        sure = other is not None and other.probability >= CERTAIN
        return other if sure and heard.seconds >= CERTAIN_SECONDS else None

    def changes(self, other: Detected, heard: Heard, own: float, in_other: float) -> bool:
        """Whether the utterance is in the suspected language.

        own, in_other: mean log-probabilities of what the model makes of it in both.
        """
        if in_other <= own:
            return False
        if not self.language or not self._confirmed or self._suspect == other.language:
            return True
        return (
            heard.seconds >= CHANGE_SECONDS
            and other.probability >= CHANGE
            and heard.probabilities[0] < CHANGE_NO_SPEECH
            and in_other > max(own + CHANGE_MARGIN, CHANGE_LOG_PROBABILITY)
        )

    def close(self, tokenizer: Tokenizer, language: str, heard: Heard | None) -> None:
        """An utterance is over, which was read in that language."""
        other = self._other(tokenizer, heard)
        if not self.language:
            enough = heard is not None and heard.seconds >= DETECTION_SECONDS
            sure = other is not None and other.language == language and other.probability >= SURE
            if enough and sure:
                self.language, self._confirmed = language, True
            return  # else too little was heard to choose one
        changed, self.language = language != self.language, language
        if heard is None or other is None or heard.seconds < SUSPICIOUS_SECONDS:
            self._confirmed = self._confirmed and not changed
            return  # « ok » tells nothing, and takes nothing back
        agrees = other.language == language and other.probability >= SUSPICIOUS
        self._confirmed = agrees or (self._confirmed and not changed)
        suspicious = not agrees and other.probability >= SUSPICIOUS
        self._suspect = other.language if suspicious else ""

    def _other(self, tokenizer: Tokenizer, heard: Heard | None) -> Detected | None:
        """The likeliest language, if what was heard is speech in a language at all."""
        if heard is None or len(heard.probabilities) < 2:
            return None
        all_heard = dict(zip(tokenizer.all_language_codes, heard.probabilities[1:], strict=True))
        detected = likeliest(tokenizer, heard.probabilities, self._candidates)
        return detected if all_heard[detected.language] >= AUDIBLE else None


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
