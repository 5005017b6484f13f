"""The outbound socket of the stand-in switch: a call in the hands of a program.

As a dialplan's `<action application="socket" data="HOST:PORT async full"/>` gives it away; sources:
FACTS.md 6, mod_event_socket.c, the capture outbound_handshake.esl.
"""

import math
import socket as socket_module
from collections import deque
from typing import TYPE_CHECKING

import gevent
from gevent import socket
from gevent.event import Event as Flag

from fsbot.rehearsal.events import reply
from fsbot.rehearsal.playback import file_seconds, spoken_seconds
from fsbot.rehearsal.session import GOODBYE, ClientSession
from fsbot.switch.codec import Command, Headers, ProtocolError, encode_message, percent_encode

if TYPE_CHECKING:
    from fsbot.rehearsal.call import Call
    from fsbot.rehearsal.server import RehearsalSwitch

CONNECT_SECONDS = 5.0


class ControlSession(ClientSession):
    """FreeSWITCH's end of the connection, from the handing over to the channel's last event.

    What `sendmsg` asks for waits in a queue of the channel's (private events). While an application
    runs that was asked for with `event-lock: true`, nothing is taken from it, `hangup` neither; in
    the middle of any other one, the next begins at once (switch_ivr_parse_event). The queue
    outlives the connection: what runs goes on to its end, and what waits is carried out, before the
    dialplan goes on (socket_function).
    """

    def __init__(self, switch: "RehearsalSwitch", call: "Call", connection: socket.socket) -> None:
        super().__init__(switch, connection)
        self.authenticated = True
        self._call = call
        self._leg = call.legs[0]
        self._linger = 0
        self._asked: deque[Command] = deque()
        self._news = Flag()
        self._idle = Flag()
        self._idle.set()
        self._broken_off = Flag()
        self._spoken_to = False

    def serve(self) -> None:
        """Until the program leaves; the call goes on in its dialplan then, if it is still up."""
        self._socket.setsockopt(socket_module.IPPROTO_TCP, socket_module.TCP_NODELAY, 1)
        working = gevent.spawn(self._work)
        try:
            self._serve_commands()
        except ProtocolError:
            self.disconnect()
        except OSError:
            pass
        finally:
            self.close()
            self._idle.wait()
            working.kill()

    def break_off(self, everything: bool) -> None:
        """`uuid_break`: what plays ends; with `all`, what waits is forgotten."""
        if everything:
            self._asked.clear()
        self._broken_off.set()

    def channel_gone(self) -> None:
        """The call has hung up: the last events, and after a while the end."""
        self.break_off(everything=True)
        if not self._linger:
            self.disconnect()
            return
        self._flush()
        headers = [
            ("Controlled-Session-UUID", self._leg.uuid),
            ("Content-Disposition", "linger"),
            ("Channel-Name", self._leg.name),
            ("Linger-Time", str(self._linger)),
        ]
        self._send(encode_message("text/disconnect-notice", headers))
        gevent.spawn_later(self._linger, self._say_goodbye)

    def _say_goodbye(self) -> None:
        headers = [
            ("Controlled-Session-UUID", self._leg.uuid),
            ("Content-Disposition", "disconnect"),
        ]
        self._send(encode_message("text/disconnect-notice", headers, GOODBYE))
        self.close()

    def _answer(self, command: Command) -> None:
        line = command.line.rstrip("\r")
        name, _, argument = line.partition(" ")
        first, self._spoken_to = not self._spoken_to, True
        match name.lower():
            case "connect":
                if self._leg.answered:
                    self._leg.begin_park()
                pairs = self._leg.dump().headers.items()
                modes = [("Socket-Mode", "async"), ("Control", "full")]
                lines = [
                    b"%s: %s\n" % (key.encode(), percent_encode(value)) for key, value in pairs
                ]
                lines.append(b"Content-Type: command/reply\nReply-Text: %2BOK%0A\n")
                lines += [b"%s: %s\n" % (key.encode(), value.encode()) for key, value in modes]
                self._send(b"".join(lines) + b"\n")
            case _ if first:
                pass  # carried out, but its reply is dropped (listener_run, mod_event_socket.c)
            case "linger":
                self._linger = int(argument or 60)
                self._send(reply(f"+OK will linger {self._linger} seconds"))
            case "getvar":
                if value := self._leg.variables.get(argument):
                    self._send(reply(value))
            case "sendmsg" if not argument:
                self._send(reply(self._take_message(command)))
            case _:
                super()._answer(command)

    def _take_message(self, command: Command) -> str:
        if self._call.finished:
            return "-ERR invalid session id []"
        if command.headers.get("call-command") in ("hangup", "execute"):
            self._asked.append(command)
            self._idle.clear()
            self._news.set()
        return "+OK"

    def _work(self) -> None:
        while True:
            self._idle.set()
            self._news.wait()
            self._news.clear()
            while self._asked and not self._call.finished:
                self._carry_out(self._asked.popleft().headers)

    def _carry_out(self, asked: Headers) -> None:
        if asked.get("call-command") == "hangup":
            self._call.hang_up(asked.get("hangup-cause", "NORMAL_CLEARING"))
            return
        names = "Event-UUID", "execute-app-name", "execute-app-arg"
        identity, application, argument = (asked.get(name) for name in names)
        if asked.get("event-lock") == "true":
            self._broken_off.clear()
            self._perform(identity, application, argument)
        else:
            gevent.spawn(self._perform, identity, application, argument)

    def _perform(self, identity: str, application: str, argument: str) -> None:
        running = self._leg.execute(application, argument, identity)
        response = self._run(application, argument)
        if not self._call.finished:
            self._leg.executed(running, response)

    def _run(self, application: str, argument: str) -> str:
        match application:
            case "answer":
                self._call.answer()
                self._leg.begin_park()
            case "hangup":
                self._call.hang_up(argument or "NORMAL_CLEARING")
            case "set":
                name, _, value = argument.partition("=")
                self._leg.variables[name] = value
            case "transfer":
                self._switch.transfer(self._call, argument.split(" ")[0])
            case "park":
                self._broken_off.wait()
            case "sleep":
                self._broken_off.wait(int(argument) / 1000)
            case "playback":
                return self._play(argument)
            case "speak" if len(argument.rstrip("|").split("|")) < 3:
                # The engine is taken for the voice, and the voice for the text: `Invalid Params!`
                self._call.hang_up("DESTINATION_OUT_OF_ORDER")
            case "speak" if self._switch.faults.no_voice:
                pass
            case "speak":
                if not self._broken_off.wait(spoken_seconds(argument)):
                    self._leg.text_ended()
            case _:
                return "-ERR invalid application"
        return "_none_"

    def _play(self, argument: str) -> str:
        seconds = file_seconds(argument)
        if math.isnan(seconds):
            return "FILE NOT FOUND"
        self._leg.emit("PLAYBACK_START", after=[("Playback-File-Path", argument)])
        broken = self._broken_off.wait(seconds)
        status = "break" if broken else "done"
        pairs = [("Playback-File-Path", argument), ("Playback-Status", status)]
        if not self._call.finished:
            self._leg.emit("PLAYBACK_STOP", after=pairs)
        return "FILE PLAYED"
