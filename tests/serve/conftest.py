"""Whisper base in float32: at int8 a rounding in another batch may decide a tie of two tokens
(benchmarks.md), and these tests ask whether clients are kept apart."""

from collections.abc import Iterator

import pytest
from whisper.model import Whisper

from fsbot.engine.model import SpeechModel
from fsbot.engine.scheduler import Engine
from fsbot.engine.setup import engine_options
from fsbot.settings import Settings


@pytest.fixture(scope="session")
def engine(whisper_model: Whisper) -> Iterator[Engine]:
    running = Engine(SpeechModel(whisper_model), engine_options(Settings()), workers=2)
    running.start()
    yield running
    running.stop()
