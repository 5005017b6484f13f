"""A follower at work, and the writer whose files it follows."""

import os
from pathlib import Path

import gevent

from fsbot.audio.follower import Chunk, FollowedFile, Follower

TIMEOUT = 30
"""Seconds for what takes milliseconds on a machine with nothing else to do."""


class Writer:
    """Writes as FreeSWITCH does: one file held open, each write at its end."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

    def write(self, data: bytes) -> None:
        os.write(self.fd, data)

    def truncate(self) -> None:
        os.ftruncate(self.fd, 0)

    def close(self) -> None:
        os.close(self.fd)


def read(file: FollowedFile, max_bytes: int = 65_536) -> Chunk:
    with gevent.Timeout(TIMEOUT):
        chunk = file.read(max_bytes)
    assert chunk is not None
    return chunk


def read_bytes(file: FollowedFile, count: int) -> bytes:
    """The next `count` bytes of the same generation, however they arrive."""
    data = b""
    generation = None
    while len(data) < count:
        chunk = read(file)
        assert generation in (None, chunk.generation)
        generation = chunk.generation
        data += chunk.data
    assert len(data) == count
    return data


def read_to_end(file: FollowedFile) -> bytes:
    file.finish()
    data = b""
    with gevent.Timeout(TIMEOUT):
        while (chunk := file.read()) is not None:
            data += chunk.data
    return data


def wait_until_watched(follower: Follower, file: FollowedFile) -> None:
    with gevent.Timeout(TIMEOUT):
        while follower.is_polled(file):
            gevent.sleep(0.01)
