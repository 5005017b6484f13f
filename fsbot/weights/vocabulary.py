"""Which of Whisper's three vocabularies a model was trained with.

The number of tokens alone does not tell. Fine-tunes add tokens behind Whisper's own, or round the
number up for the sake of speed: 51866 tokens are large-v3's vocabulary, or the older one of 51865
and one token more. Between the two, every special token behind the languages differs by one.
"""

from collections.abc import Mapping
from pathlib import Path

import structlog
from torch import Tensor

from fsbot.errors import UserError
from fsbot.weights.architecture import Dimensions
from fsbot.weights.jsonfile import read_json_object

ENGLISH, MULTILINGUAL, WITH_CANTONESE = 51864, 51865, 51866

EMBEDDING = "decoder.token_embedding.weight"

_BY_NO_TIMESTAMPS = {50362: ENGLISH, 50363: MULTILINGUAL, 50364: WITH_CANTONESE}
"""The place of <|notimestamps|>, behind all languages."""

_BY_LAST_LANGUAGE = {50356: ENGLISH, 50357: MULTILINGUAL, 50358: WITH_CANTONESE}
_BY_START = {50257: ENGLISH}  # the others begin at 50258, both

log = structlog.get_logger("fsbot.weights")


def own_dimensions(dims: object, folder: Path | None = None) -> Dimensions:
    """A model's dimensions, with the vocabulary of Whisper's that its own begins with.

    dims: as in `Dimensions.from_mapping`, unvetted. folder: of the model's other files, whose
    special tokens tell the vocabulary. Where they don't, the number of tokens does, and the mel
    bands.
    Raises UserError if there are fewer tokens than these files name, or the dimensions can't be.
    """
    tokens = dims.get("n_vocab") if isinstance(dims, Mapping) else None
    if not isinstance(dims, Mapping) or not isinstance(tokens, int) or tokens <= ENGLISH:
        return Dimensions.from_mapping(dims)
    own = (_told(folder) if folder else None) or _likely(tokens, dims.get("n_mels"))
    if own > tokens:
        raise UserError(
            f"it has {tokens} tokens, and its files name special tokens of a vocabulary of {own}",
            remedy="Copy the model again, with the tokenizer that it was trained with.",
        )
    return Dimensions.from_mapping({**dims, "n_vocab": own})


def own_tokens(
    tensors: Mapping[str, Tensor], tokens: object, dims: Dimensions
) -> dict[str, Tensor]:
    """The tensors, the token embedding cut to `dims.n_vocab` with a warning: fsbot never writes
    the tokens behind. tokens: how many the model says it has, which must be true."""
    kept = dict(tensors)
    embedding = kept.get(EMBEDDING)
    if not isinstance(embedding, Tensor) or tokens == dims.n_vocab:
        return kept
    if embedding.shape[:1] != (tokens,):
        shape = tuple(embedding.shape)
        raise UserError(f"it claims {tokens} tokens, and its token embedding has shape {shape}")
    log.warning(
        "tokens left out that are not Whisper's own",
        left_out=len(embedding) - dims.n_vocab,
        kept=dims.n_vocab,
    )
    kept[EMBEDDING] = embedding[: dims.n_vocab].clone()
    return kept


def _likely(tokens: int, mel_bands: object) -> int:
    """Only large-v3 and what was made of it hear 128 mel bands, and only they know Cantonese."""
    return WITH_CANTONESE if tokens > MULTILINGUAL and mel_bands == 128 else MULTILINGUAL


def _told(folder: Path) -> int | None:
    """What the files beside the weights say."""
    generation = read_json_object(folder / "generation_config.json")
    config = read_json_object(folder / "config.json")
    added = read_json_object(folder / "added_tokens.json")
    for told, vocabularies in (
        (generation.get("no_timestamps_token_id"), _BY_NO_TIMESTAMPS),
        (added.get("<|notimestamps|>"), _BY_NO_TIMESTAMPS),
        (_last(generation.get("lang_to_id")), _BY_LAST_LANGUAGE),
        (_last(config.get("lang_ids")), _BY_LAST_LANGUAGE),  # CTranslate2's
        (config.get("decoder_start_token_id"), _BY_START),
    ):
        if isinstance(told, int) and told in vocabularies:
            return vocabularies[told]
    return None


def _last(tokens: object) -> int | None:
    """The highest of the tokens of languages, as a list or by language."""
    values = list(tokens.values()) if isinstance(tokens, dict) else tokens
    if not isinstance(values, list):
        return None
    return max((value for value in values if isinstance(value, int)), default=None)
