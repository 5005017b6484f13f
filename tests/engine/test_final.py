"""The final text: with what was just said in its window, and whole however it was stopped."""

from collections.abc import Sequence

import numpy as np
import pytest
from hearing import EVERY_SECOND, RATE, between, plain, sound, turns
from jiwer import wer

from fsbot.engine import final, guards, inference
from fsbot.engine.decoding import Decoded
from fsbot.engine.final import PAUSE_SECONDS, FinalDecoder, Speech
from fsbot.engine.inference import Window, finish
from fsbot.engine.model import SpeechModel
from fsbot.engine.voice import Voice

CALL = sound("demo-fr")
FIRST, SECOND, THIRD, FOURTH = turns("demo-fr")[1:5]


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of every window decoded greedily during the test."""
    lengths: list[float] = []
    infer = inference.infer

    def infer_and_note(model: SpeechModel, asked: Sequence[Window]) -> list[Decoded]:
        lengths.extend(len(window.samples) / RATE for window in asked if window.task.beams == 1)
        return infer(model, asked)

    monkeypatch.setattr(inference, "infer", infer_and_note)
    return lengths


@pytest.fixture(scope="module")
def voice(speech_model: SpeechModel) -> Voice:
    return Voice.of(speech_model, EVERY_SECOND, "fr")


LONGEST = 15.0


@pytest.fixture
def decoder() -> FinalDecoder:
    return FinalDecoder(lambda start, end: between(CALL, start, end), LONGEST)


def span(turn: dict[str, object]) -> tuple[float, float]:
    return float(str(turn["speech_start"])), float(str(turn["speech_end"]))


def read(decoder: FinalDecoder, voice: Voice, turn: dict[str, object]) -> str:
    start, end = span(turn)
    speech = Speech(start - 0.4, start, end, end + 0.3)
    text = finish(voice.model, decoder.decode(voice, (), speech, ()))
    decoder.accept(text)
    assert plain(voice.tokenizer.decode(list(text.tokens))) == plain(
        " ".join(word.text for word in text.words)
    )
    starts = [word.start for word in text.words]
    assert starts == sorted(starts)
    # The first word may reach back into the silence before its own audio.
    assert start - 0.4 <= starts[1] <= text.words[-1].end <= end + 0.3 + 0.02
    return plain(" ".join(word.text for word in text.words))


def test_what_was_just_said_stands_before_it(
    decoder: FinalDecoder, voice: Voice, windows: list[float]
) -> None:
    errors = [
        wer(plain(str(turn["text"])), read(decoder, voice, turn)) for turn in (FIRST, SECOND, THIRD)
    ]
    assert max(errors) < 0.35
    assert sum(errors) < 0.6
    (one, two, *_) = windows
    assert one == pytest.approx(span(FIRST)[1] - span(FIRST)[0] + 0.7, abs=0.01)
    assert two == pytest.approx(span(SECOND)[1] - span(FIRST)[0] + 0.7, abs=0.01)
    assert max(windows) <= LONGEST
    assert decoder.needs_audio_from > span(FIRST)[0]


def test_nothing_stands_before_it_where_that_takes_too_long(
    voice: Voice, windows: list[float]
) -> None:
    hasty = FinalDecoder(lambda start, end: between(CALL, start, end), 0.0)
    read(hasty, voice, FIRST)
    read(hasty, voice, SECOND)
    assert windows[-1] == pytest.approx(span(SECOND)[1] - span(SECOND)[0] + 0.7, abs=0.01)


def test_nothing_stands_before_it_that_takes_the_room_of_its_text(
    speech_model: SpeechModel, windows: list[float]
) -> None:
    """In Burmese a few seconds fill the decoder: what was said before must not."""
    decoder = FinalDecoder(lambda start, end: between(CALL, start, end), LONGEST)
    french = Voice.of(speech_model, EVERY_SECOND, "fr")
    burmese = Voice.of(speech_model, EVERY_SECOND, "my")
    read(decoder, french, FIRST)
    start, end = span(SECOND)
    finish(
        speech_model, decoder.decode(burmese, (), Speech(start - 0.4, start, end, end + 0.3), ())
    )
    assert windows[1] == pytest.approx(end - start + 0.7, abs=0.01)


def test_after_a_pause_everything_begins_anew(
    decoder: FinalDecoder, voice: Voice, windows: list[float]
) -> None:
    read(decoder, voice, FIRST)
    read(decoder, voice, THIRD)
    start, end = span(THIRD)
    assert start - span(FIRST)[1] > PAUSE_SECONDS
    assert windows[-1] == pytest.approx(end - start + 0.7, abs=0.01)


def test_no_audio_is_kept_for_longer_than_it_can_help(decoder: FinalDecoder, voice: Voice) -> None:
    assert decoder.needs_audio_from == np.inf
    read(decoder, voice, FIRST)
    start, end = span(FIRST)
    decoder.forget_before(end + PAUSE_SECONDS - 0.1)
    assert decoder.needs_audio_from == pytest.approx(start - 0.4)
    decoder.forget_before(end + PAUSE_SECONDS + 0.1)
    assert decoder.needs_audio_from == np.inf


def test_a_text_that_a_guard_cut_short_goes_on(
    decoder: FinalDecoder, voice: Voice, monkeypatch: pytest.MonkeyPatch, windows: list[float]
) -> None:
    monkeypatch.setattr(guards, "TOKENS_PER_SECOND", 1.0)
    assert wer(plain(str(FOURTH["text"])), read(decoder, voice, FOURTH)) < 0.5
    assert 1 < len(windows) <= final.MOST_PARTS
    assert windows == sorted(windows, reverse=True)
    assert decoder.needs_audio_from == pytest.approx(span(FOURTH)[0] - 0.4)


def test_the_rest_is_read_from_where_the_last_word_is_heard(voice: Voice) -> None:
    """A comma may listen to the end of the sound, which has not been read then."""
    samples = np.random.default_rng(0).standard_normal(6 * RATE).astype(np.float32) * 0.1
    decoder = FinalDecoder(
        lambda start, end: samples[round(start * RATE) : round(end * RATE)], LONGEST
    )
    tokens = voice.tokenizer.encode(" 5, 5, 5")
    frames = [50, 290, 100, 295, 150]
    assert len(tokens) == len(frames)
    attention = np.eye(300, dtype=np.float32)[frames] * 9.0
    cut_short = Decoded(tokens, frames, [-0.1] * 5, attention, False, [0.0])
    job = decoder.decode(voice, (), Speech(0.0, 0.5, 5.5, 6.0), ())
    assert len(next(job).samples) == len(samples)
    padded = job.send(cut_short)
    assert (len(padded.samples), padded.padding) == (len(samples), inference.LONG_PADDING)
    rest = job.send(cut_short)
    assert 3.0 < 6.0 - len(rest.samples) / RATE < 3.7
