"""What is sent: each request gets its own reply, or an error in time.

`test_plain…`: see test_connection_reading.py.
"""

import time

import gevent
import pytest
from esl_peer import SOON, after_login, collect, never_returns
from gevent.event import AsyncResult
from gevent.event import Event as Flag

from fsbot.switch.connection import Connection, Pending
from fsbot.switch.errors import (
    CommandRefused,
    ConnectionLost,
    EslError,
    RequestTimeout,
)


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
                peer.api_reply(command.line.removeprefix("api echo "))

        link = ours(script)
        with pytest.raises(RequestTimeout):
            link.api("first", timeout=0.1)
        release.set()

        assert link.api("second") == "api second"
        assert link.api("third") == "api third"
        assert link.unanswered == 0

    @pytest.mark.parametrize("line", ["api status", "sendevent CUSTOM"])
    def test_after_a_lost_reply_the_link_ends_before_another_goes_astray(
        self, ours, line, wait_until
    ):
        def script(peer):
            peer.log_in()
            lost = False
            while command := peer.command():
                if command.line == line and not lost:
                    lost = True
                elif command.line.startswith("api "):
                    peer.api_reply(command.line.removeprefix("api echo "))
                else:
                    peer.reply("+OK 7f4de4bc")

        link = ours(script, request_timeout=0.3)
        with pytest.raises(RequestTimeout):
            link.request(line)
        wait_until(link.closed.is_set)

        assert link.close_reason == "unreadable: a reply to another request than the oldest"

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

    @pytest.mark.parametrize("line", ["api status", "noevents"])
    def test_a_reply_of_the_wrong_kind_ends_the_link(self, ours, line):
        def script(peer):
            peer.log_in()
            peer.command()
            peer.reply("+OK") if line.startswith("api") else peer.api_reply("true")
            peer.say_yes()

        link = ours(script)
        with pytest.raises(ConnectionLost, match="another request"):
            link.request(line)

    def test_a_reply_text_that_is_not_ascii(self, ours):
        def script(peer):
            peer.log_in()
            while peer.command():
                peer.reply("%C3é")

        assert ours(script).send("noevents").reply_text == "\udcc3é"

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
        for message in captures.messages("bridged_call"):
            if message.content_type in ("command/reply", "api/response"):
                is_api = message.content_type == "api/response"
                link._commands_sent.append(Pending(AsyncResult(), time.monotonic(), is_api))
        link._greeting.set()
        link.sock = link._open_socket()
        link.connected = True
        link.start_event_handlers()
        wait_until(link.closed.is_set)
        link.stop()

        assert events == captures.events("bridged_call")
