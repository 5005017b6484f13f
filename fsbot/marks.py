"""What happens to a call besides words: hold, masks, transfers, other calls that it joins."""

import math
from collections.abc import Iterable, Sequence

from fsbot.switch.bridges import PARTED_SECONDS
from fsbot.transcript.records import MarkName, SideName
from fsbot.transcript.writer import TranscriptWriter

TOLD_SECONDS = 5.0
"""Two transfers to one party within them are one."""


class Marks:
    """Writes marks into a transcript, as soon as there is one and until it ends. All times are
    Unix seconds.
    """

    def __init__(self) -> None:
        self._early: list[tuple[MarkName, float, str, str, Sequence[SideName], str]] = []
        self._transcript: TranscriptWriter | None = None
        self._partner = ""
        """The leg that the call talks to, or talked to last."""
        self._parties: dict[str, str] = {}
        self._heard: dict[str, float] = {}
        """The legs of the conversation, and when each was heard last; infinite: it still is."""
        self._latest = ("", -math.inf)
        """The party and time of the transfer that was marked last."""
        self._told = False
        """Whom the call talks to next has been told already."""
        self._holding: dict[str, Sequence[SideName]] = {}
        """The legs that hold, with the side that each of them is."""

    def begin(self, transcript: TranscriptWriter) -> None:
        """There is a transcript."""
        self._transcript = transcript
        early, self._early = self._early, []
        for mark in early:
            transcript.mark(*mark)

    def end(self) -> None:
        """The transcript ends; what comes later belongs nowhere."""
        self._transcript = None

    def put(
        self,
        mark: MarkName,
        at: float,
        party: str = "",
        leg: str = "",
        sides: Sequence[SideName] = (),
        reason: str = "",
    ) -> None:
        """See `fsbot.transcript.records.Mark`."""
        if self._transcript is not None:
            self._transcript.mark(mark, at, party, leg, sides, reason)
        else:
            self._early.append((mark, at, party, leg, sides, reason))

    # Hold

    def hold(self, at: float, leg: str, side: SideName) -> None:
        """A leg of the call, which is that side, holds; told once, however often it says so."""
        if leg not in self._holding:
            self._holding[leg] = (side,)
            self.put("hold", at, leg=leg, sides=(side,))

    def unhold(self, at: float, leg: str) -> None:
        """That leg holds no longer, or has left the call."""
        if (sides := self._holding.pop(leg, None)) is not None:
            self.put("unhold", at, leg=leg, sides=sides)

    @property
    def holding(self) -> list[str]:
        """The legs that hold."""
        return list(self._holding)

    # Transfers

    def talks_to(self, partner: str) -> None:
        """The call is bridged to that leg already."""
        self._partner = partner

    def heard(self, at: float, legs: Iterable[str]) -> None:
        """These are the legs of the conversation since then."""
        now = set(legs)
        for leg in self._heard:
            if leg not in now and self._heard[leg] == math.inf:
                self._heard[leg] = at
        self._heard |= dict.fromkeys(now, math.inf)

    def bridged(self, at: float, partner: str, party: str) -> None:
        """The call talks to a leg: perhaps to the same as before, whose media have come back, or
        straight to one that it was heard by through others, which are gone (loopback channels)."""
        new = partner != self._partner and at - self._heard.get(partner, 0.0) > PARTED_SECONDS
        if self._partner and new and not self._told:
            self._transfer(at, party)
        self._parties[partner] = party
        self._partner, self._told = partner, False

    def back_to(self, at: float, partner: str) -> None:
        """The call talks to a leg again that it talked to before, and was not parted from."""
        if partner != self._partner and not self._told:
            self._transfer(at, self._parties.get(partner, ""))
        self._partner, self._told = partner, False

    def transferred(self, at: float, party: str) -> None:
        """The call is on its way to an extension, perhaps to be bridged from there."""
        self._told = self._transfer(at, party)

    def _transfer(self, at: float, party: str) -> bool:
        """False if it has been told: a leg that is left behind is asked where it goes, and may have
        been bridged by then."""
        told_party, told_at = self._latest
        if party == told_party and at - told_at < TOLD_SECONDS:
            return False
        self._latest = party, at
        self.put("transfer", at, party)
        return True
