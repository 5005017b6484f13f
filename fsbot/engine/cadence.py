"""How much new audio an update waits for: more, when the machine can't keep up."""

import time

import structlog

log = structlog.get_logger("fsbot.engine")

MOST_CHUNKS = 4
"""Under load an update hears up to so many chunks at once."""

QUIET_SECONDS = 10.0
"""Updates must have been on time for so long before they get smaller again."""

PATIENCE_SECONDS = 2.0
"""Time between two enlargements: the first has to show its effect."""

SMOOTHING = 0.1
"""Weight of the newest wait in their mean: a batch that is in the way now and then is no load."""


class Cadence:
    """The time between two updates of an utterance, on the clock of the audio.

    When updates wait for the model for half a chunk on average, they come to hear more audio each,
    before anything lags; when they are on time again, less. Nothing is left out either way.
    """

    def __init__(self, chunk: float) -> None:
        """chunk: seconds of new audio per update, when there is no load."""
        self._chunk = chunk
        self._chunks = 1
        self._changed = 0.0
        self._late = 0.0
        self._waited = 0.0
        self.enlarged = 0
        """How often updates have been made larger."""

    @property
    def chunk(self) -> float:
        """Seconds of new audio per update, a whole number of the smallest."""
        return self._chunk * self._chunks

    def observe(self, waited: float, now: float | None = None) -> None:
        """Take in that an update has waited so many seconds for its turn.

        now: of time.monotonic, read here unless it is given.
        """
        now = time.monotonic() if now is None else now
        self._waited += SMOOTHING * (waited - self._waited)
        if self._waited > self._chunk / 2:
            self._late = now
            if self._chunks < MOST_CHUNKS and now - self._changed > PATIENCE_SECONDS:
                self.enlarged += 1
                self._change(self._chunks + 1, now)
        elif self._chunks > 1 and now - max(self._late, self._changed) > QUIET_SECONDS:
            self._change(self._chunks - 1, now)

    def _change(self, chunks: int, now: float) -> None:
        larger = chunks > self._chunks
        self._chunks, self._changed = chunks, now
        say = log.warning if larger else log.info
        say(
            "updates get larger" if larger else "updates get smaller",
            seconds=round(self.chunk, 2),
            waited_ms=round(self._waited * 1000),
        )
