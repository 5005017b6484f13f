"""Random models of real shapes, and sounds that several modules decode."""

import pytest
from hearing import EVERY_SECOND, Heard, random_model, sound, transcribe
from torch import Tensor
from whisper.model import Whisper

from fsbot.engine.model import SpeechModel


@pytest.fixture(scope="session")
def babbler() -> SpeechModel:
    """Says something random of everything it hears, and costs next to nothing."""
    return random_model(80, 51865)


@pytest.fixture(scope="session")
def large_babbler() -> SpeechModel:
    """Mel bands and vocabulary of large-v3."""
    return random_model(128, 51866)


@pytest.fixture(scope="session")
def int8_model(whisper_model: Whisper) -> SpeechModel:
    """Whisper base as it runs on a CPU unless another precision is set."""
    return SpeechModel(whisper_model, "int8")


@pytest.fixture(scope="session")
def features(speech_model: SpeechModel) -> Tensor:
    """The short sound, encoded as openai-whisper would: padded to 30 s."""
    return speech_model.encode([sound("utterance-fr")], 30.0)[0]


@pytest.fixture(scope="session")
def heard(speech_model: SpeechModel) -> Heard:
    """The short sound through the engine, in one piece."""
    return transcribe(speech_model, sound("utterance-fr"), EVERY_SECOND)
