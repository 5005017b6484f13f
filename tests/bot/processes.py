"""`fsbot run` as a process, beside a switch in this one."""

import sys
from collections.abc import Callable
from pathlib import Path

from bench import PATIENCE
from gevent import subprocess

from fsbot.rehearsal.server import RehearsalSwitch

Start = Callable[..., "Process"]


class Process:
    """A running `fsbot run`."""

    def __init__(self, folder: Path, port: int, *flags: str) -> None:
        self.log = folder / "log"
        settings = ["--esl-port", str(port), "--recordings-directory", str(folder / "recordings")]
        settings += ["--transcripts-directory", str(folder / "transcripts")]
        # How long this machine takes to come back is not what is tested.
        settings += ["--engine-lag-warning", "3600", *flags]
        with self.log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fsbot", "run", *settings], cwd=folder, stderr=stderr
            )

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, switch: RehearsalSwitch) -> int:
        """Its exit status; the switch goes on meanwhile."""
        assert switch.wait(lambda: self._process.poll() is not None, PATIENCE), self.lines
        return self._process.returncode

    @property
    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def says(self, switch: RehearsalSwitch, text: str) -> None:
        assert switch.wait(lambda: text in self.log.read_text(), PATIENCE), self.lines

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
