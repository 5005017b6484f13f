"""Files that shrink, go, or are replaced while somebody follows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from following import TIMEOUT, read, read_bytes, read_to_end, wait_until_watched

from fsbot.audio.follower import Follower


@pytest.mark.usefixtures("events_alone")
def test_truncation_in_place(follower: Follower, tmp_path: Path, writer_at: Callable) -> None:
    writer = writer_at(tmp_path / "a.raw")
    file = follower.follow(tmp_path / "a.raw")
    writer.write(b"old" * 100)
    assert read_bytes(file, 300) == b"old" * 100
    reader = gevent.spawn(read, file)
    gevent.sleep(0.05)
    writer.truncate()
    gevent.sleep(0.05)
    writer.write(b"new")
    chunk = reader.get(timeout=TIMEOUT)
    assert (chunk.generation, chunk.offset, chunk.data, chunk.size) == (1, 0, b"new", 3)
    writer.write(b"er")
    chunk = read(file)
    assert (chunk.generation, chunk.offset, chunk.data, chunk.size) == (1, 3, b"er", 5)


@pytest.mark.usefixtures("events_alone")
def test_truncation_before_all_was_read(
    follower: Follower, tmp_path: Path, writer_at: Callable
) -> None:
    writer = writer_at(tmp_path / "a.raw")
    file = follower.follow(tmp_path / "a.raw")
    writer.write(b"old" * 100)
    assert read(file, 3).data == b"old"
    writer.truncate()
    writer.write(b"new" * 10)
    chunk = read(file)
    assert (chunk.generation, chunk.offset, chunk.data) == (1, 0, b"new" * 10)


def test_deletion_while_it_is_written(
    follower: Follower, tmp_path: Path, writer_at: Callable
) -> None:
    writer = writer_at(tmp_path / "a.raw")
    file = follower.follow(tmp_path / "a.raw")
    writer.write(b"before")
    assert read(file).data == b"before"
    wait_until_watched(follower, file)
    (tmp_path / "a.raw").unlink()
    gevent.sleep(0.05)
    writer.write(b"after")
    chunk = read(file)
    assert (chunk.generation, chunk.offset, chunk.data) == (0, 6, b"after")
    gevent.sleep(1.5)  # over a sweep
    assert not follower.is_polled(file)
    assert read_to_end(file) == b""


@pytest.mark.usefixtures("events_alone")
def test_another_file_at_the_same_path(
    follower: Follower, tmp_path: Path, writer_at: Callable
) -> None:
    old = writer_at(tmp_path / "a.raw")
    file = follower.follow(tmp_path / "a.raw")
    old.write(b"old")
    assert read(file).data == b"old"
    wait_until_watched(follower, file)
    (tmp_path / "a.raw").unlink()
    old.write(b" rest")
    writer_at(tmp_path / "a.raw").write(b"new")
    gevent.sleep(0.1)
    chunk = read(file)
    assert (chunk.generation, chunk.offset, chunk.data) == (0, 3, b" rest")
    chunk = read(file)
    assert (chunk.generation, chunk.offset, chunk.data, chunk.size) == (1, 0, b"new", 3)


@pytest.mark.usefixtures("events_alone")
def test_odd_byte_counts_and_small_reads(
    follower: Follower, tmp_path: Path, writer_at: Callable
) -> None:
    writer = writer_at(tmp_path / "a.raw")
    file = follower.follow(tmp_path / "a.raw")
    writer.write(bytes(range(7)))
    first, second = read(file, 4), read(file, 4)
    assert (first.offset, first.data, first.size) == (0, bytes(range(4)), 7)
    assert (second.offset, second.data, second.size) == (4, bytes(range(4, 7)), 7)
    writer.write(b"\x07")
    assert read(file, 4).offset == 7


@pytest.mark.usefixtures("events_alone")
def test_two_followers_of_one_path(follower: Follower, tmp_path: Path, writer_at: Callable) -> None:
    writer = writer_at(tmp_path / "a.raw")
    one, other = follower.follow(tmp_path / "a.raw"), follower.follow(tmp_path / "a.raw")
    writer.write(b"both")
    assert read(one).data == read(other).data == b"both"
    wait_until_watched(follower, one)
    one.close()
    reader = gevent.spawn(read, other)
    gevent.sleep(0.05)
    writer.write(b"other")
    assert reader.get(timeout=TIMEOUT).data == b"other"
