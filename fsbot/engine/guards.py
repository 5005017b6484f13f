"""What stops Whisper from talking to itself: repeated phrases, runaway length, empty rooms."""

from collections.abc import Sequence

MAX_PHRASE = 24
"""Longest repeated phrase looked for, in tokens."""

REPETITIONS = 3
"""How often a phrase must stand in a row to be called a loop; people do say « oui oui »."""

TOKENS_PER_SECOND = 9.0
"""Above the fastest speech: French at 8 syllables a second needs about 7 tokens."""

SPARE_TOKENS = 8
"""Punctuation and rare names cost tokens that take no time to say."""


def token_budget(seconds: float) -> int:
    """Most tokens that `seconds` of audio can hold."""
    return SPARE_TOKENS + int(seconds * TOKENS_PER_SECOND)


def looping_tail(tokens: Sequence[int]) -> int:
    """How many tokens at the end repeat what stands before them, 0 if there is no loop.

    A loop is a phrase of up to 24 tokens standing three times in a row at the very end; what is
    counted is everything after its first occurrence.
    """
    for phrase in range(1, min(MAX_PHRASE, len(tokens) // REPETITIONS) + 1):
        tail = tokens[-phrase:]
        repeats = 1
        while tokens[-phrase * (repeats + 1) : -phrase * repeats] == tail:
            repeats += 1
        if repeats >= REPETITIONS:
            return phrase * (repeats - 1)
    return 0
