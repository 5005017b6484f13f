"""Records that wait in memory because the disk does not take them, of all calls together."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import gevent

if TYPE_CHECKING:
    from fsbot.transcript.ledger import Ledger

MOST_BYTES = 64 * 2**20
"""Of records: some 30,000. What comes beyond is fired, and never journalled."""


class Backlog:
    """Where ledgers that cannot write, or are not done yet at the end of their call, are known.

    Make one per bot. Belongs to the hub.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._ledgers: dict[Path, Ledger] = {}

    def reserve(self, size: int) -> bool:
        """Room for `size` bytes of one record; False if there is none."""
        if self._bytes + size > self._most_bytes:
            return False
        self._bytes += size
        return True

    def release(self, size: int) -> None:
        """That record is written, or given up."""
        self._bytes -= size

    def enter(self, ledger: Ledger) -> Ledger | None:
        """A ledger begins. Returns the one of the same journal that has not come to its end."""
        earlier = self._ledgers.get(ledger.path)
        self._ledgers[ledger.path] = ledger
        return earlier

    def leave(self, ledger: Ledger) -> None:
        """It has written what it could."""
        if self._ledgers.get(ledger.path) is ledger:
            del self._ledgers[ledger.path]

    def next_sequence(self, path: Path) -> int:
        """Number behind the records of this journal that are not written yet; 1 if there are
        none."""
        ledger = self._ledgers.get(path)
        return ledger.next_sequence if ledger is not None else 1

    def drain(self, timeout: float) -> None:
        """Give every ledger up to `timeout` seconds to write what it has; they tell what they
        could not. For the end of the bot."""
        until = time.monotonic() + timeout
        while self._ledgers and time.monotonic() < until:
            gevent.sleep(0.1)
        for ledger in list(self._ledgers.values()):
            ledger.give_up()
