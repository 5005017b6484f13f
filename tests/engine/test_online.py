"""The engine as other programs use it: in SimulStreaming's manner, and in ours."""

import numpy as np
import pytest
from hearing import RATE, SAID_FR, between, plain, silence, sound
from jiwer import wer

from fsbot.engine.events import StreamEnded, UtteranceFinal, WordsCommitted
from fsbot.engine.model import SpeechModel
from fsbot.engine.online import EngineFailed, OnlineProcessor, Transcriber
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.stream import Stream
from fsbot.settings import Settings

KEYS = ["start", "end", "text", "tokens", "words", "is_final"]


@pytest.fixture(scope="module")
def online(speech_model: SpeechModel) -> OnlineProcessor:
    return OnlineProcessor(speech_model, EngineOptions(chunk=1.0), StreamOptions())


def said(online: OnlineProcessor, samples: np.ndarray, step: float) -> list[dict[str, object]]:
    """All that SimulStreaming's loop would print: insert, ask, and finish."""
    size, found = round(step * RATE), []
    for start in range(0, len(samples), size):
        online.insert_audio_chunk(samples[start : start + size])
        found.append(online.process_iter())
    return [record for record in [*found, online.finish()] if record]


@pytest.mark.parametrize("step", [0.04, 1.2])
def test_a_loop_written_for_simulstreaming(online: OnlineProcessor, step: float) -> None:
    online.init()
    records = said(online, sound("utterance-fr"), step)
    spoken = [record for record in records if "text" in record]
    assert len(spoken) > 2
    assert all(list(record) == KEYS for record in spoken)
    text = "".join(str(record["text"]) for record in spoken)
    assert text.startswith(" ")
    assert wer(SAID_FR, plain(text)) < 0.3
    assert [record["is_final"] for record in records] == [False] * (len(records) - 1) + [True]
    times = [time for record in spoken for time in (record["start"], record["end"])]
    assert times == sorted(times)


def test_an_offset_moves_all_times(online: OnlineProcessor) -> None:
    online.init()
    plain_times = [record.get("start") for record in said(online, sound("utterance-fr"), 1.2)]
    online.init(offset=100.0)
    moved = [record.get("start") for record in said(online, sound("utterance-fr"), 1.2)]
    assert moved == pytest.approx([time and time + 100 for time in plain_times])


def test_two_utterances_are_never_in_one_record(online: OnlineProcessor) -> None:
    online.init()
    utterance = sound("utterance-fr")
    online.insert_audio_chunk(np.concatenate([utterance, silence(2), utterance, silence(2)]))
    records = []
    while record := online.process_iter():
        records.append(record)
    assert [record["is_final"] for record in records] == [True, True]
    assert online.finish() == {"is_final": True}


def test_silence_says_nothing(online: OnlineProcessor) -> None:
    online.init()
    online.insert_audio_chunk(silence(3))
    assert online.process_iter() == {}
    assert online.finish() == {"is_final": True}


def test_events_of_a_transcriber() -> None:
    with Transcriber(Settings()) as transcriber:
        stream = transcriber.open(language="french")
        stream.feed(sound("utterance-fr"))
        stream.finish()
        *events, last = stream.events()
        assert last == StreamEnded(len(sound("utterance-fr")) / RATE)
        assert any(isinstance(event, WordsCommitted) for event in events)
        (final,) = [event for event in events if isinstance(event, UtteranceFinal)]
        assert wer(SAID_FR, plain(" ".join(word.text for word in final.words))) < 0.2
        assert stream.next_event(timeout=0.0) is None

        with pytest.raises(ValueError, match="no language"):
            transcriber.open(language="klingon")


def test_a_stream_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ArithmeticError("on purpose")

    monkeypatch.setattr(Stream, "push", fail)
    with Transcriber(Settings()) as transcriber:
        broken = transcriber.open()
        broken.feed(np.zeros((100, 1), np.float32))
        with pytest.raises(EngineFailed, match="on purpose"):
            list(broken.events())
        assert broken.next_event() is None


def test_a_cancelled_stream_is_silent() -> None:
    with Transcriber(Settings()) as transcriber:
        stream = transcriber.open()
        stream.feed(between(sound("utterance-fr"), 0, 3))
        stream.cancel()
        stream.finish()
        assert all(not isinstance(event, StreamEnded) for event in stream.events())
        left_open = transcriber.open()
    assert list(left_open.events()) == []


def test_a_buffer_may_be_used_again() -> None:
    said = sound("utterance-fr")
    buffer = np.zeros((1600, 1), np.float32)
    with Transcriber(Settings()) as transcriber:
        stream = transcriber.open(skip_late_updates=False)
        for start in range(0, len(said) - 1600, 1600):
            buffer[:, 0] = said[start : start + 1600]
            stream.feed(buffer)
        stream.finish()
        finals = [event for event in stream.events() if isinstance(event, UtteranceFinal)]
    assert wer(SAID_FR, plain(" ".join(word.text for f in finals for word in f.words))) < 0.2


@pytest.mark.parametrize(
    ("audio", "error"),
    [
        (np.zeros(160, np.int16), TypeError),
        (np.zeros((160, 2), np.float32), ValueError),
        (np.full(160, np.nan, np.float32), ValueError),
        (np.full(160, 9000.0), ValueError),
    ],
    ids=["int16", "stereo", "nan", "scale of 16 bits"],
)
def test_what_is_no_sound_is_refused_and_does_no_harm(
    online: OnlineProcessor, audio: np.ndarray, error: type[Exception]
) -> None:
    """Whoever catches the error goes on with the same stream."""
    online.init()
    utterance = sound("utterance-fr")
    half = len(utterance) // 2
    online.insert_audio_chunk(utterance[:half])
    with pytest.raises(error):
        online.insert_audio_chunk(audio)
    online.insert_audio_chunk(utterance[half:].astype(np.float64).tolist())
    text = ""
    while record := online.process_iter():
        text += str(record.get("text", ""))
    text += str(online.finish().get("text", ""))
    assert wer(SAID_FR, plain(text)) < 0.3


def test_a_live_stream_refuses_the_same() -> None:
    with Transcriber(Settings()) as transcriber:
        stream = transcriber.open(language="fr")
        for audio, error in ((np.zeros(160, np.int16), TypeError), ([float("nan")], ValueError)):
            with pytest.raises(error):
                stream.feed(audio)
        assert stream.pending_seconds == 0.0
        stream.feed([0.0] * 1600)
        stream.finish()
        assert isinstance(list(stream.events())[-1], StreamEnded)
