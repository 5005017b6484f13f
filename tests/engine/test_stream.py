"""One side from its first sound to its last word, through the real engine."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hearing import (
    EVERY_SECOND,
    FRENCH,
    RATE,
    SAID_FR,
    Heard,
    Samples,
    between,
    check_contract,
    plain,
    silence,
    sound,
    transcribe,
    turns,
)
from jiwer import wer
from whisper.tokenizer import get_tokenizer

from fsbot.audio.endpointer import EndpointerOptions
from fsbot.engine.decoder import Decoder, DecoderState
from fsbot.engine.events import LanguageDoubted, StreamEnded
from fsbot.engine.inference import Job
from fsbot.engine.language import SURE, Detected
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.scheduler import Engine

BRISK = EngineOptions(chunk=0.3, frame_threshold=15)


# What is said


def test_a_sentence(heard: Heard) -> None:
    check_contract(heard)
    (final,) = heard.finals
    assert wer(SAID_FR, heard.final_text) <= 0.14
    assert wer(SAID_FR, heard.live_text) <= 0.27
    assert len(heard.commits) > 3
    (turn,) = turns("utterance-fr")
    assert final.start == pytest.approx(turn["speech_start"], abs=0.2)
    (end,) = heard.ends
    assert end.last_speech == pytest.approx(turn["speech_end"], abs=0.2)
    assert final.end == end.decided_at
    assert final.language == "fr"


def test_live_words_come_while_the_sentence_lasts(heard: Heard) -> None:
    for commit in heard.commits:
        assert all(word.end <= commit.heard_until + 0.02 for word in commit.words)
    early = [word for commit in heard.commits if commit.heard_until < 4 for word in commit.words]
    assert len(early) >= 5


def test_words_are_timed_where_they_are_said(heard: Heard) -> None:
    """The pause between the two sentences lies between their words."""
    texts = [plain(word.text) for word in heard.final_words]
    service, essayer = texts.index("service"), texts.index("essayer")
    assert heard.final_words[service].start < 3.0
    assert heard.final_words[essayer].start > 4.3


# Pieces


def random_sizes(seed: int, total: int) -> list[int]:
    """Single samples, odd crumbs and whole seconds."""
    rng = np.random.default_rng(seed)
    kinds = [lambda: 1, lambda: rng.integers(1, 400), lambda: rng.integers(1, 20_000)]
    sizes: list[int] = []
    while sum(sizes) < total:
        sizes.append(int(kinds[rng.integers(3)]()))
    return sizes[:-1]


def test_what_is_said_does_not_depend_on_the_pieces(
    speech_model: SpeechModel, heard: Heard
) -> None:
    samples = sound("utterance-fr")
    in_pieces = transcribe(speech_model, samples, sizes=[320] * (len(samples) // 320))
    assert in_pieces.events == heard.events


def test_no_kind_of_piece_changes_an_event(babbler: SpeechModel) -> None:
    """Many starts, cuts and ends, which fall anywhere within pieces and updates."""
    samples = between(sound("demo-fr"), 0.0, 28.0)
    options = dataclasses.replace(
        BRISK,
        max_utterance=8.0,
        max_context_tokens=20,
        endpointer=EndpointerOptions(min_silence=0.1),
    )
    whole = transcribe(babbler, samples, options)
    check_contract(whole)
    assert len(whole.finals) >= 6
    assert len(whole.commits) > 30
    for sizes in ([320] * (len(samples) // 320), random_sizes(1, len(samples))):
        assert transcribe(babbler, samples, options, sizes=sizes).events == whole.events


# Beginnings and ends


def test_the_first_word_is_there_when_sound_begins_abruptly(speech_model: SpeechModel) -> None:
    samples = between(sound("utterance-fr"), 0.56, 3.4)
    abrupt = transcribe(speech_model, samples)
    check_contract(abrupt)
    assert abrupt.final_words[0].start == 0.0
    assert abrupt.final_text.split()[:2] == ["le", "numéro"]
    behind_silence = transcribe(speech_model, np.concatenate([silence(3.0), samples]))
    check_contract(behind_silence)
    assert behind_silence.final_text.split()[:2] == ["le", "numéro"]
    assert behind_silence.final_words[0].start == pytest.approx(3.0, abs=0.15)


def test_the_end_of_the_audio_is_the_end_of_the_utterance(speech_model: SpeechModel) -> None:
    """Cut within « service », without any silence behind it."""
    cut = transcribe(speech_model, between(sound("utterance-fr"), 0.0, 2.75))
    check_contract(cut)
    assert cut.final_text.startswith("le numéro composé n'est pas en")
    assert cut.live_text.startswith("le numéro composé n'est pas en")
    assert cut.events[-1] == StreamEnded(2.75)
    (final,) = cut.finals
    assert final.end == pytest.approx(2.75, abs=0.05)


@pytest.mark.parametrize(
    "pieces",
    [[], [0], [0, 0, 1], [1], [159, 0, 1], [511], [512], [513], [1600], [16000, 1]],
)
def test_streams_with_next_to_nothing_in_them(babbler: SpeechModel, pieces: list[int]) -> None:
    total = sum(pieces)
    empty = transcribe(babbler, np.zeros(total, np.float32), sizes=pieces)
    assert empty.events == [StreamEnded(total / RATE)]


@pytest.mark.parametrize("count", [1500, 1537, 2000, 3200, 6000])
def test_a_blip_of_speech_at_the_very_start(babbler: SpeechModel, count: int) -> None:
    check_contract(transcribe(babbler, between(sound("utterance-fr"), 0.6, 2.0)[:count]))


# What is not speech


def tones(hertz: tuple[float, ...], seconds: float) -> Samples:
    time = np.arange(round(seconds * RATE)) / RATE
    waves = [np.sin(2 * np.pi * each * time) for each in hertz]
    return (0.1 * np.sum(waves, axis=0)).astype(np.float32)


def repeated(samples: Samples, seconds: float) -> Samples:
    return np.tile(samples, -(-round(seconds * RATE) // len(samples)))[: round(seconds * RATE)]


def telephone_noise(seconds: float) -> Samples:
    """White noise below 4 kHz at -45 dB, as loud as a bad line hisses."""
    noise = np.random.default_rng(1).standard_normal(round(seconds * RATE / 2)) * 10 ** (-45 / 20)
    return np.repeat(noise, 2).astype(np.float32)


DTMF = [(697, 1209), (697, 1336), (697, 1477), (770, 1209), (770, 1336), (852, 1477), (941, 1336)]

NOT_SPEECH = {
    "noise": telephone_noise(30),
    "french dial tone": tones((440,), 20),
    "american dial tone": tones((350, 440), 20),
    "dtmf": repeated(
        np.concatenate([np.concatenate([tones(pair, 0.1), silence(0.1)]) for pair in DTMF]), 20
    ),
    "long keys": repeated(
        np.concatenate([np.concatenate([tones(pair, 0.6), silence(0.4)]) for pair in DTMF]), 20
    ),
    "french ringback": repeated(np.concatenate([tones((440,), 1.5), silence(3.5)]), 25),
    "american ringback": repeated(np.concatenate([tones((440, 480), 2.0), silence(4.0)]), 24),
    "busy": repeated(np.concatenate([tones((440,), 0.5), silence(0.5)]), 20),
}


@pytest.mark.parametrize("name", NOT_SPEECH)
def test_what_is_not_speech_has_no_words(speech_model: SpeechModel, name: str) -> None:
    quiet = transcribe(speech_model, NOT_SPEECH[name])
    check_contract(quiet)
    assert quiet.live_words == []
    assert quiet.final_words == []


def test_silence_costs_no_inference(speech_model: SpeechModel) -> None:
    engine = Engine(speech_model, EVERY_SECOND)
    engine.start()
    try:
        quiet = Heard()
        stream = engine.open(FRENCH, quiet.take)
        stream.feed(silence(60))
        stream.finish()
        assert quiet.wait().events == [StreamEnded(60.0)]
        assert (engine.times.updates, engine.times.closes) == (0, 0)
        assert engine.times.audio == 60
    finally:
        engine.stop()


def test_noise_around_speech_adds_no_words(speech_model: SpeechModel, heard: Heard) -> None:
    noise = telephone_noise(4) * 0.3
    samples = np.concatenate([noise, sound("utterance-fr"), noise])
    noisy = transcribe(speech_model, samples)
    check_contract(noisy)
    assert wer(SAID_FR, noisy.final_text) <= 0.2
    assert len(noisy.finals) == 1


# Longer than a window


def without_pauses(samples: Samples, longest: float = 0.2) -> Samples:
    """Quiet stretches cut down to `longest` seconds."""
    frame = RATE // 100
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    quiet = np.abs(frames).max(axis=1) < 0.01
    kept, run = [], 0
    for number, silent in enumerate(quiet):
        run = run + 1 if silent else 0
        if run <= longest * 100:
            kept.append(number)
    return frames[kept].ravel()


def test_short_pauses_repeat_no_word(speech_model: SpeechModel) -> None:
    """Utterances a breath apart, each with the sound before it in its window."""
    options = dataclasses.replace(EVERY_SECOND, endpointer=EndpointerOptions(min_silence=0.05))
    hasty = transcribe(speech_model, between(sound("demo-fr"), 0.0, 6.0), options)
    check_contract(hasty)
    assert len(hasty.finals) >= 2
    for text in (hasty.live_text, hasty.final_text):
        assert len(text.split()) <= 18  # 17 are said
        assert text.count("pour nous") == text.count("important") == 1


def test_a_cut_may_fall_into_the_silence_that_ends_the_utterance(babbler: SpeechModel) -> None:
    speech = without_pauses(between(sound("demo-fr"), 0.5, 8.9))[: 6 * RATE]
    options = dataclasses.replace(
        EVERY_SECOND,
        frame_threshold=50,
        max_utterance=7.5,
        endpointer=EndpointerOptions(min_silence=2.0),
    )
    for silent in (0.0, 1.45, 1.6, 4.0):
        ended = transcribe(babbler, np.concatenate([speech, silence(silent)]), options)
        check_contract(ended)
        assert len(ended.finals) == (1 if silent < 1.5 else 2)


@pytest.fixture(scope="module")
def long_reading() -> tuple[Samples, str]:
    """Over a minute without a pause, and what is said in it."""
    parts, texts = [], []
    for name, until in (("demo-fr", 60.0), ("utterance-fr", 60.0), ("demo-fr", 20.1)):
        parts.append(without_pauses(between(sound(name), 0.0, until)))
        texts += [plain(str(turn["text"])) for turn in turns(name) if turn["end"] < until]
    return np.concatenate(parts), " ".join(texts)


def test_continuous_speech_is_cut_without_a_word_lost_or_said_twice(
    speech_model: SpeechModel, long_reading: tuple[Samples, str]
) -> None:
    samples, said = long_reading
    assert len(samples) > 60 * RATE
    slid = transcribe(
        speech_model, samples, dataclasses.replace(EVERY_SECOND, chunk=4.0, max_utterance=13.0)
    )
    check_contract(slid)
    assert len(slid.finals) >= 5
    assert wer(said, slid.final_text) < 0.15, slid.final_text
    assert wer(said, slid.live_text) < 0.19, slid.live_text


def test_no_window_is_longer_than_the_model_hears(
    babbler: SpeechModel, long_reading: tuple[Samples, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = []
    mel = SpeechModel.mel

    def mel_and_note(self: SpeechModel, audio: Samples, padding: float) -> object:
        windows.append(len(audio) / RATE)
        return mel(self, audio, padding)

    monkeypatch.setattr(SpeechModel, "mel", mel_and_note)
    options = dataclasses.replace(EVERY_SECOND, max_utterance=28.0)
    check_contract(transcribe(babbler, long_reading[0], options))
    assert 25 < max(windows) <= 30


# Languages and prompts


def test_the_language_is_heard(speech_model: SpeechModel) -> None:
    detected = transcribe(
        speech_model, between(sound("utterance-fr"), 0.0, 3.6), stream_options=StreamOptions("auto")
    )
    check_contract(detected)
    assert {event.language for event in [*detected.commits, *detected.finals]} == {"fr"}
    assert detected.final_text.startswith("le numéro composé n'est pas en service")


def test_a_short_answer_decides_no_language_for_what_follows(speech_model: SpeechModel) -> None:
    """Less than two seconds of sound are read in a language of their own."""
    short = between(sound("utterance-fr"), 0.56, 1.1)
    samples = np.concatenate([short, silence(1.5), between(sound("utterance-fr"), 0.0, 3.1)])
    detected = transcribe(speech_model, samples, stream_options=StreamOptions("auto"))
    check_contract(detected)
    assert len(detected.finals) == 2
    assert detected.finals[1].language == "fr"
    assert detected.finals[1].words[-1].text.strip(".") == "service"


def test_a_language_is_kept_once_it_is_sure(
    speech_model: SpeechModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    detections = [Detected("de", SURE - 0.01), Detected("fr", SURE)]

    def detect(*_: object) -> Job[Detected]:
        yield from ()
        return detections.pop(0)

    monkeypatch.setattr("fsbot.engine.reader.detect_language", detect)
    detected = transcribe(speech_model, sound("utterance-fr"), stream_options=StreamOptions("auto"))
    check_contract(detected)
    assert not detections, "asked again while it was not sure, and never afterwards"
    assert {event.language for event in detected.finals} == {"fr"}
    assert detected.final_text.startswith("le numéro composé n'est pas en service")


def test_only_some_languages_are_listened_for(speech_model: SpeechModel) -> None:
    options = StreamOptions("auto", auto_languages=("it", "de"))
    detected = transcribe(speech_model, sound("utterance-fr"), stream_options=options)
    check_contract(detected)
    assert detected.finals
    assert {event.language for event in detected.finals} <= {"it", "de"}


@pytest.mark.parametrize("language", ["fr", "auto"])
def test_a_translation_is_english(speech_model: SpeechModel, language: str) -> None:
    options = StreamOptions(language, task="translate")
    translated = transcribe(speech_model, sound("utterance-fr"), stream_options=options)
    check_contract(translated)
    assert {event.language for event in [*translated.commits, *translated.finals]} == {"en"}
    assert {"the", "number", "is", "not", "service"} <= set(translated.final_text.split())


def test_a_static_prompt_spells_names(speech_model: SpeechModel) -> None:
    samples = between(sound("demo-fr"), 9.3, 15.0)
    prompted = transcribe(
        speech_model, samples, stream_options=StreamOptions(static_prompt="Asterisk, FreeSWITCH.")
    )
    assert "asterisk" in prompted.final_text


def test_earlier_utterances_are_context_up_to_the_limit(
    babbler: SpeechModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts: list[tuple[int, ...]] = []
    prefill = Decoder.prefill

    def prefill_and_note(
        self: Decoder, state: DecoderState, tokens: Sequence[Sequence[int]]
    ) -> object:
        prompts.append(tuple(tokens[0]))
        return prefill(self, state, tokens)

    monkeypatch.setattr(Decoder, "prefill", prefill_and_note)
    samples = sound("demo-fr")
    options = dataclasses.replace(EVERY_SECOND, chunk=4.0, max_context_tokens=3)
    transcribe(babbler, samples, options, StreamOptions(static_prompt="Asterisk"))
    tokenizer = get_tokenizer(True, num_languages=99)
    static = tuple(tokenizer.encode(" Asterisk"))
    heads = [prompt[: prompt.index(tokenizer.sot) + 1] for prompt in prompts]
    assert all(head[: len(static) + 1] == (tokenizer.sot_prev, *static) for head in heads)
    carried = {len(head) - len(static) - 2 for head in heads}
    assert min(carried) == 0
    assert max(carried) == 3


def test_a_language_that_is_not_what_is_heard_is_doubted_once(speech_model: SpeechModel) -> None:
    thrice = np.concatenate([sound("utterance-fr"), silence(1)] * 3)
    wrong = transcribe(speech_model, thrice, stream_options=StreamOptions("en"))
    check_contract(wrong)
    (doubt,) = [event for event in wrong.events if isinstance(event, LanguageDoubted)]
    assert (doubt.read_in, doubt.heard) == ("en", "fr")
    assert doubt.probability > 0.9
    assert "engine.language" in str(doubt)
    for right in (StreamOptions("fr"), StreamOptions("auto")):
        heard = transcribe(speech_model, thrice, stream_options=right)
        assert not any(isinstance(event, LanguageDoubted) for event in heard.events)
