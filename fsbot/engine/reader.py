"""Who reads a stream's audio: the voice of its language, given or found out."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from whisper.tokenizer import LANGUAGES, get_tokenizer

from fsbot.engine.events import LanguageDoubted
from fsbot.engine.final import FinalText, Speech
from fsbot.engine.inference import Job
from fsbot.engine.language import (
    DETECTION_SECONDS,
    DOUBT_SECONDS,
    SURE,
    SUSPICIOUS_SECONDS,
    Detected,
    Heard,
    LanguageChoice,
    LanguageDoubts,
    detect_language,
    hear_languages,
)
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.tasks import Task, Update
from fsbot.engine.utterance import Utterance
from fsbot.engine.voice import Voice

FRESH = 0.5
"""Share of an utterance's audio that live text must have heard, or else its language is asked for
once more."""


class Reader:
    """Chooses the voice that one stream is read with, and doubts a language that was given."""

    def __init__(
        self,
        model: SpeechModel,
        options: EngineOptions,
        stream_options: StreamOptions,
        listen: Callable[[float, float], NDArray[np.float32]],
        beside: Callable[[], str] = str,
    ) -> None:
        """listen(start, end): audio of the stream between two seconds of it. beside: the language
        that the other side of the call is known to speak, empty if none is.
        """
        self._model = model
        self._options = options
        self._stream_options = stream_options
        self._listen = listen
        self._beside = beside
        self._voices: dict[tuple[str, frozenset[str]], Voice] = {}
        """By language, and the languages that it may be as well."""
        self._choice: LanguageChoice | None = None
        self._doubts: LanguageDoubts | None = None
        self._live: tuple[Utterance, Voice] | None = None
        """An utterance whose live text is in another language than the chosen one."""
        likely = stream_options.auto_languages
        if stream_options.language == "auto":
            self._choice = LanguageChoice(likely, stream_options.heard_language)
        else:
            self._doubts = LanguageDoubts(stream_options.language, likely)

    @property
    def language(self) -> str:
        """What has been found out, empty if nothing has."""
        return self._choice.language if self._choice is not None else ""

    def voice(self, task: Task, over: bool) -> Job[Voice | None]:
        """The voice to read that audio with; None while too little of it tells the language.

        over: the utterance is, and has to be read in any case.
        """
        choice = self._choice
        if choice is None:
            return self._of(self._stream_options.language)
        if choice.language:
            live = self._live
            if live is not None and live[0] is task.utterance and isinstance(task, Update):
                return live[1]
            return self._of(choice.language)
        start, upto = task.utterance.audio_start, task.upto
        enough = upto - start >= DETECTION_SECONDS
        if not enough and not over:
            return None
        detected = yield from detect_language(
            self._model,
            self._listen(start, upto),
            self._options.padding,
            self._stream_options.auto_languages,
        )
        if enough and detected.probability >= SURE:
            choice.language = detected.language
        return self._of(detected.language)

    def updated(self, utterance: Utterance, voice: Voice) -> None:
        """Live text of the utterance has been read: what comes may be in another language."""
        if self._choice is None or not self._choice.language or utterance.heard is None:
            return
        other = self._choice.certain(voice.tokenizer, utterance.heard)
        self._live = (utterance, self._of(other.language)) if other is not None else None

    def other(
        self, utterance: Utterance, voice: Voice, speech: Speech
    ) -> Job[tuple[Voice, Detected] | None]:
        """The voice of another language, in which the utterance may be as well."""
        choice = self._choice
        if choice is None or not self._model.is_multilingual:
            return None
        seconds = speech.audio_end - speech.audio_start
        if not choice.language:
            audio = self._listen(speech.audio_start, speech.audio_end)
            watched = yield from hear_languages(self._model, audio, self._options.padding)
            utterance.heard = Heard(watched, seconds)
            language = voice.tokenizer.language or ""
            if (beside := self._beside()) not in ("", language):
                return self._of(beside), Detected(beside, 0.0)
            second = choice.runner_up(voice.tokenizer, utterance.heard, language)
            return None if second is None else (self._of(second.language), second)
        if seconds < SUSPICIOUS_SECONDS:
            return None
        heard = utterance.heard
        stale = heard is None or heard.seconds < FRESH * seconds
        if stale or not choice.agrees(voice.tokenizer, heard):
            # Alone and as a whole it tells more than while it grew.
            audio = self._listen(speech.audio_start, speech.audio_end)
            watched = yield from hear_languages(self._model, audio, self._options.padding)
            utterance.heard = Heard(watched, seconds)
        other = choice.suspect(voice.tokenizer, utterance.heard)
        return None if other is None else (self._of(other.language), other)

    def prefers(
        self, utterance: Utterance, other: Detected, own: FinalText, its: FinalText
    ) -> bool:
        """Whether the text in the other language is the utterance's."""
        if self._choice is None or utterance.heard is None or not its.words:
            return False
        heard, read = utterance.heard, own.mean_log_prob if own.words else -math.inf
        if not self._choice.language and other.language == self._beside():
            tokenizer = get_tokenizer(True, num_languages=self._model.num_languages)
            return not self._choice.leaves(
                tokenizer, other.language, heard, read, its.mean_log_prob
            )
        return self._choice.changes(other, heard, read, its.mean_log_prob)

    def closed(self, utterance: Utterance, voice: Voice) -> None:
        """The utterance is over, and read by that voice."""
        self._live = None
        if self._choice is not None and voice.tokenizer.language is not None:
            self._choice.close(voice.tokenizer, voice.tokenizer.language, utterance.heard)

    def doubt(self, utterance: int, voice: Voice, text: FinalText) -> LanguageDoubted | None:
        """What is to be said of the language that was given, after this final text."""
        if self._doubts is None or text.speech.end - text.speech.start < DOUBT_SECONDS:
            return None
        other = self._doubts.judge(voice.tokenizer, text.watched)
        if other is None:
            return None
        given = self._stream_options.language
        return LanguageDoubted(utterance, given, other.language, other.probability)

    def _of(self, language: str) -> Voice:
        options, beside = self._stream_options, frozenset[str]()
        if self._choice is not None and not self._choice.language:
            beside = frozenset(options.auto_languages or LANGUAGES)
        if (language, beside) not in self._voices:
            self._voices[language, beside] = Voice.of(
                self._model, self._options, language, options.task, options.static_prompt, beside
            )
        return self._voices[language, beside]
