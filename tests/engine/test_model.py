"""The forward pass against openai-whisper's own, on the same weights and the same sound."""

import copy
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hearing import RATE, silence, sound
from torch import Tensor
from whisper.audio import log_mel_spectrogram, pad_or_trim
from whisper.model import Whisper, disable_sdpa

from fsbot.engine import decoder, encoder
from fsbot.engine.decoder import DecoderState
from fsbot.engine.layers import Precision
from fsbot.engine.model import SpeechModel

TOKENS = [50258, 50265, 50359, 50363, 1456, 7857, 1681, 715, 1667]


def theirs(model: Whisper, tokens: list[int], features: Tensor) -> Tensor:
    """openai-whisper's log-probabilities behind each of the tokens, all at once."""
    with torch.inference_mode():
        logits = model.decoder(torch.tensor([tokens]), features[None])
        return logits.float().log_softmax(dim=-1)[0]


def fed(model: SpeechModel, features: Tensor, tokens: list[int]) -> tuple[DecoderState, Tensor]:
    """A state that has read the tokens in one pass, and the alignment heads' attention."""
    state = model.decoder.start([features])
    _, rows = model.decoder.prefill(state, [tokens])
    state.lengths = torch.tensor([len(tokens)])
    return state, rows


def log_probs_of(model: SpeechModel, hidden: Tensor) -> Tensor:
    return model.decoder.logits(hidden).log_softmax(dim=-1)


def test_a_full_window_is_encoded_as_by_openai_whisper(
    whisper_model: Whisper, features: Tensor
) -> None:
    mel = log_mel_spectrogram(pad_or_trim(sound("utterance-fr")))
    with torch.inference_mode():
        expected = whisper_model.encoder(mel[None])[0]
    assert features.shape == expected.shape == (1500, 512)
    # The convolutions are matrix products here, which add up in another order.
    torch.testing.assert_close(features, expected, atol=3e-4, rtol=1e-4)


def test_a_short_window_is_the_same_network_with_fewer_positions(
    whisper_model: Whisper, speech_model: SpeechModel
) -> None:
    samples = sound("utterance-fr")[: round(2.5 * RATE)]
    shorter = copy.copy(whisper_model.encoder)
    shorter._buffers = {"positional_embedding": shorter.positional_embedding[:175]}
    mel = log_mel_spectrogram(samples, padding=RATE)
    with torch.inference_mode():
        expected = shorter(mel[None])[0]
    [encoded] = speech_model.encode([samples], 1.0)
    assert encoded.shape == (175, 512)
    torch.testing.assert_close(encoded, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("samples", "padding", "frames"),
    [(RATE, 0, 50), (RATE + 1, 0, 51), (319, 0.01, 2), (30 * RATE, 4, 1500), (29 * RATE, 4, 1500)],
)
def test_windows_are_whole_frames_of_at_most_30_seconds(
    babbler: SpeechModel, samples: int, padding: float, frames: int
) -> None:
    assert babbler.encode([np.zeros(samples, np.float32)], padding)[0].shape == (frames, 16)


def test_more_than_30_seconds_are_refused(babbler: SpeechModel) -> None:
    with pytest.raises(ValueError, match=r"30\.50 s exceeds 30 s"):
        babbler.encode([silence(30.5)], 0.0)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="TorchScript does not know this Python")
@pytest.mark.parametrize("precision", ["float32", "int8", "bfloat16"])
def test_what_is_compiled_computes_the_same(
    whisper_model: Whisper, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uncompiled is how a GPU computes, and Python 3.14."""
    whisper = copy.deepcopy(whisper_model) if precision == "bfloat16" else whisper_model
    fast = SpeechModel(whisper, precision)
    for module in (encoder, decoder):
        monkeypatch.setattr(module, "compiled", lambda function, device: function)
    slow = SpeechModel(whisper, precision)
    assert isinstance(fast.decoder._layers, torch.jit.ScriptModule)
    assert not isinstance(slow.decoder._layers, torch.jit.ScriptModule)
    for found, expected in zip(computed(fast), computed(slow), strict=True):
        torch.testing.assert_close(found, expected, atol=0.0, rtol=0.0)


def computed(model: SpeechModel) -> Iterator[Tensor]:
    """Everything that the model says about two windows, 40 steps long."""
    windows = [sound("utterance-fr")[: round(seconds * RATE)] for seconds in (2.5, 1.5)]
    features = model.encode(windows, 1.0)
    yield from features
    state = model.decoder.start(features)
    yield from model.decoder.prefill(state, [TOKENS, TOKENS])
    state.lengths = torch.tensor([len(TOKENS), 4])
    for _ in range(40):
        hidden, rows = model.decoder.step(state, torch.tensor([13, 11]))
        yield from (hidden, rows, model.decoder.logits(hidden))


def test_the_prompts_pass_and_the_steps_say_what_the_whole_sequence_says(
    whisper_model: Whisper, speech_model: SpeechModel, features: Tensor
) -> None:
    expected = theirs(whisper_model, TOKENS, features)
    state = speech_model.decoder.start([features])
    hidden, _ = speech_model.decoder.prefill(state, [TOKENS[:4]])
    state.lengths = torch.tensor([4])
    found = [log_probs_of(speech_model, hidden)[0]]
    for token in TOKENS[4:]:
        hidden, _ = speech_model.decoder.step(state, torch.tensor([token]))
        found.append(log_probs_of(speech_model, hidden))
    torch.testing.assert_close(torch.cat(found), expected, atol=1e-3, rtol=1e-4)


def test_tokens_that_do_not_stand_are_forgotten(
    whisper_model: Whisper, speech_model: SpeechModel, features: Tensor
) -> None:
    state, _ = fed(speech_model, features, [*TOKENS[:5], 13, 13, 13])
    state.lengths = torch.tensor([5])
    hidden, _ = speech_model.decoder.step(state, torch.tensor([TOKENS[5]]))
    expected = theirs(whisper_model, TOKENS[:6], features)[-1]
    found = log_probs_of(speech_model, hidden)[0]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_a_cache_grows_as_long_as_the_decoder_can_read(
    whisper_model: Whisper, speech_model: SpeechModel, features: Tensor
) -> None:
    tokens = (TOKENS * 8)[:60]
    state, _ = fed(speech_model, features, tokens[:4])
    for token in tokens[4:]:
        hidden, _ = speech_model.decoder.step(state, torch.tensor([token]))
    expected = theirs(whisper_model, tokens, features)[-1]
    found = log_probs_of(speech_model, hidden)[0]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_reordered_hypotheses_go_on_from_their_own_past(
    whisper_model: Whisper, speech_model: SpeechModel, features: Tensor
) -> None:
    state, _ = fed(speech_model, features, TOKENS[:4])
    state.widen(3)
    speech_model.decoder.step(state, torch.tensor([1456, 2588, 1456]))
    state.reorder(torch.tensor([1, 0, 1]))
    hidden, rows = speech_model.decoder.step(state, torch.tensor([7857, 7857, 13]))
    assert rows.shape[1:] == (1, 3, 1500)
    for row, past in enumerate(([2588, 7857], [1456, 7857], [2588, 13])):
        expected = theirs(whisper_model, TOKENS[:4] + past, features)[-1]
        found = log_probs_of(speech_model, hidden)[row]
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_attention_is_that_of_the_alignment_heads(
    whisper_model: Whisper, speech_model: SpeechModel, features: Tensor
) -> None:
    scores: list[Tensor] = []
    blocks = whisper_model.decoder.blocks
    hooks = [
        block.cross_attn.register_forward_hook(lambda _, __, out: scores.append(out[1][0]))
        for block in blocks
    ]
    try:
        with disable_sdpa():
            theirs(whisper_model, TOKENS, features)
    finally:
        for hook in hooks:
            hook.remove()
    heads = whisper_model.alignment_heads.indices().T.tolist()
    expected = torch.stack([scores[layer][head].softmax(dim=-1) for layer, head in heads])
    state, first = fed(speech_model, features, TOKENS[:5])
    steps = [speech_model.decoder.step(state, torch.tensor([token]))[1] for token in TOKENS[5:]]
    rows = torch.cat([first, *steps], dim=2)[:, 0]
    assert rows.shape == (len(heads), len(TOKENS), 1500)
    torch.testing.assert_close(rows, expected, atol=1e-4, rtol=1e-3)


def test_large_v3s_shape_decodes(large_babbler: SpeechModel) -> None:
    [features] = large_babbler.encode([sound("utterance-fr")], 4.0)
    decoder = large_babbler.decoder
    hidden, rows = decoder.prefill(decoder.start([features]), [[50258, 50265]])
    log_probs = log_probs_of(large_babbler, hidden)[:, -1]
    assert log_probs.shape == (1, 51866)
    assert rows.shape == (2, 1, 2, len(features))
    assert float(log_probs.exp().sum()) == pytest.approx(1, abs=1e-3)
