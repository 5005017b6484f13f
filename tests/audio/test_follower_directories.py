"""Directories that come and go, and those that inotify does not tell of."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from following import TIMEOUT, read, read_bytes, read_to_end, wait_until_watched
from structlog.testing import capture_logs

from fsbot.audio.follower import Follower


def test_a_directory_that_comes_goes_and_comes_again(
    follower: Follower, tmp_path: Path, writer_at: Callable
) -> None:
    directory = tmp_path / "deep" / "directory"
    first, second = follower.follow(directory / "1.raw"), follower.follow(directory / "2.raw")
    readers = [gevent.spawn(read_bytes, file, 4) for file in (first, second)]
    gevent.sleep(0.2)
    assert follower.is_polled(first)
    directory.mkdir(parents=True)
    writer = writer_at(directory / "1.raw")
    writer.write(b"here")
    assert readers[0].get(timeout=TIMEOUT) == b"here"
    wait_until_watched(follower, first)

    (directory / "1.raw").unlink()
    directory.rmdir()
    with gevent.Timeout(TIMEOUT):
        while not follower.is_polled(first):
            gevent.sleep(0.01)
    writer.write(b" still")
    assert read_bytes(first, 6) == b" still"

    directory.mkdir()
    writer_at(directory / "2.raw").write(b"anew")
    assert readers[1].get(timeout=TIMEOUT) == b"anew"
    wait_until_watched(follower, second)


def test_a_directory_that_is_moved_away(
    follower: Follower, tmp_path: Path, writer_at: Callable
) -> None:
    directory = tmp_path / "rec"
    directory.mkdir()
    writer = writer_at(directory / "a.raw")
    writer.write(b"one")
    file = follower.follow(directory / "a.raw")
    assert read(file).data == b"one"
    wait_until_watched(follower, file)
    directory.rename(tmp_path / "moved")
    with gevent.Timeout(TIMEOUT):
        while not follower.is_polled(file):
            gevent.sleep(0.01)
    writer.write(b"two")
    assert read(file).data == b"two"


def test_growth_that_no_event_announces(
    follower: Follower, tmp_path: Path, writer_at: Callable
) -> None:
    """A hard link in another directory: inotify on this one does not see its writes, exactly as
    it does not see those of another host."""
    directory, elsewhere = tmp_path / "rec", tmp_path / "elsewhere"
    directory.mkdir()
    elsewhere.mkdir()
    (directory / "a.raw").touch()
    os.link(directory / "a.raw", elsewhere / "a.raw")
    (directory / "b.raw").touch()
    os.link(directory / "b.raw", elsewhere / "b.raw")
    writer = writer_at(elsewhere / "a.raw")
    file, neighbour = follower.follow(directory / "a.raw"), follower.follow(directory / "b.raw")
    wait_until_watched(follower, file)
    gevent.sleep(0.5)
    with capture_logs() as logs:
        received = b""
        with gevent.Timeout(TIMEOUT):
            for number in range(1, 50):
                writer.write(bytes([number]) * 321)
                received += read_bytes(file, 321)
                if follower.is_polled(file):
                    break
                gevent.sleep(0.05)
        assert follower.is_polled(file)
        assert received == b"".join(bytes([n]) * 321 for n in range(1, number + 1))
        # The whole directory is polled, and later followers of it from the start.
        writer_at(elsewhere / "b.raw").write(b"neighbour")
        assert read_bytes(neighbour, 9) == b"neighbour"
        file.close()
        neighbour.close()
        again = follower.follow(directory / "a.raw")
        assert read_bytes(again, len(received)) == received
        assert follower.is_polled(again)
        writer.write(b"tail")
        gevent.spawn_later(0.3, again.finish)
        assert read_bytes(again, 4) == b"tail"
        with gevent.Timeout(TIMEOUT):
            assert again.read() is None
    assert [entry["event"] for entry in logs] == [
        "recordings grow unannounced, directory is polled"
    ]
    assert logs[0]["directory"] == str(directory)


def test_a_file_that_appears_and_is_replaced_in_a_polled_directory(
    follower: Follower, tmp_path: Path, writer_at: Callable
) -> None:
    make_blind(follower, tmp_path)
    file = follower.follow(tmp_path / "a.raw")
    reader = gevent.spawn(read_bytes, file, 5)
    gevent.sleep(0.1)
    old = writer_at(tmp_path / "a.raw")
    old.write(b"first")
    assert reader.get(timeout=TIMEOUT) == b"first"
    old.truncate()
    gevent.sleep(0.2)
    old.write(b"again")
    chunk = read(file)
    assert (chunk.generation, chunk.data) == (1, b"again")
    (tmp_path / "a.raw").unlink()
    old.write(b" gone")
    assert read_bytes(file, 5) == b" gone"
    writer_at(tmp_path / "a.raw").write(b"new")
    chunk = read(file)
    assert (chunk.generation, chunk.data) == (2, b"new")
    assert follower.is_polled(file)


def make_blind(follower: Follower, directory: Path) -> None:
    """Have the follower find out that inotify doesn't see `directory`."""
    elsewhere = directory.parent / "elsewhere"
    elsewhere.mkdir()
    (directory / "blind").touch()
    os.link(directory / "blind", elsewhere / "blind")
    file = follower.follow(directory / "blind")
    wait_until_watched(follower, file)
    with gevent.Timeout(TIMEOUT), open(elsewhere / "blind", "ab", buffering=0) as writer:
        while not follower.is_polled(file):
            writer.write(b"x")
            gevent.sleep(0.3)
    file.close()


def test_announced_growth_never_switches_to_polling(
    follower: Follower, tmp_path: Path, writer_at: Callable
) -> None:
    """Also not with a reader that does not read, and with bursts far apart."""
    steady, lazy = follower.follow(tmp_path / "a.raw"), follower.follow(tmp_path / "b.raw")
    reader = gevent.spawn(read_bytes, steady, 125 * 640)
    writers = [writer_at(tmp_path / "a.raw"), writer_at(tmp_path / "b.raw")]
    for number in range(125):
        writers[0].write(b"x" * 640)
        if number % 60 == 0:
            writers[1].write(b"x" * 65_536)
        gevent.sleep(0.02)
    reader.get(timeout=TIMEOUT)
    wait_until_watched(follower, steady)
    gevent.sleep(1.5)
    assert lazy.size == 3 * 65_536
    assert not follower.is_polled(steady)


def test_an_overflowing_event_queue(
    follower: Follower, tmp_path: Path, writer_at: Callable
) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip(f"the queue takes {limit} events here")
    files = [follower.follow(tmp_path / name) for name in ("a.raw", "b.raw", "c.raw")]
    writers = [writer_at(tmp_path / name) for name in ("a.raw", "b.raw", "c.raw")]
    writers[2].write(b"before ")
    assert read_bytes(files[2], 7) == b"before "
    wait_until_watched(follower, files[0])
    reader = gevent.spawn(read_bytes, files[2], 5)
    gevent.sleep(0.05)
    # All within one turn of the hub. Only equal neighbours are merged by the kernel.
    for _ in range(limit // 2 + 1):
        writers[0].write(b"a")
        writers[1].write(b"b")
    writers[2].write(b"after")
    assert reader.get(timeout=TIMEOUT) == b"after"
    assert len(read_to_end(files[0])) == limit // 2 + 1
    gevent.sleep(1.5)
    assert not follower.is_polled(files[2])
