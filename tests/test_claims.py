"""Two bots never work in one directory; one that was killed is in nobody's way."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbot import claims
from fsbot.claims import Claims, holder, lock_file, shown_command
from fsbot.errors import UserError
from fsbot.retention import Retention
from fsbot.switch.recording import prepare_directory
from fsbot.transcript.library import journals

HOLD = """
import sys, time
from pathlib import Path
from fsbot.claims import Claims
Claims([(what, Path(directory)) for what, directory in zip(sys.argv[1::2], sys.argv[2::2])]).take()
print("held", flush=True)
time.sleep(1000)
"""


class Other:
    """Another process that has claimed directories."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, *arguments], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "WAIT_SECONDS", 0.2)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Other]:
    (tmp_path / "r").mkdir()
    process = Other("transcripts", str(tmp_path / "t"), "recordings", str(tmp_path / "r"))
    yield process
    process.close()


def claim(transcripts: Path, recordings: Path) -> Claims:
    return Claims([("transcripts", transcripts), ("recordings", recordings)])


@pytest.mark.parametrize("which", ["transcripts", "recordings"])
def test_a_second_one_is_refused_by_name(other: Other, tmp_path: Path, which: str) -> None:
    (tmp_path / "free").mkdir()
    transcripts = tmp_path / ("t" if which == "transcripts" else "free")
    recordings = tmp_path / ("r" if which == "recordings" else "free")
    mine = claim(transcripts, recordings)
    with pytest.raises(UserError) as refused:
        mine.take()
    message = str(refused.value)
    assert f"process {other.process.pid} on {os.uname().nodename}" in message
    assert "UTC: -c" in message
    assert f"its {which} in {tmp_path / which[0]}" in message
    assert "transcripts.directory" in refused.value.remedy
    # What was free is free again.
    claim(tmp_path / "free", tmp_path / "free").take()


def test_the_same_directory_by_another_path(other: Other, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "t")
    (tmp_path / "deep").mkdir()
    for alias in (tmp_path / "link", tmp_path / "deep" / ".." / "t", Path(f"{tmp_path}//t/.")):
        with pytest.raises(UserError, match=f"process {other.process.pid}"):
            claim(alias, tmp_path / "none").take()


def test_a_killed_one_leaves_no_lock(other: Other, tmp_path: Path) -> None:
    assert holder(tmp_path / "t", "transcripts") is not None
    other.kill()
    mine = claim(tmp_path / "t", tmp_path / "r")
    claims.WAIT_SECONDS = 30.0  # until the kernel has taken it away
    mine.take()
    assert mine.whole
    found = holder(tmp_path / "r", "recordings")
    assert found is not None
    assert found.pid == os.getpid()
    mine.release()
    assert holder(tmp_path / "r", "recordings") is None


def test_one_that_is_ending_is_waited_for(
    other: Other, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "WAIT_SECONDS", 60.0)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            other.kill()
        time.sleep(seconds)

    monkeypatch.setattr(claims.gevent, "sleep", wait)
    claim(tmp_path / "t", tmp_path / "r").take()
    assert len(waits) >= 2


def test_one_directory_for_both_is_one_bots_own_affair(tmp_path: Path) -> None:
    mine = claim(tmp_path, tmp_path)
    mine.take()
    mine.take()
    assert mine.whole
    with pytest.raises(UserError):
        claim(tmp_path, tmp_path / "none").take()


def test_recordings_that_do_not_exist_are_taken_once_they_do(tmp_path: Path) -> None:
    mine = claim(tmp_path / "t", tmp_path / "r")
    mine.take()
    assert not mine.whole
    prepare_directory(tmp_path / "r")
    mine.take()
    assert mine.whole


@pytest.mark.parametrize("deleted", ["file", "directory"])
def test_a_lock_that_was_deleted_is_taken_anew(tmp_path: Path, deleted: str) -> None:
    mine = claim(tmp_path / "t", tmp_path / "none")
    mine.take()
    lock_file(tmp_path / "t", "transcripts").unlink()
    if deleted == "directory":
        (tmp_path / "t").rmdir()
    mine.take()
    with pytest.raises(UserError):
        claim(tmp_path / "t", tmp_path / "none").take()


def test_a_directory_that_cannot_be_locked_is_told_once(
    tmp_path: Path, log_lines: list[dict[str, object]]
) -> None:
    for what in ("transcripts", "recordings"):
        os.mkfifo(lock_file(tmp_path, what))  # type: ignore[arg-type]
    mine = claim(tmp_path, tmp_path)
    mine.take()
    mine.take()
    told = [line for line in log_lines if "cannot be locked" in str(line["event"])]
    assert [line["what"] for line in told] == ["transcripts", "recordings"]
    assert not mine.whole


def test_a_lock_file_that_may_only_be_read(other: Other, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write to every file")
    lock_file(tmp_path / "t", "transcripts").chmod(0o444)
    with pytest.raises(UserError, match=f"process {other.process.pid}"):
        claim(tmp_path / "t", tmp_path / "none").take()


def test_no_password_is_written_down() -> None:
    command = ["/opt/fsbot/bin/fsbot", "run", "--esl-password", "s3", "--esl-password=s4", "--x=y"]
    assert shown_command(command) == (
        "fsbot run --esl-password ******** --esl-password=******** --x=y"
    )
    assert shown_command([]) == ""


def test_nobody_takes_the_lock_for_something_else(tmp_path: Path) -> None:
    recordings = prepare_directory(tmp_path / "r")
    mine = claim(tmp_path / "t", tmp_path / "r")
    mine.take()
    retention = Retention(recordings, tmp_path / "t", 0.0001, 0.0001, lambda: ())
    retention.sweep()
    assert lock_file(tmp_path / "t", "transcripts").exists()
    assert lock_file(tmp_path / "r", "recordings").exists()
    assert not list(journals(tmp_path / "t"))
    prepare_directory(tmp_path / "r")
