"""Programs that run beside the benchmark, and what they cost."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import gevent
from gevent import socket, subprocess

from fsbot.errors import UserError

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
LAST_LINES = 12
POLL_SECONDS = 0.25
POLITE_SECONDS = 15.0
"""How long a program may take to end itself."""


@dataclass(frozen=True, slots=True)
class _Stat:
    """What /proc says of a process. cpu: seconds, with those of children it has waited for."""

    parent: int
    cpu: float
    resident: int


def _stats() -> dict[int, _Stat]:
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "stat").read_text()
        except OSError:
            continue  # it has ended meanwhile
        fields = text.rpartition(")")[2].split()
        ticks = sum(map(int, fields[11:15]))
        resident = int(fields[21]) * PAGE_BYTES
        found[int(entry.name)] = _Stat(int(fields[1]), ticks / TICKS_PER_SECOND, resident)
    return found


def _tree(root: int) -> list[_Stat]:
    """The process and everything below it."""
    stats = _stats()
    family = {root}
    while grown := {pid for pid, stat in stats.items() if stat.parent in family} - family:
        family |= grown
    return [stats[pid] for pid in family if pid in stats]


class Program:
    """A Python module run as a program of its own. Use as a context manager: it is ended then.

    It is in a session of its own, so that Ctrl-C reaches the benchmark alone.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        folder: Path,
        log: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it with `folder` as its working directory; its stderr goes to `log` there."""
        self.name = " ".join([module, *arguments[:1]])
        self.log = folder / log
        with self.log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=clean_environment() | dict(environment or {}),
                start_new_session=True,
            )

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def cpu_seconds(self) -> float:
        """User and system time of it and all its children; 0 once it has ended."""
        return sum(stat.cpu for stat in _tree(self._process.pid))

    @property
    def resident_bytes(self) -> int:
        """Memory it and all its children hold."""
        return sum(stat.resident for stat in _tree(self._process.pid))

    @property
    def descriptors(self) -> int:
        """Files and sockets that it has open, without its children's; 0 once it has ended."""
        try:
            return len(os.listdir(f"/proc/{self._process.pid}/fd"))
        except OSError:
            return 0

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def say(self, line: str) -> None:
        """Write a line to its stdin."""
        self._pipe(self._process.stdin).write(f"{line}\n".encode())
        self._pipe(self._process.stdin).flush()

    def hears_no_more(self) -> None:
        """Close its stdin."""
        self._pipe(self._process.stdin).close()

    def line(self) -> str:
        """Its next line on stdout; UserError if there is none because it has ended."""
        text = self._pipe(self._process.stdout).readline()
        if not text:
            raise self.failure()
        return str(text.decode()).rstrip("\n")

    def output_while(self, tell: Callable[[], object]) -> str:
        """All of its stdout, once it has ended well; `tell` is called while it works. Raises
        UserError."""
        reading = gevent.spawn(self._pipe(self._process.stdout).read)
        while not reading.ready():
            reading.join(POLL_SECONDS)
            tell()
        if not self.wait(POLITE_SECONDS) or self._process.returncode != 0:
            raise self.failure()
        return str(reading.get().decode())

    def wait(self, timeout: float) -> bool:
        """Whether it has ended by itself within so many seconds."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def failure(self) -> UserError:
        """What to tell when it ended although it should not have."""
        self.wait(1.0)
        lines = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        said = "\n  ".join(lines) or "it said nothing"
        return UserError(
            f"{self.name} ended with status {self._process.poll()}; its last words:\n  {said}",
            exit_code=self._process.poll() or 1,
        )

    def send(self, number: int) -> None:
        """A signal."""
        self._process.send_signal(number)

    def end(self) -> None:
        """Ask it to end, and make it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.running:
                self._process.send_signal(number)
                self.wait(POLITE_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    @staticmethod
    def _pipe(pipe: Any) -> IO[bytes]:
        assert pipe is not None
        return pipe  # type: ignore[no-any-return]


def clean_environment() -> dict[str, str]:
    """This process's environment without fsbot's settings: they go to the bot as flags."""
    kept = {"FSBOT_MODELS_DIR"}
    return {k: v for k, v in os.environ.items() if not k.startswith("FSBOT_") or k in kept}


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
