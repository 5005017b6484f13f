"""The targets of `python -m tests.fuzz`, shortly: every seed, and mutations that are always the
same."""

import random
from collections.abc import Iterator
from types import ModuleType

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import connection, esl, tcp


@pytest.fixture(autouse=True)
def hub() -> Iterator[None]:
    """The connection's target looks at what greenlets of this process die of."""
    usual = gevent.get_hub().handle_error
    yield
    gevent.get_hub().handle_error = usual
    connection.switch.cache_clear()


@pytest.mark.parametrize("target", [esl, connection, tcp])
def test_seeds(target: ModuleType) -> None:
    seeds = list(target.seeds())
    assert len(seeds) > 20
    for seed in seeds:
        target.check(seed)


SNIPPETS = [
    b"\n\n",
    b"\n",
    b"%0A",
    b"\0",
    b"\0\0",
    b"Content-Length: -1\n",
    b"\xff",
    b"Content-Type",
]
SNIPPETS += [b"Content-Length: 7\n", b"Content-Length: 999999999\n", b"RIFF", b"OggS", b"ID3"]


@pytest.mark.parametrize("target", [esl, connection, tcp])
@given(dice=st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_mutated_seeds(target: ModuleType, dice: random.Random) -> None:
    data = bytearray(dice.choice(list(target.seeds())))
    for _ in range(dice.randrange(1, 8)):
        at = dice.randrange(len(data) + 1)
        until = min(len(data), at + dice.choice((0, 0, 1, 2, 20, 1000)))
        data[at:until] = dice.choice([b"", bytes([dice.randrange(256)]), *SNIPPETS])
    target.check(bytes(data))


@pytest.mark.parametrize("target", [esl, connection, tcp])
@given(data=st.binary(max_size=300))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_noise(target: ModuleType, data: bytes) -> None:
    target.check(data)
