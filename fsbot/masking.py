"""Stretches of a call that must be neither heard nor written: card numbers, pauses, parties that
declined, and what another transcript has."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.audio.tape import Pieces
from fsbot.transcript.records import SideName

Stretch = tuple[float, float]
"""Start and end in Unix seconds; the end of one that goes on is infinite."""


class Masking:
    """The stretches that were wanted silent so far. All times are Unix seconds."""

    def __init__(self, stretches: Iterable[Stretch] = ()) -> None:
        """stretches: those that a former run of the bot has noted."""
        self.stretches = list(stretches)

    @property
    def active(self) -> bool:
        """Silence is wanted at the moment."""
        return bool(self.stretches) and self.stretches[-1][1] == math.inf

    def want(self, silence: bool, at: float) -> bool:
        """Silence is wanted from `at` on, or no longer. True if a stretch begins or ends."""
        if silence == self.active:
            return False
        if silence:
            self.stretches.append((at, math.inf))
        else:
            start = self.stretches[-1][0]
            self.stretches[-1] = (start, max(at, start))
        return True

    def hides(self, moment: float) -> bool:
        """A word that ends then is not to be written."""
        return any(start < moment <= end for start, end in self.stretches)

    def touches(self, begins: float, ends: float) -> bool:
        """Part of what lasts from `begins` to `ends` is in a stretch."""
        return any(start < ends and begins < end for start, end in self.stretches)


class Withheld:
    """What of a call is kept out of its transcript: both sides while a party masks or declines, one
    side while another transcript has it, or nobody hears it."""

    def __init__(
        self,
        sides: Sequence[SideName],
        private: Iterable[Stretch] = (),
        elsewhere: Mapping[SideName, Iterable[Stretch]] | None = None,
    ) -> None:
        """sides: in the order of the recording's channels. private, elsewhere: the stretches that a
        former run of the bot has noted."""
        self.private = Masking(private)
        self.elsewhere = {side: Masking((elsewhere or {}).get(side, ())) for side in sides}

    def hides(self, side: SideName, begins: float, ends: float) -> bool:
        """A word of that side from Unix time `begins` to `ends` is not to be written: no part of
        it may be private. Where another transcript takes over, it has the words that end there."""
        return self.private.touches(begins, ends) or self.elsewhere[side].hides(ends)

    def silence(self, pieces: Pieces, begins: float) -> Pieces:
        """Sound of all sides that begins at Unix time `begins`, with silence where it is wanted."""
        return [
            _silence(piece, begins, [*self.private.stretches, *masking.stretches])
            for piece, masking in zip(pieces, self.elsewhere.values(), strict=True)
        ]


def _silence(
    piece: NDArray[np.float32], begins: float, stretches: Iterable[Stretch]
) -> NDArray[np.float32]:
    length = len(piece)
    ends = begins + length / SAMPLE_RATE
    hidden = [(start, end) for start, end in stretches if start < ends and end > begins]
    if not hidden:
        return piece
    piece = np.array(piece)
    for start, end in hidden:
        first = max(0, math.floor((start - begins) * SAMPLE_RATE))
        last = length if end >= ends else math.ceil((end - begins) * SAMPLE_RATE)
        piece[first:last] = 0.0
    return piece
