"""Where in its audio a stream is: what a stream that was broken off needs to go on.

All times are seconds of the stream's audio, from its very beginning.
"""

import math
from dataclasses import dataclass

from fsbot.audio.vad import WINDOW_SECONDS
from fsbot.engine.events import Word

RUN_UP_SECONDS = 0.5
"""Audio before the position that the voice activity detection hears first, to find its feet."""


@dataclass(frozen=True, slots=True)
class OpenUtterance:
    """An utterance that has been heard in part.

    spoken: its committed words. last_speech, decided_at: if its end has been told already, but its
    final text has not. inherited: what the utterance before, which was cut where this one begins,
    has committed of this one's audio.
    """

    number: int
    speech_start: float
    spoken: tuple[Word, ...] = ()
    last_speech: float | None = None
    decided_at: float | None = None
    inherited: tuple[Word, ...] = ()

    @property
    def ended(self) -> bool:
        return self.decided_at is not None


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """number: of the latest utterance; closed_until: up to there everything has its final text;
    utterances: those behind that have none, in their order; only the last one may still go on.
    """

    number: int = 0
    closed_until: float = 0.0
    utterances: tuple[OpenUtterance, ...] = ()

    def begin(self, lead_in: float) -> float:
        """From where on the audio is needed. lead_in: seconds decoded before speech."""
        needed = self.closed_until - RUN_UP_SECONDS
        if self.utterances:
            needed = min(needed, self.utterances[0].speech_start - lead_in)
        # On the grid of the voice activity detection's windows.
        return max(0, math.floor(needed / WINDOW_SECONDS)) * WINDOW_SECONDS

    @property
    def heard_until(self) -> float:
        """Up to there the voice activity detection has spoken; then it goes on by itself."""
        if not self.utterances:
            return self.closed_until
        last = self.utterances[-1]
        return last.speech_start if last.decided_at is None else last.decided_at


START = StreamPosition()
"""Where every stream begins."""
