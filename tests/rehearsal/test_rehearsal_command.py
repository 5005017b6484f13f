"""`fsbot rehearse` with a small bot on the other side."""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import gevent
import numpy as np
import pytest
import soundfile
from raw_client import RawClient

from fsbot.errors import UserError
from fsbot.rehearsal.command import DEMO, RehearsalOptions, add_arguments, rehearse


class Stage:
    """Runs `rehearse` in a greenlet and keeps what it says."""

    def __init__(self, options: RehearsalOptions) -> None:
        self.lines: list[str] = []
        self.greenlet = gevent.spawn(rehearse, options, self.lines.append)

    def bot(self) -> RawClient:
        with gevent.Timeout(10):
            while not self.lines:
                gevent.sleep(0.01)
        port = int(self.lines[0].split(";")[0].rpartition(":")[2])
        return RawClient(port).login()


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    path = tmp_path / "spoken.wav"
    soundfile.write(path, (np.arange(4000) % 1000).astype(np.int16), 8000)
    return path


def record_all(bot: RawClient, count: int, directory: Path) -> list[str]:
    """Record each call that answers, as fsbot does; returns their UUIDs."""
    uuids = []
    for number in range(1, count + 1):
        uuid = bot.wait_event("CHANNEL_ANSWER", number).headers["Unique-ID"]
        path = directory / f"{uuid}-1.raw"
        bot.api(f"uuid_record {uuid} start {path} 0 {{enable_file_write_buffering=false}}")
        uuids.append(uuid)
    return uuids


def end_of_transcript(bot: RawClient, uuid: str) -> None:
    headers = [("Event-Subclass", "fsbot::end_of_transcript"), ("Call-UUID", uuid)]
    bot.request("sendevent CUSTOM", headers)


def test_every_file_is_a_call_and_the_summary_counts_them(spoken: Path, tmp_path: Path) -> None:
    stage = Stage(RehearsalOptions([spoken], port=0, calls=2, repeat=3))
    bot = stage.bot()
    assert len(stage.lines) == 1  # nobody has subscribed yet
    bot.request("event plain CHANNEL_ANSWER CHANNEL_HANGUP")
    uuids = record_all(bot, 3, tmp_path)
    bot.wait_event("CHANNEL_HANGUP", 3)
    for uuid in uuids:
        assert not stage.greenlet.ready()
        end_of_transcript(bot, uuid)
    stage.greenlet.join(10)
    assert stage.greenlet.value == 0
    assert stage.lines[1] == "Call 1: 0639980001 calls, spoken.wav, 0.5 s."
    assert "Call 3: 0639980003 calls, spoken.wav, 0.5 s." in stage.lines
    assert f"Call 1: recorded to {tmp_path}/{uuids[0]}-1.raw" in stage.lines
    assert stage.lines[-1].startswith("3 calls, 3 recorded, ")
    assert stage.lines[-1].endswith("events received: 3 fsbot::end_of_transcript.")


def test_it_ends_when_the_bot_leaves(spoken: Path, tmp_path: Path) -> None:
    stage = Stage(RehearsalOptions([spoken], port=0))
    bot = stage.bot()
    bot.request("event plain CHANNEL_ANSWER CHANNEL_HANGUP")
    record_all(bot, 1, tmp_path)
    bot.wait_event("CHANNEL_HANGUP")
    bot.close()
    stage.greenlet.join(10)
    assert stage.greenlet.value == 0
    assert stage.lines[-2] == "Not every recorded call got its end_of_transcript."


def test_it_does_not_wait_for_ever(spoken: Path, tmp_path: Path) -> None:
    stage = Stage(RehearsalOptions([spoken], port=0, wait=0.1))
    bot = stage.bot()
    bot.request("event plain CHANNEL_ANSWER CHANNEL_HANGUP")
    record_all(bot, 1, tmp_path)
    stage.greenlet.join(10)
    assert stage.greenlet.value == 0


def test_ctrl_c_ends_it_without_a_traceback(spoken: Path) -> None:
    program = (
        "import argparse, sys; from fsbot.rehearsal.command import add_arguments, run;"
        "parser = argparse.ArgumentParser(); add_arguments(parser);"
        "sys.exit(run(parser.parse_args()))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(spoken), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Listening on 127.0.0.1:")
        os.kill(process.pid, signal.SIGINT)
        out, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == ""
    assert out.startswith("0 calls, 0 recorded")


def test_a_load_is_refilled_and_taken_away(spoken: Path, tmp_path: Path) -> None:
    """Two calls at a time, each a second long, for a few of them; then nobody is up any more."""
    stage = Stage(RehearsalOptions([spoken], port=0, calls=2, rate=50.0, duration=3.0, wait=60))
    bot = stage.bot()
    bot.request("event plain CHANNEL_ANSWER CHANNEL_HANGUP")
    uuids = record_all(bot, 4, tmp_path)
    for uuid in uuids:
        end_of_transcript(bot, uuid)
    stage.greenlet.join(60)
    assert stage.greenlet.value == 0
    summary = stage.lines[-1]
    assert int(summary.split()[0]) >= 4, summary
    assert summary.endswith("events received: 4 fsbot::end_of_transcript.")
    assert not any(line.startswith("Call ") for line in stage.lines)


def test_new_calls_come_at_their_rate(spoken: Path) -> None:
    stage = Stage(RehearsalOptions([spoken], port=0, calls=100, rate=2.0, duration=1.8, wait=0.1))
    stage.bot().request("event plain CHANNEL_ANSWER CHANNEL_HANGUP")
    stage.greenlet.join(60)
    assert 1 <= int(stage.lines[-1].split()[0]) <= 4


def test_mistakes_name_the_file_or_the_port(spoken: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.wav"):
        rehearse(RehearsalOptions([tmp_path / "missing.wav"], port=0))
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(UserError, match=r"text\.wav"):
        rehearse(RehearsalOptions([tmp_path / "text.wav"], port=0))


def test_arguments_become_options() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(["a.wav", "--loop", "--calls", "4", "--port", "0"])
    assert (args.files, args.repeat, args.calls, args.port) == ([Path("a.wav")], 0, 4, 0)
    defaults = parser.parse_args([])
    assert (defaults.port, defaults.repeat, defaults.password) == (8021, 1, "ClueCon")
    load = parser.parse_args(["--calls", "8", "--rate", "0.5", "--duration", "600"])
    assert (load.calls, load.rate, load.duration) == (8, 0.5, 600.0)
    for wrong in (
        ["--calls", "0"],
        ["--rate", "0"],
        ["--duration", "x"],
        ["--port", "70000"],
        ["--repeat", "x"],
    ):
        with pytest.raises(SystemExit):
            parser.parse_args(wrong)


def test_the_demo_is_there() -> None:
    assert DEMO.is_file()
