"""FreeSWITCH's outbound socket: a dialplan hands a call over, one connection for one channel.

    <action application="socket" data="127.0.0.1:8084 async full"/>

What greenswitch's OutboundESLServer and OutboundSession (0.0.19) get wrong is left out here, or has
been mended in `Connection` already: the server asks ten times a second whether somebody has called
and ends the process if its port is taken; a session waits for ever for a FreeSWITCH that says
nothing, subscribes to all events of all channels, and takes the end of any `playback` for the one
that it waits for. Source: FACTS.md 6, mod_event_socket.c, the capture outbound_handshake.esl.
"""

import errno
import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
import structlog
from gevent import socket
from gevent.event import Event as Flag
from gevent.server import StreamServer

from fsbot.errors import UserError
from fsbot.switch.codec import Event, ProtocolError, encode_command, parse_event
from fsbot.switch.connection import Connection
from fsbot.switch.errors import CommandRefused, ConnectionLost, EslError
from fsbot.switch.legs import Leg
from fsbot.switch.uuids import UnsafeUuid, check_uuid
from fsbot.threads import Latch

log = structlog.get_logger("fsbot.switch")

LINGER_SECONDS = 10
"""How long FreeSWITCH keeps the socket of a channel that has hung up."""

EVENTS = ("CHANNEL_HANGUP", "CHANNEL_EXECUTE_COMPLETE", "DTMF", "RECORD_START", "RECORD_STOP")
"""What control needs. `myevents` has all of the channel's and no RECORD_*."""

NOT_PLAYED = frozenset({"FILE NOT FOUND", "PLAYBACK ERROR"})
"""Responses of `playback` (mod_dptools.c). `speak` has none, whatever comes of it."""

AT_ONCE = 0.05
"""Seconds within which `speak` cannot have said a text."""

ARRIVAL_SECONDS = 5.0
"""How long a channel is watched that was transferred: a text that `speak` still synthesizes has to
end first (mod_flite: a second for a long one)."""

SILENCE = "send_silence_when_idle"
"""Channel variable: what park sends while nothing is played; -1 is digital silence."""

_NO_VOICE = "over at once: FreeSWITCH may lack the engine or voice of robot.voice"

_KEEPALIVE = (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
"""No HEARTBEAT comes on this connection: seconds after which a dead peer is noticed otherwise."""


class Execution:
    """A dialplan application that runs on the channel. Any thread may ask it, and wait for it."""

    def __init__(self, application: str = "") -> None:
        self.identity = str(uuid.uuid4())
        self.application = application
        self._done = Latch()
        self.response = ""
        """What it said when it had ended, e.g. `FILE PLAYED`; empty if the channel went before."""

    @property
    def is_over(self) -> bool:
        return self._done.is_set()

    def on_end(self, function: Callable[[], object]) -> None:
        """Have a function, which must not block, called when it has ended, or now."""
        self._done.on_set(function)

    def end(self, response: str = "") -> None:
        """It has ended."""
        self.response = self.response or response
        self._done.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Until it has ended; False if that takes longer than `timeout` seconds."""
        return self._done.wait(timeout)


class OutboundSession(Connection):
    """One channel that FreeSWITCH has handed over; `take` comes first.

    on_digit(digit): a key was pressed; called by the handling greenlet, and must not block.
    """

    def __init__(self, accepted: Any, peer: tuple[str, int], request_timeout: float) -> None:
        """accepted: the socket of the connection, from `peer`."""
        host, port = peer[:2]
        super().__init__(host, port, "", request_timeout=request_timeout)
        self.sock = accepted
        self.hung_up = Flag()
        self.hangup_cause = ""
        self.on_digit: Callable[[str], object] = lambda digit: None
        self.leg: Leg
        self._running: dict[str, Execution] = {}
        self._began = 0.0
        """time.monotonic() at which the first of them began, or was asked for."""
        self.register_handle("*", self._on_event)
        self.register_handle("DISCONNECT", lambda event: self._channel_gone())

    def take(self) -> Leg:
        """Take the channel over; what FreeSWITCH says of it.

        Raises UnsafeUuid for a channel whose UUID fits nowhere, CommandRefused where the dialplan
        lacks the word `full`, and EslError. The connection is closed then: the call goes on in the
        dialplan.
        """
        try:
            self._prepare_socket()
            self.connected = True
            self.start_event_handlers()
            self._send_silence_when_idle()
            answer = self.request("connect")
            self.leg = Leg.from_event(parse_event(answer))
            check_uuid(self.leg.uuid)
            if answer.headers.get("Control") != "full":
                raise CommandRefused(
                    "connect", "the dialplan's socket lacks `full`: nothing can be asked"
                )
            for line in (
                f"linger {LINGER_SECONDS}",
                f"filter Unique-ID {_filtered(self.leg.uuid)}",
            ):
                reply = self.request(line).reply_text
                if not reply.startswith("+OK"):
                    raise CommandRefused(line, reply)
            self.subscribe(EVENTS)
        except ProtocolError as error:
            self.close(f"unreadable: {error}")
            raise ConnectionLost(f"what {self.where} says is no channel: {error}") from error
        except BaseException:
            self.close("the channel was not taken")
            raise
        return self.leg

    def _send_silence_when_idle(self) -> None:
        """Unless the dialplan has said what is sent while nothing plays, have silence sent.

        A text of `speak` may end on part of a frame (switch_ivr_play_say.c). With nothing behind
        it, a recording of both directions waits for the rest of that frame: it stands still until
        the next text, and then has what the caller said meanwhile, too late
        (switch_core_media_bug_read). park reads the variable once, when `connect` has brought it
        about (switch_ivr.c).
        """
        # The first command on a connection is carried out and never answered, but for `connect`,
        # which answers by itself; and where a variable is empty, there is no answer either.
        self._write(encode_command("getvar"))
        uuid = self.request("getvar uuid").reply_text
        check_uuid(uuid)
        # Refused where the dialplan lacks `full`, which the answer to `connect` tells.
        with suppress(CommandRefused):
            if self.api(f"uuid_getvar {uuid} {SILENCE}").strip() in ("_undef_", ""):
                self.api(f"uuid_setvar {uuid} {SILENCE} -1")

    def _prepare_socket(self) -> None:
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):  # macOS names one of them otherwise
                self.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    # What is asked of the channel

    def execute(self, application: str, argument: str = "") -> Execution:
        """Have an application of the dialplan run, behind those that were asked for before.

        Raises EslError (CommandRefused once the channel has hung up), and ValueError for an
        argument that is not one line.
        """
        execution = Execution(application)
        if not self._running:
            self._began = time.monotonic()
        self._running[execution.identity] = execution
        headers = [
            ("call-command", "execute"),
            ("execute-app-name", application),
            *([("execute-app-arg", argument)] if argument else []),
            ("Event-UUID", execution.identity),
            # Without it an application begins in the middle of the one that runs.
            ("event-lock", "true"),
        ]
        try:
            self._message(headers)
        except BaseException:
            del self._running[execution.identity]
            raise
        if self.hung_up.is_set():
            self._end(execution.identity, "")
        return execution

    def hang_up(self, cause: str = "NORMAL_CLEARING") -> None:
        """End the call, whatever runs. Raises EslError (CommandRefused if it is over)."""
        # A `sendmsg` would wait: applications run under an event-lock.
        self._at_once(f"uuid_kill {self.leg.uuid} {cause}")

    def transfer(self, extension: str, context: str) -> None:
        """Send the channel to an extension of the dialplan, whatever runs, and let go of it soon.
        Raises EslError."""
        # What waits behind the application that runs would be carried out at the new extension.
        self.stop_playing()
        self._at_once(f"uuid_transfer {self.leg.uuid} {extension} XML {context}")
        gevent.spawn(self._see_off, extension, context)

    def _see_off(self, extension: str, context: str) -> None:
        """FreeSWITCH accepts any extension, and ends the call if its dialplan does not have it."""
        self.hung_up.wait(ARRIVAL_SECONDS)
        if self.hangup_cause not in ("", "NORMAL_CLEARING"):
            log.warning(
                "transfer ended the call",
                call_uuid=self.leg.uuid,
                extension=extension,
                context=context,
                cause=self.hangup_cause,
                remedy="NO_ROUTE_DESTINATION: that context has no such extension"
                if self.hangup_cause == "NO_ROUTE_DESTINATION"
                else "",
            )
        self.stop()

    def set_variable(self, name: str, value: str) -> None:
        """Set a channel variable, whatever runs. Raises EslError."""
        # The last argument is cleaned of quotes, and `\\n` would be a line end (switch_utils.c).
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        self._at_once(f"uuid_setvar {self.leg.uuid} {name} {escaped}".rstrip())

    def let_go(self) -> None:
        """The call goes on in the dialplan at once: what runs is cut short."""
        with suppress(EslError):
            self.stop_playing()
        self.stop()

    def _at_once(self, command: str) -> None:
        if self.hung_up.is_set():
            raise CommandRefused(command, "the channel has hung up")
        reply = self.api(command)
        if not reply.startswith("+OK"):
            raise CommandRefused(command, reply)

    def stop_playing(self) -> None:
        """Cut short what runs, and forget all that waits behind it; nothing if nothing does. Raises
        EslError."""
        cut_short = list(self._running)
        if not cut_short or self.hung_up.is_set():
            return  # FreeSWITCH would cut short the next application instead
        self.api(f"uuid_break {self.leg.uuid} all")
        for identity in cut_short:
            # What had not begun has no CHANNEL_EXECUTE_COMPLETE.
            self._end(identity, "")

    def _message(self, headers: list[tuple[str, str]]) -> None:
        if self.hung_up.is_set():
            raise CommandRefused("sendmsg", "the channel has hung up")
        reply = self.request("sendmsg", headers).reply_text
        if not reply.startswith("+OK"):
            raise CommandRefused("sendmsg", reply)

    # What the channel says

    def _on_event(self, event: Event) -> None:
        if event.headers.get("Unique-ID") != self.leg.uuid:
            return
        match event.name:
            case "CHANNEL_EXECUTE_COMPLETE":
                self._executed(event)
            case "DTMF":
                self.on_digit(event.headers.get("DTMF-Digit"))
            case "CHANNEL_HANGUP":
                self.hangup_cause = event.headers.get("Hangup-Cause")
                self._channel_gone()

    def _executed(self, event: Event) -> None:
        identity = event.headers.get("Application-UUID")
        response = event.headers.get("Application-Response")
        now = time.monotonic()
        took, self._began = now - self._began, now
        silent = event.headers.get("Application") == "speak" and took < AT_ONCE
        if identity in self._running and (silent or response in NOT_PLAYED):
            log.warning(
                "nothing said",
                call_uuid=self.leg.uuid,
                asked_for=event.headers.get("Application-Data")[:100],
                reason=_NO_VOICE if silent else f"FreeSWITCH says {response!r}",
            )
        self._end(identity, response)

    def _end(self, identity: str, response: str) -> None:
        execution = self._running.pop(identity, None)
        if execution is not None:
            execution.end(response)

    def _channel_gone(self) -> None:
        self.hung_up.set()
        for identity in list(self._running):
            self._end(identity, "")

    def close(self, reason: str) -> None:
        """Drop the link; whoever waits for the channel need not any longer."""
        super().close(reason)
        self._channel_gone()


def _filtered(uuid: str) -> str:
    """The UUID as a value of `filter`, which reads signs and slashes at its beginning otherwise
    (mod_event_socket.c): then as a regular expression."""
    return f"/^{re.escape(uuid)}$/" if uuid[0] in "+-/" else uuid


class OutboundServer:
    """Listens where dialplans send their calls."""

    def __init__(
        self,
        host: str,
        port: int,
        serve: Callable[[OutboundSession], object],
        *,
        most: int,
        request_timeout: float,
    ) -> None:
        """serve(session): called in a greenlet of its own for each channel that was taken; when it
        returns, the call goes on in the dialplan. most: channels at a time; one more is given back
        at once. Raises UserError where the address cannot be had.
        """
        self._serve = serve
        self._most = most
        self._request_timeout = request_timeout
        self._sessions: set[OutboundSession] = set()
        self._server = StreamServer((host, port), self._accept)
        try:
            self._server.start()
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise UserError(
                f"cannot listen on {host}:{port}: "
                + ("another program does" if taken else error.strerror or str(error)),
                "Set robot.port to a free one, here and in the dialplan's socket action.",
            ) from error
        self.port: int = self._server.server_port

    @property
    def channels(self) -> int:
        """Channels that are held at the moment."""
        return len(self._sessions)

    def close(self, timeout: float = 2.0) -> None:
        """Take no more channels, and give those that are held back to their dialplans."""
        self._server.close()
        leaving = [gevent.spawn(session.stop) for session in self._sessions]
        gevent.joinall(leaving, timeout)

    def _accept(self, accepted: Any, peer: tuple[str, int]) -> None:
        session = OutboundSession(accepted, peer, self._request_timeout)
        if len(self._sessions) >= self._most:
            log.warning("call given back", reason=f"{self._most} are being handled")
            session.close("no room")
            return
        self._sessions.add(session)
        try:
            leg = session.take()
            log.info("call handed over", call_uuid=leg.uuid, peer=session.where)
            self._serve(session)
        except (EslError, UnsafeUuid) as error:
            log.warning("call not taken", peer=session.where, reason=str(error))
        except Exception:
            # One call's mistake: the caller goes on in the dialplan, all others are not touched.
            log.exception("handling a call failed", peer=session.where)
        finally:
            self._sessions.discard(session)
            session.stop()
