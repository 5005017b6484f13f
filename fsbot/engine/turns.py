"""Has the speaker finished? What the text of a pause tells, beside the length of the silence.

Fitted to the 109 pauses (0.2 s and longer) in 14 recorded calls: a text that the model is unsure of
is, more often than others, one that has been broken off. How much that buys is in benchmarks.md.
"""

import math

from fsbot.engine.final import FinalText

SURE_LOG_PROBABILITY = -0.5
"""Mean log-probability of the tokens from which a text can sound finished."""

_SENTENCE_MARKS = (".", "?", "!", "。", "？", "！")
_CLOSING_MARKS = " \"'»”’)」』"
_ELLIPSIS = ("...", "…")

_CONSTANT, _MARKED, _PER_NAT, _PER_SECOND = 1.88, 0.3, 2.76, 5.76
"""Weights of a logistic regression on the marks, the mean log-probability and the silence. Leaving
out one call at a time, it ranks a pause that ends a turn above one that does not in 89 of 100
pairs."""

_LEAST_LOG_PROBABILITY = -2.0
"""Surer than that of knowing nothing it need not be."""


def sounds_finished(text: FinalText) -> bool:
    """Whether a short silence is enough: the text ends like a sentence, and the model is sure."""
    return _ends_a_sentence(text) and text.mean_log_prob > SURE_LOG_PROBABILITY


def end_probability(text: FinalText | None, silence: float) -> float:
    """Probability, 0 to 1, that a speaker who has been silent for so many seconds has finished.

    text: what the speaker has said until then, None if it is not known yet.
    """
    sureness = _LEAST_LOG_PROBABILITY
    if text is not None and text.words:
        sureness = max(sureness, text.mean_log_prob)
    marked = text is not None and _ends_a_sentence(text)
    logit = _CONSTANT + _MARKED * marked + _PER_NAT * sureness + _PER_SECOND * silence
    return 1 / (1 + math.exp(-logit))


def _ends_a_sentence(text: FinalText) -> bool:
    if not text.words:
        return False
    end = text.words[-1].text.rstrip(_CLOSING_MARKS)
    return end.endswith(_SENTENCE_MARKS) and not end.endswith(_ELLIPSIS)
