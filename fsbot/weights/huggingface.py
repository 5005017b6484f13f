"""Read the folder of a Hugging Face Whisper model: safetensors, whole or sharded, and config.json.

Names as in transformers' models/whisper/modeling_whisper.py. pytorch_model.bin is never read: it
is a pickle, and nothing vouches for what it would run.
"""

import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fsbot.errors import UserError
from fsbot.weights.architecture import heads_for
from fsbot.weights.checkpoint import Checkpoint
from fsbot.weights.jsonfile import read_json_object
from fsbot.weights.vocabulary import own_dimensions, own_tokens

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

_DIMENSIONS = {
    "n_mels": "num_mel_bins",
    "n_audio_ctx": "max_source_positions",
    "n_audio_state": "d_model",
    "n_audio_head": "encoder_attention_heads",
    "n_audio_layer": "encoder_layers",
    "n_vocab": "vocab_size",
    "n_text_ctx": "max_target_positions",
    "n_text_state": "d_model",
    "n_text_head": "decoder_attention_heads",
    "n_text_layer": "decoder_layers",
}

_OUTSIDE_BLOCKS = {
    "encoder.embed_positions.weight": "encoder.positional_embedding",
    "decoder.embed_positions.weight": "decoder.positional_embedding",
    "decoder.embed_tokens.weight": "decoder.token_embedding.weight",
    "encoder.layer_norm.weight": "encoder.ln_post.weight",
    "encoder.layer_norm.bias": "encoder.ln_post.bias",
    "decoder.layer_norm.weight": "decoder.ln.weight",
    "decoder.layer_norm.bias": "decoder.ln.bias",
}
_IN_BLOCKS = {
    "self_attn.q_proj": "attn.query",
    "self_attn.k_proj": "attn.key",
    "self_attn.v_proj": "attn.value",
    "self_attn.out_proj": "attn.out",
    "self_attn_layer_norm": "attn_ln",
    "encoder_attn.q_proj": "cross_attn.query",
    "encoder_attn.k_proj": "cross_attn.key",
    "encoder_attn.v_proj": "cross_attn.value",
    "encoder_attn.out_proj": "cross_attn.out",
    "encoder_attn_layer_norm": "cross_attn_ln",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
    "final_layer_norm": "mlp_ln",
}
_BLOCK = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(.+)\.(weight|bias)")


def read_huggingface(folder: Path, name: str) -> Checkpoint:
    """The model in `folder`. `name` only chooses alignment heads if it is a known one.

    Raises UserError naming the folder or file if it is not a whole and sound Whisper model.
    """
    config = read_json_object(folder / "config.json")
    if config.get("model_type") != "whisper":
        raise UserError(f"{folder / 'config.json'} does not say model_type whisper")
    try:
        missing = [theirs for theirs in _DIMENSIONS.values() if theirs not in config]
        if missing:
            raise UserError(f"config.json lacks {missing[0]}")
        claimed = {ours: config[key] for ours, key in _DIMENSIONS.items()}
        dims = own_dimensions(claimed, folder)
        tensors = own_tokens(_read_tensors(folder), claimed["n_vocab"], dims)
        generation = read_json_object(folder / "generation_config.json")
        configured = generation.get("alignment_heads") or config.get("alignment_heads")
        return Checkpoint(dims, tensors, heads_for(name, dims, configured))
    except UserError as error:
        raise UserError(f"{folder}: {error.message}", remedy=error.remedy) from None


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for shard in _shards(folder):
        try:
            with safe_open(folder / shard, framework="pt") as file:
                for theirs in file.keys():  # noqa: SIM118 (not a dict)
                    ours = _our_name(theirs)
                    if ours in tensors:
                        raise UserError(f"tensor {theirs} occurs twice")
                    tensors[ours] = file.get_tensor(theirs)
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{shard} cannot be read: {error}", remedy="Copy the model again: it is incomplete."
            ) from None
    projection = tensors.pop("proj_out.weight", None)
    embedding = tensors.get("decoder.token_embedding.weight")
    if projection is not None and embedding is not None and not torch.equal(projection, embedding):
        raise UserError("the output projection is not the token embedding: not Whisper")
    return tensors


def _shards(folder: Path) -> list[str]:
    """File names of the shards; the index may only name files that lie beside it."""
    if (folder / WHOLE).exists():
        return [WHOLE]
    weight_map = read_json_object(folder / INDEX).get("weight_map")
    shards = set(weight_map.values()) if isinstance(weight_map, dict) else set()
    if not shards:
        raise UserError(f"{INDEX} names no shards")
    for shard in shards:
        if not isinstance(shard, str) or not re.fullmatch(r"[\w.-]+\.safetensors", shard):
            raise UserError(f"{INDEX} names a shard that is no file beside it: {shard!r}")
    return sorted(shards)


def _our_name(theirs: str) -> str:
    """openai-whisper's name of a tensor; a name that Whisper does not have stays as it is."""
    bare = theirs.removeprefix("model.")
    if bare in _OUTSIDE_BLOCKS:
        return _OUTSIDE_BLOCKS[bare]
    if (block := _BLOCK.fullmatch(bare)) and block[3] in _IN_BLOCKS:
        return f"{block[1]}.blocks.{block[2]}.{_IN_BLOCKS[block[3]]}.{block[4]}"
    return bare
