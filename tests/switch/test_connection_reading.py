"""What arrives: every frame read, every event to its handler, whatever either does.

A test named `test_plain…` shows how greenswitch's own class fails, and asserts that misbehaviour:
an override that greenswitch no longer needs announces itself.
"""

import functools
import json
import subprocess
import sys
import textwrap

import gevent
import pytest
from esl_peer import after_login, collect, ping, start
from gevent.event import Event as Flag
from structlog.testing import capture_logs

from fsbot.switch.codec import encode_message
from fsbot.switch.errors import (
    ConnectionLost,
)


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
