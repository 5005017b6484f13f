"""Final texts cut into subtitles that people can read: cues of two lines and of a few seconds.

The limits are those of the common style guides for subtitles (the BBC's, Netflix's): 42 characters
a line, two lines, seven seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len

from fsbot.engine.events import blank
from fsbot.transcript.records import SideName, Transcription

LINE_CELLS = 42
"""Characters of a line; an East Asian one counts twice."""

LINES = 2
LONGEST_SECONDS = 7.0
LONGEST_PIECE = 32
"""Characters of a word, at most: with the side before it, it is a line of its own."""

FEW_PIECES = 3
"""Words that are not left to the last cue alone."""

SHORTEST_SECONDS = 0.7
"""A cue lasts at least so long where the next one leaves room."""

PAUSE_SECONDS = 1.0
"""A pause between two words that a cue does not reach over."""

_SENTENCE_END = (".", "?", "!", "…", "。", "？", "！")
_CLAUSE_END = (",", ";", ":", "،", "、", "，", "；", "：")


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown from `start` to `end`, seconds: at most LINES lines of LINE_CELLS."""

    side: SideName
    start: float
    end: float
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A word, or part of one that is longer than a line. space: what stands before it."""

    text: str
    start: float
    end: float
    space: str


def cues_of(final: Transcription, prefix: str = "") -> list[Cue]:
    """The cues of a final text, in order; none overlaps the next. prefix: before every text."""
    cues = []
    pieces = list(_pieces(final))
    while pieces:
        count = _fitting(pieces, prefix)
        part, pieces = pieces[:count], pieces[count:]
        start = max(0.0, part[0].start)
        end = min(max(part[-1].end, start + SHORTEST_SECONDS), start + LONGEST_SECONDS)
        cues.append(Cue(final.side, start, end, _lines(part, prefix)))
    return in_turn(cues)


def in_turn(cues: Sequence[Cue]) -> list[Cue]:
    """Cues in the order of their start, so that none is shown while another one is.

    Where two sides speak at once the first gives way when the second begins. One that begins
    almost at the same time is shown a little later.
    """
    shown: list[Cue] = []
    for cue in sorted(cues, key=lambda cue: cue.start):
        if shown:
            shown[-1], cue = one_after_the_other(shown[-1], cue)
        shown.append(cue)
    return shown


def one_after_the_other(first: Cue, second: Cue) -> tuple[Cue, Cue]:
    """Two cues, of which the second does not begin before the first, made not to overlap."""
    if first.end <= second.start:
        return first, second
    end = max(second.start, min(first.end, first.start + SHORTEST_SECONDS))
    late = max(second.start, end)
    return replace(first, end=end), replace(
        second, start=late, end=max(second.end, late + SHORTEST_SECONDS)
    )


def _pieces(final: Transcription) -> Iterator[_Piece]:
    """The words of a final text with their times; printable, and none longer than a line."""
    space = blank(final.language_code)
    spoken = final.alternatives[0].words if final.alternatives else ()
    words = [(printable(each.word), each.start_time, each.end_time) for each in spoken]
    text = printable(final.text)
    if printable(space.join(word for word, _, _ in words)) != text:
        # Without times of its own each word takes as long as its letters.
        seconds = max(0.0, final.end - final.start) / max(1, len(text))
        words, at = [], final.start
        for word in text.split():
            words.append((word, at, at + len(word) * seconds))
            at += (len(word) + 1) * seconds
        space = " "
    latest = final.start
    for word, start, end in words:
        if not word:
            continue
        start = max(start, latest)
        latest = max(end, start)
        parts = list(_cut(word))
        each = (latest - start) / len(parts)
        for number, part in enumerate(parts):
            begin = start + number * each
            yield _Piece(part, begin, begin + each, "" if number else space)


def _cut(word: str) -> Iterator[str]:
    part = ""
    for character in word:
        if cell_len(part + character) > LONGEST_PIECE:
            yield part
            part = ""
        part += character
    yield part


def _fitting(pieces: Sequence[_Piece], prefix: str) -> int:
    """How many pieces the next cue holds: to the end of a sentence, or of a clause, if that is not
    too early, otherwise as many as fit."""
    most = 1
    while most < len(pieces):
        part = pieces[: most + 1]
        if part[-1].start - part[-2].end >= PAUSE_SECONDS:
            return most
        if part[-1].end - part[0].start > LONGEST_SECONDS or not _fits(part, prefix):
            break
        most += 1
    else:
        return most
    for ends in (_SENTENCE_END, _CLAUSE_END):
        for count in range(most, most // 2, -1):
            if pieces[count - 1].text.endswith(ends):
                return count
    if len(pieces) - most <= FEW_PIECES:
        return min(
            most, (len(pieces) + 1) // 2
        )  # two halves read better than a last word by itself
    return most


def _fits(pieces: Sequence[_Piece], prefix: str) -> bool:
    return all(cell_len(line) <= LINE_CELLS for line in _lines(pieces, prefix))


def _lines(pieces: Sequence[_Piece], prefix: str) -> tuple[str, ...]:
    """One line, or the two of which the longer one is shortest."""
    whole = prefix + _joined(pieces)
    if cell_len(whole) <= LINE_CELLS or len(pieces) < LINES:
        return (whole,)
    halves = (
        (prefix + _joined(pieces[:count]), _joined(pieces[count:]))
        for count in range(1, len(pieces))
    )
    return min(halves, key=lambda lines: max(map(cell_len, lines)))


def _joined(pieces: Sequence[_Piece]) -> str:
    return "".join(
        (piece.space if number else "") + piece.text for number, piece in enumerate(pieces)
    )


def printable(text: str) -> str:
    """Without line breaks and control characters, which would end a cue or steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
