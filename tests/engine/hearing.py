"""Sounds to transcribe, the engine run on them, and what its events amount to."""

import dataclasses
import json
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray

import fsbot.rehearsal
from fsbot.engine.events import (
    AudioCovered,
    LanguageDoubted,
    SpeechCertain,
    SpeechStarted,
    StreamEnded,
    StreamEvent,
    StreamFailed,
    UtteranceEnded,
    UtteranceFinal,
    Word,
    WordsCommitted,
)
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.orders import StreamHandle
from fsbot.engine.scheduler import Engine
from fsbot.engine.words import LEAST_WORD_SECONDS
from fsbot.weights.architecture import Dimensions, tensor_shapes, upper_half
from fsbot.weights.checkpoint import Checkpoint, build_whisper

Samples = NDArray[np.float32]

RATE = 16000
SOUNDS = Path(fsbot.rehearsal.__file__).parent / "sounds"
PATIENCE = 240.0

EVERY_SECOND = EngineOptions(chunk=1.0)

FRENCH = StreamOptions(skip_late_updates=False)
"""As a file is read: what is said does not depend on the speed of the machine."""


def random_model(n_mels: int, vocabulary: int, seed: int = 1) -> SpeechModel:
    """Everything of Whisper but its knowledge: tiny layers around the real windows."""
    dims = Dimensions(n_mels, 1500, 16, 2, 2, vocabulary, 448, 16, 2, 2)
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.randn(shape, generator=generator) * 0.3
        for name, shape in tensor_shapes(dims).items()
    }
    return SpeechModel(build_whisper(Checkpoint(dims, tensors, upper_half(dims))))


def turns(name: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((SOUNDS / f"{name}.json").read_text())["turns"]
    return found


def sound(name: str) -> Samples:
    """A committed sound at 16 kHz, both sides of a call together: they never overlap."""
    samples, rate = soundfile.read(SOUNDS / f"{name}.flac", dtype="float32", always_2d=True)
    return soxr.resample(samples.sum(axis=1), rate, RATE).astype(np.float32)


def between(samples: Samples, start: float, end: float) -> Samples:
    return samples[round(start * RATE) : round(end * RATE)]


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), dtype=np.float32)


def plain(text: str) -> str:
    """Lower case without marks, as word error rates are counted."""
    kept = "".join(c if c.isalnum() or c in "'’" else " " for c in text.lower())
    return " ".join(kept.replace("’", "'").split())


SAID_FR = plain(str(turns("utterance-fr")[0]["text"]))


@dataclass
class Heard:
    """The events of one stream, in their order."""

    events: list[StreamEvent] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)

    def take(self, event: StreamEvent) -> None:
        self.threads.add(threading.current_thread().name)
        self.events.append(event)
        if isinstance(event, StreamEnded | StreamFailed):
            self.over.set()

    def wait(self) -> "Heard":
        assert self.over.wait(PATIENCE), self.events
        return self

    @property
    def commits(self) -> list[WordsCommitted]:
        return [event for event in self.events if isinstance(event, WordsCommitted)]

    @property
    def finals(self) -> list[UtteranceFinal]:
        return [event for event in self.events if isinstance(event, UtteranceFinal)]

    @property
    def starts(self) -> list[SpeechStarted]:
        return [event for event in self.events if isinstance(event, SpeechStarted)]

    @property
    def ends(self) -> list[UtteranceEnded]:
        return [event for event in self.events if isinstance(event, UtteranceEnded)]

    @property
    def live_words(self) -> list[Word]:
        return [word for commit in self.commits for word in commit.words]

    @property
    def final_words(self) -> list[Word]:
        return [word for final in self.finals for word in final.words]

    @property
    def live_text(self) -> str:
        return text_of(self.live_words)

    @property
    def final_text(self) -> str:
        return text_of(self.final_words)


def text_of(words: Iterable[Word]) -> str:
    return plain(" ".join(word.text for word in words))


def feed_slowly(stream: StreamHandle, pieces: Sequence[Samples]) -> None:
    """Feed each piece when the one before has been listened to, as a live call would."""
    deadline = time.monotonic() + PATIENCE
    for piece in pieces:
        stream.feed(piece)
        while stream.pending_seconds > 0 and time.monotonic() < deadline:
            time.sleep(0.0002)


def transcribe(
    model: SpeechModel,
    samples: Samples,
    options: EngineOptions = EVERY_SECOND,
    stream_options: StreamOptions = FRENCH,
    sizes: Sequence[int] = (),
) -> Heard:
    """One stream through an engine of its own; `sizes`: of the pieces it is fed in."""
    engine = Engine(model, options)
    engine.start()
    try:
        heard = Heard()
        every_update = dataclasses.replace(stream_options, skip_late_updates=False)
        stream = engine.open(every_update, heard.take)
        pieces = np.split(samples, np.cumsum(sizes)) if len(sizes) else [samples]
        feed_slowly(stream, pieces)
        stream.finish()
        return heard.wait()
    finally:
        engine.stop()


def without_probabilities(events: Iterable[StreamEvent]) -> list[StreamEvent]:
    """Events and words without a probability: in another batch it differs by a rounding."""

    def without(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(dataclasses.replace(word, probability=0.0) for word in value)
        return value

    return [
        dataclasses.replace(
            event,
            **{
                field.name: 0.0 if field.name == "probability" else without(value)
                for field in dataclasses.fields(event)
                if isinstance(value := getattr(event, field.name), tuple | float)
            },
        )
        for event in events
    ]


def check_contract(heard: Heard) -> None:
    """What holds of the events of every stream that ended well, whatever was said."""
    *events, last = [e for e in heard.events if not isinstance(e, LanguageDoubted)]
    assert isinstance(last, StreamEnded), last
    utterances = [start.utterance for start in heard.starts]
    assert utterances == list(range(1, len(utterances) + 1))
    assert [final.utterance for final in heard.finals] == utterances
    assert [end.utterance for end in heard.ends] == utterances
    for number in utterances:
        of_it = [event for event in events if event.utterance == number]
        check_utterance([event for event in of_it if not isinstance(event, AudioCovered)])
        assert isinstance(of_it[-1], AudioCovered)
        covered = [event.until for event in of_it if isinstance(event, AudioCovered)]
        assert covered[:-1] == sorted(covered[:-1])
        # An overlong utterance is closed where it was quietest, which has been heard before.
        assert covered[-1] == heard.finals[number - 1].end
        assert all(0 < until <= last.duration for until in covered)
    for ended, final in zip(heard.ends, heard.finals, strict=True):
        following = heard.starts[ended.utterance : ended.utterance + 1]
        cut = bool(following) and following[0].at == ended.last_speech
        assert final.end == (ended.last_speech if cut else ended.decided_at)
    decided = [end.decided_at for end in heard.ends]
    assert decided == sorted(decided)
    check_times(heard.live_words)
    check_times(heard.final_words)
    for word in heard.live_words + heard.final_words:
        assert word.text == word.text.strip() != ""
        assert 0 <= word.probability <= 1
        assert 0 <= word.start <= word.end <= last.duration + 0.02


def check_utterance(events: Sequence[StreamEvent]) -> None:
    """Start, live words, end, last live words, final: in this order, the live text only growing."""
    started, *middle, final = events
    assert isinstance(started, SpeechStarted)
    certain = [event for event in middle if isinstance(event, SpeechCertain)]
    assert [(event.utterance, event.at) for event in certain] in (
        [],
        [(started.utterance, started.at)],
    )
    middle = [event for event in middle if not isinstance(event, SpeechCertain)]
    assert isinstance(final, UtteranceFinal)
    (ended_at,) = [n for n, event in enumerate(middle) if isinstance(event, UtteranceEnded)]
    ended = middle.pop(ended_at)
    assert isinstance(ended, UtteranceEnded)
    assert started.at <= ended.last_speech <= ended.decided_at
    assert 0 <= ended.probability <= 1
    assert final.start == started.at
    spoken: tuple[Word, ...] = ()
    tentative: tuple[Word, ...] = ()
    heard_until = 0.0
    for position, commit in enumerate(middle):
        assert isinstance(commit, WordsCommitted)
        assert commit.words or commit.tentative != tentative
        spoken += commit.words
        assert commit.spoken == spoken
        check_times(spoken + commit.tentative)
        tentative = commit.tentative
        if not commit.speech_final:  # the last words are read without the silence behind them
            assert commit.heard_until >= heard_until
            heard_until = commit.heard_until
        assert commit.speech_final == (position >= ended_at)
        if commit.speech_final:
            assert position == len(middle) - 1
            assert commit.words
            assert commit.tentative == ()
    live = [word.text for word in spoken]
    assert final.revised == (live != [word.text for word in final.words])
    # Each word has some time of its own, also where the speech has next to none.
    speech_end = max(ended.last_speech, started.at + LEAST_WORD_SECONDS * len(final.words))
    for word in final.words:
        assert started.at <= word.start < word.end <= speech_end + 1e-9


def check_times(words: Sequence[Word]) -> None:
    for before, word in pairwise(words):
        assert before.start < before.end <= word.start + 1e-9, (before, word)
