"""What every room's tests may use: the real weights, found once and loaded once."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from smalldisk import SmallDisk, small_disk

if TYPE_CHECKING:
    from whisper.model import Whisper

    from fsbot.engine.model import SpeechModel

# A pytest that was started in the background ignores SIGINT, and the programs that tests interrupt
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Silent:
    """An observer of pulls that has nothing to say."""

    def step(self, text: str) -> None:
        pass

    def failed(self, text: str) -> None:
        pass

    def progress(self, done: int, total: int) -> None:
        pass


@pytest.fixture(scope="session")
def whisper_model() -> "Whisper":
    """openai-whisper's base, its weights kept outside the clone."""
    from fsbot.weights import load_model
    from fsbot.weights.pull import pull

    pull("base", Silent())
    return load_model("base")


@pytest.fixture(scope="session")
def speech_model(whisper_model: "Whisper") -> "SpeechModel":
    """The same weights in fsbot's engine, in float32."""
    from fsbot.engine.model import SpeechModel

    return SpeechModel(whisper_model)


@pytest.fixture
def log_lines() -> Iterator[list[dict[str, object]]]:
    """Everything logged while the test runs, as structlog's event dictionaries."""
    from structlog.testing import capture_logs

    with capture_logs() as lines:
        yield lines  # type: ignore[misc]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A real disk of 256 kB."""
    with small_disk(tmp_path / "disk", 256) as mounted:
        yield mounted
