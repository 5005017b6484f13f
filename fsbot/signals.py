"""How a service is told to end."""

import os
import signal
from collections.abc import Callable

import gevent

from fsbot.errors import INTERRUPTED
from fsbot.log import flush


def on_stop_signal(stop: Callable[[], object]) -> None:
    """Have SIGINT and SIGTERM call `stop` in the hub; a second one ends the process at once."""
    came: list[bool] = []

    def handle() -> None:
        if came:
            # Neither a call nor the engine's thread, in the middle of a window, is waited for.
            flush()
            os._exit(INTERRUPTED)
        came.append(True)
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, handle)
