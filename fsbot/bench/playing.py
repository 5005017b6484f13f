"""Playing calls to the bot: load generator, bot and a second client, each with its own clock.

switchboard (a program) ──event socket, growing files──▶ fsbot run (a program)
      └────────────────────event socket────────────────▶ this process: what a robot would see
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import gevent
import numpy as np

from fsbot.bench.process import Program
from fsbot.bench.switchboard import Plan, PlannedCall
from fsbot.client import Arrival, TranscriptClient
from fsbot.errors import UserError
from fsbot.switch.codec import Event
from fsbot.transcript.records import EndOfTranscript, Record, StartOfTranscript

HOST = "127.0.0.1"
FRAMES_PER_SECOND = 50
LATEST_TRANSCRIPT = 120.0
"""Seconds after the last call within which every transcript has to end."""
POLL_SECONDS = 0.25
COMPLAINT_LENGTH = 80


@dataclass(frozen=True, slots=True)
class WriteClock:
    """When a call's sound was written. walls: Unix seconds, rising; frames: written by then."""

    walls: tuple[float, ...]
    frames: tuple[int, ...]

    def wall(self, seconds: float) -> float:
        """Unix time at which the sample at that second of the sound was written; seconds goes on
        counting when the sound is repeated."""
        frame = np.ceil(seconds * FRAMES_PER_SECOND)
        return float(np.interp(frame, self.frames, self.walls))

    def seconds(self, wall: float) -> float:
        """Seconds of the sound that were written by then."""
        return float(np.interp(wall, self.walls, self.frames)) / FRAMES_PER_SECOND


@dataclass(frozen=True, slots=True)
class PlayedCall:
    """One call as it went. Empty where nothing came of it."""

    uuid: str
    arrivals: tuple[Arrival, ...]
    clock: WriteClock

    @property
    def records(self) -> list[Record]:
        return [arrival.record for arrival in self.arrivals]

    @property
    def answered_at(self) -> float:
        """Unix time of the answer, zero of the records' times."""
        starts = [r for r in self.records if isinstance(r, StartOfTranscript)]
        if not starts:
            raise UserError(
                f"the bot never took the call {self.uuid}", "Look into run.log (--keep DIR)."
            )
        return starts[0].answered_at


@dataclass(frozen=True, slots=True)
class Covered:
    """A line of the bot's trace: at Unix time `at` a side had been heard up to `until`, the Unix
    time at which that audio was in its file."""

    at: float
    side: str
    utterance: int
    until: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used between two moments: CPU seconds of both programs, and seconds gone by."""

    bot_cpu: float
    generator_cpu: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Played:
    """Everything that came of one playing. usage: from the first call to the last transcript;
    trace: by call; complaints: what the bot logged as warning or error, and how often."""

    calls: dict[str, PlayedCall]
    usage: Usage
    trace: dict[str, tuple[Covered, ...]]
    complaints: dict[str, int]


class Stage:
    """Both programs around one playing; use as a context manager, it starts and ends them."""

    def __init__(
        self,
        calls: Sequence[PlannedCall],
        at_once: int,
        bot_flags: Sequence[str],
        folder: Path,
        seconds: float = 0.0,
    ) -> None:
        """folder: empty; journals, logs and the trace stay there. seconds: after which no more of
        the calls are placed, 0 if all are."""
        self.over = False
        self._folder = folder
        self._plan = Plan(secrets.token_urlsafe(), at_once, tuple(calls), seconds)
        self._bot_flags = tuple(bot_flags)
        self._arrivals: dict[str, list[Arrival]] = {call.uuid: [] for call in calls}
        self._ended: set[str] = set()
        self._expected: set[str] = set()
        self._stack = ExitStack()
        self.board: Program
        self.bot: Program
        self._client: TranscriptClient
        self._usage: Usage | None = None
        self._began: tuple[float, float, float]

    def __enter__(self) -> Stage:
        with ExitStack() as stack:
            plan = self._folder / "plan.json"
            plan.write_text(json.dumps(asdict(self._plan)))
            plan.chmod(0o600)
            board = Program("fsbot.bench.switchboard", [str(plan)], self._folder, "board.log")
            self.board = stack.enter_context(board)
            port = int(self.board.line().removeprefix("listening "))
            self.bot = stack.enter_context(self._start_bot(port))
            self._await_bot()
            self._client = stack.enter_context(
                TranscriptClient(HOST, port, self._plan.password, on_event=self._handle_event)
            )
            gevent.spawn(self._listen)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def play(self) -> None:
        """Begin with the first call."""
        self._began = self.readings()
        self.board.say("play")
        gevent.spawn(self._watch_board)

    def readings(self) -> tuple[float, float, float]:
        """CPU seconds of bot and load generator so far, and the time."""
        return self.bot.cpu_seconds, self.board.cpu_seconds, time.monotonic()

    def usage_since(self, before: tuple[float, float, float]) -> Usage:
        bot, board, now = (new - old for new, old in zip(self.readings(), before, strict=True))
        return Usage(bot, board, now)

    def until_over(self, tell: Callable[[], object]) -> None:
        """Until every call and every transcript has ended; `tell` is called now and then.

        Raises UserError if one of the programs ends before.
        """
        deadline = float("inf")
        while not (self.over and self._ended >= self._expected):
            self.sleep(POLL_SECONDS)
            tell()
            if self.over and deadline == float("inf"):
                deadline = time.monotonic() + LATEST_TRANSCRIPT
            if time.monotonic() > deadline:
                break
        self._usage = self.usage_since(self._began)

    def sleep(self, seconds: float) -> None:
        """Let time pass. Raises UserError if one of the programs has ended."""
        gevent.sleep(seconds)
        for program in (self.board, self.bot):
            if not program.running:
                raise program.failure()

    def strike(self) -> Played:
        """End the bot politely, then the load generator; what came of it all."""
        usage = self._usage or self.usage_since(self._began)
        complaints = self._read_complaints()  # before the end, which may leave calls unfinished
        self.bot.end()
        self._client.close()  # it would log in again, and say so, when the load generator goes
        self.board.hears_no_more()
        if not self.board.wait(10.0):
            raise self.board.failure()
        clocks = json.loads((self._folder / "clocks.json").read_text())
        calls = {
            uuid: PlayedCall(uuid, tuple(arrivals), _clock(clocks.get(uuid, [])))
            for uuid, arrivals in self._arrivals.items()
        }
        return Played(calls, usage, self._read_trace(calls), complaints)

    def _start_bot(self, port: int) -> Program:
        arguments = [
            *("run", "--esl-host", HOST, "--esl-port", str(port)),
            *("--recordings-directory", str(self._folder / "recordings")),
            *("--recordings-retention", "forever"),
            *("--transcripts-directory", str(self._folder / "transcripts")),
            *("--engine-trace", str(self._folder / "trace.jsonl")),
            *("--log-format", "json"),
            *self._bot_flags,
        ]
        environment = {"FSBOT_ESL_PASSWORD": self._plan.password}
        return Program("fsbot", arguments, self._folder, "run.log", environment)

    def _await_bot(self) -> None:
        joined = gevent.spawn(self.board.line)
        while not joined.ready():
            self.sleep(POLL_SECONDS)
        joined.get()

    def _handle_event(self, event: Event) -> None:
        """For subclasses: each event that the second client gets, repetitions included. Runs in the
        client's own thread."""

    def _listen(self) -> None:
        for arrival in self._client.arrivals():
            uuid = arrival.record.call_uuid
            if uuid not in self._arrivals:
                continue
            self._arrivals[uuid].append(arrival)
            if isinstance(arrival.record, EndOfTranscript):
                self._ended.add(uuid)

    def _watch_board(self) -> None:
        with suppress(UserError):  # whoever sleeps on the stage sees that the program has ended
            played = int(self.board.line().removeprefix("played "))
            self._expected = {call.uuid for call in self._plan.calls[:played]}
            self.over = True

    def _read_trace(self, calls: dict[str, PlayedCall]) -> dict[str, tuple[Covered, ...]]:
        found: dict[str, list[Covered]] = {}
        path = self._folder / "trace.jsonl"
        for text in path.read_text().splitlines() if path.exists() else ():
            line = json.loads(text)
            uuid = line["call_uuid"]
            if uuid in calls:
                until = calls[uuid].answered_at + line["heard_until"]
                found.setdefault(uuid, []).append(
                    Covered(line["at"], line["side"], line["utterance"], until)
                )
        return {uuid: tuple(lines) for uuid, lines in found.items()}

    def _read_complaints(self) -> dict[str, int]:
        counted: dict[str, int] = {}
        for text in self.bot.log.read_text(errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if line.get("level") in ("warning", "error", "critical"):
                event = str(line["event"]).strip().splitlines()[0][:COMPLAINT_LENGTH]
                counted[event] = counted.get(event, 0) + 1
        return counted


def _clock(notes: Sequence[tuple[float, int]]) -> WriteClock:
    return WriteClock(tuple(wall for wall, _ in notes), tuple(frames for _, frames in notes))
