from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from structlog.testing import capture_logs

from fsbot.audio.follower import Chunk, FollowedFile, Follower, FollowError

TIMEOUT = 30
"""Seconds for what takes milliseconds on a machine with nothing else to do."""


@pytest.fixture
def follower() -> Iterator[Follower]:
    follower = Follower()
    yield follower
    follower.close()


@pytest.fixture
def events_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sweep comes to the rescue of a missed event."""
    monkeypatch.setattr("fsbot.audio.follower.SWEEP_SECONDS", 3600)


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


@pytest.fixture
def writer_at() -> Iterator[Callable[[Path], Writer]]:
    writers: list[Writer] = []

    def open_writer(path: Path) -> Writer:
        writers.append(Writer(path))
        return writers[-1]

    yield open_writer
    for writer in writers:
        writer.close()


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


def wait_until_watched(follower: Follower, file: FollowedFile) -> None:
    with gevent.Timeout(TIMEOUT):
        while follower.is_polled(file):
            gevent.sleep(0.01)


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


@pytest.mark.parametrize("kind", ["symlink", "dangling", "fifo", "directory"])
def test_only_regular_files(follower: Follower, tmp_path: Path, kind: str) -> None:
    path, secret = tmp_path / "a.raw", tmp_path / "secret"
    secret.write_text("not for the bot")
    if kind == "symlink":
        path.symlink_to(secret)
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nothing")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    file = follower.follow(path)
    for _ in range(2):
        with gevent.Timeout(TIMEOUT), pytest.raises(FollowError) as caught:
            file.read()
    assert caught.value.path == path
    reason = "a symbolic link" if kind in ("symlink", "dangling") else "not a regular file"
    assert caught.value.reason == reason
    assert str(caught.value) == f"{path}: {reason}"


def test_a_symlink_that_takes_the_files_place(
    follower: Follower, tmp_path: Path, writer_at: Callable
) -> None:
    (tmp_path / "secret").write_text("not for the bot")
    writer_at(tmp_path / "a.raw").write(b"mine")
    file = follower.follow(tmp_path / "a.raw")
    assert read(file).data == b"mine"
    (tmp_path / "a.raw").unlink()
    (tmp_path / "a.raw").symlink_to(tmp_path / "secret")
    gevent.sleep(0.1)
    assert read_to_end(file) == b""


def run_script(script: str, *args: str, **options: int) -> str:
    """What `script` prints, run with a follower in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )
    if "cannot be tried here" in result.stdout:
        pytest.skip(result.stdout.strip())
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_directory_without_permission(tmp_path: Path) -> None:
    """FreeSWITCH creates missing directories 0750 (FACTS.md 3)."""
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o750)
    (closed / "a.raw").write_bytes(b"secret")
    if os.getuid() != 0:
        closed.chmod(0)  # Only root can become another user; lock ourselves out instead.
    script = """
        import os, sys
        from pathlib import Path
        import gevent
        from fsbot.audio.follower import Follower, FollowError
        follower = Follower()
        if os.getuid() == 0:
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
        file = follower.follow(Path(sys.argv[1]))
        try:
            with gevent.Timeout(30):
                file.read()
        except FollowError as error:
            print("FollowError", error)
        gevent.sleep(0.3)
        follower.close()
    """
    out = run_script(script, str(closed / "a.raw"))
    closed.chmod(0o750)
    assert f"FollowError {closed / 'a.raw'}: Permission denied" in out
    assert out.count("inotify refuses a watch, directory is polled") == 1
    assert "recordings.shared_group" in out


@pytest.mark.parametrize("limit", ["watches", "instances"])
def test_inotify_limits(tmp_path: Path, limit: str) -> None:
    """In a user namespace of its own, whose limits can be set without touching the machine's."""
    script = """
        import ctypes, sys
        from pathlib import Path
        import gevent
        from fsbot.audio.follower import Follower
        path, limit = Path(sys.argv[1]), sys.argv[2]
        CLONE_NEWUSER = 0x10000000
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
                raise OSError("unshare refused")
            Path(f"/proc/sys/user/max_inotify_{limit}").write_text("0")
        except OSError as error:
            print("cannot be tried here:", error)
            sys.exit()
        follower = Follower()
        file = follower.follow(path)
        path.write_bytes(b"")
        def write():
            with path.open("ab", buffering=0) as writer:
                for _ in range(5):
                    gevent.sleep(0.1)
                    writer.write(b"x")
            file.finish()
        gevent.spawn(write)
        data = b""
        with gevent.Timeout(30):
            while (chunk := file.read()) is not None:
                data += chunk.data
        print("got", data.decode(), follower.is_polled(file))
        follower.close()
    """
    out = run_script(script, str(tmp_path / "a.raw"), limit)
    assert "got xxxxx True" in out
    lines = [line for line in out.splitlines() if "polled" in line]
    assert len(lines) == 1
    assert f"fs.inotify.max_user_{limit}" in lines[0]


def test_nothing_is_left_open(tmp_path: Path, writer_at: Callable) -> None:
    Follower().close()  # what is made once per process
    before = len(os.listdir("/proc/self/fd"))
    follower = Follower()
    for n in range(5):
        writer = writer_at(tmp_path / f"{n}.raw")
        writer.write(b"x")
        file = follower.follow(tmp_path / f"{n}.raw")
        read(file)
        if n % 2:
            file.close()
    follower.close()
    assert len(os.listdir("/proc/self/fd")) == before + 5  # the writers
