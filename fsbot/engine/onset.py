"""How an utterance begins: with somebody who speaks, with a cough, or with an echo?"""

from __future__ import annotations

import math

from fsbot.audio.echo import LONGEST_DELAY, is_echo
from fsbot.engine.events import SpeechCertain, SpeechStarted
from fsbot.engine.final import Listen

CERTAIN_SECONDS = 0.4
"""Speech that lasts so long is no cough and no click."""

AUDIBLE_DECIBELS = 25.0
"""Silero hears a voice for a tenth of a second longer than it lasts; then it is so much quieter
than it was at its loudest. Of syllables of 0.2 s a quarter would be taken for certain speech
without this, of the turns of recorded calls none is noticed any later with it."""

FORGOTTEN_DECIBELS = 0.5
"""By so much a window the loudest counts less: behind a loud click a voice may be quiet."""

NOTICED_SECONDS = 0.2
"""What there is of a voice when it has just been noticed."""

COMPARED_SECONDS = CERTAIN_SECONDS + LONGEST_DELAY
"""How much of the other side is looked at."""


class Onset:
    """Tells of the beginnings of one side's utterances. All times are seconds of the stream."""

    def __init__(self, listen: Listen) -> None:
        self._listen = listen
        self._uncertain: SpeechStarted | None = None
        self._loudest = -math.inf
        self.beside: Listen | None = None
        """To the other side of the same call, whose voice may come back as an echo."""

    def begin(self, utterance: int, at: float, now: float) -> SpeechStarted:
        """Speech that began at `at` has been noticed now."""
        self._uncertain = SpeechStarted(utterance, at, self._echoes(now, NOTICED_SECONDS))
        self._loudest = -math.inf
        return self._uncertain

    def go_on(self, now: float, level: float) -> SpeechCertain | None:
        """Somebody is speaking now, at that level in dB; once per utterance it is certain who."""
        began = self._uncertain
        if began is None:
            return None
        self._loudest = max(self._loudest - FORGOTTEN_DECIBELS, level)
        if now - began.at < CERTAIN_SECONDS or level < self._loudest - AUDIBLE_DECIBELS:
            return None
        if self._echoes(now, CERTAIN_SECONDS):
            return None
        self._uncertain = None
        return SpeechCertain(began.utterance, began.at)

    def _echoes(self, now: float, seconds: float) -> bool:
        """Whether what was heard in the last seconds is the other side's voice."""
        if self.beside is None:
            return False
        theirs = self.beside(now - seconds - LONGEST_DELAY, now)
        return is_echo(self._listen(now - seconds, now), theirs)
