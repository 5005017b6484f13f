"""The link: comes back after every loss, says what is wrong, and ends only where that helps."""

import itertools

import gevent
import pytest
from gevent.event import Event as Flag
from greenswitch import InboundESL
from structlog.testing import capture_logs

from fsbot.errors import UserError
from fsbot.switch import link as link_module
from fsbot.switch.codec import encode_message
from fsbot.switch.errors import ConnectionLost
from fsbot.switch.link import Endpoint, Link, waiting_times


def serve(peer):
    peer.log_in()
    peer.say_yes()


def serve_then_drop(peer):
    peer.log_in()
    peer.command()
    peer.reply("+OK event listener enabled plain")


def refuse_password(peer):
    peer.send(encode_message("auth/request"))
    peer.command()
    peer.reply("-ERR invalid")


class Watched:
    """A Link in its own greenlet, with everything it reported."""

    def __init__(self, port, *, subclasses=(), on_connect=None, **endpoint):
        self.connected: list = []
        self.events: list = []
        self.losses: list[str] = []
        self.on_connect = on_connect
        self.link = Link(
            Endpoint("127.0.0.1", port, "ClueCon", **endpoint),
            ["CHANNEL_ANSWER"],
            subclasses,
            on_event=self.events.append,
            on_connect=self._connected,
            on_disconnect=self.losses.append,
        )

    def _connected(self, connection):
        self.connected.append(connection)
        if self.on_connect:
            self.on_connect(connection)

    def start(self, **options):
        self.greenlet = gevent.spawn(self.link.run, **options)
        return self


@pytest.fixture
def watched(monkeypatch):
    """watched(port, …) → a running Watched whose waits are short."""
    monkeypatch.setattr(link_module, "waiting_times", lambda: itertools.repeat(0.05))
    all_links = []

    def start(port, *, fail_fast=False, **options):
        all_links.append(Watched(port, **options).start(fail_fast=fail_fast))
        return all_links[-1]

    yield start
    for one in all_links:
        one.link.stop()
        one.greenlet.join(timeout=10)
        assert one.greenlet.ready()


def test_waiting_times_grow_from_1_to_5_s_and_are_never_the_same():
    for _ in range(20):
        waits = list(itertools.islice(waiting_times(), 12))
        assert 1 <= waits[0] <= 2 <= waits[1] <= 4
        assert all(2.5 <= wait <= 5 for wait in waits[2:])
    assert len({next(waiting_times()) for _ in range(20)}) > 1


def test_plain_greenswitch_stays_down(switch, wait_until):
    server = switch(serve_then_drop, serve)
    plain = InboundESL("127.0.0.1", server.port, "ClueCon")
    plain.connect()
    plain.send("event plain ALL")
    wait_until(plain._receive_events_greenlet.ready)

    gevent.sleep(0.3)
    assert not plain.connected
    assert server.connections == 1
    plain._process_events_greenlet.kill()


def test_comes_back_and_subscribes_again(switch, watched, wait_until):
    subscriptions = []

    def script(peer):
        peer.log_in()
        subscriptions.append(peer.command().line)
        peer.reply("+OK")
        peer.event(("Event-Name", "CHANNEL_ANSWER"))

    seen = watched(switch(script, script, serve).port, subclasses=["fsbot::control"])
    wait_until(lambda: len(seen.connected) == 3)

    assert subscriptions == ["event plain CHANNEL_ANSWER HEARTBEAT CUSTOM fsbot::control"] * 2
    assert [event.name for event in seen.events] == ["CHANNEL_ANSWER"] * 2
    assert seen.losses == ["closed by FreeSWITCH"] * 2
    assert seen.link.connection is seen.connected[-1]
    assert seen.link.connection.api("status") == "+OK Success\n"


def test_events_of_one_link_are_handled_before_the_next_begins(switch, watched, wait_until):
    def script(peer):
        peer.log_in()
        peer.command()
        peer.reply("+OK")
        for _ in range(50):
            peer.event(("Event-Name", "CHANNEL_ANSWER"))

    order = []
    seen = watched(switch(script, serve).port, on_connect=lambda c: order.append(len(seen.events)))
    wait_until(lambda: len(order) == 2)

    assert order[1] == 50


def test_no_connection_between_two(switch, watched, wait_until):
    server = switch(serve)
    seen = watched(server.port)
    wait_until(lambda: seen.connected)
    server.stop()
    wait_until(lambda: seen.losses)

    with pytest.raises(ConnectionLost, match="is down"):
        _ = seen.link.connection


def test_a_half_open_link_is_found(switch, watched, wait_until):
    stay = Flag()

    def silent(peer):
        peer.log_in()
        peer.command()
        peer.reply("+OK")
        stay.wait()

    seen = watched(switch(silent, serve).port, heartbeat_timeout=0.3)
    wait_until(lambda: len(seen.connected) >= 2)
    stay.set()

    assert seen.losses[0].startswith("nothing heard for")


def test_heartbeats_keep_a_quiet_link(switch, watched, wait_until):
    def beating(peer):
        peer.log_in()
        peer.command()
        peer.reply("+OK")
        while True:
            peer.event(("Event-Name", "HEARTBEAT"))
            gevent.sleep(0.05)

    seen = watched(switch(beating).port, heartbeat_timeout=1.0)
    wait_until(lambda: len(seen.events) > 30)  # well over the limit

    assert seen.losses == []


def test_a_frame_that_swallows_all_that_follows_ends_the_link(switch, watched, wait_until):
    """Bytes go on coming, but nothing will ever be made of them."""

    def lying(peer):
        peer.log_in()
        peer.command()
        peer.reply("+OK")
        peer.send(b"Content-Type: text/event-plain\nContent-Length: 50000000\n\n")
        while True:
            peer.event(("Event-Name", "HEARTBEAT"))
            gevent.sleep(0.02)

    seen = watched(switch(lying, serve).port, heartbeat_timeout=0.5)
    wait_until(lambda: len(seen.connected) == 2)

    assert seen.losses[0].startswith("nothing heard for")


def test_a_reply_that_never_comes_ends_a_link_that_still_beats(switch, watched, wait_until):
    def forgetful(peer):
        peer.log_in()
        peer.command()
        peer.reply("+OK")
        while True:
            peer.event(("Event-Name", "HEARTBEAT"))
            gevent.sleep(0.05)

    seen = watched(switch(forgetful, serve).port, heartbeat_timeout=0.6, request_timeout=0.1)
    wait_until(lambda: seen.connected)
    gevent.spawn(seen.connected[0].api, "status").join()

    wait_until(lambda: len(seen.connected) == 2)


class TestStart:
    def test_wrong_password_ends_it_with_3(self, switch, watched):
        seen = watched(switch(refuse_password).port)
        with pytest.raises(UserError) as raised:
            seen.greenlet.get(timeout=10)
        assert raised.value.exit_code == 3

    def test_access_list_ends_it_with_4(self, switch, watched, captures):
        denied = switch(lambda peer: peer.send(captures.received("acl_reject")))
        seen = watched(denied.port)
        with pytest.raises(UserError) as raised:
            seen.greenlet.get(timeout=10)
        assert raised.value.exit_code == 4

    def test_nobody_there_ends_it_if_told_so(self, switch, watched):
        server = switch(serve)
        server.stop()
        seen = watched(server.port, fail_fast=True)
        with pytest.raises(UserError, match="refused") as raised:
            seen.greenlet.get(timeout=10)
        assert raised.value.exit_code == 2

    def test_else_it_tries_on_with_one_clear_line(self, switch, watched, wait_until):
        drops = [lambda peer: peer.sock.close()] * 5
        server = switch(*drops, serve)
        with capture_logs() as logs:
            seen = watched(server.port)
            wait_until(lambda: seen.connected)

        complaints = [e for e in logs if e["event"] == "no link to FreeSWITCH, trying again"]
        assert server.connections == 6
        assert len(complaints) == 1
        assert f"127.0.0.1:{server.port}" in complaints[0]["problem"]

    def test_a_refused_connection_names_the_settings(self, switch, watched, wait_until):
        server = switch(serve)
        server.stop()
        with capture_logs() as logs:
            watched(server.port)
            wait_until(lambda: logs)

        assert "refused" in logs[0]["problem"]
        assert "esl.host and esl.port" in logs[0]["remedy"]


def test_a_password_changed_later_does_not_end_it(switch, watched, wait_until):
    with capture_logs() as logs:
        seen = watched(switch(serve_then_drop, refuse_password, refuse_password, serve).port)
        wait_until(lambda: len(seen.connected) == 2)

    (complaint,) = [e for e in logs if e["event"] == "no link to FreeSWITCH, trying again"]
    assert "refuses the password" in complaint["problem"]
    assert "esl.password" in complaint["remedy"]
    assert "ClueCon" not in str(logs)


def test_a_mistake_in_on_connect_costs_one_connection(switch, watched, wait_until):
    def blunder(connection):
        if len(seen.connected) == 1:
            raise ZeroDivisionError

    with capture_logs() as logs:
        seen = watched(switch(serve).port, on_connect=blunder)
        wait_until(lambda: len(seen.connected) == 2)

    assert "starting on a new link failed" in [entry["event"] for entry in logs]
    assert seen.losses == ["ZeroDivisionError in on_connect"]


def test_a_refused_subscription_is_tried_again(switch, watched, wait_until):
    def script(peer):
        peer.log_in()
        peer.command()
        peer.reply("-ERR no keywords supplied")
        peer.say_yes()

    seen = watched(switch(script, serve).port)
    wait_until(lambda: seen.connected)


def test_stop_ends_it_in_the_middle_of_a_wait(switch, monkeypatch):
    monkeypatch.setattr(link_module, "waiting_times", lambda: itertools.repeat(3600))
    server = switch(serve)
    server.stop()
    seen = Watched(server.port).start()
    gevent.sleep(0.1)
    seen.link.stop()

    seen.greenlet.get(timeout=10)


def test_the_password_is_in_no_representation():
    assert "geheim" not in repr(Endpoint("127.0.0.1", 8021, "geheim"))
