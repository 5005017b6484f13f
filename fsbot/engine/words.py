"""From tokens to words: grouping, punctuation, times."""

import codecs
import string
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from whisper.tokenizer import Tokenizer

from fsbot.engine.alignatt import align_monotonically
from fsbot.engine.decoding import Decoded
from fsbot.engine.events import UNSPACED_LANGUAGES, Word
from fsbot.engine.model import FRAME_SECONDS

LEAST_WORD_SECONDS = 0.005
"""No word is shorter, however little time there is for it: times are written in milliseconds."""

LEAST_ECHO = 4
"""Words at the end of a text that must share a moment to be called an echo."""

SPOKEN_MARKS = ("+", " +", "@", " @")
"""Said in telephone numbers and addresses; openai-whisper counts them as marks of non-speech."""

_CLOSING = frozenset(string.punctuation + "–—…›»”’、。，！？：；）】」』") - frozenset("#$%&@(<[{")
_SAID_MARKS = frozenset("%&+@#=€$£°")
"""Marks that stand for a word."""

_OPENING = frozenset("«‹“‘„¿¡([{（【「『")


def text_language(tokenizer: Tokenizer) -> str:
    """The language that is written, which a translation to English changes."""
    translating = tokenizer.task == "translate"
    return "en" if translating else tokenizer.language or "en"


def group_tokens(tokenizer: Tokenizer, tokens: list[int]) -> list[list[int]]:
    """Group tokens into words; marks belong to the word that they close or open.

    Tokens at the end that are not yet whole UTF-8 characters are in no group.
    """
    groups: list[list[int]] = []
    unspaced = text_language(tokenizer) in UNSPACED_LANGUAGES
    opened = False
    for text, run in _whole_characters(tokenizer, tokens):
        mark = text.strip()
        closing = all(character in _CLOSING for character in mark)
        if groups and (opened or closing or not (unspaced or text.startswith(" "))):
            groups[-1] += run
        else:
            groups.append(run)
        opened = bool(mark) and all(character in _OPENING for character in mark)
    return groups


def _whole_characters(tokenizer: Tokenizer, tokens: list[int]) -> Iterator[tuple[str, list[int]]]:
    """The shortest runs of tokens that are whole characters, each with its text.

    Not openai-whisper's split_tokens_on_unicode: an emoji cut within its last bytes is an
    IndexError there.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text, run = "", []
    for token in tokens:
        text += decoder.decode(tokenizer.encoding.decode_single_token_bytes(token))
        run.append(token)
        if not decoder.getstate()[0]:
            yield text, run
            text, run = "", []


def timed_words(tokenizer: Tokenizer, decoded: Decoded, window_start: float) -> list[Word]:
    """Words of a decoded window, with times from the attention of the alignment heads.

    window_start: seconds of the stream at which the window's audio begins. None if there is nothing
    but punctuation: that is how the model writes a noise.
    """
    if not is_said(tokenizer.decode(decoded.tokens)):
        return []
    starts, end = align_monotonically(decoded.attention)
    boundaries = [*starts, end]
    words = []
    position = 0
    for group in group_tokens(tokenizer, decoded.tokens):
        following = position + len(group)
        words.append(
            Word(
                text=tokenizer.decode(group).strip(),
                start=window_start + boundaries[position] * FRAME_SECONDS,
                end=window_start + boundaries[following] * FRAME_SECONDS,
                probability=float(np.exp(decoded.log_probs[position:following]).mean()),
                tokens=tuple(group),
            )
        )
        position = following
    return words


def is_said(text: str) -> bool:
    """Whether there is anything in a text that a voice says: a letter, a digit, or a mark that is
    read as a word."""
    return any(
        unicodedata.category(character)[0] in "LN" or character in _SAID_MARKS for character in text
    )


def words_with_time(words: Sequence[Word]) -> int:
    """How many words there are before an end that takes no time.

    Four words or more of less than a frame each are no speech: the model has said the sentence
    again, in words a little different, and there was no sound left to lay them on.
    """
    for first in range(len(words) - LEAST_ECHO + 1):
        echo = words[first:]
        if echo[-1].end - echo[0].start < len(echo) * FRAME_SECONDS:
            return first
    return len(words)


def in_turn(words: Sequence[Word], earliest: float, latest: float) -> list[Word]:
    """The words one after the other from second `earliest` on, none without time of its own.

    Attention gives several tokens the same frame, so words may begin and end at one moment. Each
    gets a frame of its neighbours' time; less, if there is not so much before `latest`. Only where
    there are not even LEAST_WORD_SECONDS for each does the last one end later.
    """
    if not words:
        return []
    latest = max(latest, words[-1].end)
    least = min(FRAME_SECONDS, max(LEAST_WORD_SECONDS, (latest - earliest) / len(words)))
    times = []
    free = earliest
    for word in words:
        start = max(word.start, free)
        free = max(word.end, start + least)
        times.append((start, free))
    limit = max(latest, earliest + len(words) * least)
    for number in reversed(range(len(times))):
        start, end = times[number]
        end = min(end, limit)
        limit = max(earliest, min(start, end - least))  # rounding may go below
        times[number] = (limit, end)
    return [
        replace(word, start=start, end=end) for word, (start, end) in zip(words, times, strict=True)
    ]


def words_beyond(said: Sequence[Word], whole: Sequence[Word]) -> list[Word]:
    """What `whole` has behind the part of it that `said` is.

    The part is the beginning of `whole` that is fewest word edits away from `said`; of several the
    one that ends nearest to it in time.
    """
    if not said:
        return list(whole)
    edits = list(range(len(whole) + 1))
    for count, word in enumerate(map(plain, said), start=1):
        diagonal, edits[0] = edits[0], count
        for position, other in enumerate(map(plain, whole), start=1):
            substituted = diagonal + (word != other)
            diagonal = edits[position]
            edits[position] = min(substituted, diagonal + 1, edits[position - 1] + 1)
    ends = [whole[0].start if whole else 0.0, *(word.end for word in whole)]
    part = min(range(len(edits)), key=lambda n: (edits[n], abs(ends[n] - said[-1].end)))
    return list(whole[part:])


def plain(word: Word) -> str:
    """The word in lower case, without the marks around it: what makes two words the same."""
    return word.text.casefold().strip(string.punctuation + "«»…“”’ ")


def unspoken_tokens(tokenizer: Tokenizer) -> list[int]:
    """Tokens never chosen as text: special ones, timestamps, and marks of non-speech."""
    special = [token for token in tokenizer.special_tokens.values() if token != tokenizer.eot]
    marks = set(tokenizer.non_speech_tokens) - {
        token for mark in SPOKEN_MARKS for token in tokenizer.encode(mark)
    }
    return sorted({*marks, *special})


def continuation_tokens(tokenizer: Tokenizer) -> list[int]:
    """Tokens that would go on with the word before them instead of starting a new one."""
    if text_language(tokenizer) in UNSPACED_LANGUAGES:
        return []
    encoding = tokenizer.encoding
    return [
        token
        for token in range(tokenizer.eot)
        if not encoding.decode_single_token_bytes(token).startswith(b" ")
    ]


def token_mask(tokens: list[int], vocabulary: int) -> torch.Tensor:
    """A boolean mask over the vocabulary, true at `tokens`."""
    mask = torch.zeros(vocabulary, dtype=torch.bool)
    mask[tokens] = True
    return mask


def written_alike(tokenizer: Tokenizer, vocabulary: int) -> list[int]:
    """What every token writes: the first token with the same letters and digits, capitals or not;
    -1 for tokens that write none."""
    first: dict[str, int] = {}
    alike = [-1] * vocabulary
    for token in range(tokenizer.eot):
        text = tokenizer.encoding.decode_single_token_bytes(token).decode("utf-8", "ignore")
        if letters := "".join(filter(str.isalnum, text)).casefold():
            alike[token] = first.setdefault(letters, token)
    return alike
