"""What befalls a call besides words: hold, masks, transfers."""

from fsbot.switch.masks import CONTROL
from fsbot.transcript.records import MarkName
from fsbot.transcript.writer import TranscriptWriter


class Marks:
    """Writes marks into a transcript, as soon as there is one and until it ends. All times are
    Unix seconds.
    """

    def __init__(self, *, taken_up: bool) -> None:
        """taken_up: a former run of the bot has begun the transcript."""
        self._early: list[tuple[MarkName, float, str]] = []
        self._transcript: TranscriptWriter | None = None
        self._expects_party = not taken_up
        """Whom the call talks to next is its first party, or has been told already."""

    def begin(self, transcript: TranscriptWriter) -> None:
        """There is a transcript."""
        self._transcript = transcript
        early, self._early = self._early, []
        for mark in early:
            transcript.mark(*mark)

    def end(self) -> None:
        """The transcript ends; what comes later belongs nowhere."""
        self._transcript = None

    def put(self, mark: MarkName, at: float, party: str = "") -> None:
        """party: the new one, after a transfer."""
        if self._transcript is not None:
            self._transcript.mark(mark, at, party)
        else:
            self._early.append((mark, at, party))

    def masked(self, masked: bool, who: str, at: float) -> None:
        """A stretch begins or ends in which nothing is to be heard."""
        if who == CONTROL:
            self.put("pause" if masked else "resume", at)
        else:
            self.put("mask" if masked else "unmask", at)

    def bridged(self, at: float, party: str) -> None:
        """The call talks to another leg."""
        if not self._expects_party:
            self.put("transfer", at, party)
        self._expects_party = False

    def transferred(self, at: float, party: str) -> None:
        """The call is on its way to an extension, perhaps to be bridged from there."""
        self._expects_party = True
        self.put("transfer", at, party)
