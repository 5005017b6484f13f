"""How one side is read: model, language, and what stands before its words."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from whisper.tokenizer import Tokenizer, get_tokenizer

from fsbot.engine import guards
from fsbot.engine.decoding import DecodingTask
from fsbot.engine.events import blank
from fsbot.engine.language import watched_tokens
from fsbot.engine.model import FRAME_SECONDS, SpeechModel
from fsbot.engine.options import EngineOptions
from fsbot.engine.scripts import foreign_tokens, scripts_in, scripts_of_languages
from fsbot.engine.words import (
    continuation_tokens,
    text_language,
    token_mask,
    unspoken_tokens,
    written_alike,
)

PROMPT_SHARE = 0.5
"""Share of the decoder's text context that prompt and context may take, as in Whisper."""

LEAST_ITEM = 3
"""Letters of an item of a prompt that need not be said twice; « M. » may be."""


@dataclass(frozen=True, slots=True)
class Voice:
    """How to read one side: model, options, the language it is written in, and what stands before
    its words."""

    model: SpeechModel
    options: EngineOptions
    tokenizer: Tokenizer
    language: str
    static_prompt: tuple[int, ...]
    never: torch.Tensor
    never_first: torch.Tensor
    watched: tuple[int, ...]
    alike: Sequence[int]

    @staticmethod
    def of(
        model: SpeechModel,
        options: EngineOptions,
        language: str,
        task: str = "transcribe",
        static_prompt: str = "",
        beside: Collection[str] = (),
    ) -> "Voice":
        """`language` is one of Whisper's codes; `task` transcribe or translate; beside: languages
        that may be spoken as well, whose scripts are written, too."""
        written = ("en",) if task == "translate" else (language, *beside)
        tokenizer, never, never_first, alike = _reading(
            model.is_multilingual,
            model.num_languages,
            language,
            task,
            model.dims.n_vocab,
            scripts_of_languages(written) | scripts_in(static_prompt),
        )
        return Voice(
            model,
            options,
            tokenizer,
            text_language(tokenizer),
            prompt_tokens(model, said_once(static_prompt)),
            never.to(model.device),
            never_first.to(model.device),
            watched_tokens(tokenizer),
            alike,
        )

    def prompt_says(self, words: Sequence[str]) -> bool:
        """Whether all the words stand in the static prompt, and one at least as a name."""
        if not any(map(self.expects, words)):
            return False
        prompt = self.tokenizer.decode(list(self.static_prompt)).casefold()
        if not blank(self.language):
            return all(_bare(word).casefold() in prompt for word in words)
        return {piece.casefold() for piece in _pieces(" ".join(words))} <= set(_pieces(prompt))

    def expects(self, word: str) -> bool:
        """Whether the word, or a part of it, stands in the static prompt, and is none of those that
        stand in any text: it has a capital or a digit there, or four letters."""
        if not self.static_prompt:
            return False
        prompt = self.tokenizer.decode(list(self.static_prompt))
        if not blank(self.language):
            return _bare(word).casefold() in prompt.casefold()
        said = {piece.casefold() for piece in _pieces(word)}
        return any(
            each.casefold() in said and (len(each) >= 4 or each != each.lower() or each.isdigit())
            for each in _pieces(prompt)
        )

    def room(self, seconds: float) -> int:
        """Tokens of earlier text that leave room for that of so many seconds in a window."""
        standing = len(self.static_prompt) + len(self.tokenizer.sot_sequence) + 2
        context: int = self.model.dims.n_text_ctx
        return context - standing - guards.token_budget(seconds, self.language)

    def task(
        self,
        context: Sequence[int],
        prefix: Sequence[int],
        frames: int,
        rewind_frames: int,
        draft: Sequence[int] = (),
    ) -> DecodingTask:
        """A window of `frames` real audio frames whose text begins with the tokens `prefix`.

        rewind_frames: how far attention may jump back; draft: tokens that probably follow.
        """
        limit = int(self.model.dims.n_text_ctx * PROMPT_SHARE) - 1
        room = limit - len(self.static_prompt)
        before = (*self.static_prompt, *(context[-room:] if room > 0 else ()))
        prompt = self.tokenizer.sot_sequence_including_notimestamps
        if before:
            prompt = (self.tokenizer.sot_prev, *before, *prompt)
        budget = guards.token_budget(frames * FRAME_SECONDS, self.language) - len(prefix)
        space = self.model.dims.n_text_ctx - len(prompt) - len(prefix)
        return DecodingTask(
            prompt=prompt,
            prefix=tuple(prefix),
            draft=tuple(draft),
            audio_frames=frames,
            max_tokens=max(1, min(budget, space)),
            start_token=self.tokenizer.sot,
            end_token=self.tokenizer.eot,
            watched=self.watched,
            never=self.never,
            never_first=self.never_first if prefix else self.never,
            beams=self.options.beams,
            rewind_frames=rewind_frames,
            alike=self.alike,
        )


def said_once(prompt: str) -> str:
    """A prompt without the items and words that it has said before: of one that repeats itself, the
    model learns to repeat it, whatever it hears."""
    items, seen = [], set[str]()
    for item in re.split(r"(?<=[,;.!?\n])\s+", prompt.strip()):
        once = re.sub(r"\b([\w'’-]{3,})(?:\s+\1\b)+", r"\1", item, flags=re.IGNORECASE)
        what = _bare(once).casefold()
        if len(what) < LEAST_ITEM or what not in seen:
            items.append(once)
        seen.add(what)
    return " ".join(items)


def _pieces(text: str) -> list[str]:
    """Words without marks around them, parted at apostrophes and hyphens, too."""
    return [piece for each in re.split(r"[\s'’-]+", text) if (piece := _bare(each))]


def _bare(word: str) -> str:
    return re.sub(r"^\W+|\W+$", "", word)


def prompt_tokens(model: SpeechModel, text: str) -> tuple[int, ...]:
    """Tokens of a prompt, its end if there is no room for all of it."""
    if not text.strip():
        return ()
    tokenizer = get_tokenizer(model.is_multilingual, num_languages=model.num_languages)
    tokens = tokenizer.encode(f" {text.strip()}", disallowed_special=())
    return tuple(tokens[-(int(model.dims.n_text_ctx * PROMPT_SHARE) - 1) :])


@lru_cache(maxsize=64)
def _reading(
    multilingual: bool,
    languages: int,
    language: str,
    task: str,
    vocabulary: int,
    scripts: frozenset[str],
) -> tuple[Tokenizer, torch.Tensor, torch.Tensor, Sequence[int]]:
    """The tokenizer, masks of the tokens never chosen, and never chosen as the first, and what
    every token writes.

    scripts: what is written in others is never chosen.
    """
    tokenizer = get_tokenizer(multilingual, num_languages=languages, language=language, task=task)
    barred = unspoken_tokens(tokenizer) + foreign_tokens(tokenizer, scripts)
    never = token_mask(barred, vocabulary)
    never_first = never | token_mask(continuation_tokens(tokenizer), vocabulary)
    return tokenizer, never, never_first, written_alike(tokenizer, vocabulary)
