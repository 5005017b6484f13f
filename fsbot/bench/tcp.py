"""The case serve: what TCP clients get, how soon, and how many at once, beside SimulStreaming's
server where there is one."""

from __future__ import annotations

import socket as constants
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gevent
import numpy as np
import soundfile
import soxr
from gevent import socket
from numpy.typing import NDArray

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.bench.forcing import word_ends
from fsbot.bench.latencies import Quantiles, SpokenEnd
from fsbot.bench.process import Program, free_port
from fsbot.bench.report import CaseReport, Figure, limited
from fsbot.bench.scoring import align
from fsbot.bench.scoring import words as normalised
from fsbot.bench.speech import SIDES, Reference
from fsbot.bench.workshop import Workshop, progress
from fsbot.errors import UserError

CLIENTS = 20
LIVE_CALLS = 3
PIECE_SECONDS = 0.02
CLIENT_SECONDS = 20.0
"""What each of many clients sends."""

START_SECONDS = 120.0
FAIR = 0.95


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text that came, by time.monotonic."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got. began, ended: when it connected, and when the server closed."""

    began: float
    ended: float
    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        return "".join(line.text for line in self.lines)

    def words(self) -> list[tuple[str, float]]:
        """Normalised words, each with the arrival of its last letter."""
        letters = [(letter, line.at) for line in self.lines for letter in line.text]
        found: list[tuple[str, float]] = []
        word, last = "", 0.0
        for letter, at in [*letters, (" ", 0.0)]:
            if letter.isspace():
                found += [(each, last) for each in normalised(word)]
                word = ""
            else:
                word, last = word + letter, at
        return found


def serve(workshop: Workshop) -> CaseReport:
    """Many clients as fast as they can, and one that speaks."""
    language = workshop.calls[0].language
    calls = [call for call in workshop.calls if call.language == language]
    figures: list[Figure] = []
    with _fsbot(workshop, language) as port:
        figures += _many(port, calls)
        figures += _live("", port, calls, workshop)
        figures.append(_throughput("", port, calls))
    if workshop.wishes.simulstreaming is not None:
        name = "SimulStreaming: "
        with _simulstreaming(workshop.wishes.simulstreaming, workshop, language) as port:
            figures += _live(name, port, calls, workshop)
            figures.append(_throughput(name, port, calls))
    return CaseReport(
        "serve",
        f"sides of the {language} calls over TCP, lines of text; words by the arrival of their "
        f"line, one client in real time; {workshop.point.summary}",
        tuple(figures),
    )


def _many(port: int, calls: Sequence[Reference]) -> list[Figure]:
    """Twenty clients at once, each with its own part of the calls, against each of them alone."""
    sides = [_side(call, number) for call in calls for number in range(len(SIDES))]
    length = round(CLIENT_SECONDS * SAMPLE_RATE)
    parts = [side[start : start + length] for start in (0, length) for side in sides]
    parts = [part for part in parts if len(part) == length][:CLIENTS]
    with progress(f"{len(parts)} clients at once", len(parts) * CLIENT_SECONDS / 15):
        together = [gevent.spawn(_play, port, part) for part in parts]
        gevent.joinall(together, raise_error=True)
    with progress("each alone", len(parts) * CLIENT_SECONDS / 10):
        alone = [_play(port, part) for part in parts]
    answers = [each.get() for each in together]
    speeds = [CLIENT_SECONDS / (answer.ended - answer.began) for answer in answers]
    jain = sum(speeds) ** 2 / (len(speeds) * sum(speed**2 for speed in speeds))
    same = sum(answer.text == own.text for answer, own in zip(answers, alone, strict=True))
    spent = max(answer.ended for answer in answers) - min(answer.began for answer in answers)
    return [
        Figure("clients at once", len(parts)),
        limited("Jain index of their throughput", jain, "", FAIR, f">= {FAIR}", least=True),
        limited("texts as alone", same, f"of {len(parts)}", len(parts), "all", least=True),
        Figure("throughput, all at once", len(parts) * CLIENT_SECONDS / spent, "times real time"),
    ]


def _live(name: str, port: int, calls: Sequence[Reference], workshop: Workshop) -> list[Figure]:
    """The callers of some calls, one at a time, in real time."""
    played = calls[:LIVE_CALLS]
    ends = word_ends(played, workshop)
    latencies: list[float] = []
    said = wrong = 0
    for call in played:
        spoken = ends[call.name][SIDES[0]]
        with progress(f"{name}{call.name}, live", call.seconds):
            answer = _play(port, _side(call, 0), live=True)
        found, errors = _latencies(spoken, answer)
        latencies += found
        said += len(spoken)
        wrong += errors
    quantiles = Quantiles.of(latencies)
    return [
        Figure(f"{name}word latency, median", quantiles.p50, "s"),
        Figure(f"{name}word latency, p95", quantiles.p95, "s"),
        Figure(f"{name}words right", f"{quantiles.count} of {said}"),
        Figure(f"{name}word error rate", 100 * wrong / said, "%"),
    ]


def _latencies(spoken: Sequence[SpokenEnd], answer: Answer) -> tuple[list[float], int]:
    heard = answer.words()
    aligned = align([word.word for word in spoken], [word for word, _ in heard])
    found = [heard[got][1] - answer.began - spoken[wanted].end for wanted, got in aligned.matches]
    return found, aligned.errors


def _throughput(name: str, port: int, calls: Sequence[Reference]) -> Figure:
    """One client that sends a side as fast as it is taken."""
    side = _side(calls[0], 0)
    with progress(f"{name}{calls[0].name}, as fast as it goes", calls[0].seconds):
        answer = _play(port, side)
    speed = len(side) / SAMPLE_RATE / (answer.ended - answer.began)
    return Figure(f"{name}throughput, one client", speed, "times real time")


def _side(call: Reference, channel: int) -> NDArray[np.int16]:
    """One side at 16 kHz, s16le."""
    samples, rate = soundfile.read(call.sound, dtype="float32", always_2d=True)
    wide = soxr.resample(samples[:, channel], rate, SAMPLE_RATE) * 32767
    side: NDArray[np.int16] = np.clip(wide, -32768, 32767).astype("<i2")
    return side


def _play(port: int, samples: NDArray[np.int16], *, live: bool = False) -> Answer:
    """Send sound, half-close, and read lines until the server closes."""
    sock = socket.create_connection(("127.0.0.1", port))
    began = time.monotonic()
    sending = gevent.spawn(_send, sock, samples, began if live else None)
    lines = []
    with sock.makefile("r", encoding="utf-8", newline="\n") as stream:
        for line in stream:
            *_, text = line.rstrip("\n").split(" ", 2)
            lines.append(Line(time.monotonic(), text))
    ended = time.monotonic()
    sending.kill()
    sock.close()
    return Answer(began, ended, tuple(lines))


def _send(sock: socket.socket, samples: NDArray[np.int16], began: float | None) -> None:
    size = round(PIECE_SECONDS * SAMPLE_RATE)
    for start in range(0, len(samples), size):
        if began is not None:
            due = began + (start + size) / SAMPLE_RATE
            gevent.sleep(max(0.0, due - time.monotonic()))
        sock.sendall(samples[start : start + size].tobytes())
    sock.shutdown(constants.SHUT_WR)


@contextmanager
def _fsbot(workshop: Workshop, language: str) -> Iterator[int]:
    port = free_port()
    arguments = ["serve", "--port", str(port), "--language", language, *workshop.point.flags]
    with Program("fsbot", arguments, workshop.place("serve"), "log") as program:
        _wait_for(program, port)
        yield port


@contextmanager
def _simulstreaming(checkout: Path, workshop: Workshop, language: str) -> Iterator[int]:
    port = free_port()
    arguments = [str(checkout.resolve()), "--serve", str(port), "--language", language]
    folder = workshop.place("simulstreaming")
    with Program("fsbot.bench.simulstreaming", arguments, folder, "log") as program:
        _wait_for(program, port)
        yield port


def _wait_for(program: Program, port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if not program.running:
            raise program.failure()
        if _listens(port):
            return
        gevent.sleep(0.2)
    raise UserError(f"{program.name} does not listen after {START_SECONDS:g} s")


def _listens(port: int) -> bool:
    """Whether somebody on this machine listens on that port (proc(5): state 0A).

    Not by a connection: SimulStreaming would serve it, and nobody else until it is over.
    """
    wanted = f":{port:04X}"
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(row.split()[1].endswith(wanted) and row.split()[3] == "0A" for row in rows)
