"""Stretches of an utterance that its final text leaves out.

Whisper's decoder can jump over one of two voices that follow each other without a pause. The times
of its words show it: a word lasts for seconds, or the text begins late or ends early. That alone is
no loss, because silence takes time, too. It is one where words were committed live that the final
text does not have, or where somebody can be heard for a while. Where the decoder has laid its next
words on the voice that it jumped over, no time shows it, but that it has far less text than was
committed.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from fsbot.engine.events import Word
from fsbot.engine.words import plain

SHORTEST_HOLE = 1.0
"""Seconds by which a word lasts longer than it takes to say if something else is in its time."""

SHORTEST_VOICE = 1.0
"""Seconds of sound in a hole that make it a loss when nothing was committed there."""

LEAST_WORDS = 3
"""Committed words in a hole that make it a loss; two may be one word heard differently."""

MOST_LETTERS_INSTEAD = 0.5
"""Letters that the final text has in the place of a lost run, of those committed live; with more it
is the same speech heard differently."""

LEAST_SHARE = 0.5
"""Words that a lost stretch must have, of those committed live, when it is read by itself."""

SURE_WITH_WORDS = -1.2
"""Mean log-probability above which a lost stretch, read by itself, is taken for speech. Words that
were invented of noise are read with -1.3 and less, hard speech with -1.15."""

SURE_WITHOUT_WORDS = -1.0
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


def lost_stretches(
    words: Sequence[Word],
    live: Sequence[Word],
    start: float,
    end: float,
    sounding: Callable[[float, float], float],
) -> Iterator[Stretch]:
    """The stretches that the final text `words` leaves out, those first that had live words.

    live: the committed words; start, end: of the speech, in seconds of the stream; sounding: for
    how many seconds between two something can be heard.
    """
    holes = list(_holes(words, start, end))
    explained = []
    for run in _absent(words, live):
        hole = next((hole for hole in holes if hole.holds(run.words)), None)
        if hole is not None:
            explained.append(hole)
            yield _stretch(run, hole.around(run.words, sounding))
        elif run.outweighs_what_stands_instead:
            yield _stretch(run, _Hole(run.start, run.start, run.end, run.first, run.last))
    for hole in holes:
        audible = words and sounding(hole.free, hole.end) >= SHORTEST_VOICE
        if audible and hole not in explained:
            cuts = hole.cuts
            yield Stretch(hole.free, hole.end, cuts, LEAST_WORDS, SURE_WITHOUT_WORDS)


def _stretch(run: "_Run", hole: "_Hole") -> Stretch:
    """The stretch of a run of live words, in its time `hole`."""
    least = round(LEAST_SHARE * len(run.words) + 0.5)
    cuts = hole.cuts or (_widest_gap(run.words),)
    return Stretch(hole.free, hole.end, cuts, least, SURE_WITH_WORDS)


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

    def around(self, words: Sequence[Word], sounding: Callable[[float, float], float]) -> "_Hole":
        """The part of it that these live words were in, or more, if somebody can be heard there."""
        start, end = words[0].start, words[-1].end
        if sounding(self.free, start) >= SHORTEST_VOICE:
            start = self.free
        if sounding(end, self.end) >= SHORTEST_VOICE:
            end = self.end
        return _Hole(start, start, end, self.first, self.last)

    @property
    def cuts(self) -> tuple[float, ...]:
        """Its beginning and its end, where the text has something before, or behind it."""
        wanted = ((self.free, not self.first), (self.end, not self.last))
        return tuple(moment for moment, needed in wanted if needed)


@dataclass(frozen=True, slots=True)
class _Run:
    """Live words that the final text does not have, and the words that it has instead.

    first, last: it has nothing before them, or behind them.
    """

    words: list[Word]
    instead: Sequence[Word]
    first: bool
    last: bool

    @property
    def start(self) -> float:
        return self.words[0].start

    @property
    def end(self) -> float:
        return self.words[-1].end

    @property
    def outweighs_what_stands_instead(self) -> bool:
        more = len(self.words) - len(self.instead) >= LEAST_WORDS
        return more and _letters(self.instead) < MOST_LETTERS_INSTEAD * _letters(self.words)


def _letters(words: Sequence[Word]) -> int:
    return sum(len(plain(word)) for word in words)


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
            # The first word may as well stand at the end of its time, and all else before it.
            yield _Hole(word.start, free, until, place == 0, place == len(words) - 1)


def _absent(words: Sequence[Word], live: Sequence[Word]) -> Iterator[_Run]:
    """Runs of live words that have no equal in the final text, in the order of both.

    A single word between two absent ones counts as absent: short words are equal by chance.
    """
    said, meant = [plain(word) for word in live], [plain(word) for word in words]
    matcher = difflib.SequenceMatcher(None, said, meant, autojunk=False)
    equals: list[int | None] = [None] * len(live)
    for place, other, size in matcher.get_matching_blocks():
        equals[place : place + size] = range(other, other + size)
    absent = [equal is None for equal in equals]
    alone = [before and after for before, after in zip(absent, absent[2:], strict=False)]
    flags = [here or between for here, between in zip(absent, [False, *alone, False], strict=False)]
    until = 0
    for is_absent, run in groupby(range(len(live)), key=flags.__getitem__):
        places = list(run)
        if not is_absent:
            until = (equals[places[-1]] or 0) + 1
            continue
        following = places[-1] + 1
        next_one = equals[following] if following < len(live) else None
        stop = len(words) if next_one is None else next_one
        yield _Run(
            [live[place] for place in places], words[until:stop], until == 0, stop == len(words)
        )


def _widest_gap(words: Sequence[Word]) -> float:
    """The middle of the longest silence between two words."""
    width, start = max((after.start - before.end, before.end) for before, after in pairwise(words))
    return start + width / 2
