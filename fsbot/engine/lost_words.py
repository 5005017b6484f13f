"""Stretches of an utterance that its final text leaves out.

Whisper's decoder can jump over one of two voices that follow each other without a pause. The times
of its words show it: a word lasts for seconds, or the text begins late or ends early. That alone is
no loss, because silence takes time, too. It is one where words were committed live that the final
text does not have, or where somebody can be heard for a while.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from fsbot.engine.events import Word
from fsbot.engine.words import plain

SHORTEST_HOLE = 1.0
"""Seconds by which a word lasts longer than it takes to say if something else is in its time."""

SHORTEST_VOICE = 1.5
"""Seconds of sound in a hole that make it a loss when nothing was committed there."""

LEAST_WORDS = 3
"""Committed words in a hole that make it a loss; two may be one word heard differently."""

LEAST_SHARE = 0.5
"""Words that a lost stretch must have, of those committed live, when it is read by itself."""

SURE_WITH_WORDS = -1.0
"""Mean log-probability above which a lost stretch, read by itself, is taken for speech. Words that
were invented of noise are read with -1.3 and less."""

SURE_WITHOUT_WORDS = -0.8
"""The same where nothing was committed live: nothing but this reading says that it is speech."""

WORD_SECONDS = 0.3
LETTER_SECONDS = 0.07
"""A word of n letters takes at most 0.3 + 0.07 n seconds to say, but for slow speakers."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Seconds of the stream that the final text leaves out.

    cuts: where to cut the utterance so that the stretch can be read by itself. least_words,
    least_log_prob: what that reading must have, and exceed in the mean, to be taken for speech.
    """

    start: float
    end: float
    cuts: tuple[float, ...]
    least_words: int
    least_log_prob: float

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


def lost_stretch(
    words: Sequence[Word],
    live: Sequence[Word],
    start: float,
    end: float,
    sounding: Callable[[float, float], float],
) -> Stretch | None:
    """The first stretch that the final text `words` leaves out; None if it is whole.

    live: the committed words; start, end: of the speech, in seconds of the stream; sounding: for
    how many seconds between two something can be heard.
    """
    runs = list(_absent(words, live))
    for hole in _holes(words, start, end):
        run = max((run for run in runs if hole.holds(run)), key=len, default=None)
        if run is not None:
            first, last = run[0].start, run[-1].end
            cuts = hole.cuts(first, last) or (_widest_gap(run),)
            least = round(LEAST_SHARE * len(run) + 0.5)
            return Stretch(first, last, cuts, least, SURE_WITH_WORDS)
        if words and sounding(hole.free, hole.end) >= SHORTEST_VOICE:
            cuts = hole.cuts(hole.free, hole.end)
            return Stretch(hole.free, hole.end, cuts, LEAST_WORDS, SURE_WITHOUT_WORDS)
    return None


@dataclass(frozen=True, slots=True)
class _Hole:
    """Seconds that are too long for the one word in them, or have none.

    free: where that word is over at the latest, if it stands at their start. first, last: the text
    has nothing before them, or behind them.
    """

    start: float
    free: float
    end: float
    first: bool
    last: bool

    def holds(self, words: Sequence[Word]) -> bool:
        inside = [word for word in words if self.start <= word.middle <= self.end]
        return len(inside) >= LEAST_WORDS

    def cuts(self, start: float, end: float) -> tuple[float, ...]:
        """The moments of the two behind and before which the text has something."""
        wanted = ((start, not self.first), (end, not self.last))
        return tuple(moment for moment, needed in wanted if needed)


def _holes(words: Sequence[Word], start: float, end: float) -> Iterator[_Hole]:
    if not words:
        yield _Hole(start, start, end, True, True)
        return
    if words[0].start - start > SHORTEST_HOLE:
        yield _Hole(start, start, words[0].start, True, False)
    following = [word.start for word in words[1:]] + [max(end, words[-1].end)]
    for place, (word, until) in enumerate(zip(words, following, strict=True)):
        free = word.start + WORD_SECONDS + LETTER_SECONDS * len(word.text)
        if until - free > SHORTEST_HOLE:
            yield _Hole(word.start, free, until, False, place == len(words) - 1)


def _absent(words: Sequence[Word], live: Sequence[Word]) -> Iterator[list[Word]]:
    """Runs of live words that have no equal in the final text, in the order of both.

    A single word between two absent ones counts as absent: short words are equal by chance.
    """
    said, meant = [plain(word) for word in live], [plain(word) for word in words]
    matcher = difflib.SequenceMatcher(None, said, meant, autojunk=False)
    absent = [True] * len(live)
    for place, _, size in matcher.get_matching_blocks():
        absent[place : place + size] = [False] * size
    alone = [before and after for before, after in zip(absent, absent[2:], strict=False)]
    flags = [here or between for here, between in zip(absent, [False, *alone, False], strict=False)]
    for is_absent, run in groupby(zip(flags, live, strict=True), key=lambda pair: pair[0]):
        if is_absent:
            yield [word for _, word in run]


def _widest_gap(words: Sequence[Word]) -> float:
    """The middle of the longest silence between two words."""
    width, start = max((after.start - before.end, before.end) for before, after in pairwise(words))
    return start + width / 2
