"""The link to FreeSWITCH that outlives its connections."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import structlog
from gevent.event import Event as Flag

from fsbot.switch.codec import Event
from fsbot.switch.connection import Connection
from fsbot.switch.errors import (
    AccessDenied,
    AuthenticationFailed,
    ConnectionLost,
    EslError,
)

log = structlog.get_logger("fsbot.switch")

SHORTEST_WAIT = 1.0
LONGEST_WAIT = 5.0
_SAME_COMPLAINT_EVERY = 60.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where FreeSWITCH's event socket is, and how patient to be with it, in seconds.

    `host` is a name or an IPv4 or IPv6 address. FreeSWITCH beats every 20 s unless told
    otherwise, so a `heartbeat_timeout` of 70 forgives two missing beats.
    """

    host: str
    port: int
    password: str = field(repr=False)
    connect_timeout: float = 5.0
    request_timeout: float = 10.0
    heartbeat_timeout: float = 70.0


def waiting_times() -> Iterator[float]:
    """Seconds before each next attempt: 1 to 2, then up to 2.5 to 5, for ever.

    The random half keeps the clients of a restarted FreeSWITCH from coming back as one.
    """
    longest = 2 * SHORTEST_WAIT
    while True:
        yield random.uniform(longest / 2, longest)
        longest = min(2 * longest, LONGEST_WAIT)


class Link:
    """Keeps one subscribed Connection alive until `stop()`.

    `on_event(event)` gets every event in order, from the connection's handling greenlet; it must
    not wait for long, or events pile up in memory. `on_connect(connection)` runs after each
    login, once events are subscribed, in the greenlet of `run()`: the place to find out what was
    missed; events may arrive meanwhile. `on_disconnect(reason)` runs after each loss.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        events: Sequence[str],
        subclasses: Sequence[str] = (),
        *,
        on_event: Callable[[Event], object],
        on_connect: Callable[[Connection], object] = lambda connection: None,
        on_disconnect: Callable[[str], object] = lambda reason: None,
    ) -> None:
        self._endpoint = endpoint
        self._events = list(dict.fromkeys([*events, "HEARTBEAT"]))
        self._subclasses = subclasses
        self._on_event = on_event
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._current: Connection | None = None
        self._stopping = Flag()
        self._complaint = ("", 0.0)

    @property
    def connection(self) -> Connection:
        """The connection of the moment; raises ConnectionLost while there is none."""
        if self._current is None:
            where = f"{self._endpoint.host}:{self._endpoint.port}"
            raise ConnectionLost(f"the link to {where} is down")
        return self._current

    def run(self, *, fail_fast: bool = False) -> None:
        """Connect, serve, reconnect, until `stop()`.

        Before the first login a wrong password or a refusing access list raises UserError
        (exit codes 3 and 4), and so does every other failure with `fail_fast`. Later nothing
        does: a password changed under a running bot may be changed back.
        """
        logged_in_once = False
        waits = waiting_times()
        while not self._stopping.is_set():
            try:
                connection = self._open()
            except EslError as error:
                hopeless = isinstance(error, AuthenticationFailed | AccessDenied)
                if not logged_in_once and (hopeless or fail_fast):
                    raise error.as_user_error() from error
                wait = next(waits)
                self._complain(error, wait)
            else:
                logged_in_once = True
                since = time.monotonic()
                self._serve(connection)
                if time.monotonic() - since > LONGEST_WAIT:
                    waits = waiting_times()
                wait = next(waits)
            self._stopping.wait(wait)

    def stop(self) -> None:
        """End `run()` soon, wherever it is; the connection is closed on return."""
        self._stopping.set()
        if self._current is not None:
            self._current.stop()

    def _open(self) -> Connection:
        connection = Connection(
            self._endpoint.host,
            self._endpoint.port,
            self._endpoint.password,
            connect_timeout=self._endpoint.connect_timeout,
            request_timeout=self._endpoint.request_timeout,
        )
        connection.register_handle("*", self._on_event)
        connection.connect()
        try:
            connection.subscribe(self._events, self._subclasses)
        except EslError:
            connection.stop()
            raise
        return connection

    def _serve(self, connection: Connection) -> None:
        log.info("event socket connected", peer=connection.where)
        self._current = connection
        try:
            if not self._stopping.is_set():
                self._on_connect(connection)
                self._watch(connection)
        except EslError as error:
            connection.close(str(error))
        except Exception as error:
            # A mistake in on_connect must not end the link for good: drop it, log, try again.
            log.exception("starting on a new link failed", peer=connection.where)
            connection.close(f"{type(error).__name__} in on_connect")
        finally:
            self._current = None
            connection.stop()
            tell = log.info if self._stopping.is_set() else log.warning
            tell("event socket closed", peer=connection.where, reason=connection.close_reason)
            self._on_disconnect(connection.close_reason)

    def _watch(self, connection: Connection) -> None:
        """Return when the link is closed, or close it when nobody is at its other end any more.

        A request without a reply for as long counts too: replies have no numbers, so on a link
        that has lost one, every later reply would go to the wrong request.
        """
        patience = self._endpoint.heartbeat_timeout
        while True:
            silence = max(connection.silence, connection.unanswered)
            if silence >= patience:
                connection.close(f"nothing heard for {silence:.0f} s")
                return
            if connection.closed.wait(patience - silence):
                return

    def _complain(self, error: EslError, wait: float) -> None:
        text, told_at = self._complaint
        if text == str(error) and time.monotonic() - told_at < _SAME_COMPLAINT_EVERY:
            return
        self._complaint = (str(error), time.monotonic())
        log.warning(
            "no link to FreeSWITCH, trying again",
            problem=str(error),
            remedy=error.remedy,
            retry_in=round(wait, 1),
        )
