"""A running stand-in switch and a client of it."""

from collections.abc import Iterator

import pytest
from raw_client import RawClient

from fsbot.rehearsal.server import RehearsalSwitch


@pytest.fixture
def switch() -> Iterator[RehearsalSwitch]:
    with RehearsalSwitch() as running:
        yield running


@pytest.fixture
def client(switch: RehearsalSwitch) -> Iterator[RawClient]:
    connected = RawClient(switch.port)
    yield connected
    connected.close()
