"""Stretches of a call that must be neither heard nor written: card numbers, pauses."""

import math
from collections.abc import Iterable

import numpy as np

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.audio.tape import Pieces


class Masking:
    """Who wants silence at the moment, and the stretches that were wanted silent so far.

    Several may want it at once, each by a name of its own: a stretch ends when the last of them is
    content. All times are Unix seconds.
    """

    def __init__(self, stretches: Iterable[tuple[float, float]] = ()) -> None:
        """stretches: (start, end) of those that a former run of the bot has noted; an infinite end
        is one that had none yet.
        """
        self._stretches = list(stretches)
        self._wanted_by: set[str] = set()
        if self._stretches and self._stretches[-1][1] == math.inf:
            self._wanted_by.add(_BEFORE)

    @property
    def active(self) -> bool:
        return bool(self._wanted_by)

    def begin(self, who: str, at: float) -> bool:
        """`who` wants silence from `at` on. True if a stretch begins with it."""
        begins = not self._wanted_by
        self._wanted_by.add(who)
        if begins:
            self._stretches.append((at, math.inf))
        return begins

    def end(self, who: str, at: float) -> bool:
        """`who` wants no more silence from `at` on. True if the stretch ends with it."""
        # Whoever wanted it before the bot came back can't be told from others any more.
        wanted, self._wanted_by = self._wanted_by, self._wanted_by - {who, _BEFORE}
        if not wanted or self._wanted_by or wanted == self._wanted_by:
            return False
        self._stretches[-1] = (self._stretches[-1][0], max(at, self._stretches[-1][0]))
        return True

    def hides(self, moment: float) -> bool:
        """A word that ends then is not to be written."""
        return any(start < moment <= end for start, end in self._stretches)

    def silence(self, pieces: Pieces, begins: float) -> Pieces:
        """Sound of all sides that begins at Unix time `begins`, with silence where it is wanted."""
        length = len(pieces[0])
        ends = begins + length / SAMPLE_RATE
        hidden = [(start, end) for start, end in self._stretches if start < ends and end > begins]
        if not hidden:
            return pieces
        pieces = [np.array(piece) for piece in pieces]
        for start, end in hidden:
            first = max(0, math.floor((start - begins) * SAMPLE_RATE))
            last = length if end >= ends else math.ceil((end - begins) * SAMPLE_RATE)
            for piece in pieces:
                piece[first:last] = 0.0
        return pieces


_BEFORE = "a former run of the bot"
