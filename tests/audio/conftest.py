from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from following import Writer

from fsbot.audio.follower import Follower


@pytest.fixture
def follower() -> Iterator[Follower]:
    follower = Follower()
    yield follower
    follower.close()


@pytest.fixture
def events_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sweep comes to the rescue of a missed event."""
    monkeypatch.setattr("fsbot.audio.follower.SWEEP_SECONDS", 3600)


@pytest.fixture
def writer_at() -> Iterator[Callable[[Path], Writer]]:
    writers: list[Writer] = []

    def open_writer(path: Path) -> Writer:
        writers.append(Writer(path))
        return writers[-1]

    yield open_writer
    for writer in writers:
        writer.close()
