"""Where this machine's event socket listens, and who reaches it there."""

import socket
import struct
from pathlib import Path

from fsbot.doctor.findings import Finding, Status
from fsbot.settings import Esl

CHECK = "listen-ip"

KNOWN_PASSWORD = "ClueCon"
"""FreeSWITCH's example configuration has it, and everybody knows it."""

_LISTENING = "0A"
_EVERYWHERE = ("0.0.0.0", "::")


def addresses(port: int, proc: Path = Path("/proc/net")) -> list[str]:
    """The addresses of this machine on which a program listens on a TCP port, as the kernel's
    tables say; `0.0.0.0` and `::` are all of them."""
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            rows = (proc / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            _, local, _, state, *_ = row.split()
            address, _, hexadecimal = local.partition(":")
            if state == _LISTENING and int(hexadecimal, 16) == port:
                found.add(_address(address))
    return sorted(found)


def advice_on_refusal(esl: Esl, listening: list[str]) -> str:
    """What to do where a machine's own event socket refuses connections. listening: addresses on
    which there is something on that port after all. Empty if there is nothing to say."""
    if not _is_here(esl.host):
        return ""
    others = [each for each in listening if each != esl.host]
    if others:
        usable = "::1" if others[0] == "::" else others[0]
        return (
            f"Something listens on port {esl.port} of {', '.join(others)}: let listen-ip in "
            f"FreeSWITCH's event_socket.conf.xml be {esl.host}, or set esl.host to {usable}."
        )
    return (
        "Start FreeSWITCH with mod_event_socket loaded, or correct esl.host and esl.port. Its "
        "example configuration has `::` for listen-ip in event_socket.conf.xml, which fails on a "
        f"machine without IPv6 (`Could not listen on :::{esl.port}` in its log): let it be "
        f"{esl.host}."
    )


def check_reach(esl: Esl, listening: list[str]) -> Finding | None:
    """A warning if other machines reach the event socket of this one and know its password."""
    everywhere = _is_here(esl.host) and any(each in _EVERYWHERE for each in listening)
    if not everywhere or esl.password.get_secret_value() != KNOWN_PASSWORD:
        return None
    return Finding(
        CHECK,
        Status.WARNING,
        "the event socket listens on every address of this machine, with the password that "
        "FreeSWITCH's examples have; whoever logs in controls FreeSWITCH",
        f"In its event_socket.conf.xml let listen-ip be {esl.host} and change the password, then "
        "`reload mod_event_socket` there.",
    )


def _is_here(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _address(hexadecimal: str) -> str:
    """Of words of four bytes in this machine's order."""
    words = [int(hexadecimal[at : at + 8], 16) for at in range(0, len(hexadecimal), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, packed)
