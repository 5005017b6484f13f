"""Files that grow, from their first byte to their last."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from following import TIMEOUT, read, read_bytes, read_to_end, wait_until_watched

from fsbot.audio.follower import Follower


@pytest.mark.usefixtures("events_alone")
def test_a_growing_file(follower: Follower, tmp_path: Path, writer_at: Callable) -> None:
    writer = writer_at(tmp_path / "a.raw")
    file = follower.follow(tmp_path / "a.raw")
    before = time.time()
    for number in range(20):
        writer.write(bytes([number]) * 640)
        chunk = read(file)
        assert chunk.offset == number * 640
        assert chunk.data == bytes([number]) * 640
        assert chunk.size == file.size == (number + 1) * 640
        assert chunk.generation == 0
        assert chunk.mtime == os.stat(tmp_path / "a.raw").st_mtime
    assert before <= file.last_growth <= time.time()
    assert read_to_end(file) == b""


def test_the_rest_is_read_after_finish(
    follower: Follower, tmp_path: Path, writer_at: Callable
) -> None:
    writer = writer_at(tmp_path / "a.raw")
    file = follower.follow(tmp_path / "a.raw")
    writer.write(b"x" * 640)
    assert read(file).size == 640
    writer.write(b"y" * 65_536)
    assert read_to_end(file) == b"y" * 65_536
    assert file.read() is None


def test_finish_wakes_a_waiting_reader(
    follower: Follower, tmp_path: Path, writer_at: Callable
) -> None:
    writer_at(tmp_path / "a.raw").write(b"abc")
    file = follower.follow(tmp_path / "a.raw")
    assert read(file).data == b"abc"
    gevent.spawn_later(0.05, file.finish)
    with gevent.Timeout(TIMEOUT):
        assert file.read() is None


@pytest.mark.usefixtures("events_alone")
def test_many_files_in_two_directories(
    follower: Follower, tmp_path: Path, writer_at: Callable
) -> None:
    (tmp_path / "other").mkdir()
    paths = [tmp_path / f"{n}.raw" for n in range(20)]
    paths += [tmp_path / "other" / f"{n}.raw" for n in range(20)]
    files = [follower.follow(path) for path in paths]
    readers = [gevent.spawn(read_bytes, file, 10 * 321) for file in files]
    writers = [writer_at(path) for path in paths]
    for number in range(10):
        for path, writer in zip(paths, writers, strict=True):
            writer.write(path.name[:1].encode() * 320 + bytes([number]))
        gevent.sleep(0.01)
    for path, reader in zip(paths, readers, strict=True):
        expected = b"".join(path.name[:1].encode() * 320 + bytes([n]) for n in range(10))
        assert reader.get(timeout=TIMEOUT) == expected


def test_one_inotify_instance_and_one_watch_for_all(
    follower: Follower, tmp_path: Path, writer_at: Callable
) -> None:
    def watches() -> list[str]:
        found = []
        for fd in os.listdir("/proc/self/fd"):
            try:
                if os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:inotify":
                    found.append(Path(f"/proc/self/fdinfo/{fd}").read_text())
            except FileNotFoundError:
                pass
        assert len(found) == 1
        return [line for line in found[0].splitlines() if line.startswith("inotify ")]

    files = []
    for n in range(10):
        writer_at(tmp_path / f"{n}.raw").write(b"x")
        files.append(follower.follow(tmp_path / f"{n}.raw"))
        read(files[-1])
    wait_until_watched(follower, files[0])
    assert len(watches()) == 1
    for file in files:
        assert len(watches()) == 1
        file.close()
    assert watches() == []


@pytest.mark.usefixtures("events_alone")
def test_a_file_that_appears_late(follower: Follower, tmp_path: Path, writer_at: Callable) -> None:
    file = follower.follow(tmp_path / "late.raw")
    reader = gevent.spawn(read_bytes, file, 4)
    wait_until_watched(follower, file)
    gevent.sleep(0.1)
    assert not reader.ready()
    assert file.size == 0
    writer_at(tmp_path / "late.raw").write(b"late")
    assert reader.get(timeout=TIMEOUT) == b"late"


@pytest.mark.usefixtures("events_alone")
def test_a_file_that_is_moved_into_place(follower: Follower, tmp_path: Path) -> None:
    file = follower.follow(tmp_path / "a.raw")
    reader = gevent.spawn(read_bytes, file, 5)
    wait_until_watched(follower, file)
    (tmp_path / "other").write_bytes(b"moved")
    (tmp_path / "other").rename(tmp_path / "a.raw")
    assert reader.get(timeout=TIMEOUT) == b"moved"


def test_a_file_that_never_appears(follower: Follower, tmp_path: Path) -> None:
    began = time.time()
    file = follower.follow(tmp_path / "never.raw")
    gevent.spawn_later(0.2, file.finish)
    with gevent.Timeout(TIMEOUT):
        assert file.read() is None
    assert file.size == 0
    assert file.last_growth == pytest.approx(began, abs=0.1)


def test_a_name_that_no_file_can_have(follower: Follower, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file"):
        follower.follow(tmp_path / "a\0.raw")


def test_an_empty_file(follower: Follower, tmp_path: Path) -> None:
    (tmp_path / "empty.raw").touch()
    assert read_to_end(follower.follow(tmp_path / "empty.raw")) == b""


def test_close_wakes_a_waiting_reader(follower: Follower, tmp_path: Path) -> None:
    file = follower.follow(tmp_path / "a.raw")
    gevent.spawn_later(0.1, file.close)
    with gevent.Timeout(TIMEOUT):
        assert file.read() is None
    file.close()
    assert file.read() is None


def test_closing_the_follower_wakes_all(tmp_path: Path) -> None:
    follower = Follower()
    readers = [gevent.spawn(follower.follow(tmp_path / f"{n}").read) for n in range(3)]
    gevent.sleep(0.1)
    follower.close()
    assert [reader.get(timeout=TIMEOUT) for reader in readers] == [None] * 3
    follower.close()


@pytest.mark.usefixtures("events_alone")
def test_the_writer_closes_at_once_and_opens_again(follower: Follower, tmp_path: Path) -> None:
    """FACTS.md 2: CREATE, CLOSE_WRITE 1 ms later, then opened anew with truncation."""
    file = follower.follow(tmp_path / "a.raw")
    reader = gevent.spawn(read_bytes, file, 640)
    wait_until_watched(follower, file)
    (tmp_path / "a.raw").touch()
    gevent.sleep(0.05)
    with open(tmp_path / "a.raw", "wb", buffering=0) as writer:
        gevent.sleep(0.05)
        writer.write(b"a" * 320)
        gevent.sleep(0.05)
        writer.write(b"b" * 320)
        assert reader.get(timeout=TIMEOUT) == b"a" * 320 + b"b" * 320


def test_a_long_backlog_leaves_the_hub_to_others(follower: Follower, tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"x" * 1_000_000)
    turns = 0

    def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            gevent.sleep(0)

    other = gevent.spawn(count)
    assert len(read_to_end(follower.follow(tmp_path / "a.raw"))) == 1_000_000
    other.kill()
    assert turns > 10
