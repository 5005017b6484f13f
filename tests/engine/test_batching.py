"""A window's text does not depend on the company it is decoded in, nor on its draft."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hearing import EVERY_UPDATE, RATE, Samples, between, sound
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from whisper.model import Whisper

from fsbot.engine.cadence import PATIENCE_SECONDS, QUIET_SECONDS, Cadence
from fsbot.engine.decoding import Decoded, DecodingTask, decode
from fsbot.engine.layers import Int8Linear, _packed_product, _product
from fsbot.engine.model import SAMPLES_PER_FRAME, SpeechModel
from fsbot.engine.voice import Voice

SPANS = [(0.0, 3.0), (9.3, 14.0), (2.0, 8.5), (15.0, 20.0)]
"""Windows of different lengths, from the committed call."""


@pytest.fixture(scope="module")
def int8_model(whisper_model: Whisper) -> SpeechModel:
    return SpeechModel(whisper_model, "int8")


def windows(model: SpeechModel) -> tuple[list[Samples], list[DecodingTask]]:
    """Of different lengths and with different prompts; the last one's text has begun."""
    samples = [between(sound("demo-fr"), *span) for span in SPANS]
    tasks = []
    for number, window in enumerate(samples):
        prompt = "Asterisk, FreeSWITCH" if number % 2 else ""
        voice = Voice.of(model, EVERY_UPDATE, "fr", static_prompt=prompt)
        tasks.append(voice.task((), [], len(window) // SAMPLES_PER_FRAME, 300))
    return samples, tasks


def alone(model: SpeechModel, samples: Samples, task: DecodingTask) -> Decoded:
    [text] = decode(model, model.encode([samples], 2.0), [task])
    return text


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("int8", 1.0)])
def test_logits_do_not_depend_on_the_batch(
    speech_model: SpeechModel, int8_model: SpeechModel, precision: str, tolerance: float
) -> None:
    """int8: rows have scales of their own, but a rounding may move an activation by a level."""
    model = speech_model if precision == "float32" else int8_model
    samples, tasks = windows(model)
    tokens = [[*task.prompt, 440, 2243] for task in tasks]
    longest = max(map(len, tokens))
    padded = torch.tensor([[*row, *[0] * (longest - len(row))] for row in tokens])
    together = model.encode(samples, 2.0)
    hidden, _ = model.decoder.prefill(model.decoder.start(together), padded)
    for number, row in enumerate(tokens):
        [features] = model.encode([samples[number]], 2.0)
        by_itself, _ = model.decoder.prefill(model.decoder.start([features]), torch.tensor([row]))
        expected = model.decoder.logits(by_itself)[0]
        found = model.decoder.logits(hidden[number, : len(row)])
        assert float((found - expected).abs().max()) < tolerance


@pytest.mark.parametrize("beams", [1, 2, 3, 4, 5])
def test_texts_do_not_depend_on_the_batch(speech_model: SpeechModel, beams: int) -> None:
    samples, tasks = windows(speech_model)
    tasks = [replace(task, beams=beams) for task in tasks]
    together = decode(speech_model, speech_model.encode(samples, 2.0), tasks)
    for number, text in enumerate(together):
        by_itself = alone(speech_model, samples[number], tasks[number])
        assert text.tokens == by_itself.tokens
        assert text.complete == by_itself.complete
        np.testing.assert_allclose(text.log_probs, by_itself.log_probs, atol=1e-3)
        assert text.watched == pytest.approx(by_itself.watched, abs=1e-4)
        assert np.abs(np.subtract(text.frames, by_itself.frames)).max(initial=0) <= 1


def test_no_draft_changes_a_text(speech_model: SpeechModel) -> None:
    samples, tasks = windows(speech_model)
    expected = [alone(speech_model, *pair) for pair in zip(samples, tasks, strict=True)]
    features = speech_model.encode(samples, 2.0)
    for kept in (0, 1, 3, 100):
        for wrong in ((), (440, 2243, 13)):
            drafted = [
                replace(task, draft=(*text.tokens[:kept], *wrong))
                for task, text in zip(tasks, expected, strict=True)
            ]
            for text, by_itself in zip(
                decode(speech_model, features, drafted), expected, strict=True
            ):
                assert text.tokens == by_itself.tokens
                assert text.complete == by_itself.complete
                np.testing.assert_allclose(text.log_probs, by_itself.log_probs, atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 60), min_size=1, max_size=4))
def test_random_drafts_in_random_batches(
    babbler: SpeechModel, seed: int, drafts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    voice = Voice.of(babbler, EVERY_UPDATE, "fr")
    samples = [
        rng.standard_normal(int(rng.integers(RATE // 4, 3 * RATE))).astype(np.float32) * 0.1
        for _ in drafts
    ]
    tasks = [voice.task((), [], len(each) // SAMPLES_PER_FRAME, 300) for each in samples]
    plain = [alone(babbler, *pair) for pair in zip(samples, tasks, strict=True)]
    drafted = [
        replace(task, draft=tuple(text.tokens[:count]) + tuple(rng.integers(0, 50000, 3).tolist()))
        for task, text, count in zip(tasks, plain, drafts, strict=True)
    ]
    for text, expected in zip(
        decode(babbler, babbler.encode(samples, 2.0), drafted), plain, strict=True
    ):
        assert text.tokens == expected.tokens


# int8


def weights(outputs: int = 96, inputs: int = 64) -> Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(1)) / 8


def test_a_loud_row_does_not_coarsen_a_quiet_one() -> None:
    layer = Int8Linear(weights(), None)
    quiet = torch.randn(3, 64, generator=torch.Generator().manual_seed(2)) * 1e-3
    loud = torch.randn(2, 64, generator=torch.Generator().manual_seed(3)) * 1e3
    torch.testing.assert_close(layer(torch.cat([quiet, loud]))[:3], layer(quiet))


def test_int8_is_near_float32() -> None:
    bias = torch.linspace(-1, 1, 96)
    x = torch.randn(40, 64, generator=torch.Generator().manual_seed(4)) * 5
    exact = x @ weights().T + bias
    error = Int8Linear(weights(), bias)(x) - exact
    assert float(error.std() / exact.std()) < 0.015


def test_silence_is_silence() -> None:
    assert torch.equal(Int8Linear(weights(), None)(torch.zeros(2, 64)), torch.zeros(2, 96))


def test_both_kernels_agree() -> None:
    scale = weights().abs().amax(dim=1) / 127
    quantised = (weights() / scale[:, None]).round().to(torch.int8)
    packed = _packed_product(quantised, scale)
    if packed is None:
        pytest.skip("this CPU has no VNNI: only the portable kernel is used")
    rows = torch.rand(33, 64, generator=torch.Generator().manual_seed(5)) * 2 - 1
    torch.testing.assert_close(packed(rows), _product(quantised, scale)(rows), atol=2e-2, rtol=1e-2)


# Cadence


def test_updates_grow_under_lasting_load_and_shrink_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("fsbot.engine.cadence.time.monotonic", lambda: now[0])
    cadence = Cadence(0.5)
    cadence.observe(2.0)
    assert cadence.chunk == 0.5  # one late update is no load
    for _ in range(40):
        now[0] += PATIENCE_SECONDS / 4
        cadence.observe(0.6)
    assert cadence.chunk == 2.0
    assert cadence.enlarged == 3
    for _ in range(40):
        now[0] += QUIET_SECONDS / 4
        cadence.observe(0.0)
    assert cadence.chunk == 0.5
    assert cadence.enlarged == 3
