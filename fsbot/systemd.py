"""Telling systemd how the service is: sd_notify(3), one datagram per word to $NOTIFY_SOCKET."""

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

import gevent
import structlog

log = structlog.get_logger("fsbot.bot")


class ServiceManager:
    """The service manager that has started this process; silent if none has."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # An abstract socket's name begins with a NUL, which the environment cannot hold.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watched_every = _watchdog_seconds(environment)
        self._greenlet: gevent.Greenlet | None = None

    def ready(self) -> None:
        """The service does its work from now on."""
        self._tell("READY=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell(f"STATUS={text}")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def watch(self, alive: Callable[[float], bool]) -> None:
        """Give a sign of life, at twice the rate that is asked for, as long as `alive(seconds)`.

        `alive` is called in a greenlet of its own and may wait so long. A hub that stands still
        gives no sign either.
        """
        if self._watched_every is not None:
            self._greenlet = gevent.spawn(self._watch, alive, self._watched_every / 2)
            self._greenlet.name = "watchdog of the service manager"

    def close(self) -> None:
        """No more signs of life."""
        if self._greenlet is not None:
            self._greenlet.kill()

    def _watch(self, alive: Callable[[float], bool], interval: float) -> None:
        while True:
            if alive(interval):
                self._tell("WATCHDOG=1")
            else:
                log.error("the engine does not answer: no sign of life to the service manager")
            gevent.sleep(interval)

    def _tell(self, word: str) -> None:
        if not self._address:
            return
        # Not gevent's: a datagram to a socket that is full is dropped, and never waited for.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto(word.encode(), self._address)


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None
