"""The outbound socket: what a dialplan hands over, against the rehearsal switch and bad peers."""

from collections.abc import Callable, Iterator
from contextlib import suppress

import gevent
import numpy as np
import pytest
from esl_peer import Peer, wait_until
from gevent import socket
from gevent.event import Event as Flag

from fsbot.errors import UserError
from fsbot.rehearsal.script import CallScript, Press
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.switch.errors import CommandRefused
from fsbot.switch.outbound import OutboundServer, OutboundSession

PATIENCE = 20.0

Serve = Callable[[OutboundSession], object]
Listen = Callable[..., OutboundServer]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """listen(serve) → a server that hands its sessions to serve."""
    servers: list[OutboundServer] = []

    def start(serve: Serve, most: int = 8, request_timeout: float = 5.0) -> OutboundServer:
        server = OutboundServer("127.0.0.1", 0, serve, most=most, request_timeout=request_timeout)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def freeswitch() -> Iterator[RehearsalSwitch]:
    with RehearsalSwitch() as switch:
        yield switch


def script(server: OutboundServer | None, seconds: float = 30.0, **more: object) -> CallScript:
    sound = Sound("silence", 8000, np.zeros(int(seconds * 8000), dtype=np.int16), None)
    where = f"127.0.0.1:{server.port if server else 9}"
    return CallScript(sound, socket=where, **more)  # type: ignore[arg-type]


def names(switch: RehearsalSwitch, uuid: str) -> list[str]:
    return [event.name for event in switch.fired if event.headers.get("Unique-ID") == uuid]


def test_a_call_is_taken_answered_played_to_and_given_back(
    listen: Listen, freeswitch: RehearsalSwitch
) -> None:
    seen: list[object] = []
    done = Flag()

    def serve(session: OutboundSession) -> None:
        seen.append(session.leg)
        assert session.execute("answer").wait(PATIENCE)
        playback = session.execute("playback", "silence_stream://200")
        assert not playback.is_over
        assert playback.wait(PATIENCE)
        seen.append(playback.response)
        done.set()

    call = freeswitch.place(script(listen(serve)))
    assert done.wait(PATIENCE)
    leg, response = seen
    assert leg.uuid == call.uuid  # type: ignore[attr-defined]
    assert leg.answered_at is None  # type: ignore[attr-defined]
    assert leg.caller_number == "0612345678"  # type: ignore[attr-defined]
    assert response == "FILE PLAYED"
    wait_until(lambda: not call.handed_over, PATIENCE)
    assert not call.finished
    assert names(freeswitch, call.uuid).count("CHANNEL_ANSWER") == 1
    # What comes behind `socket` in the dialplan runs now.
    assert call.legs[0].application[0] == "park"


def test_what_is_asked_for_runs_in_order_and_can_be_cut_short(
    listen: Listen, freeswitch: RehearsalSwitch
) -> None:
    done = Flag()

    def begun() -> list[tuple[str, str]]:
        fired = [event for event in freeswitch.fired if event.name == "CHANNEL_EXECUTE"]
        names = ("Application", "Application-Data")
        return [(e.headers.get(names[0]), e.headers.get(names[1])) for e in fired]

    def serve(session: OutboundSession) -> None:
        session.execute("answer")
        first = session.execute("playback", "silence_stream://30000")
        second = session.execute("playback", "silence_stream://30001")
        gevent.sleep(0.3)
        session.stop_playing()
        assert first.wait(PATIENCE)
        assert second.is_over
        assert ("playback", "silence_stream://30001") not in begun()
        third = session.execute("speak", "flite|slt|au revoir | merci")
        assert third.wait(PATIENCE)
        done.set()

    call = freeswitch.place(script(listen(serve)))
    assert done.wait(PATIENCE)
    assert not call.finished


def test_keys_are_told(listen: Listen, freeswitch: RehearsalSwitch) -> None:
    keys: list[str] = []
    done = Flag()

    def serve(session: OutboundSession) -> None:
        session.on_digit = keys.append
        session.execute("answer")
        wait_until(lambda: keys == ["4", "#"], PATIENCE)
        done.set()

    freeswitch.place(script(listen(serve), actions=(Press(0.3, "4"), Press(0.5, "#"))))
    assert done.wait(PATIENCE)


def test_a_caller_who_hangs_up_ends_what_runs_and_what_is_asked_later(
    listen: Listen, freeswitch: RehearsalSwitch
) -> None:
    done = Flag()

    def serve(session: OutboundSession) -> None:
        session.execute("answer")
        playback = session.execute("playback", "silence_stream://30000")
        assert playback.wait(PATIENCE)
        assert playback.response == ""
        assert session.hung_up.is_set()
        with pytest.raises(CommandRefused, match="hung up"):
            session.execute("playback", "silence_stream://100")
        # FreeSWITCH keeps the connection for a while: `linger`.
        gevent.sleep(0.2)
        assert session.connected
        done.set()

    freeswitch.place(script(listen(serve), seconds=0.5, tail=0.1))
    assert done.wait(PATIENCE)


def test_hanging_up(listen: Listen, freeswitch: RehearsalSwitch) -> None:
    def serve(session: OutboundSession) -> None:
        session.execute("answer").wait(PATIENCE)
        session.hang_up("CALL_REJECTED")
        assert session.hung_up.wait(PATIENCE)

    call = freeswitch.place(script(listen(serve)))
    wait_until(lambda: call.finished, PATIENCE)
    assert call.legs[0].hangup_cause == "CALL_REJECTED"


def test_nobody_there_leaves_the_caller_in_the_dialplan(freeswitch: RehearsalSwitch) -> None:
    call = freeswitch.place(script(None))
    wait_until(lambda: call.legs[0].answered, PATIENCE)
    assert call.legs[0].application[0] == "park"


def test_a_mistake_leaves_the_caller_in_the_dialplan_and_harms_nobody_else(
    listen: Listen, freeswitch: RehearsalSwitch
) -> None:
    done = Flag()

    def serve(session: OutboundSession) -> None:
        if session.leg.caller_number == "1":
            raise RuntimeError("a mistake")
        wait_until(lambda: not wrong.handed_over, PATIENCE)
        session.execute("answer").wait(PATIENCE)
        done.set()

    server = listen(serve)
    other = freeswitch.place(script(server, caller_number="2"))
    wrong = freeswitch.place(script(server, caller_number="1"))
    assert done.wait(PATIENCE)
    wait_until(lambda: wrong.legs[0].answered, PATIENCE)
    assert not other.finished
    wait_until(lambda: not server.channels, PATIENCE)


def test_one_too_many_is_given_back(listen: Listen, freeswitch: RehearsalSwitch) -> None:
    release = Flag()
    server = listen(lambda session: release.wait(PATIENCE), most=1)
    held = freeswitch.place(script(server))
    wait_until(lambda: server.channels == 1, PATIENCE)
    second = freeswitch.place(script(server))
    wait_until(lambda: second.legs[0].answered, PATIENCE)
    assert held.handed_over
    release.set()


def test_closing_the_server_gives_all_calls_back(
    listen: Listen, freeswitch: RehearsalSwitch
) -> None:
    server = listen(lambda session: session.closed.wait(PATIENCE))
    calls = [freeswitch.place(script(server)) for _ in range(3)]
    wait_until(lambda: server.channels == 3, PATIENCE)
    server.close()
    wait_until(lambda: not any(call.handed_over for call in calls), PATIENCE)
    assert all(call.legs[0].answered for call in calls)


def test_a_port_that_is_taken_is_told(listen: Listen) -> None:
    server = listen(lambda session: None)
    with pytest.raises(UserError, match="another program does"):
        OutboundServer("127.0.0.1", server.port, print, most=1, request_timeout=1.0)


# Peers that are no FreeSWITCH, or a strange one


def dial(server: OutboundServer) -> Peer:
    return Peer(socket.create_connection(("127.0.0.1", server.port), 5.0))


def refused(server: OutboundServer, peer: Peer) -> bool:
    """The connection is dropped, and nobody was called."""
    peer.sock.settimeout(PATIENCE)
    with suppress(ConnectionError):
        while peer.command() is not None:
            pass
    wait_until(lambda: not server.channels, PATIENCE)
    return True


def never(session: OutboundSession) -> None:
    pytest.fail("such a call was taken")


def greet(peer: Peer, uuid: str = "a-b-c", silence: str = "_undef_") -> list[str]:
    """Answer as FreeSWITCH 1.11 does what comes before `connect`; the commands, with that one.

    It carries out the first command of a connection and says nothing.
    """
    lines: list[str] = []
    while (command := peer.command()) is not None:
        lines.append(command.line)
        if command.line == "connect":
            break
        if command.line == "getvar uuid":
            peer.reply(uuid)
        elif command.line.startswith("api "):
            peer.api_reply(silence if "getvar" in command.line else "+OK\n")
    return lines


def channel(uuid: str = "a-b-c", control: str = "full") -> bytes:
    text = f"Event-Name: CHANNEL_DATA\nUnique-ID: {uuid}\nContent-Type: command/reply\n"
    return f"{text}Reply-Text: %2BOK%0A\nSocket-Mode: async\nControl: {control}\n\n".encode()


@pytest.mark.parametrize(
    "answer",
    [
        channel(uuid="a%20b"),
        channel(uuid=""),
        channel(control="partial"),
        b"Content-Type: command/reply\nReply-Text: -ERR no\n\n",
        b"HTTP/1.1 400 Bad Request\n\n",
        b"\xff\xfe\x00\n\n",
        b"Content-Type: command/reply\nContent-Length: -1\n\n",
    ],
)
def test_what_is_no_channel_of_ours_is_dropped(listen: Listen, answer: bytes) -> None:
    server = listen(never)
    peer = dial(server)
    assert greet(peer)[-1] == "connect"
    peer.send(answer)
    assert refused(server, peer)


@pytest.mark.parametrize("uuid", ["a'b", "a b", "-ERR no"])
def test_a_uuid_that_fits_nowhere_is_asked_nothing(listen: Listen, uuid: str) -> None:
    server = listen(never)
    peer = dial(server)
    assert greet(peer, uuid) == ["getvar", "getvar uuid"]
    assert refused(server, peer)


@pytest.mark.parametrize(("said", "asked"), [("_undef_", True), ("1400", False), ("0", False)])
def test_silence_is_sent_unless_the_dialplan_has_said_what_is(
    listen: Listen, said: str, asked: bool
) -> None:
    """Before `connect`, which parks the call: park reads it once."""
    server = listen(lambda session: None)
    peer = dial(server)
    lines = greet(peer, "a-b-c", said)
    assert lines[:3] == ["getvar", "getvar uuid", "api uuid_getvar a-b-c send_silence_when_idle"]
    set_it = ["api uuid_setvar a-b-c send_silence_when_idle -1"] * asked
    assert lines[3:] == [*set_it, "connect"]
    peer.sock.close()


def test_a_peer_that_says_nothing_is_given_up(listen: Listen) -> None:
    server = listen(never, request_timeout=0.3)
    assert refused(server, dial(server))


def test_the_real_handshake_is_understood(listen: Listen, captures) -> None:  # type: ignore[no-untyped-def]
    """Byte for byte as FreeSWITCH 1.11 sent it, up to its answer to `connect`."""
    taken: list[OutboundSession] = []
    server = listen(taken.append)
    peer = dial(server)
    handshake, _, _ = captures.received("outbound_handshake").partition(b"\n\n")
    assert greet(peer)[-1] == "connect"
    peer.send(handshake + b"\n\n")
    lines = []
    while (command := peer.command()) is not None:
        lines.append(command.line)
        peer.reply("+OK")
        if command.line == "exit":
            break
    assert lines == [
        "linger 10",
        "filter Unique-ID ce63dc3e-2f24-4d6f-9924-2f128d2ae30f",
        "event plain CHANNEL_HANGUP CHANNEL_EXECUTE_COMPLETE DTMF RECORD_START RECORD_STOP",
        "exit",
    ]
    assert taken[0].leg.channel_name == "sofia/internal/0000000000@127.0.0.1"
    assert taken[0].leg.answered_at == pytest.approx(1795359838.278903)
    peer.sock.close()
