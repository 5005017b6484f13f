"""What the engine had heard, and when: one JSON line per update, for benchmarks."""

import json
from pathlib import Path

from fsbot.errors import UserError


class Trace:
    """The file of the setting `engine.trace`. Each line is written at once: bots get killed."""

    def __init__(self, path: Path) -> None:
        """Create the file, or append to one that is there. Raises UserError."""
        try:
            self._file = path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise UserError(
                f"engine.trace: {path} cannot be written: {error.strerror}",
                "name a file in a directory that is there, or leave engine.trace empty",
            ) from error

    def covered(
        self, at: float, call_uuid: str, side: str, utterance: int, heard_until: float
    ) -> None:
        """At Unix time `at` the engine had heard a side up to `heard_until`, seconds since the
        answer."""
        line = {
            "at": round(at, 4),
            "call_uuid": call_uuid,
            "side": side,
            "utterance": utterance,
            "heard_until": round(heard_until, 3),
        }
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """To be called once."""
        self._file.close()
