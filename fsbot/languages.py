"""The languages that Whisper knows, by code and by name."""

import ast
import difflib
import importlib.util
from functools import cache
from pathlib import Path

from fsbot.errors import UserError


@cache
def languages() -> dict[str, str]:
    """Every language name and code that Whisper knows, in lower case, and its code.

    Read out of openai-whisper's tokenizer.py as text: importing it would import torch (2 s).
    """
    spec = importlib.util.find_spec("whisper")
    assert spec is not None
    assert spec.submodule_search_locations
    source = Path(spec.submodule_search_locations[0], "tokenizer.py").read_text(encoding="utf-8")
    tables = {
        node.targets[0].id: node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    names: dict[str, str] = ast.literal_eval(tables["LANGUAGES"])
    aliases = tables["TO_LANGUAGE_CODE"]
    assert isinstance(aliases, ast.Dict)
    by_name = {name: code for code, name in names.items()}
    for key, value in zip(aliases.keys, aliases.values, strict=True):
        if key is not None:  # None: the table's `**{…}`, the same names as in LANGUAGES
            by_name[ast.literal_eval(key)] = ast.literal_eval(value)
    return by_name | {code: code for code in names}


ENGLISH_TOKENS, CANTONESE_TOKENS = 51864, 51866
"""Vocabularies of models that know English only, and that know Cantonese as well."""


def beyond(tokens: int, language: str) -> tuple[str, str] | None:
    """Why a model with so many tokens can't be used for a language, and what to do; None if it can.

    language: Whisper's code, or "auto".
    """
    if tokens == ENGLISH_TOKENS and language != "en":
        return "knows English only", "a multilingual one (one without .en)"
    if tokens < CANTONESE_TOKENS and language == "yue":
        return "does not know Cantonese (yue)", "large-v3 or turbo"
    return None


def wrong_language(model: str, language: str, tokens: int) -> UserError | None:
    """What is to be said of engine.model and engine.language together, if they don't fit.

    tokens: the size of the model's vocabulary.
    """
    reason = beyond(tokens, language)
    if reason is None:
        return None
    other = "zh" if language == "yue" and tokens != ENGLISH_TOKENS else "en"
    return UserError(
        f"engine.language is {language}, and {model} {reason[0]}",
        f"Set engine.model to {reason[1]}, or engine.language to {other}.",
    )


def known_language(value: str) -> str:
    """Whisper's code for a language's code or name, or "auto". Raises ValueError with a hint."""
    wanted = value.strip().lower()
    if wanted == "auto":
        return wanted
    known = languages()
    if wanted in known:
        return known[wanted]
    base = wanted.replace("_", "-").split("-")[0]
    near = [base] if base in known else difflib.get_close_matches(wanted, known, n=1)
    hint = f": did you mean {known[near[0]]!r}?" if near else ""
    raise ValueError(f"is no language that Whisper knows (its codes and names, or auto){hint}")
