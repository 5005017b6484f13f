"""One client of the stand-in switch: its login, its subscriptions, its commands."""

import contextlib
import socket as socket_module
import uuid
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import gevent
from gevent import socket
from gevent.lock import RLock

from fsbot.rehearsal.events import Subscription, SwitchEvent, reply
from fsbot.switch.codec import Command, CommandDecoder, ProtocolError, encode_message

if TYPE_CHECKING:
    from fsbot.rehearsal.server import RehearsalSwitch

GOODBYE = b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
MAX_QUEUED_EVENTS = 100_000
_RECEIVE_BYTES = 65536
_NOT_FOUND = "-ERR command not found"


class ClientSession:
    """Reads one client's commands and answers them; events go out in 20 ms batches."""

    def __init__(self, switch: "RehearsalSwitch", connection: socket.socket) -> None:
        self.subscription = Subscription()
        self.authenticated = False
        self.closed = False
        self.mute = False
        """Nothing is sent to this client any more: its link is half-open."""
        self._switch = switch
        self._socket = connection
        self._decoder = CommandDecoder()
        self._queue: deque[SwitchEvent] = deque()
        self._writing = RLock()
        self._flushing = False

    def serve(self) -> None:
        """Until the client leaves or is sent away."""
        self._socket.setsockopt(socket_module.IPPROTO_TCP, socket_module.TCP_NODELAY, 1)
        try:
            if self._switch.faults.deny_access:
                self._send(encode_message("text/rude-rejection", body=b"Access Denied, go away.\n"))
                self.disconnect()
                return
            self._send(b"Content-Type: auth/request\n\n")
            with gevent.Timeout(self._switch.auth_timeout, False):
                self._serve_commands(until_authenticated=True)
            if not self.authenticated:
                self.disconnect()
                return
            self._serve_commands()
        except ProtocolError:
            self.disconnect()
        except OSError:
            pass
        finally:
            self.close()

    def deliver(self, event: SwitchEvent) -> None:
        """Queue an event if this client wants it; `flush` sends it."""
        if self.authenticated and self.subscription.wants(event):
            if len(self._queue) >= MAX_QUEUED_EVENTS:
                self.close()
                return
            self._queue.append(event)

    def flush(self) -> None:
        """Send what is queued, without ever waiting for the client here."""
        if self._queue and not self._flushing:
            self._flushing = True
            gevent.spawn(self._flush)

    def disconnect(self, notice: bytes = GOODBYE) -> None:
        """Everything queued, a disconnect notice, and the end of the stream."""
        self._flush()
        self._send(encode_message("text/disconnect-notice", body=notice))
        self.close()

    def close(self) -> None:
        """The bare end of the stream, as a killed switch leaves it."""
        if not self.closed:
            self.closed = True
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket_module.SHUT_RDWR)
            self._socket.close()

    def _flush(self) -> None:
        try:
            with self._writing:
                events = [self._queue.popleft() for _ in range(len(self._queue))]
                json = self.subscription.format == "json"
                self._send(b"".join(event.json if json else event.plain for event in events))
        finally:
            self._flushing = False

    def _send(self, data: bytes) -> None:
        if self._switch.faults.mute or self.mute or self.closed or not data:
            return
        with self._writing:
            try:
                self._socket.sendall(data)
            except OSError:
                self.close()

    def _serve_commands(self, until_authenticated: bool = False) -> None:
        while not self.closed:
            while (command := self._decoder.next_command()) is not None:
                faults = self._switch.faults
                if command.line.startswith(faults.reply_delay_to):
                    gevent.sleep(faults.reply_delay)
                self._answer(command)
                if self.closed or (until_authenticated and self.authenticated):
                    return
            data = self._socket.recv(_RECEIVE_BYTES)
            if not data:
                self.close()
                return
            self._decoder.feed(data)

    def _answer(self, command: Command) -> None:
        line = command.line.rstrip("\r")
        words = line.split(" ")
        name = words[0].lower()
        if name == "exit":
            self._send(reply("+OK bye"))
            self.disconnect()
        elif not self.authenticated:
            self._authenticate(line)
        elif name in ("api", "bgapi") and len(words) > 1:
            self._switch.commands.append(line)
            arguments = line.partition(" ")[2]
            if name == "api":
                self._run_api(arguments)
            else:
                self._run_in_background(arguments, command.headers.get("Job-UUID"))
        elif name == "sendevent":
            self._send_event(words[1:], command)
        elif name == "sendmsg":
            self._send(reply(self._send_message(words[1:], command)))
        else:
            self._send(reply(self._subscribe(name, [word for word in words[1:] if word])))

    def _authenticate(self, line: str) -> None:
        if not line.lower().startswith(("auth ", "userauth ")):
            self._send(reply(_NOT_FOUND))
        elif line[5:] == self._switch.password:
            self.authenticated = True
            self._send(reply("+OK accepted"))
        else:
            self._send(reply("-ERR invalid"))
            self.disconnect()

    def _subscribe(self, name: str, words: list[str]) -> str:
        if name == "event":
            return self.subscription.event(words)
        if name == "nixevent":
            return self.subscription.nixevent(words)
        if name == "noevents":
            self._queue.clear()
            return self.subscription.noevents()
        if name == "filter" and words:
            return self.subscription.filter(words)
        if name in ("linger", "nolinger"):
            return "-ERR not controlling a session"
        return _NOT_FOUND

    def _run_api(self, line: str) -> None:
        body = self._switch.api.run(line).encode("utf-8", "surrogateescape")
        self._reply(encode_message("api/response", body=body or b"-ERR no reply\n"), line)

    def _run_in_background(self, line: str, wished: str) -> None:
        job = wished or str(uuid.uuid4())
        self._send(reply(f"+OK Job-UUID: {job}", [("Job-UUID", job)]))
        gevent.spawn(self._background, line, job)

    def _background(self, line: str, job: str) -> None:
        result = self._switch.api.run(line)
        command, _, argument = line.partition(" ")
        headers = [*self._switch.core.headers("BACKGROUND_JOB"), ("Job-UUID", job)]
        headers.append(("Job-Command", command))
        if argument:
            headers.append(("Job-Command-Arg", argument))
        body = result.encode("utf-8", "surrogateescape")
        self._switch.fire(SwitchEvent("BACKGROUND_JOB", headers, body))

    def _reply(self, data: bytes, line: str = "") -> None:
        faults = self._switch.faults
        if faults.lose_replies and line.startswith(faults.lose_replies_to):
            faults.lose_replies -= 1
            return
        times = 1
        if faults.repeat_replies:
            faults.repeat_replies -= 1
            times = 2
        self._send(data * times)

    def _send_event(self, words: list[str], command: Command) -> None:
        identity = self._switch.receive_event(" ".join(words).strip(), command)
        if self._switch.faults.lose_event_replies:
            self._switch.faults.lose_event_replies -= 1
            return
        self._reply(reply(f"+OK {identity}"))

    def _send_message(self, words: list[str], command: Command) -> str:
        found = self._switch.find_leg(words[0]) if words else None
        if found is None:
            return f"-ERR invalid session id [{words[0] if words else ''}]"
        call, leg = found
        wish = command.headers.get("call-command")
        if wish == "hangup":
            call.hang_up(command.headers.get("hangup-cause", "NORMAL_CLEARING"))
        elif wish == "execute":
            argument = command.headers.get("execute-app-arg") or command.body.decode(
                "utf-8", "surrogateescape"
            )
            leg.executed(leg.execute(command.headers.get("execute-app-name"), argument))
        return "+OK"


def fold_carriage_returns(
    line: str, pairs: Sequence[tuple[str, str]]
) -> tuple[str, list[tuple[str, str]]]:
    """A command's line and headers as FreeSWITCH takes them.

    All ends at a NUL. A carriage return inside one makes everything before it part of the
    command line, and what follows it a header of its own; captures/sendevent_roundtrip.esl.
    """
    kept: list[tuple[str, str]] = []
    for name, value in pairs:
        value, end_of_text, _ = value.partition("\0")
        before, found, after = value.rstrip("\r").partition("\r")
        if found:
            line = "\n".join([line, *(f"{key}: {text}" for key, text in kept), f"{name}: {before}"])
            name, _, value = after.partition(": ")
            kept.clear()
        kept.append((name, value.rstrip("\r")))
        if end_of_text:
            break
    return line, kept
