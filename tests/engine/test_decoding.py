"""Greedy and beam search on real sound, and what stops them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import whisper
from hearing import EVERY_SECOND, RATE, plain, silence, sound, turns
from torch import Tensor
from whisper.model import Whisper

from fsbot.engine.decoding import Decoded, DecodingTask
from fsbot.engine.decoding import decode as decode_all
from fsbot.engine.guards import token_budget
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions
from fsbot.engine.voice import Voice
from fsbot.engine.words import token_mask

FRAMES = 319  # of the short sound


def decode(model: SpeechModel, features: Tensor, task: DecodingTask) -> Decoded:
    """One window by itself."""
    [decoded] = decode_all(model, [features], [task])
    return decoded


@pytest.fixture(scope="module")
def voice(speech_model: SpeechModel) -> Voice:
    return Voice.of(speech_model, EVERY_SECOND, "fr")


@pytest.fixture(scope="module")
def task(voice: Voice) -> DecodingTask:
    return voice.task((), [], FRAMES, rewind_frames=FRAMES)


@pytest.fixture(scope="module")
def greedy(speech_model: SpeechModel, features: Tensor, task: DecodingTask) -> Decoded:
    return decode(speech_model, features, task)


def likelihood(model: Whisper, features: Tensor, task: DecodingTask, decoded: Decoded) -> float:
    """Mean log-probability of the text and its end, by openai-whisper's own forward pass."""
    tokens = [*task.prompt, *decoded.tokens]
    with torch.inference_mode():
        logits = model.decoder(torch.tensor([tokens]), features[None])[0]
    following = torch.tensor([*decoded.tokens, task.end_token])
    log_probs = logits.log_softmax(dim=-1)[-len(following) :]
    return float(log_probs.gather(1, following[:, None]).mean())


def test_greedy_is_openai_whispers(
    whisper_model: Whisper, features: Tensor, greedy: Decoded
) -> None:
    options = whisper.DecodingOptions(
        language="fr",
        temperature=0.0,
        without_timestamps=True,
        suppress_tokens="-1",
        suppress_blank=False,
        fp16=False,
    )
    expected = whisper.decode(whisper_model, features, options)
    assert greedy.tokens == expected.tokens
    assert greedy.complete
    assert not greedy.silent
    assert greedy.watched[0] == pytest.approx(expected.no_speech_prob, abs=1e-4)
    mean = sum(greedy.log_probs) / len(greedy.log_probs)
    assert mean == pytest.approx(expected.avg_logprob, abs=0.05)


def test_frames_rise_with_the_text_and_stay_in_the_audio(greedy: Decoded) -> None:
    assert len(greedy.frames) == len(greedy.tokens) == len(greedy.log_probs)
    assert greedy.attention.shape == (len(greedy.tokens), FRAMES)
    assert all(0 <= frame < FRAMES for frame in greedy.frames)
    assert np.corrcoef(greedy.frames, range(len(greedy.frames)))[0, 1] > 0.95


def test_five_beams_find_nothing_less_likely(
    whisper_model: Whisper,
    speech_model: SpeechModel,
    features: Tensor,
    task: DecodingTask,
    greedy: Decoded,
) -> None:
    beams = decode(speech_model, features, replace(task, beams=5))
    assert beams.complete
    assert len(beams.frames) == len(beams.tokens) == len(beams.attention)
    found = likelihood(whisper_model, features, task, beams)
    assert found >= likelihood(whisper_model, features, task, greedy) - 1e-4
    # What the search believes of its text is what the model says of it.
    alone = decode(speech_model, features, replace(task, prefix=tuple(beams.tokens[:4])))
    if alone.tokens == beams.tokens[4:]:
        np.testing.assert_allclose(alone.log_probs, beams.log_probs[4:], atol=1e-3)


def test_a_prefix_is_gone_on_from(
    speech_model: SpeechModel, features: Tensor, task: DecodingTask, greedy: Decoded
) -> None:
    half = len(greedy.tokens) // 2
    rest = decode(speech_model, features, replace(task, prefix=tuple(greedy.tokens[:half])))
    assert rest.tokens == greedy.tokens[half:]
    assert rest.frames == pytest.approx(greedy.frames[half:], abs=3)


def test_forbidden_tokens_are_never_chosen(
    speech_model: SpeechModel, features: Tensor, task: DecodingTask, greedy: Decoded
) -> None:
    vocabulary = speech_model.dims.n_vocab
    first, third = greedy.tokens[0], greedy.tokens[2]
    only_first = replace(task, never_first=task.never | token_mask([first], vocabulary))
    assert decode(speech_model, features, only_first).tokens[0] != first
    never = replace(task, never=task.never | token_mask([third], vocabulary))
    assert third not in decode(speech_model, features, never).tokens


@pytest.mark.parametrize("beams", [1, 3])
def test_a_loop_is_stopped_and_cut(
    speech_model: SpeechModel, features: Tensor, task: DecodingTask, greedy: Decoded, beams: int
) -> None:
    phrase = greedy.tokens[1:3]
    forced = ~token_mask(phrase, speech_model.dims.n_vocab)
    looping = decode(
        speech_model, features, replace(task, never=forced, never_first=forced, beams=beams)
    )
    assert not looping.complete
    assert 0 < len(looping.tokens) <= 2 * len(phrase) + 4
    assert len(looping.tokens) == len(looping.frames) == len(looping.attention)


def test_the_budget_ends_a_text(
    speech_model: SpeechModel, features: Tensor, task: DecodingTask, greedy: Decoded
) -> None:
    short = decode(speech_model, features, replace(task, max_tokens=5))
    assert short.tokens == greedy.tokens[:5]
    assert not short.complete
    assert task.max_tokens == token_budget(FRAMES * 0.02)


def test_attention_that_jumps_back_ends_a_text(
    speech_model: SpeechModel, features: Tensor, task: DecodingTask, greedy: Decoded
) -> None:
    """The text said twice listens to the beginning again."""
    said_once = replace(
        task, prefix=tuple(greedy.tokens), never=task.never.clone(), rewind_frames=50
    )
    said_once.never[task.end_token] = True
    again = decode(speech_model, features, replace(said_once, never_first=said_once.never))
    assert not again.complete
    jumps = np.diff(again.frames)
    assert (jumps >= -50).all()


@pytest.mark.parametrize("seconds", [0.02, 1.0, 8.0])
@pytest.mark.parametrize("level", [0.0, 0.003])
def test_nobody_speaks_in_silence_and_noise(voice: Voice, seconds: float, level: float) -> None:
    noise = np.random.default_rng(5).standard_normal(round(seconds * RATE)).astype(np.float32)
    [encoded] = voice.model.encode([noise * level], voice.options.padding)
    assert decode(voice.model, encoded, voice.task((), [], len(noise) // 320, 50)).silent


def test_a_short_window_reads_as_well_as_a_long_one(voice: Voice, greedy: Decoded) -> None:
    samples = sound("utterance-fr")
    [encoded] = voice.model.encode([samples], voice.options.padding)
    short = decode(voice.model, encoded, voice.task((), [], len(samples) // 320, 319))
    said = plain(str(turns("utterance-fr")[0]["text"])).split()
    text = plain(voice.tokenizer.decode(short.tokens)).split()
    assert len(set(said) & set(text)) >= len(set(said)) - 2
    assert short.complete


def test_the_budget_is_that_of_the_language_written(babbler: SpeechModel) -> None:
    def most_tokens(language: str, task: str = "transcribe") -> int:
        return Voice.of(babbler, EngineOptions(), language, task).task((), [], 200, 50).max_tokens

    assert most_tokens("fr") == token_budget(4.0)
    assert most_tokens("hi") == token_budget(4.0, "hi") > 2 * token_budget(4.0)
    assert most_tokens("hi", "translate") == token_budget(4.0)
    # What the decoder holds is the limit where it fills within seconds.
    assert most_tokens("my") == babbler.dims.n_text_ctx - 4 < token_budget(4.0, "my")


def test_what_stands_before_the_text(babbler: SpeechModel) -> None:
    plain_voice = Voice.of(babbler, EngineOptions(), "fr", static_prompt="Asterisk, FreeSWITCH")
    tokenizer = plain_voice.tokenizer
    static = tuple(tokenizer.encode(" Asterisk, FreeSWITCH"))
    start = (tokenizer.sot, tokenizer.sot + 1 + 6, tokenizer.transcribe, tokenizer.no_timestamps)
    context = tuple(range(1000, 1300))
    room = 448 // 2 - 1 - len(static)
    with_context = plain_voice.task(context, [7, 8], 300, 50)
    assert with_context.prompt == (tokenizer.sot_prev, *static, *context[-room:], *start)
    assert with_context.prefix == (7, 8)
    assert with_context.max_tokens == token_budget(6.0) - 2
    assert plain_voice.task((), [], 300, 50).prompt == (tokenizer.sot_prev, *static, *start)
    bare = Voice.of(babbler, EngineOptions(), "fr")
    assert bare.task((), [], 300, 50).prompt == start
    assert silence(0).size == 0


def test_a_prompt_of_any_length_leaves_half_of_the_decoder_to_the_text(
    babbler: SpeechModel,
) -> None:
    long = " ".join(f"mot{n}" for n in range(400))
    voice = Voice.of(babbler, EngineOptions(max_context_tokens=200), "fr", static_prompt=long)
    task = voice.task(tuple(range(1000, 1300)), [], 1400, 50)
    assert len(task.prompt) == 448 // 2 - 1 + 1 + 4
    assert task.prompt[1:-4] == tuple(voice.tokenizer.encode(f" {long}")[-223:])
    assert len(task.prompt) + task.max_tokens <= 448


def test_special_tokens_spelt_in_a_prompt_are_text(babbler: SpeechModel) -> None:
    voice = Voice.of(babbler, EngineOptions(), "fr", static_prompt="<|endoftext|> <|fr|>")
    assert voice.static_prompt
    assert max(voice.static_prompt) < voice.tokenizer.eot


def test_translation_and_languages(babbler: SpeechModel) -> None:
    voice = Voice.of(babbler, EngineOptions(), "de", task="translate")
    sot = voice.tokenizer.sot
    assert voice.task((), [], 100, 50).prompt[1:3] == (sot + 1 + 2, voice.tokenizer.translate)
