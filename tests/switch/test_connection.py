"""Every override of greenswitch's InboundESL: how the plain class fails, and that ours does not.

A test named `test_plain…` asserts the misbehaviour itself, so that an override that greenswitch
no longer needs announces itself.
"""

import functools
import json
import subprocess
import sys
import textwrap
import time

import gevent
import pytest
from gevent.event import Event as Flag
from greenswitch import InboundESL
from greenswitch.esl import NotConnectedError
from structlog.testing import capture_logs

from fsbot.switch.codec import encode_message
from fsbot.switch.connection import Connection
from fsbot.switch.errors import (
    AccessDenied,
    AuthenticationFailed,
    CommandRefused,
    ConnectionLost,
    ConnectionRefused,
    EslError,
    RequestTimeout,
)

SOON = 0.4  # long enough for loopback, short enough to wait for what never comes


@pytest.fixture
def plain(switch):
    """plain(script) → a logged-in InboundESL as greenswitch ships it."""
    links = []

    def connect(script, **kwargs):
        links.append(InboundESL("127.0.0.1", switch(script).port, "ClueCon"))
        links[-1].connect()
        return links[-1]

    yield connect
    for link in links:
        gevent.killall([link._receive_events_greenlet, link._process_events_greenlet])


@pytest.fixture
def ours(switch):
    """ours(script) → a logged-in Connection."""
    links = []

    def connect(script, **kwargs):
        links.append(Connection("127.0.0.1", switch(script).port, "ClueCon", **kwargs))
        links[-1].connect()
        return links[-1]

    yield connect
    for link in links:
        link.stop()


def never_returns(function, *args) -> bool:
    with gevent.Timeout(SOON, False):
        function(*args)
        return False
    return True


def after_login(*steps):
    """A script: log in, wait for one command, run the steps, then stay until the client goes."""

    def script(peer):
        peer.log_in()
        peer.command()
        peer.reply("+OK")
        for step in steps:
            step(peer)
        peer.say_yes()

    return script


def collect(link, name="*"):
    received = []
    link.register_handle(name, received.append)
    return received


def start(link) -> None:
    """Send the one command that `after_login` waits for."""
    link.send("noop")


def ping(peer):
    peer.event(("Event-Name", "PING"))


class TestHeaderInjection:
    script = staticmethod(
        after_login(
            lambda peer: peer.event(
                ("Event-Name", "CHANNEL_ANSWER"),
                ("Unique-ID", "good"),
                ("Caller-Caller-ID-Name", "Eve\nUnique-ID: evil"),
            ),
        )
    )

    def test_plain_believes_the_caller(self, plain, wait_until):
        link = plain(self.script)
        events = collect(link)
        start(link)
        wait_until(lambda: events)

        assert events[0].headers["Unique-ID"] == "evil"

    def test_ours_keeps_the_value_one_value(self, ours, wait_until):
        link = ours(self.script)
        events = collect(link)
        start(link)
        wait_until(lambda: events)

        assert events[0].headers.all("Unique-ID") == ["good"]
        assert events[0].headers["Caller-Caller-ID-Name"] == "Eve\nUnique-ID: evil"


class TestBytesThatAreNotUtf8:
    script = staticmethod(
        after_login(
            lambda peer: peer.send(
                encode_message("text/event-plain", [], b"Event-Name: A\nX: \xff\n\n")
            ),
            ping,
        )
    )

    def test_plain_dies_of_it(self, plain, wait_until):
        link = plain(self.script)
        events = collect(link)
        start(link)
        wait_until(link._receive_events_greenlet.ready)

        gevent.sleep(0.05)
        assert events == []

    def test_ours_keeps_them_and_goes_on(self, ours, wait_until):
        link = ours(self.script)
        events = collect(link)
        start(link)
        wait_until(lambda: len(events) == 2)

        assert events[0].headers["X"] == "\udcff"


class TestAReplyThatNeverComes:
    @staticmethod
    def script(peer):
        peer.log_in()
        while peer.command():
            pass

    def test_plain_waits_for_ever(self, plain):
        assert never_returns(plain(self.script).send, "api status")

    def test_ours_gives_up(self, ours):
        link = ours(self.script, request_timeout=0.2)

        with pytest.raises(RequestTimeout, match=r"does not answer `api status` in 0\.2 s"):
            link.api("status")
        assert link.connected
        assert link.unanswered > 0.1

    def test_the_late_reply_goes_to_nobody_and_shifts_nothing(self, ours):
        release = Flag()

        def script(peer):
            peer.log_in()
            peer.command()
            release.wait()
            peer.api_reply("late")
            while command := peer.command():
                peer.api_reply(f"reply to {command.line}")

        link = ours(script)
        with pytest.raises(RequestTimeout):
            link.api("first", timeout=0.1)
        release.set()

        assert link.api("second") == "reply to api second"
        assert link.api("third") == "reply to api third"
        assert link.unanswered == 0

    def test_many_at_once_each_get_their_own(self, ours):
        def script(peer):
            peer.log_in()
            while command := peer.command():
                if command.line.startswith("api "):
                    peer.api_reply(command.line.removeprefix("api "))
                else:
                    peer.reply("+OK")

        link = ours(script)
        names = [f"job-{n}" for n in range(100)]
        jobs = [gevent.spawn(link.api, name) for name in names]

        assert [job.get(timeout=10) for job in jobs] == names

    def test_an_outer_timeout_is_not_taken_for_ours(self, ours):
        link = ours(self.script)
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
            link.api("status", timeout=5)


class TestALinkThatBreaks:
    @staticmethod
    def script(peer):
        peer.log_in()
        for _ in range(3):
            peer.command()
        peer.sock.close()

    def test_plain_leaves_the_waiting_waiting(self, plain):
        link = plain(self.script)
        jobs = [gevent.spawn(link.send, f"api {n}") for n in range(3)]

        assert gevent.joinall(jobs, timeout=SOON) == []
        gevent.killall(jobs)

    def test_ours_fails_them_all_at_once(self, ours):
        link = ours(self.script)
        jobs = [gevent.spawn(link.api, str(n), 60) for n in range(3)]

        assert len(gevent.joinall(jobs, timeout=10)) == 3
        assert all(isinstance(job.exception, ConnectionLost) for job in jobs)
        assert link.closed.is_set()
        assert link.close_reason == "closed by FreeSWITCH"
        with pytest.raises(ConnectionLost, match="closed by FreeSWITCH"):
            link.api("status")


class TestSilenceBeforeTheGreeting:
    @staticmethod
    def closes(peer):
        peer.sock.close()

    @staticmethod
    def says_nothing(peer):
        peer.command()

    @pytest.mark.parametrize("script_name", ["closes", "says_nothing"])
    def test_plain_waits_for_ever(self, switch, script_name):
        port = switch(getattr(self, script_name)).port

        assert never_returns(InboundESL("127.0.0.1", port, "ClueCon").connect)

    @pytest.mark.parametrize(
        ("script_name", "error"), [("closes", ConnectionLost), ("says_nothing", RequestTimeout)]
    )
    def test_ours_says_so(self, switch, script_name, error):
        link = Connection(
            "127.0.0.1", switch(getattr(self, script_name)).port, "ClueCon", connect_timeout=0.2
        )
        with pytest.raises(error):
            link.connect()
        assert not link.connected
        link.stop()


class TestWriting:
    size = 4_000_000

    def count_into(self, counted, done):
        def script(peer):
            peer.log_in()
            gevent.sleep(0.1)  # the sender's buffer is full by then
            while counted[0] < self.size:
                data = peer.sock.recv(1 << 16)
                if not data:
                    break
                counted[0] += len(data)
            done.set()

        return script

    def test_plain_sends_what_fits_and_forgets_the_rest(self, plain):
        counted, done = [0], Flag()
        link = plain(self.count_into(counted, done))

        gevent.spawn(link.send, "x" * self.size)
        assert not done.wait(SOON)
        assert 0 < counted[0] < self.size

    def test_ours_sends_it_all(self, ours):
        counted, done = [0], Flag()
        link = ours(self.count_into(counted, done), request_timeout=5)

        job = gevent.spawn(link.request, "sendevent CUSTOM", (), b"x" * self.size)
        assert done.wait(10)
        assert counted[0] >= self.size
        job.kill()

    def test_commands_of_many_greenlets_do_not_mix(self, ours):
        bodies = []

        def script(peer):
            peer.log_in()
            while command := peer.command():
                bodies.append(command.body)
                peer.reply("+OK uuid")

        link = ours(script)
        sent = [bytes([65 + n]) * 300_000 for n in range(8)]
        jobs = [gevent.spawn(link.send_event, "fsbot::x", (), body) for body in sent]
        gevent.joinall(jobs, timeout=20, raise_error=True)

        assert sorted(bodies) == sent

    def test_half_a_command_closes_the_link(self, ours):
        stay = Flag()

        def script(peer):
            peer.log_in()
            stay.wait()

        link = ours(script)
        with pytest.raises(RequestTimeout):
            link.request("sendevent CUSTOM", body=b"x" * 20_000_000, timeout=0.2)

        assert link.close_reason == "sending took too long"
        stay.set()


class TestHandlers:
    def test_plain_loses_its_dispatcher_to_a_failing_partial(self, plain, wait_until):
        link = plain(after_login(ping, ping))
        link.register_handle("PING", functools.partial(int, base="nonsense"))
        start(link)

        wait_until(link._process_events_greenlet.ready)

    def test_ours_goes_on(self, ours, wait_until):
        link = ours(after_login(ping, ping))
        link.register_handle("PING", functools.partial(int, base="nonsense"))
        events = collect(link, "PING")
        with capture_logs() as logs:
            start(link)
            wait_until(lambda: len(events) == 2)

        assert [entry["event"] for entry in logs] == ["event handler failed"] * 2

    def test_a_stuck_handler_stops_neither_reading_nor_replies(self, ours, wait_until):
        release = Flag()
        link = ours(after_login(*[ping] * 200))
        seen = []
        link.register_handle("PING", lambda event: (release.wait(), seen.append(event)))
        start(link)

        assert link.api("status") == "+OK Success\n"
        wait_until(lambda: link._esl_event_queue.qsize() == 199)
        assert seen == []
        release.set()
        wait_until(lambda: len(seen) == 200)

    def test_order_is_kept(self, ours, wait_until):
        link = ours(
            after_login(
                *(
                    lambda peer, n=n: peer.event(("Event-Name", "N"), ("Number", str(n)))
                    for n in range(300)
                )
            )
        )
        events = collect(link)
        start(link)
        wait_until(lambda: len(events) == 300)

        assert [int(e.headers["Number"]) for e in events] == list(range(300))

    def test_a_handler_may_send_requests_and_stop_the_link(self, ours, wait_until):
        link = ours(after_login(ping))
        answers = []

        def handler(event):
            answers.append(link.api("status"))
            link.stop()

        link.register_handle("PING", handler)
        start(link)
        wait_until(lambda: link.closed.is_set())

        assert answers == ["+OK Success\n"]

    def test_custom_events_go_by_subclass(self, ours, wait_until):
        link = ours(
            after_login(
                lambda peer: peer.event(
                    ("Event-Name", "CUSTOM"), ("Event-Subclass", "fsbot::control")
                )
            )
        )
        events = collect(link, "fsbot::control")
        start(link)
        wait_until(lambda: events)

    def test_an_unreadable_event_costs_only_itself(self, ours, wait_until):
        link = ours(
            after_login(lambda peer: peer.send(encode_message("text/event-json", [], b"{")), ping)
        )
        events = collect(link)
        with capture_logs() as logs:
            start(link)
            wait_until(lambda: events)

        assert [entry["event"] for entry in logs] == ["unreadable event dropped"]
        assert link.connected

    def test_log_lines_reach_their_handler_only(self, ours, wait_until):
        link = ours(
            after_login(
                lambda peer: peer.send(
                    encode_message("log/data", [("Log-Level", "7")], b"Event-Name: X\n")
                ),
                ping,
            )
        )
        lines, events = collect(link, "log"), collect(link)
        start(link)
        wait_until(lambda: events)

        assert [line.body for line in lines] == [b"Event-Name: X\n"]
        assert [event.name for event in events] == ["PING"]


class TestDeathInsideABody:
    """The plain class reads on and on at the end of the file and never lets another greenlet run:
    only another process can watch it."""

    program = textwrap.dedent(
        """
        import sys, threading
        import gevent
        from gevent import socket
        from gevent.server import StreamServer
        from greenswitch import InboundESL
        from fsbot.switch.connection import Connection

        def serve(sock, address):
            sock.sendall(b"Content-Type: auth/request\\n\\n")
            sock.recv(1000)
            sock.sendall(
                b"Content-Type: command/reply\\nReply-Text: +OK accepted\\n\\n"
                b"Content-Type: api/response\\nContent-Length: 100\\n\\nonly this"
            )
            sock.close()

        server = StreamServer(("127.0.0.1", 0), serve)
        server.start()
        cls = {"plain": InboundESL, "ours": Connection}[sys.argv[1]]
        link = cls("127.0.0.1", server.server_port, "ClueCon")
        # A thread, for no greenlet may get its turn again.
        killer = threading.Timer(3.0, lambda: __import__("os")._exit(42))
        killer.daemon = True
        killer.start()
        link.connect()
        gevent.sleep(0.1)
        print("alive")
        __import__("os")._exit(0)
        """
    )

    @pytest.mark.parametrize(("cls", "code"), [("plain", 42), ("ours", 0)])
    def test_the_hub_hangs_or_lives(self, cls, code):
        result = subprocess.run(
            [sys.executable, "-c", self.program, cls],
            timeout=60,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

        assert result.returncode == code
        assert (b"alive" in result.stdout) == (code == 0)


class TestDisconnectNotice:
    lingering = staticmethod(
        after_login(
            lambda peer: peer.send(
                encode_message(
                    "text/disconnect-notice",
                    [("Content-Disposition", "linger")],
                    b"Lingering for a while\n\nyet.\n",
                )
            ),
            ping,
        )
    )

    def test_plain_dies_of_the_body_and_thinks_it_lives(self, plain, wait_until):
        link = plain(self.lingering)
        events = collect(link)
        start(link)
        wait_until(link._receive_events_greenlet.ready)

        gevent.sleep(0.05)
        assert [e for e in events if e.headers.get("Event-Name") == "PING"] == []
        assert link.connected

    def test_ours_reads_the_body_and_goes_on(self, ours, wait_until):
        link = ours(self.lingering)
        events, notices = collect(link), collect(link, "DISCONNECT")
        start(link)
        wait_until(lambda: events)

        assert [e.name for e in events] == ["PING"]
        assert [n.body for n in notices] == [b"Lingering for a while\n\nyet.\n"]
        assert link.connected

    def test_the_last_notice_fails_the_waiting_before_the_socket_closes(self, ours, captures):
        stay = Flag()
        notice = captures.messages("shutdown_fsctl")[-1]

        def script(peer):
            peer.log_in()
            peer.command()
            peer.send(encode_message(notice.content_type, [], notice.body))
            stay.wait()

        link = ours(script)
        with pytest.raises(ConnectionLost, match="The system is being shut down"):
            link.api("status", timeout=60)
        stay.set()


class TestStopping:
    @staticmethod
    def deaf(peer):
        peer.log_in()
        while peer.command():
            pass

    def test_plain_waits_for_ever_for_the_goodbye(self, plain):
        assert never_returns(plain(self.deaf).stop)

    def test_ours_does_not(self, ours, wait_until):
        link = ours(self.deaf)
        waiting = gevent.spawn(link.api, "status", 60)
        wait_until(lambda: link.unanswered)
        with gevent.Timeout(10):
            link.stop()

        assert link.close_reason == "closed by this side"
        waiting.join(timeout=10)
        assert isinstance(waiting.exception, ConnectionLost)


class TestEventBody:
    body = json.dumps({"text": "Grüße: 50%", "colon": "a: b"}, indent=1).encode()

    def script(self):
        return after_login(
            lambda peer: peer.event(
                ("Event-Name", "CUSTOM"), ("Event-Subclass", "fsbot::x"), body=self.body
            )
        )

    def test_plain_has_none_and_makes_headers_of_it(self, plain, wait_until):
        link = plain(self.script())
        events = collect(link)
        start(link)
        wait_until(lambda: events)

        assert not hasattr(events[0], "body")
        assert '"text"' in events[0].headers

    def test_ours_has_the_bytes(self, ours, wait_until):
        link = ours(self.script())
        events = collect(link)
        start(link)
        wait_until(lambda: events)

        assert events[0].body == self.body


class TestDuplicateHeaders:
    script = staticmethod(after_login(lambda peer: peer.event(("A", "1"), ("A", "2"))))

    def test_plain_keeps_one(self, plain, wait_until):
        link = plain(self.script)
        events = collect(link)
        start(link)
        wait_until(lambda: events)

        assert [v for v in events[0].headers.values() if v in ("1", "2")] == ["2"]

    def test_ours_keeps_both(self, ours, wait_until):
        link = ours(self.script)
        events = collect(link)
        start(link)
        wait_until(lambda: events)

        assert events[0].headers.all("A") == ["1", "2"]


class TestAddresses:
    @staticmethod
    def script(peer):
        peer.log_in()
        peer.say_yes()

    def test_plain_knows_no_ipv6(self, switch):
        with pytest.raises(OSError, match="family"):
            InboundESL("::1", switch(self.script, host="::1").port, "ClueCon").connect()

    @pytest.mark.parametrize(
        ("listen", "host"), [("::1", "::1"), ("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "localhost")]
    )
    def test_ours_takes_addresses_and_names(self, switch, listen, host):
        with Connection(host, switch(self.script, host=listen).port, "ClueCon") as link:
            assert link.api("status") == "+OK Success\n"
        assert not link.connected

    def test_where_of_ipv6_is_readable(self):
        assert Connection("::1", 8021, "x").where == "[::1]:8021"


class TestRefusals:
    """Each is one line: what, where, which setting."""

    @staticmethod
    def wrong_password(peer):
        peer.send(encode_message("auth/request"))
        peer.command()
        peer.reply("-ERR invalid")
        peer.send(encode_message("text/disconnect-notice", [], b"Disconnected, goodbye.\n"))
        peer.sock.close()

    def test_plain_names_neither_place_nor_setting(self, switch):
        link = InboundESL("127.0.0.1", switch(self.wrong_password).port, "geheim")
        with pytest.raises(ValueError, match=r"^Invalid password\.$"):
            link.connect()

    def test_wrong_password(self, switch):
        port = switch(self.wrong_password).port
        link = Connection("127.0.0.1", port, "geheim")
        with capture_logs() as logs, pytest.raises(AuthenticationFailed) as raised:
            link.connect()
        user_error = raised.value.as_user_error()

        assert f"127.0.0.1:{port}" in user_error.message
        assert "esl.password" in user_error.remedy
        assert user_error.exit_code == 3
        assert "geheim" not in f"{user_error}{logs}{raised.value!r}"

    def test_a_password_that_cannot_be_sent(self, switch):
        link = Connection("127.0.0.1", switch(self.wrong_password).port, "geheim\n")
        with pytest.raises(AuthenticationFailed, match="line end") as raised:
            link.connect()
        assert "geheim" not in str(raised.value)

    def test_an_unanswered_login_does_not_show_the_password(self, switch):
        def script(peer):
            peer.send(encode_message("auth/request"))
            peer.command()
            peer.command()

        link = Connection("127.0.0.1", switch(script).port, "geheim", request_timeout=0.1)
        with pytest.raises(RequestTimeout, match="`auth`"):
            link.connect()

    def test_access_list(self, switch, captures):
        port = switch(lambda peer: peer.send(captures.received("acl_reject"))).port
        with pytest.raises(AccessDenied) as raised:
            Connection("127.0.0.1", port, "ClueCon").connect()
        user_error = raised.value.as_user_error()

        assert f"127.0.0.1:{port}" in user_error.message
        assert "apply-inbound-acl" in user_error.remedy
        assert user_error.exit_code == 4

    def test_nobody_listens(self, switch):
        server = switch(lambda peer: None)
        server.stop()
        with pytest.raises(ConnectionRefused) as raised:
            Connection("127.0.0.1", server.port, "ClueCon").connect()
        user_error = raised.value.as_user_error()

        assert f"127.0.0.1:{server.port}" in user_error.message
        assert "refused" in user_error.message
        assert "esl.host and esl.port" in user_error.remedy

    def test_plain_does_not_know_an_access_list_from_a_broken_link(self, switch, captures):
        port = switch(lambda peer: peer.send(captures.received("acl_reject"))).port
        with pytest.raises(NotConnectedError) as raised:
            InboundESL("127.0.0.1", port, "ClueCon").connect()
        assert str(port) not in str(raised.value)

    @pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 70])
    def test_a_name_that_is_none(self, host):
        with pytest.raises(ConnectionRefused, match="no event socket at"):
            Connection(host, 8021, "ClueCon").connect()


class TestRequests:
    def test_every_command_of_an_evening(self, ours):
        lines = []

        def script(peer):
            peer.log_in()
            while command := peer.command():
                lines.append((command.line, list(command.headers.items()), command.body))
                if command.line.startswith("api"):
                    peer.api_reply("+OK\n")
                else:
                    peer.reply("+OK f00d")

        link = ours(script)
        link.subscribe(["CHANNEL_ANSWER", "API"], ["fsbot::control"])
        assert link.api("uuid_exists 1") == "+OK\n"
        assert link.send("noevents").reply_text == "+OK f00d"
        uuid = link.send_event("fsbot::x", [("Call-UUID", "1")], "é".encode())

        assert uuid == "f00d"
        assert lines == [
            ("event plain CHANNEL_ANSWER API CUSTOM fsbot::control", [], b""),
            ("api uuid_exists 1", [], b""),
            ("noevents", [], b""),
            (
                "sendevent CUSTOM",
                [("Event-Subclass", "fsbot::x"), ("Call-UUID", "1"), ("Content-Length", "2")],
                "é".encode(),
            ),
        ]

    def test_refusals_carry_the_reply(self, ours):
        def script(peer):
            peer.log_in()
            while peer.command():
                peer.reply("-ERR command not found")

        link = ours(script)
        for call in (
            lambda: link.api("x"),
            lambda: link.subscribe(["X"]),
            lambda: link.send_event("fsbot::x"),
        ):
            with pytest.raises(CommandRefused) as raised:
                call()
            assert raised.value.reply == "-ERR command not found"
            assert isinstance(raised.value, EslError)

    def test_unique_id_is_never_sent(self, ours):
        link = ours(after_login())
        with pytest.raises(ValueError, match="swallowed"):
            link.send_event("fsbot::x", [("unique-id", "1")])

    def test_a_command_cannot_smuggle_another(self, ours):
        link = ours(after_login())
        with pytest.raises(ValueError, match="one line"):
            link.api("uuid_exists 1\n\napi shutdown")
        assert link.unanswered == 0

    def test_a_reply_to_no_request_ends_the_link(self, ours, wait_until):
        def script(peer):
            peer.log_in()
            peer.reply("+OK to what?")
            peer.say_yes()

        link = ours(script)
        wait_until(link.closed.is_set)

        assert link.close_reason == "unreadable: a reply to no request"

    def test_noise_ends_the_link(self, ours, wait_until):
        def script(peer):
            peer.log_in()
            peer.send(b"Content-Type: api/response\nContent-Length: -1\n\n")
            peer.say_yes()

        link = ours(script)
        wait_until(link.closed.is_set)

        assert "Content-Length" in link.close_reason

    def test_stop_before_connect_and_twice(self):
        link = Connection("127.0.0.1", 1, "x")
        link.stop()
        link.stop()
        with pytest.raises(ConnectionLost):
            link.api("status")

    def test_a_real_capture_from_greeting_to_notice(self, switch, captures, wait_until):
        """A whole recorded session played back in small pieces."""
        stream = captures.received("bridged_call")

        def script(peer):
            head, mark, rest = stream.partition(b"+OK accepted\n\n")
            peer.send(head + mark)
            for at in range(0, len(rest), 1000):
                peer.send(rest[at : at + 1000])

        link = Connection("127.0.0.1", switch(script).port, "ClueCon")
        events = collect(link)
        # The recorded replies belong to commands that this client never sends.
        for _ in range(20):
            link._commands_sent.append((gevent.event.AsyncResult(), time.monotonic()))
        link._greeting.set()
        link.sock = link._open_socket()
        link.connected = True
        link.start_event_handlers()
        wait_until(link.closed.is_set)
        link.stop()

        assert events == captures.events("bridged_call")
