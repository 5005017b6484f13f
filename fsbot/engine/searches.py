"""How long a final text that the model is unsure of may be searched for a better one."""

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds that only grow: time.monotonic, or a clock that is simulated."""

SEARCH_ROOM = 0.5
"""Seconds after the end of an utterance was decided within which a search should be over."""

SEARCH_COST = 1.0
"""A search is expected to take so many times what the first reading has taken, waiting included."""


class Searches:
    """Allows searches while somebody waits for their result, and counts them. One per engine."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self.begun = 0
        """Unsure texts that were searched."""
        self.left_out = 0
        """Unsure texts that were not searched: the machine was too slow for them."""

    def allow(self, until: float, took: float) -> bool:
        """Whether a search may begin.

        until: the moment, on the clock, at which it should be over; inf: any. took: seconds that
        the first reading of the same sound has taken.
        """
        allowed = self._clock() + SEARCH_COST * took <= until
        self.begun += allowed
        self.left_out += not allowed
        return allowed
