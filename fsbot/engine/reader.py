"""Who reads a stream's audio: the voice of its language, given or detected."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fsbot.engine.events import LanguageDoubted
from fsbot.engine.final import FinalText
from fsbot.engine.inference import Job
from fsbot.engine.language import (
    DETECTION_SECONDS,
    DOUBT_SECONDS,
    SURE,
    LanguageDoubts,
    detect_language,
)
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.voice import Voice


class Reader:
    """Chooses the voice that one stream is read with, and doubts a language that was given."""

    def __init__(
        self,
        model: SpeechModel,
        options: EngineOptions,
        stream_options: StreamOptions,
        listen: Callable[[float, float], NDArray[np.float32]],
    ) -> None:
        """listen(start, end): audio of the stream between two seconds of it."""
        self._model = model
        self._options = options
        self._stream_options = stream_options
        self._listen = listen
        self._voice: Voice | None = None
        self._doubts: LanguageDoubts | None = None
        if stream_options.language != "auto":
            likely = stream_options.auto_languages
            self._doubts = LanguageDoubts(stream_options.language, likely)

    def voice(self, start: float, upto: float, over: bool) -> Job[Voice | None]:
        """The voice to read that audio with; None while too little of it tells the language.

        over: the utterance is, and has to be read in any case.
        """
        if self._voice is None:
            language = self._stream_options.language
            if language == "auto":
                enough = upto - start >= DETECTION_SECONDS
                if not enough and not over:
                    return None
                detected = yield from detect_language(
                    self._model,
                    self._listen(start, upto),
                    self._options.padding,
                    self._stream_options.auto_languages,
                )
                if not enough or detected.probability < SURE:
                    return self._of(detected.language)
                language = detected.language
            self._voice = self._of(language)
        return self._voice

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
        options = self._stream_options
        return Voice.of(self._model, self._options, language, options.task, options.static_prompt)
