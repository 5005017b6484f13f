"""The stand-in switch: its socket, its clock, its calls, and what tests can make go wrong."""

import errno
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import gevent
from gevent import socket
from gevent.server import StreamServer

from fsbot.errors import UserError
from fsbot.rehearsal.api import Api
from fsbot.rehearsal.call import Call
from fsbot.rehearsal.control import CONNECT_SECONDS, ControlSession
from fsbot.rehearsal.events import EVENT_NAMES, Core, Pairs, SwitchEvent
from fsbot.rehearsal.leg import Leg
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.session import ClientSession, fold_carriage_returns
from fsbot.rehearsal.sound import FRAME_SECONDS
from fsbot.switch.codec import Command, Event, Headers

_MAX_TICKS_AT_ONCE = 500
_REMEMBERED = 20_000


@dataclass(slots=True)
class Faults:
    """What goes wrong from now on; tests change it while the switch runs.

    `deny_access`: the ACL turns clients away. `mute`: nothing is sent any more, replies and events
    alike, while connections stay open (a half-open link). `reply_delay`: seconds before each
    command that begins with `reply_delay_to` is looked at. `refuse_recording`: the reply to every
    `uuid_record … start`. `lose_event_replies`: so many `sendevent` are delivered but not answered;
    `lose_replies` the same for `api` too, of commands that begin with `lose_replies_to`.
    `repeat_replies`: so many of both are answered twice. `lose_events`: names of events that nobody
    gets. `hang_up_while_starting`: so many calls hang up in the 10 ms in which a recording of
    theirs starts. `no_voice`: `speak` finds no such engine or voice. `missing_extensions`: the
    dialplan does not have them.
    """

    deny_access: bool = False
    mute: bool = False
    reply_delay: float = 0.0
    reply_delay_to: str = ""
    refuse_recording: str = ""
    lose_event_replies: int = 0
    lose_replies: int = 0
    lose_replies_to: str = ""
    repeat_replies: int = 0
    lose_events: frozenset[str] = frozenset()
    hang_up_while_starting: int = 0
    no_voice: bool = False
    missing_extensions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """A `sendevent` from a client. `at`: Unix seconds."""

    at: float
    event: Event


class RehearsalSwitch:
    """A FreeSWITCH for clients on its event socket; runs in the gevent hub that starts it.

    Use as a context manager, or `start` and `stop`. `port` 0 takes a free one, see `port`.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        password: str = "ClueCon",
        heartbeat: float = 20.0,
        auth_timeout: float = 25.0,
        sound_prefix: Path = Path("/usr/share/freeswitch/sounds"),
        originated: CallScript | None = None,
    ) -> None:
        """`originated`: what `api originate` plays; without it there is no route anywhere."""
        self.host = host
        self.port = port
        self.password = password
        self.auth_timeout = auth_timeout
        self.sound_prefix = sound_prefix
        self.faults = Faults()
        self.core = Core()
        self.api = Api(self)
        self._playing: list[Call] = []
        # The latest ones only: a machine may be rehearsed for days.
        self.calls: deque[Call] = deque(maxlen=_REMEMBERED // 10)
        self.received: deque[ReceivedEvent] = deque(maxlen=_REMEMBERED)
        self.fired: deque[SwitchEvent] = deque(maxlen=_REMEMBERED // 10)
        self.commands: deque[str] = deque(maxlen=_REMEMBERED)
        self.received_per_kind: Counter[str] = Counter()
        self._sessions: list[ClientSession] = []
        self._controls: dict[Call, ControlSession] = {}
        self._heartbeat = heartbeat
        self._originated = originated
        self._server: StreamServer | None = None
        self._greenlets: list[gevent.Greenlet] = []

    def __enter__(self) -> "RehearsalSwitch":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def live_calls(self) -> Sequence[Call]:
        """Calls that have not been hung up."""
        return [call for call in self._playing if not call.finished]

    @property
    def kept_legs(self) -> Sequence[Leg]:
        """Channels that are hung up and stay for good."""
        return [leg for call in self.calls for leg in call.legs if leg.kept]

    @property
    def sessions(self) -> Sequence[ClientSession]:
        """Clients that are connected now."""
        return [session for session in self._sessions if not session.closed]

    def start(self) -> None:
        """Listen. Raises UserError if the address cannot be had."""
        server = StreamServer((self.host, self.port), self._accept)
        try:
            server.start()
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            raise UserError(
                f"Cannot listen on {self.host}:{self.port}: "
                + ("another program does" if in_use else error.strerror or str(error)),
                "Give another port with --port, or stop the other program.",
            ) from error
        self._server = server
        self.port = server.server_port
        self._greenlets = [gevent.spawn(self._run_clock), gevent.spawn(self._beat)]

    def stop(self) -> None:
        """Close everything at once; recordings are flushed, but nobody is told."""
        for call in self.live_calls:
            call.hang_up()
        self._close()

    def shut_down(self) -> None:
        """`fsctl shutdown`: every call is hung up, then every client gets the notice."""
        headers = [*self.core.headers("SHUTDOWN"), ("Event-Info", "System Shutting Down")]
        self.fire(SwitchEvent("SHUTDOWN", headers))
        for call in self.live_calls:
            call.hang_up("SYSTEM_SHUTDOWN")
        for session in self.sessions:
            session.disconnect(b"The system is being shut down.\n")
        self._close()

    def kill(self) -> None:
        """SIGKILL: bare ends of streams, and what recordings had buffered is lost."""
        for call in self.live_calls:
            for recording in call.recorded:
                if not recording.cause:
                    recording.file.abandon()
        self._playing.clear()
        self._close()

    def drop_clients(self) -> None:
        """Every connection ends without a word; the switch goes on."""
        for session in self.sessions:
            session.close()

    def place(self, script: CallScript) -> Call:
        """Begin a call; its audio starts with the next tick of the clock."""
        call = Call(self.core, self.fire, script)
        self.calls.append(call)
        self._playing.append(call)
        if script.socket:
            gevent.spawn(self._hand_over, call)
        return call

    def control_of(self, call: Call) -> ControlSession | None:
        """The session of the program that has this call in its hands."""
        return self._controls.get(call)

    def _hand_over(self, call: Call) -> None:
        """The dialplan's `socket`: refused, or let go of, the call goes on with what follows."""
        host, _, port = call.script.socket.rpartition(":")
        asking = call.legs[0].execute("socket", f"{call.script.socket} async full")
        try:
            opened = socket.create_connection((host, int(port)), CONNECT_SECONDS)
        except OSError:
            call.go_on_in_dialplan()
            return
        opened.settimeout(None)
        session = self._controls[call] = ControlSession(self, call, opened)
        self._sessions.append(session)
        try:
            session.serve()
        finally:
            self._sessions.remove(session)
            del self._controls[call]
            if not call.finished:
                call.legs[0].executed(asking)
            if call.handed_over:  # neither transferred
                call.go_on_in_dialplan()

    def transfer(self, call: Call, extension: str) -> None:
        """What plays ends; the program that has the call stays connected to it."""
        if (control := self.control_of(call)) is not None:
            control.break_off(everything=True)
        if extension in self.faults.missing_extensions:
            call.hang_up("NO_ROUTE_DESTINATION")
        else:
            call.transfer(extension)

    def originate(self, variables: dict[str, str], destination: str) -> Call | None:
        if self._originated is None:
            return None
        script = replace(
            self._originated,
            direction="outbound",
            uuid=variables.get("origination_uuid") or None,
            variables=variables,
        )
        return self.place(script)

    def find_leg(self, identity: str) -> tuple[Call, Leg] | None:
        for call in self.live_calls:
            for leg in call.legs:
                if leg.uuid == identity and not leg.gone:
                    return call, leg
        return None

    # -- events ------------------------------------------------------------------------------

    def fire(self, event: SwitchEvent) -> None:
        """Hand an event to every client that wants it; it leaves with the next tick."""
        self.fired.append(event)
        if event.name in self.faults.lose_events:
            return
        for session in self.sessions:
            session.deliver(event)

    def fire_api(self, command: str, arguments: str) -> None:
        headers = [*self.core.headers("API"), ("API-Command", command)]
        if arguments:
            headers.append(("API-Command-Argument", arguments))
        self.fire(SwitchEvent("API", headers))

    def receive_event(self, name: str, command: Command) -> str:
        """A client's `sendevent`; returns its Event-UUID.

        With a live channel's Unique-ID the channel swallows it: a parked one gives it back
        without Event-Name and with its own data, any other keeps it for its script.
        """
        identity = str(uuid.uuid4())
        line, pairs = fold_carriage_returns(f"sendevent {name}".rstrip(), command.headers.items())
        sent = [(key, value) for key, value in pairs if value]
        self.received.append(ReceivedEvent(time.time(), Event(Headers(sent), command.body)))
        subclass = Headers(sent).get("Event-Subclass") if name.upper() == "CUSTOM" else ""
        self.received_per_kind[subclass or name] += 1
        headers: Pairs = [("Command", line), *sent, ("Event-UUID", identity)]
        if subclass:
            headers = [pair for pair in headers if pair[0].lower() != "event-subclass"]
            headers.insert(0, ("Event-Subclass", subclass))
        kind = name.upper() if name.upper() in EVENT_NAMES else "CUSTOM"
        found = self.find_leg(Headers(sent).get("Unique-ID"))
        if found is None:
            core = self.core.headers("CUSTOM")
            core[0] = ("Event-Name", kind)
            self.fire(SwitchEvent(kind, headers + core, command.body, subclass))
        elif found[1].application[0] != "park" or found[1].on_input is not None:
            found[1].queued.append(SwitchEvent(kind, headers, command.body, subclass))
        else:
            dump = found[1].dump().headers.items()
            start = [key for key, _ in dump].index("Channel-State")
            self.fire(SwitchEvent(kind, [*headers, *dump[start:]], command.body, subclass))
        return identity

    # -- waiting, for tests and the command ------------------------------------------------------

    def wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Until `condition` holds (True) or `timeout` seconds have gone (False)."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() >= deadline:
                return False
            gevent.sleep(FRAME_SECONDS)
        return True

    def wait_for_listener(self, event_name: str = "CHANNEL_ANSWER", timeout: float = 10) -> bool:
        """Until a client has logged in and subscribed to `event_name`."""
        return self.wait(
            lambda: any(
                session.authenticated and session.subscription.listens_to(event_name)
                for session in self.sessions
            ),
            timeout,
        )

    def custom_events(self, subclass: str, call_uuid: str = "") -> list[Event]:
        """What clients have sent as `subclass`, perhaps of one call (by its `Call-UUID`)."""
        return [
            received.event
            for received in self.received
            if received.event.subclass == subclass
            and call_uuid in ("", received.event.headers.get("Call-UUID"))
        ]

    # -- the inside ------------------------------------------------------------------------------

    def tick(self) -> None:
        """20 ms of every call, then what the clients have not been sent yet."""
        for call in self.live_calls:
            call.tick()
        for call in [call for call in self._playing if call.finished]:
            self._playing.remove(call)
            if (control := self.control_of(call)) is not None:
                gevent.spawn(control.channel_gone)
        for session in self.sessions:
            session.flush()

    def _run_clock(self) -> None:
        # An absolute clock: a late tick is made up for, so audio never drifts from the wall.
        start = time.monotonic()
        ticks = 0
        while True:
            due = int((time.monotonic() - start) / FRAME_SECONDS)
            if due - ticks > _MAX_TICKS_AT_ONCE:
                ticks = due - _MAX_TICKS_AT_ONCE
            while ticks < due:
                ticks += 1
                self.tick()
            gevent.sleep(max(start + (ticks + 1) * FRAME_SECONDS - time.monotonic(), 0))

    def _beat(self) -> None:
        while True:
            gevent.sleep(self._heartbeat)
            legs = sum(len(call.legs) for call in self.live_calls)
            self.fire(self.core.heartbeat(legs))

    def _accept(self, connection: socket.socket, address: tuple[str, int]) -> None:
        session = ClientSession(self, connection)
        self._sessions.append(session)
        try:
            session.serve()
        finally:
            self._sessions.remove(session)

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.drop_clients()
        current = gevent.getcurrent()
        gevent.killall([each for each in self._greenlets if each is not current])
