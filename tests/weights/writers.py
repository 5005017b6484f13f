"""Writers of the foreign formats that fsbot reads, straight from their descriptions."""

import json
import struct
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from fsbot.weights.architecture import Dimensions, tensor_shapes, upper_half
from fsbot.weights.checkpoint import Checkpoint

LARGE_V3_SHAPED = Dimensions(128, 12, 8, 2, 2, 51866, 10, 8, 2, 2)
"""Mel bands and vocabulary of large-v3, everything else as small as can be."""

TYPE_CODES = {
    torch.float32: 0,
    torch.int8: 1,
    torch.int16: 2,
    torch.int32: 3,
    torch.float16: 4,
    torch.bfloat16: 5,
}


def random_checkpoint(
    dims: Dimensions = LARGE_V3_SHAPED, dtype: torch.dtype = torch.float16, seed: int = 1
) -> Checkpoint:
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.randn(shape, generator=generator).to(dtype)
        for name, shape in tensor_shapes(dims).items()
    }
    return Checkpoint(dims, tensors, upper_half(dims))


def equal(one: Checkpoint, other: Checkpoint) -> bool:
    """Bit for bit, heads and dimensions included."""
    return (
        one.dims == other.dims
        and one.alignment_heads == other.alignment_heads
        and one.tensors.keys() == other.tensors.keys()
        and all(
            one.tensors[name].dtype == other.tensors[name].dtype
            and torch.equal(one.tensors[name], other.tensors[name])
            for name in one.tensors
        )
    )


def write_openai(path: Path, checkpoint: Checkpoint) -> None:
    torch.save({"dims": checkpoint.dims.as_dict(), "model_state_dict": checkpoint.tensors}, path)


def write_huggingface(folder: Path, checkpoint: Checkpoint, shards: int = 1) -> None:
    """As transformers' save_pretrained does, the tied output projection left out."""
    folder.mkdir(parents=True, exist_ok=True)
    dims = checkpoint.dims
    config = {
        "model_type": "whisper",
        "num_mel_bins": dims.n_mels,
        "max_source_positions": dims.n_audio_ctx,
        "d_model": dims.n_audio_state,
        "encoder_attention_heads": dims.n_audio_head,
        "encoder_layers": dims.n_audio_layer,
        "vocab_size": dims.n_vocab,
        "max_target_positions": dims.n_text_ctx,
        "decoder_attention_heads": dims.n_text_head,
        "decoder_layers": dims.n_text_layer,
    }
    (folder / "config.json").write_text(json.dumps(config))
    theirs = {_huggingface_name(name): tensor for name, tensor in checkpoint.tensors.items()}
    if shards == 1:
        save_file(theirs, folder / "model.safetensors", metadata={"format": "pt"})
        return
    weight_map = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = dict(list(theirs.items())[number::shards])
        save_file(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _huggingface_name(name: str) -> str:
    for ours, theirs in (
        ("token_embedding", "embed_tokens"),
        ("positional_embedding", "embed_positions.weight"),
        ("ln_post", "layer_norm"),
        ("decoder.ln.", "decoder.layer_norm."),
        ("blocks", "layers"),
        ("cross_attn_ln", "encoder_attn_layer_norm"),
        ("attn_ln", "self_attn_layer_norm"),
        ("mlp_ln", "final_layer_norm"),
        ("mlp.0", "fc1"),
        ("mlp.2", "fc2"),
        ("cross_attn.", "encoder_attn."),
        (".attn.", ".self_attn."),
        ("query", "q_proj"),
        ("key", "k_proj"),
        ("value", "v_proj"),
        ("attn.out", "attn.out_proj"),
    ):
        # cross_attn_ln must not be touched again by attn_ln's rule.
        if not (ours == "attn_ln" and "encoder_attn_layer_norm" in name):
            name = name.replace(ours, theirs)
    return f"model.{name}"


Variables = dict[str, Tensor]


def ctranslate2_variables(checkpoint: Checkpoint) -> Variables:
    """The variables of WhisperSpec, projections stacked."""
    ours = checkpoint.tensors
    dims = checkpoint.dims
    width = dims.n_text_state
    no_bias = torch.zeros(width, dtype=ours["decoder.ln.bias"].dtype)
    variables = {
        "encoder/position_encodings/encodings": ours["encoder.positional_embedding"],
        "decoder/position_encodings/encodings": ours["decoder.positional_embedding"],
        "decoder/embeddings/weight": ours["decoder.token_embedding.weight"],
        "encoder/num_heads": torch.tensor(dims.n_audio_head, dtype=torch.int16),
        "decoder/num_heads": torch.tensor(dims.n_text_head, dtype=torch.int16),
        "decoder/pre_norm": torch.tensor(1, dtype=torch.int8),
    }

    def linear(theirs: str, prefix: str, projections: tuple[str, ...]) -> None:
        names = [f"{prefix}.{each}" if each else prefix for each in projections]
        variables[f"{theirs}/weight"] = torch.cat([ours[f"{name}.weight"] for name in names])
        variables[f"{theirs}/bias"] = torch.cat(
            [ours.get(f"{name}.bias", no_bias) for name in names]
        )

    def norm(theirs: str, name: str) -> None:
        variables[f"{theirs}/gamma"] = ours[f"{name}.weight"]
        variables[f"{theirs}/beta"] = ours[f"{name}.bias"]

    linear("encoder/conv1", "encoder.conv1", ("",))
    linear("encoder/conv2", "encoder.conv2", ("",))
    norm("encoder/layer_norm", "encoder.ln_post")
    norm("decoder/layer_norm", "decoder.ln")
    for side, layers in (("encoder", dims.n_audio_layer), ("decoder", dims.n_text_layer)):
        for layer in range(layers):
            theirs, block = f"{side}/layer_{layer}", f"{side}.blocks.{layer}"
            attention = f"{theirs}/self_attention"
            norm(f"{attention}/layer_norm", f"{block}.attn_ln")
            linear(f"{attention}/linear_0", f"{block}.attn", ("query", "key", "value"))
            linear(f"{attention}/linear_1", f"{block}.attn", ("out",))
            if side == "decoder":
                attention = f"{theirs}/attention"
                norm(f"{attention}/layer_norm", f"{block}.cross_attn_ln")
                linear(f"{attention}/linear_0", f"{block}.cross_attn", ("query",))
                linear(f"{attention}/linear_1", f"{block}.cross_attn", ("key", "value"))
                linear(f"{attention}/linear_2", f"{block}.cross_attn", ("out",))
            norm(f"{theirs}/ffn/layer_norm", f"{block}.mlp_ln")
            linear(f"{theirs}/ffn/linear_0", f"{block}.mlp", ("0",))
            linear(f"{theirs}/ffn/linear_1", f"{block}.mlp", ("2",))
    return variables


def quantise(variables: Variables, dtype: torch.dtype) -> Variables:
    """Weights of two and three dimensions as CTranslate2's converter quantises them."""
    quantised = dict(variables)
    for name, value in variables.items():
        if not name.endswith("/weight"):
            continue
        if dtype == torch.int8:
            most = value.float().flatten(1).abs().amax(1)
            scale = 127 / torch.where(most == 0, 127.0, most)
            rows = scale.reshape(-1, *[1] * (value.dim() - 1))
        else:
            scale = 2**10 / value.float().abs().max()
            rows = scale
        quantised[name] = (value.float() * rows).round().to(dtype)
        quantised[f"{name}_scale"] = scale
    return quantised


def write_ctranslate2(
    folder: Path,
    variables: Variables,
    *,
    version: int = 6,
    spec: str = "WhisperSpec",
    aliases: bool = True,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    parts = [struct.pack("<I", version), string(spec), struct.pack("<I", 3)]
    parts.append(struct.pack("<I", len(variables)))
    for name, value in variables.items():
        data = value.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        parts += [string(name), struct.pack(f"<B{value.dim()}I", value.dim(), *value.shape)]
        parts += [struct.pack("<BI", TYPE_CODES[value.dtype], len(data)), data]
    parts.append(struct.pack("<I", aliases))
    if aliases:  # quantised or not, the scale has no alias of its own
        parts += [string("decoder/projection/weight"), string("decoder/embeddings/weight")]
    path = folder / "model.bin"
    path.write_bytes(b"".join(parts))
    return path
