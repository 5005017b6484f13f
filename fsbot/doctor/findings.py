"""What was found out, and how it is shown."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum

from rich.text import Text

from fsbot.console import OutputConsole
from fsbot.log import printable


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_TESTED = "not tested"


_STYLES = {
    Status.OK: "green",
    Status.WARNING: "yellow",
    Status.FAILED: "bold red",
    Status.NOT_TESTED: "dim",
}
_STATUS_WIDTH = max(map(len, Status)) + 2
_CHECK_WIDTH = 15


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check: what was seen, and what to do about it."""

    check: str
    status: Status
    message: str
    remedy: str = ""


class Report:
    """Prints findings on standard output as they come, coloured on a terminal."""

    def __init__(self, *, as_json: bool = False) -> None:
        """as_json: one JSON object a line, for programs."""
        self._json = as_json
        self._console = OutputConsole(highlight=False, soft_wrap=True)
        self._counts: Counter[Status] = Counter()

    @property
    def failed(self) -> bool:
        return self._counts[Status.FAILED] > 0

    def add(self, finding: Finding) -> None:
        """Print one finding."""
        self._counts[finding.status] += 1
        if self._json:
            print(json.dumps(asdict(finding)), flush=True)
            return
        line = Text.assemble(
            (finding.status.ljust(_STATUS_WIDTH), _STYLES[finding.status]),
            (finding.check.ljust(_CHECK_WIDTH), "bold"),
            # FreeSWITCH's replies and names of files are part of it.
            printable(finding.message),
        )
        self._console.print(line)
        if finding.remedy:
            indent = " " * (_STATUS_WIDTH + _CHECK_WIDTH)
            self._console.print(Text(f"{indent}→ {printable(finding.remedy)}"))

    def close(self) -> None:
        """Print the sum."""
        if not self._json:
            seen = [f"{count} {status}" for status in Status if (count := self._counts[status])]
            self._console.print(Text(", ".join(seen)))
