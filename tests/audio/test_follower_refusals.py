"""What the follower does not follow, and what the system does not let it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from following import TIMEOUT, read, read_to_end

from fsbot.audio.follower import Follower, FollowError


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
