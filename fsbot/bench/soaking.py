"""A long playing that is watched, and in which things go wrong: what the case soak happens on."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gevent
from gevent import socket

from fsbot.bench.chaos import Fault, inflict
from fsbot.bench.playing import HOST, Stage
from fsbot.bench.process import Program, free_port
from fsbot.bench.switchboard import PlannedCall
from fsbot.bench.wholeness import Sent
from fsbot.switch.codec import Event
from fsbot.transcript.records import parse

SAMPLE_EVERY = 10.0
ANSWER_SECONDS = 2.0
SETTLING_SECONDS = 30.0
"""How long the bot may take after the last transcript to let go of what calls have held."""

POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Sample:
    """The bot at one moment. at: seconds since the first call; memory: MB; hub: the 99th
    percentile of how late its hub woke in the last minute, seconds, if it answered."""

    at: float
    memory: float
    descriptors: int
    hub: float | None


class SoakStage(Stage):
    """A stage whose bot may be killed, and which keeps every event that the second client had."""

    def __init__(
        self,
        calls: Sequence[PlannedCall],
        at_once: int,
        bot_flags: Sequence[str],
        folder: Path,
        seconds: float,
    ) -> None:
        self.sent: dict[str, list[Sent]] = {call.uuid: [] for call in calls}
        self.samples: list[Sample] = []
        self.suffered: list[dict[str, Any]] = []
        self._metrics = free_port()
        self._port = 0
        flags = (*bot_flags, "--metrics", str(self._metrics))
        super().__init__(calls, at_once, flags, folder, seconds)

    def run(self, seconds: float, faults: Sequence[Fault], tell: Callable[[], object]) -> None:
        """Play for so long, let the faults happen, and wait for the last transcript."""
        self._sample(0.0)
        self.play()
        began = time.monotonic()
        waiting = list(faults)
        while (now := time.monotonic() - began) < seconds:
            if waiting and now >= waiting[0].at:
                self._suffer(waiting.pop(0))
            elif now - self.samples[-1].at >= SAMPLE_EVERY:
                self._sample(now)
            self.sleep(POLL_SECONDS)
            tell()
        self.until_over(tell)
        until = time.monotonic() + SETTLING_SECONDS
        while time.monotonic() < until and self.bot.descriptors > self.samples[0].descriptors:
            self.sleep(POLL_SECONDS)
        self._sample(time.monotonic() - began)

    @property
    def expected(self) -> frozenset[str]:
        """The calls that were placed."""
        return frozenset(self._expected)

    def _suffer(self, fault: Fault) -> None:
        self.suffered.append({**asdict(fault), "began": round(time.time(), 3)})
        inflict(fault, self.board, self.bot, gevent.sleep, self._restart)

    def _restart(self) -> None:
        self.bot = self._stack.enter_context(self._start_bot(self._port))

    def _start_bot(self, port: int) -> Program:
        self._port = port
        return super()._start_bot(port)

    def _handle_event(self, event: Event) -> None:
        record = parse(event.body)
        if record.call_uuid in self.sent:
            resent = event.headers.get("Fsbot-Resent") == "true"
            self.sent[record.call_uuid].append(Sent(record, resent))

    def _sample(self, at: float) -> None:
        bot = self.bot
        megabytes = bot.resident_bytes / 2**20
        self.samples.append(Sample(at, megabytes, bot.descriptors, self._hub_delay()))

    def _hub_delay(self) -> float | None:
        page = ""
        with gevent.Timeout(ANSWER_SECONDS, False):
            page = _page(self._metrics)
        found = re.search(r'^fsbot_hub_delay_seconds\{quantile="0.99"\} (\S+)', page, re.MULTILINE)
        return float(found[1]) if found else None


def _page(port: int) -> str:
    """What the bot's metrics say; empty if it does not answer."""
    try:
        with socket.create_connection((HOST, port)) as sock:
            sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: sock.recv(1 << 16), b"")).decode()
    except OSError:
        return ""
