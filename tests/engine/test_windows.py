"""Windows decoded together say what each says alone."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hearing import EVERY_SECOND, Samples, between, sound
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from whisper.model import Whisper
from windows import (
    Given,
    check_same_text,
    decode_alone,
    forced_logits,
    read_at_once,
    task_of,
)

from fsbot.engine.decoding import DecodingTask, decode
from fsbot.engine.layers import Precision
from fsbot.engine.model import SpeechModel
from fsbot.engine.voice import Voice

FLOAT_NOISE = 1e-3
"""Sums of float32 in another order move a logit less than this."""

INT8_LOGIT = 2.5
"""At int8 such a difference puts an activation that lies halfway between two levels on the other
one, which moves a logit less than this; they reach to 40."""

FEW = settings(max_examples=25, deadline=None, derandomize=True)
"""Not at random: where a random model's two best tokens are as good as equal, anything may come."""

SPEECH = sound("demo-fr")
CUTS = [
    between(SPEECH, 9.3, 15.0),
    between(SPEECH, 0.3, 2.0),
    sound("utterance-fr"),
    between(SPEECH, 16.0, 24.0),
]


def cut(start: float, seconds: float) -> Samples:
    return between(SPEECH, start, start + seconds)


samples = st.builds(cut, st.floats(0, 50), st.floats(0.02, 2.5))
tokens = st.integers(0, 50256)


def texts(most: int) -> st.SearchStrategy[list[int]]:
    return st.lists(tokens, max_size=most)


# The model's passes


windows_given = st.lists(
    st.tuples(samples, texts(30), st.integers(0, 5), texts(6)), min_size=2, max_size=5
)


@FEW
@given(windows_given)
def test_company_changes_no_logit(
    babbler: SpeechModel, windows: list[tuple[Samples, list[int], int, list[int]]]
) -> None:
    """Lengths, prompts, forgotten drafts and numbers of steps: all their own."""
    packed = babbler.encode([samples for samples, *_ in windows], 0.5)
    together = []
    for (samples, first, dropped, then), features in zip(windows, packed, strict=True):
        [alone] = babbler.encode([samples], 0.5)
        torch.testing.assert_close(features, alone, atol=FLOAT_NOISE, rtol=0)
        together.append(Given(features, [*first, *range(dropped + 1)], dropped, then))
    for window, logits in zip(together, forced_logits(babbler, together), strict=True):
        [alone] = forced_logits(babbler, [window])
        torch.testing.assert_close(logits, alone, atol=FLOAT_NOISE, rtol=0)


def given_texts(model: SpeechModel, spoken: Sequence[Sequence[int]]) -> list[Given]:
    """The cuts with what is said in them, read in passes and steps of different lengths."""
    voice = Voice.of(model, EVERY_SECOND, "fr")
    features = model.encode(CUTS, 1.0)
    found = []
    for number, (encoded, text) in enumerate(zip(features, spoken, strict=True)):
        context = [voice.tokenizer.sot_prev, *range(1000, 1000 + 7 * number)] * (number > 0)
        first = [*context, *voice.task((), [], 100, 50).prompt, *text[: 2 + number], 11, 12, 13]
        found.append(Given(encoded, first, 3, text[2 + number :]))
    return found


@pytest.fixture(scope="module")
def spoken(speech_model: SpeechModel) -> list[list[int]]:
    voice = Voice.of(speech_model, EVERY_SECOND, "fr")
    tasks = [task_of(voice, samples) for samples in CUTS]
    return [text.tokens for text in decode(speech_model, speech_model.encode(CUTS, 4.0), tasks)]


def test_company_changes_no_logit_of_real_speech(
    speech_model: SpeechModel, spoken: list[list[int]]
) -> None:
    windows = given_texts(speech_model, spoken)
    for window, logits in zip(windows, forced_logits(speech_model, windows), strict=True):
        [alone] = forced_logits(speech_model, [window])
        torch.testing.assert_close(logits, alone, atol=FLOAT_NOISE, rtol=0)


def test_at_int8_company_changes_no_bit_of_a_logit(
    int8_model: SpeechModel, spoken: list[list[int]]
) -> None:
    windows = given_texts(int8_model, spoken)
    for window, logits in zip(windows, forced_logits(int8_model, windows), strict=True):
        [alone] = forced_logits(int8_model, [window])
        assert torch.equal(logits, alone)


@pytest.mark.parametrize(("precision", "noise"), [("float32", FLOAT_NOISE), ("int8", 0)])
def test_an_encoding_is_the_same_in_company(
    whisper_model: Whisper, precision: Precision, noise: float
) -> None:
    """Not even at int8 a row of another window counts, however loud."""
    model = SpeechModel(whisper_model, precision)
    loud = [samples * 50 for samples in CUTS]
    packed = model.encode([loud[0], CUTS[1], loud[2], CUTS[3]], 1.0)
    for number in (1, 3):
        [alone] = model.encode([CUTS[number]], 1.0)
        torch.testing.assert_close(packed[number], alone, atol=noise, rtol=0)


# Texts


Wish = tuple[Samples, list[int], list[int], list[int], int | None]
"""Samples, context, prefix, draft, and the budget if it is another."""

wishes = st.lists(
    st.tuples(samples, texts(20), texts(4), texts(6), st.none() | st.integers(0, 5)),
    min_size=2,
    max_size=5,
)


def tasks_of(model: SpeechModel, wished: Sequence[Wish], beams: int) -> list[DecodingTask]:
    options = replace(EVERY_SECOND, beams=beams, max_context_tokens=20)
    voice = Voice.of(model, options, "fr")
    tasks = []
    for samples, context, prefix, draft, budget in wished:
        task = voice.task(context, prefix, len(samples) // 320, 50, draft)
        tasks.append(task if budget is None else replace(task, max_tokens=budget))
    return tasks


def check_company(
    model: SpeechModel, features: Sequence[Tensor], tasks: Sequence[DecodingTask], noise: float
) -> None:
    together = decode(model, features, tasks)
    for encoded, task, text in zip(features, tasks, together, strict=True):
        alone = decode_alone(model, encoded, task)
        check_same_text(model, encoded, task, alone, text, noise)


@FEW
@given(wishes)
def test_greedy_texts_are_the_same_in_company(babbler: SpeechModel, wished: list[Wish]) -> None:
    features = babbler.encode([samples for samples, *_ in wished], 0.5)
    check_company(babbler, features, tasks_of(babbler, wished, 1), FLOAT_NOISE)


@FEW
@given(wishes, st.integers(2, 5))
def test_beams_find_the_same_in_company(
    babbler: SpeechModel, wished: list[Wish], beams: int
) -> None:
    features = babbler.encode([samples for samples, *_ in wished], 0.5)
    tasks = tasks_of(babbler, wished, beams)
    for number, text in enumerate(decode(babbler, features, tasks)):
        alone = decode_alone(babbler, features[number], tasks[number])
        assert (text.tokens, text.complete) == (alone.tokens, alone.complete)
        assert text.frames == alone.frames
        assert text.log_probs == pytest.approx(alone.log_probs, abs=FLOAT_NOISE)
        assert text.watched == pytest.approx(alone.watched, abs=FLOAT_NOISE)


def real_tasks(model: SpeechModel, beams: int) -> list[DecodingTask]:
    """The cuts with contexts, prefixes and drafts of different lengths."""
    voice = Voice.of(model, replace(EVERY_SECOND, max_context_tokens=30), "fr")
    tasks = [task_of(voice, samples, beams=beams) for samples in CUTS]
    context = tuple(voice.tokenizer.encode(" Bonjour, vous êtes bien chez nous."))
    tasks[1] = replace(tasks[1], prompt=(voice.tokenizer.sot_prev, *context, *tasks[1].prompt))
    tasks[2] = replace(tasks[2], prefix=tuple(voice.tokenizer.encode(" Le numéro")))
    tasks[3] = replace(tasks[3], draft=tuple(voice.tokenizer.encode(" Le numéro de poste")))
    return tasks


@pytest.mark.parametrize("beams", [1, 2, 5])
def test_real_texts_are_the_same_in_company(speech_model: SpeechModel, beams: int) -> None:
    features = speech_model.encode(CUTS, 4.0)
    tasks = real_tasks(speech_model, beams)
    together = decode(speech_model, features, tasks)
    for encoded, task, text in zip(features, tasks, together, strict=True):
        alone = decode_alone(speech_model, encoded, task)
        assert (text.tokens, text.frames) == (alone.tokens, alone.frames)
        assert text.tokens
        assert text.log_probs == pytest.approx(alone.log_probs, abs=FLOAT_NOISE)


@pytest.mark.parametrize("beams", [1, 3, 5])
def test_a_hypothesis_listens_where_its_own_tokens_do(
    speech_model: SpeechModel, beams: int
) -> None:
    """Whatever became of the hypotheses and the windows that it was found among."""
    features = speech_model.encode(CUTS, 4.0)
    tasks = real_tasks(speech_model, beams)
    together = decode(speech_model, features, tasks)
    for encoded, task, text in zip(features, tasks, together, strict=True):
        attention = torch.from_numpy(text.attention)
        expected = read_at_once(speech_model, encoded, task, text)
        torch.testing.assert_close(attention, expected, atol=0.01, rtol=0.01)
        assert text.frames == attention.argmax(dim=1).tolist()


@pytest.mark.parametrize("beams", [1, 5])
def test_at_int8_company_changes_no_bit_of_a_real_text(int8_model: SpeechModel, beams: int) -> None:
    features = int8_model.encode(CUTS, 4.0)
    tasks = real_tasks(int8_model, beams)
    together = decode(int8_model, features, tasks)
    for encoded, task, text in zip(features, tasks, together, strict=True):
        alone = decode_alone(int8_model, encoded, task)
        assert (text.tokens, text.frames) == (alone.tokens, alone.frames)
        assert (text.log_probs, text.watched) == (alone.log_probs, alone.watched)
        assert np.array_equal(text.attention, alone.attention)


# Drafts


@FEW
@given(samples, texts(8), st.floats(0, 1), texts(12))
def test_no_draft_changes_a_greedy_text(
    babbler: SpeechModel, samples: Samples, prefix: list[int], right: float, wrong: list[int]
) -> None:
    """Right as far as it goes, then wrong; or wrong altogether."""
    [features] = babbler.encode([samples], 0.5)
    [task] = tasks_of(babbler, [(samples, [], prefix, [], None)], 1)
    text = decode_alone(babbler, features, task)
    kept = text.tokens[: round(right * len(text.tokens))]
    for draft in ([*kept, *wrong], text.tokens, [*text.tokens, *wrong], wrong):
        drafted = decode_alone(babbler, features, replace(task, draft=tuple(draft)))
        check_same_text(babbler, features, task, text, drafted, FLOAT_NOISE)


def test_no_draft_changes_a_real_text(speech_model: SpeechModel) -> None:
    features = speech_model.encode(CUTS, 4.0)
    for encoded, task in zip(features, real_tasks(speech_model, 1), strict=True):
        text = decode_alone(speech_model, encoded, replace(task, draft=()))
        end = [task.end_token, 11]
        for draft in (text.tokens, [*text.tokens[:5], 9, 9], [9], [*text.tokens[:2], *end], end):
            drafted = decode_alone(speech_model, encoded, replace(task, draft=tuple(draft)))
            assert (drafted.tokens, drafted.frames) == (text.tokens, text.frames)
            assert drafted.complete == text.complete
            assert drafted.log_probs == pytest.approx(text.log_probs, abs=FLOAT_NOISE)
            torch.testing.assert_close(
                torch.from_numpy(drafted.attention),
                torch.from_numpy(text.attention),
                atol=0.01,
                rtol=0.01,
            )


def test_at_int8_a_draft_decides_between_equals_only(int8_model: SpeechModel) -> None:
    features = int8_model.encode(CUTS, 4.0)
    for encoded, task in zip(features, real_tasks(int8_model, 1), strict=True):
        text = decode_alone(int8_model, encoded, replace(task, draft=()))
        for draft in (text.tokens, [*text.tokens[:5], 9, 9], [9]):
            drafted = decode_alone(int8_model, encoded, replace(task, draft=tuple(draft)))
            check_same_text(int8_model, encoded, task, text, drafted, INT8_LOGIT)


def test_a_right_draft_costs_one_step_only(
    speech_model: SpeechModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise all of the above would hold of a draft that nobody looks at."""
    steps = []
    step = type(speech_model.decoder).step

    def step_and_count(self: object, state: object, fed: Tensor) -> object:
        steps.append(len(fed))
        return step(self, state, fed)  # type: ignore[arg-type]

    [features] = speech_model.encode(CUTS[2:3], 4.0)
    voice = Voice.of(speech_model, EVERY_SECOND, "fr")
    task = task_of(voice, CUTS[2])
    text = decode_alone(speech_model, features, task)
    monkeypatch.setattr(type(speech_model.decoder), "step", step_and_count)
    decode_alone(speech_model, features, task)
    assert len(steps) == len(text.tokens)
    steps.clear()
    decode_alone(speech_model, features, replace(task, draft=tuple(text.tokens)))
    assert steps == []
