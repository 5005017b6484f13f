"""The end of a bot: what has been said becomes text, is written and delivered, in a set time."""

import time
from collections.abc import Sequence

import gevent
import structlog

from fsbot.call import Call
from fsbot.house import House
from fsbot.serve.tcp import TcpServer

log = structlog.get_logger("fsbot.bot")

FINISHING_SHARE = 0.6
"""Of the time there is, for what has been spoken to become text; the rest is for writing the last
records and delivering their events."""


def finish(calls: Sequence[Call], server: TcpServer | None, house: House, seconds: float) -> None:
    """Stop all calls and clients; after `seconds` at most, whatever is left to do.

    A call that cannot be finished keeps its transcript without an end: the next start of the bot
    goes on with it.
    """
    ends = time.monotonic() + seconds
    finished = time.monotonic() + seconds * FINISHING_SHARE
    log.info("stopping", calls=len(calls))
    serving = gevent.spawn(server.finish, seconds * FINISHING_SHARE) if server is not None else None
    for call in calls:
        call.stop()
    gevent.wait([call.ended for call in calls], timeout=_until(finished))
    late = [call for call in calls if not call.ended.is_set()]
    if late:
        log.warning("calls not finished in time, the next start goes on with them", calls=len(late))
    for call in late:
        call.give_up()
    if serving is not None:
        serving.join(_until(finished) + 1)
    remaining = _until(ends)
    gevent.wait([call.ended for call in late], timeout=remaining / 3)
    house.backlog.drain(remaining / 3)
    if not house.publisher.drain(_until(ends)):
        log.warning("events not delivered", events=house.publisher.waiting)


def _until(moment: float) -> float:
    return max(0.0, moment - time.monotonic())
