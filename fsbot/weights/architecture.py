"""What a Whisper checkpoint is made of: dimensions, tensor names and shapes, alignment heads.

Names and shapes are those of openai-whisper's `whisper.model.Whisper.state_dict()`. Everything
here is arithmetic on numbers from files that nobody has vetted, so it is bounded and allocates
nothing.
"""

import base64
import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import structlog

from fsbot.errors import UserError

Head = tuple[int, int]
"""A cross-attention head of the decoder: (layer, head), both from 0."""

# openai-whisper's tokenizer derives the languages from the size of the vocabulary, so no other
# size can be decoded: English only, multilingual, multilingual with Cantonese (large-v3, turbo).
VOCABULARIES = (51864, 51865, 51866)
MEL_BANDS = (80, 128)
MAX_LAYERS = 64
MAX_STATE = 4096
MAX_CONTEXT = 4096

log = structlog.get_logger("fsbot.weights")


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The ten numbers of `whisper.model.ModelDimensions`, checked.

    Raises UserError for numbers that no Whisper model can have.
    """

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int

    def __post_init__(self) -> None:
        for name, value in self.as_dict().items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"not a Whisper model: {name} is {value!r}")
        if self.n_mels not in MEL_BANDS:
            raise UserError(f"not a Whisper model: {self.n_mels} mel bands, not 80 or 128")
        if self.n_vocab not in VOCABULARIES:
            raise UserError(
                f"a vocabulary of {self.n_vocab} tokens",
                remedy="Only Whisper's own vocabularies (51864, 51865 or 51866 tokens) can be "
                "decoded: a fine-tune that added tokens cannot be used.",
            )
        if self.n_audio_state != self.n_text_state:
            raise UserError("not a Whisper model: encoder and decoder differ in width")
        if (
            max(self.n_audio_layer, self.n_text_layer) > MAX_LAYERS
            or self.n_audio_state > MAX_STATE
            or max(self.n_audio_ctx, self.n_text_ctx) > MAX_CONTEXT
        ):
            raise UserError(f"not a Whisper model: implausible dimensions {self.as_dict()}")
        if self.n_audio_state % self.n_audio_head or self.n_text_state % self.n_text_head:
            raise UserError("not a Whisper model: the width is no multiple of the heads")

    @classmethod
    def from_mapping(cls, values: object) -> "Dimensions":
        """From untrusted JSON or a checkpoint's `dims`; the keys must be exactly the ten."""
        names = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or set(values) != names:
            raise UserError("not a Whisper model: its dimensions are not openai-whisper's ten")
        return cls(**values)

    def as_dict(self) -> dict[str, int]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def tensor_shapes(dims: Dimensions) -> dict[str, tuple[int, ...]]:
    """Every tensor of a model of these dimensions: name → shape."""
    width = dims.n_audio_state
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.positional_embedding": (dims.n_audio_ctx, width),
        "encoder.conv1.weight": (width, dims.n_mels, 3),
        "encoder.conv1.bias": (width,),
        "encoder.conv2.weight": (width, width, 3),
        "encoder.conv2.bias": (width,),
        "decoder.token_embedding.weight": (dims.n_vocab, width),
        "decoder.positional_embedding": (dims.n_text_ctx, width),
    }
    for norm in ("encoder.ln_post", "decoder.ln"):
        shapes |= _norm(norm, width)
    for layer in range(dims.n_audio_layer):
        shapes |= _block(f"encoder.blocks.{layer}", width, ("attn",))
    for layer in range(dims.n_text_layer):
        shapes |= _block(f"decoder.blocks.{layer}", width, ("attn", "cross_attn"))
    return shapes


def _block(prefix: str, width: int, attentions: Iterable[str]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for attention in attentions:
        for projection in ("query", "key", "value", "out"):
            shapes[f"{prefix}.{attention}.{projection}.weight"] = (width, width)
            if projection != "key":
                shapes[f"{prefix}.{attention}.{projection}.bias"] = (width,)
        shapes |= _norm(f"{prefix}.{attention}_ln", width)
    shapes |= _norm(f"{prefix}.mlp_ln", width)
    shapes[f"{prefix}.mlp.0.weight"] = (4 * width, width)
    shapes[f"{prefix}.mlp.0.bias"] = (4 * width,)
    shapes[f"{prefix}.mlp.2.weight"] = (width, 4 * width)
    shapes[f"{prefix}.mlp.2.bias"] = (width,)
    return shapes


def _norm(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.weight": (width,), f"{prefix}.bias": (width,)}


# name → (mel bands, width, heads, encoder layers, decoder layers, vocabulary). large-v1 is left
# out: it has the dimensions of large-v2, which is what people fine-tune.
_KNOWN = {
    "tiny.en": (80, 384, 6, 4, 4, 51864),
    "tiny": (80, 384, 6, 4, 4, 51865),
    "base.en": (80, 512, 8, 6, 6, 51864),
    "base": (80, 512, 8, 6, 6, 51865),
    "small.en": (80, 768, 12, 12, 12, 51864),
    "small": (80, 768, 12, 12, 12, 51865),
    "medium.en": (80, 1024, 16, 24, 24, 51864),
    "medium": (80, 1024, 16, 24, 24, 51865),
    "large-v2": (80, 1280, 20, 32, 32, 51865),
    "large-v3": (128, 1280, 20, 32, 32, 51866),
    "large-v3-turbo": (128, 1280, 20, 32, 4, 51866),
}


_SAME_SHAPE = {"large-v1": "large-v2", "large": "large-v3", "turbo": "large-v3-turbo"}
"""Other names, and what has their dimensions."""


def same_shape_as(dims: Dimensions) -> str | None:
    """The openai-whisper model that has these dimensions, or None."""
    shape = _shape(dims)
    return next((name for name, known in _KNOWN.items() if known == shape), None)


def _shape(dims: Dimensions) -> tuple[int, ...] | None:
    """As in _KNOWN; None if encoder and decoder differ in heads."""
    if dims.n_audio_head != dims.n_text_head:
        return None
    return (
        dims.n_mels,
        dims.n_audio_state,
        dims.n_audio_head,
        dims.n_audio_layer,
        dims.n_text_layer,
        dims.n_vocab,
    )


def upper_half(dims: Dimensions) -> tuple[Head, ...]:
    """All heads of the upper half of the decoder: openai-whisper's guess for unknown models."""
    layers = range(dims.n_text_layer // 2, dims.n_text_layer)
    return tuple((layer, head) for layer in layers for head in range(dims.n_text_head))


def published_heads(name: str, dims: Dimensions) -> tuple[Head, ...] | None:
    """The alignment heads that openai-whisper publishes for `name`; None if it has none.

    None too if the model of that name has other dimensions than `dims`: a fine-tune's folder may be
    called anything.
    """
    from whisper import _ALIGNMENT_HEADS  # slow to import, and needed only when converting

    dump = _ALIGNMENT_HEADS.get(name)
    known = _KNOWN.get(_SAME_SHAPE.get(name, name))
    if dump is None or known != _shape(dims):
        return None
    mask = gzip.decompress(base64.b85decode(dump))
    return tuple(divmod(index, dims.n_text_head) for index, used in enumerate(mask) if used)


def checked_heads(pairs: object, dims: Dimensions) -> tuple[Head, ...]:
    """`alignment_heads` from an untrusted JSON file: [[layer, head], …], at least one.

    Raises UserError for anything else, and for heads that the model does not have.
    """
    heads = _pairs(pairs)
    for layer, head in heads:
        if not (layer < dims.n_text_layer and head < dims.n_text_head):
            raise UserError(f"alignment_heads names a head that the model lacks: {[layer, head]}")
    return heads


def heads_there(pairs: object, dims: Dimensions) -> tuple[Head, ...]:
    """Those of `checked_heads` that the model has; the upper half if it has none of them.

    A distilled model often names the heads of its teacher, whose decoder has more layers.
    Raises UserError for what are no pairs of numbers.
    """
    heads = _pairs(pairs)
    there = tuple(
        (layer, head)
        for layer, head in heads
        if layer < dims.n_text_layer and head < dims.n_text_head
    )
    if len(there) < len(heads):
        log.warning(
            "alignment heads left out that the model lacks: words may be timed less well",
            named=len(heads),
            left_out=len(heads) - len(there),
            decoder_layers=dims.n_text_layer,
            used="the rest" if there else "all heads of the upper half of the layers",
        )
    return there or upper_half(dims)


def _pairs(pairs: object) -> tuple[Head, ...]:
    heads: list[Head] = []
    for pair in pairs if isinstance(pairs, list) else ():
        match pair:
            case [int(layer), int(head)] if layer >= 0 and head >= 0:
                heads.append((layer, head))
            case _:
                raise UserError(f"alignment_heads names what is no head: {pair!r}")
    if not heads:
        raise UserError("alignment_heads is not a list of [layer, head] pairs")
    return tuple(heads)


def heads_for(name: str, dims: Dimensions, configured: object = None) -> tuple[Head, ...]:
    """Alignment heads: as the model's own files say, else as published, else the upper half."""
    if configured is not None:
        return heads_there(configured, dims)
    for candidate in (name, same_shape_as(dims)):
        if candidate and (published := published_heads(candidate, dims)):
            return published
    return upper_half(dims)
