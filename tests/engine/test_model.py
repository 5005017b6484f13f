"""The forward pass against openai-whisper's own, on the same weights and the same sound."""

import copy

import numpy as np
import pytest
import torch
from hearing import RATE, silence, sound
from torch import Tensor
from whisper.audio import log_mel_spectrogram, pad_or_trim
from whisper.model import disable_sdpa

from fsbot.engine.model import SpeechModel

TOKENS = [50258, 50265, 50359, 50363, 1456, 7857, 1681, 715, 1667]


def theirs(model: SpeechModel, tokens: list[int], features: Tensor) -> Tensor:
    """openai-whisper's log-probabilities behind each of the tokens, all at once."""
    with torch.inference_mode():
        logits = model.whisper.decoder(torch.tensor([tokens]), features)
        return logits.float().log_softmax(dim=-1)[0]


def test_a_full_window_is_encoded_as_by_openai_whisper(
    speech_model: SpeechModel, features: Tensor
) -> None:
    mel = log_mel_spectrogram(pad_or_trim(sound("utterance-fr")))
    with torch.inference_mode():
        expected = speech_model.whisper.encoder(mel[None])
    assert features.shape == expected.shape == (1, 1500, 512)
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)


def test_a_short_window_is_the_same_network_with_fewer_positions(speech_model: SpeechModel) -> None:
    samples = sound("utterance-fr")[: round(2.5 * RATE)]
    encoder = copy.copy(speech_model.whisper.encoder)
    encoder._buffers = {"positional_embedding": encoder.positional_embedding[:175]}
    mel = log_mel_spectrogram(samples, padding=RATE)
    with torch.inference_mode():
        expected = encoder(mel[None])
    encoded = speech_model.encode(samples, 1.0)
    assert encoded.shape == (1, 175, 512)
    torch.testing.assert_close(encoded, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("samples", "padding", "frames"),
    [(RATE, 0, 50), (RATE + 1, 0, 51), (319, 0.01, 2), (30 * RATE, 4, 1500), (29 * RATE, 4, 1500)],
)
def test_windows_are_whole_frames_of_at_most_30_seconds(
    babbler: SpeechModel, samples: int, padding: float, frames: int
) -> None:
    assert babbler.encode(np.zeros(samples, np.float32), padding).shape == (1, frames, 16)


def test_more_than_30_seconds_are_refused(babbler: SpeechModel) -> None:
    with pytest.raises(ValueError, match=r"30\.50 s exceeds 30 s"):
        babbler.encode(silence(30.5), 0.0)


def test_cached_steps_say_what_the_whole_sequence_says(
    speech_model: SpeechModel, features: Tensor
) -> None:
    expected = theirs(speech_model, TOKENS, features)
    state = speech_model.start(features)
    first, _ = speech_model.step(state, torch.tensor([TOKENS[:4]]))
    steps = [first[0]]
    for token in TOKENS[4:]:
        log_probs, _ = speech_model.step(state, torch.tensor([[token]]))
        steps.append(log_probs[0])
    torch.testing.assert_close(torch.stack(steps), expected[3:], atol=1e-3, rtol=1e-4)


def test_several_tokens_behind_others_are_masked_causally(
    speech_model: SpeechModel, features: Tensor
) -> None:
    state = speech_model.start(features)
    for piece in (TOKENS[:1], TOKENS[1:6], TOKENS[6:]):
        log_probs, _ = speech_model.step(state, torch.tensor([piece]))
    expected = theirs(speech_model, TOKENS, features)[-1]
    torch.testing.assert_close(log_probs[0], expected, atol=1e-3, rtol=1e-4)


def test_reordered_hypotheses_go_on_from_their_own_past(
    speech_model: SpeechModel, features: Tensor
) -> None:
    state = speech_model.start(features)
    speech_model.step(state, torch.tensor([TOKENS[:4]]))
    state.reorder([0, 0])
    speech_model.step(state, torch.tensor([[1456], [2588]]))
    state.reorder([1, 0, 1])
    log_probs, rows = speech_model.step(state, torch.tensor([[7857], [7857], [13]]))
    assert rows.shape[1:] == (3, 1, 1500)
    for row, past in enumerate(([2588, 7857], [1456, 7857], [2588, 13])):
        expected = theirs(speech_model, TOKENS[:4] + past, features)[-1]
        torch.testing.assert_close(log_probs[row], expected, atol=1e-3, rtol=1e-4)


def test_attention_is_that_of_the_alignment_heads(
    speech_model: SpeechModel, features: Tensor
) -> None:
    scores: list[Tensor] = []
    blocks = speech_model.whisper.decoder.blocks
    hooks = [
        block.cross_attn.register_forward_hook(lambda _, __, out: scores.append(out[1][0]))
        for block in blocks
    ]
    try:
        with disable_sdpa():
            theirs(speech_model, TOKENS, features)
    finally:
        for hook in hooks:
            hook.remove()
    heads = speech_model.whisper.alignment_heads.indices().T.tolist()
    expected = torch.stack([scores[layer][head].softmax(dim=-1) for layer, head in heads])
    state = speech_model.start(features)
    _, first = speech_model.step(state, torch.tensor([TOKENS[:5]]))
    _, second = speech_model.step(state, torch.tensor([TOKENS[5:]]))
    rows = torch.cat([first, second], dim=2)[:, 0]
    assert rows.shape == (len(heads), len(TOKENS), 1500)
    torch.testing.assert_close(rows, expected, atol=1e-4, rtol=1e-3)


def test_large_v3s_shape_decodes(large_babbler: SpeechModel) -> None:
    features = large_babbler.encode(sound("utterance-fr"), 4.0)
    log_probs, rows = large_babbler.step(
        large_babbler.start(features), torch.tensor([[50258, 50265]])
    )
    assert log_probs.shape == (1, 51866)
    assert rows.shape == (2, 1, 2, features.shape[1])
    assert float(log_probs.exp().sum()) == pytest.approx(1, abs=1e-3)
