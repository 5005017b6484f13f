"""How a recording grows: looked at from outside, every few milliseconds."""

import os
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

from fsbot.audio.reading import Handle
from fsbot.doctor.findings import Finding, Status

CHECK = "growth"

LOOK_SECONDS = 0.005
STALL_SECONDS = 0.02
"""A look that comes so late says something about this machine, not about FreeSWITCH."""

FIRST_GROWTH_SECONDS = 0.1
LONGEST_GAP_SECONDS = 0.06
"""What a bot that answers while people speak can live with; FreeSWITCH writes every 20 ms."""

BUFFER_BYTES = 16_384
"""More than this at once, without a gap before it that explains it, was buffered."""


@dataclass(frozen=True, slots=True)
class Change:
    """At `at` (time.monotonic) the file was seen to have `size` bytes, more than before."""

    at: float
    size: int


@dataclass(slots=True)
class Observation:
    """A file as it grew. accepted_at: when FreeSWITCH said +OK; ended_at: of the last look.

    stalls: seconds by which looks came late, by when they came.
    """

    accepted_at: float = 0.0
    ended_at: float = 0.0
    appeared: bool = False
    changes: list[Change] = field(default_factory=list)
    stalls: dict[float, float] = field(default_factory=dict)


class SizeWatch:
    """Looks at a file on a thread of its own, from `with` to its end."""

    def __init__(self, path: Path) -> None:
        self.seen = Observation()
        self._path = path
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="doctor", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        seen, size, last = self.seen, 0, time.monotonic()
        while not self._over.wait(LOOK_SECONDS):
            now = time.monotonic()
            if now - last > STALL_SECONDS:
                seen.stalls[now] = now - last
            last = now
            try:
                found = _size(self._path)
            except OSError:
                continue
            seen.appeared = True
            if found > size:
                size = found
                seen.changes.append(Change(now, size))
        seen.ended_at = time.monotonic()


def _size(path: Path) -> int:
    try:
        opened = Handle(path)  # NFS asks the server at an open only
        return os.fstat(opened.fd).st_size
    except PermissionError:
        return path.stat().st_size


def judge(seen: Observation, byte_rate: int) -> Finding:
    """What the growth of a recording says. byte_rate: bytes per second that were asked for."""
    if not seen.changes:
        waited = seen.ended_at - seen.accepted_at
        return Finding(
            CHECK,
            Status.FAILED,
            f"not a byte within {waited:.1f} s of +OK",
            "FreeSWITCH has no audio of this call (on hold, recording paused, bypass_media) or "
            "buffers it: try another call, and look at FreeSWITCH's log.",
        )
    first = max(0.0, seen.changes[0].at - seen.accepted_at)
    ends = [change.at for change in seen.changes] + [seen.ended_at]
    gap, gap_end = max((end - start, end) for start, end in pairwise(ends))
    measured = _byte_rate(seen)
    message = (
        f"first bytes {first * 1000:.0f} ms after +OK, then at most {gap * 1000:.0f} ms without; "
        f"{measured:.0f} bytes/s"
    )
    if first <= FIRST_GROWTH_SECONDS and gap <= LONGEST_GAP_SECONDS:
        return _rate_finding(message, measured, byte_rate)
    if (largest := _largest(seen, byte_rate)) > BUFFER_BYTES:
        return Finding(
            CHECK,
            Status.FAILED,
            f"{message}, up to {largest:.0f} at once",
            "FreeSWITCH ignores the variables of uuid_record and buffers (those before 1.8.6 do): "
            "update it, or run `global_setvar enable_file_write_buffering=false` there.",
        )
    # The longest gap is this machine's own if we did not get to look either.
    ours = sum(late for at, late in seen.stalls.items() if gap_end - gap <= at <= gap_end)
    if first <= FIRST_GROWTH_SECONDS and gap - ours <= LONGEST_GAP_SECONDS:
        return Finding(
            CHECK,
            Status.WARNING,
            f"{message}, while this machine stood still for {ours * 1000:.0f} ms",
            "Try again when it is less busy.",
        )
    return Finding(
        CHECK,
        Status.FAILED,
        f"{message}; {FIRST_GROWTH_SECONDS * 1000:.0f} and {LONGEST_GAP_SECONDS * 1000:.0f} ms "
        "are good",
        "The call was held or hung up, or FreeSWITCH's machine or disk is too slow or too busy: "
        "try another call, then look at their load.",
    )


def _rate_finding(message: str, measured: float, wanted: int) -> Finding:
    if abs(measured - wanted) <= wanted / 4:
        return Finding(CHECK, Status.OK, message)
    return Finding(
        CHECK,
        Status.FAILED,
        f"{message} instead of {wanted}",
        "FreeSWITCH ignores RECORD_STEREO or record_sample_rate: what it writes would be "
        "understood wrongly. Update it (1.10 is known to be good).",
    )


def _byte_rate(seen: Observation) -> float:
    first, last = seen.changes[0], seen.changes[-1]
    if last.at - first.at < LONGEST_GAP_SECONDS:
        return last.size / max(seen.ended_at - seen.accepted_at, LOOK_SECONDS)
    return (last.size - first.size) / (last.at - first.at)


def _largest(seen: Observation, byte_rate: int) -> float:
    """Most bytes that came at once, but for those of moments in which we did not get to look."""
    changes = [Change(seen.accepted_at, 0), *seen.changes]
    return max(
        after.size
        - before.size
        - byte_rate * sum(late for at, late in seen.stalls.items() if before.at < at <= after.at)
        for before, after in pairwise(changes)
    )
