"""What stops Whisper from talking to itself: repeated phrases, runaway length, empty rooms."""

from collections.abc import Sequence
from itertools import takewhile
from statistics import median

from fsbot.engine import token_rates

MAX_PHRASE = 24
"""Longest repeated phrase looked for, in tokens."""

REPETITIONS = 3
"""How often a phrase must stand in a row to be called a loop; people do say « oui oui »."""

LOOP_FRAMES = 5
"""Frames (0.1 s) per token that what is said a third time lies behind the second, at the least."""

ECHO_PHRASE = 3
"""Shortest phrase, in tokens, that counts as an echo when it is said twice of the same sound."""

ECHO_FRAMES = 10
"""Frames (0.2 s) that a phrase really said again lies behind its first time, at the very least."""

TOKENS_PER_SECOND = 9.0
"""Above the fastest speech: French at 8 syllables a second needs about 7 tokens. Languages that
need more are in `token_rates`."""

SPARE_TOKENS = 8
"""Punctuation and rare names cost tokens that take no time to say."""


def token_budget(seconds: float, language: str = "fr") -> int:
    """Most tokens that `seconds` of audio can hold. language: Whisper's code of what is written."""
    rate = max(TOKENS_PER_SECOND, token_rates.TOKENS_PER_SECOND.get(language, 0.0))
    return SPARE_TOKENS + int(seconds * rate)


def looping_tail(tokens: Sequence[int], frames: Sequence[int]) -> int:
    """How many tokens at the end repeat what stands before them, 0 if there is no loop.

    frames: the frame each token attends to. A loop is a phrase of up to 24 tokens standing three
    times in a row at the very end, the last time of no later sound than the time before: three
    equal digits of a number are heard one after the other. What is counted, from the end, is every
    repetition that has moved on by less than LOOP_FRAMES for each token.
    """
    for phrase in range(1, min(MAX_PHRASE, len(tokens) // REPETITIONS) + 1):
        tail = tokens[-phrase:]
        repeats = 1
        while tokens[-phrase * (repeats + 1) : -phrase * repeats] == tail:
            repeats += 1
        if repeats >= REPETITIONS:
            ends = range(len(tokens), len(tokens) - phrase * (repeats - 1), -phrase)
            stuck = (_progress(frames[:end], phrase) < phrase * LOOP_FRAMES for end in ends)
            return phrase * sum(takewhile(bool, stuck))
    return 0


def echoing_tail(tokens: Sequence[int], frames: Sequence[int]) -> int:
    """How many tokens at the end say again what stands before them, of the very same sound.

    frames: the frame each token attends to. A phrase twice in a row is speech if the second time
    listens to later sound, and an echo of the model's own words if it does not.
    """
    for phrase in range(ECHO_PHRASE, len(tokens) // 2 + 1):
        if tokens[-phrase:] != tokens[-2 * phrase : -phrase]:
            continue
        pairs = zip(frames[-2 * phrase : -phrase], frames[-phrase:], strict=True)
        if median(second - first for first, second in pairs) < ECHO_FRAMES:
            return phrase
    return 0


def _progress(frames: Sequence[int], phrase: int) -> float:
    """How many frames further the last `phrase` tokens listen than as many before them.

    In the middle, or the furthest of each, whichever is more: a comma attends to anything.
    """
    before, last = frames[-2 * phrase : -phrase], frames[-phrase:]
    middle = median(second - first for first, second in zip(before, last, strict=True))
    return max(middle, max(last) - max(before))


def repeats_itself(tokens: Sequence[int], alike: Sequence[int]) -> bool:
    """Whether some phrase of a text stands twice in a row, whatever its marks and capitals.

    alike: of every token of the vocabulary, what is the same number for tokens that write the same
    letters or digits, and negative for those that write none.
    """
    said = [alike[token] for token in tokens if alike[token] >= 0]
    return any(
        said[start : start + phrase] == said[start + phrase : start + 2 * phrase]
        for phrase in range(1, len(said) // 2 + 1)
        for start in range(len(said) - 2 * phrase + 1)
    )
