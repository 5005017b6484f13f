"""Coming and going: addresses, greeting, password, access list, goodbye.

`test_plain…`: see test_connection_reading.py.
"""

import gevent
import pytest
from esl_peer import never_returns
from greenswitch import InboundESL
from greenswitch.esl import NotConnectedError
from structlog.testing import capture_logs

from fsbot.switch.codec import encode_message
from fsbot.switch.connection import Connection
from fsbot.switch.errors import (
    AccessDenied,
    AuthenticationFailed,
    ConnectionLost,
    ConnectionRefused,
    RequestTimeout,
)


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
