"""What tests of robots share."""

import socket
from typing import Any

Told = list[tuple[str, Any]]

HEADER = "from fsbot.api import Robot, Hangup\ntold = []\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def of(told: Told, name: str) -> list[Any]:
    return [what for kind, what in told if kind == name]
