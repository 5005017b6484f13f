"""Read the folder of a CTranslate2 Whisper model: model.bin (version 6) and config.json.

The format (CTranslate2, python/ctranslate2/specs/model_spec.py): u32 version; string spec name;
u32 revision; u32 count; per variable: string name, u8 rank, u32 dimensions, u8 type, u32 bytes,
data; then u32 aliases, pairs of strings. A string is u16 length (with its final NUL) and bytes.
All little-endian. Integer weights have a variable `…_scale` beside them: one per row of the output
for int8, one for all for int16; value = integer / scale.
"""

import math
import mmap
import re
import struct
from pathlib import Path

import torch
from torch import Tensor

from fsbot.errors import UserError
from fsbot.weights.architecture import Dimensions, heads_for
from fsbot.weights.checkpoint import Checkpoint
from fsbot.weights.jsonfile import read_json_object
from fsbot.weights.vocabulary import own_dimensions, own_tokens

VERSION = 6
TYPES = {
    0: torch.float32,
    1: torch.int8,
    2: torch.int16,
    3: torch.int32,
    4: torch.float16,
    5: torch.bfloat16,
}
SMALLEST_VARIABLE = 8  # bytes: empty name, no dimensions, type, size


def read_ctranslate2(folder: Path, name: str) -> Checkpoint:
    """The model in `folder`, dequantised. `name` only chooses alignment heads if it is a known one.

    Raises UserError naming the file if it is not a whole and sound Whisper model.
    """
    path = folder / "model.bin"
    config = read_json_object(folder / "config.json")
    try:
        variables = _read_variables(path)
        claimed = _dimensions(variables)
        dims = own_dimensions(claimed, folder)
        heads = heads_for(name, dims, config.get("alignment_heads"))
        tensors = own_tokens(_rename(variables, dims), claimed["n_vocab"], dims)
        return Checkpoint(dims, tensors, heads)
    except UserError as error:
        raise UserError(f"{path}: {error.message}", remedy=error.remedy) from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


class _Reader:
    """Walks over the bytes; every read is checked against what is there."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._offset = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._offset

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise UserError(
                f"cut short: {size} bytes wanted at {self._offset}, {self.left} are left",
                remedy="The file is incomplete or not CTranslate2's: copy it again.",
            )
        self._offset += size
        return self._data[self._offset - size : self._offset]

    def number(self, code: str) -> int:
        value: int = struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]
        return value

    def string(self) -> str:
        return self.take(self.number("H")).rstrip(b"\0").decode("utf-8", "replace")


def _read_variables(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # mmap refuses empty files
            raise UserError("the file is empty") from None
        with data:
            return _parse(_Reader(data))


def _parse(reader: _Reader) -> dict[str, Tensor]:
    version = reader.number("I")
    if version != VERSION:
        raise UserError(f"version {version} of CTranslate2's format, only {VERSION} is known")
    spec = reader.string()
    if spec != "WhisperSpec":
        raise UserError(f"a model of the kind {spec[:40]!r}, not WhisperSpec")
    reader.number("I")  # the revision of WhisperSpec: what it changed does not concern tensors
    count = reader.number("I")
    if count * SMALLEST_VARIABLE > reader.left:
        raise UserError(f"cut short: {count} variables claimed, {reader.left} bytes left")
    variables: dict[str, Tensor] = {}
    for _ in range(count):
        name, value = _read_variable(reader)
        if name in variables:
            raise UserError(f"variable {name} occurs twice")
        variables[name] = value
    for _ in range(reader.number("I")):
        alias, target = reader.string(), reader.string()
        if target not in variables:
            raise UserError(f"{alias} is an alias of {target}, which is missing")
        variables[alias] = variables[target]
        if f"{target}_scale" in variables:  # aliases are made before weights are quantised
            variables[f"{alias}_scale"] = variables[f"{target}_scale"]
    if reader.left:
        raise UserError(f"{reader.left} bytes too many at the end")
    return variables


def _read_variable(reader: _Reader) -> tuple[str, Tensor]:
    name = reader.string()
    shape = [reader.number("I") for _ in range(reader.number("B"))]
    code = reader.number("B")
    size = reader.number("I")
    if code not in TYPES:
        raise UserError(f"variable {name} is of the unknown type {code}")
    dtype = TYPES[code]
    if math.prod(shape) * dtype.itemsize != size or size == 0:
        raise UserError(f"variable {name}: {size} bytes do not fit shape {shape} of {dtype}")
    # A copy: torch wants memory that it may write to, and the mapping goes away.
    return name, torch.frombuffer(bytearray(reader.take(size)), dtype=dtype).reshape(shape)


def _get(variables: dict[str, Tensor], name: str) -> Tensor:
    try:
        return variables[name]
    except KeyError:
        raise UserError(f"variable {name} is missing") from None


def _layers(variables: dict[str, Tensor], side: str) -> int:
    pattern = re.compile(rf"{side}/layer_(\d+)/")
    return len({found[1] for name in variables if (found := pattern.match(name))})


def _dimensions(variables: dict[str, Tensor]) -> dict[str, int]:
    """The ten numbers of `Dimensions`, unchecked."""

    def shape(name: str, rank: int) -> torch.Size:
        value = _get(variables, name)
        if value.dim() != rank:
            raise UserError(f"variable {name} has {value.dim()} dimensions, expected {rank}")
        return value.shape

    def heads(side: str) -> int:
        value = _get(variables, f"{side}/num_heads")
        if value.numel() != 1:
            raise UserError(f"variable {side}/num_heads is not one number")
        return int(value)

    audio = shape("encoder/position_encodings/encodings", 2)
    text = shape("decoder/position_encodings/encodings", 2)
    return {
        "n_mels": shape("encoder/conv1/weight", 3)[1],
        "n_audio_ctx": audio[0],
        "n_audio_state": audio[1],
        "n_audio_head": heads("encoder"),
        "n_audio_layer": _layers(variables, "encoder"),
        "n_vocab": shape("decoder/embeddings/weight", 2)[0],
        "n_text_ctx": text[0],
        "n_text_state": text[1],
        "n_text_head": heads("decoder"),
        "n_text_layer": _layers(variables, "decoder"),
    }


def _rename(variables: dict[str, Tensor], dims: Dimensions) -> dict[str, Tensor]:
    """CTranslate2's variables as openai-whisper's tensors.

    The output projection must be the token embedding, as it is in every Whisper model.
    """

    def weight(name: str) -> Tensor:
        value = _get(variables, name)
        if value.dtype.is_floating_point:
            return value
        scale = _get(variables, f"{name}_scale").float()
        if scale.numel() not in (1, len(value)):
            raise UserError(f"variable {name}: {scale.numel()} scales for {len(value)} rows")
        return value.float() / scale.reshape(-1, *[1] * (value.dim() - 1))

    def parts(name: str, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Split a stack of projections; its rows must be a multiple of theirs."""
        stacked = weight(name)
        if len(stacked) != len(names) * dims.n_text_state:
            raise UserError(f"variable {name} has {len(stacked)} rows, expected {len(names)} parts")
        return dict(zip(names, stacked.chunk(len(names)), strict=True))

    def linear(ours: str, theirs: str) -> dict[str, Tensor]:
        return {
            f"{ours}.weight": weight(f"{theirs}/weight"),
            f"{ours}.bias": weight(f"{theirs}/bias"),
        }

    def norm(ours: str, theirs: str) -> dict[str, Tensor]:
        return {
            f"{ours}.weight": weight(f"{theirs}/gamma"),
            f"{ours}.bias": weight(f"{theirs}/beta"),
        }

    def attention(ours: str, theirs: str, stacks: tuple[tuple[str, ...], ...]) -> dict[str, Tensor]:
        tensors = norm(f"{ours}_ln", f"{theirs}/layer_norm")
        for number, stack in enumerate(stacks):
            for kind in ("weight", "bias"):
                for projection, part in parts(f"{theirs}/linear_{number}/{kind}", stack).items():
                    # Whisper's keys have no bias; CTranslate2 writes zeros there.
                    if (projection, kind) != ("key", "bias"):
                        tensors[f"{ours}.{projection}.{kind}"] = part.contiguous()
        return tensors

    embedding = weight("decoder/embeddings/weight")
    if "decoder/projection/weight" in variables and not torch.equal(
        weight("decoder/projection/weight"), embedding
    ):
        raise UserError("the output projection is not the token embedding: not Whisper")
    tensors = {
        "decoder.token_embedding.weight": embedding,
        "encoder.positional_embedding": weight("encoder/position_encodings/encodings"),
        "decoder.positional_embedding": weight("decoder/position_encodings/encodings"),
        **linear("encoder.conv1", "encoder/conv1"),
        **linear("encoder.conv2", "encoder/conv2"),
        **norm("encoder.ln_post", "encoder/layer_norm"),
        **norm("decoder.ln", "decoder/layer_norm"),
    }
    self_stacks = (("query", "key", "value"), ("out",))
    cross_stacks = (("query",), ("key", "value"), ("out",))
    for side, layers in (("encoder", dims.n_audio_layer), ("decoder", dims.n_text_layer)):
        for layer in range(layers):
            ours, theirs = f"{side}.blocks.{layer}", f"{side}/layer_{layer}"
            tensors |= attention(f"{ours}.attn", f"{theirs}/self_attention", self_stacks)
            if side == "decoder":
                tensors |= attention(f"{ours}.cross_attn", f"{theirs}/attention", cross_stacks)
            tensors |= norm(f"{ours}.mlp_ln", f"{theirs}/ffn/layer_norm")
            tensors |= linear(f"{ours}.mlp.0", f"{theirs}/ffn/linear_0")
            tensors |= linear(f"{ours}.mlp.2", f"{theirs}/ffn/linear_1")
    return tensors
