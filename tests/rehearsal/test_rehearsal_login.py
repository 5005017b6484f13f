"""Logging in, and failing to, byte for byte as captured."""

from collections.abc import Iterator

import pytest
from raw_client import CAPTURES, RawClient

from fsbot.rehearsal.server import RehearsalSwitch


@pytest.mark.parametrize("name", ["auth_badpw", "auth_ok_twice", "userauth", "auth_nocmd"])
def test_replies_are_the_captured_bytes(client: RawClient, name: str) -> None:
    wanted = (CAPTURES / f"{name}.esl").read_bytes()
    client.send((CAPTURES / f"{name}.esl.sent").read_bytes())
    client.wait(lambda: len(client.bytes) >= len(wanted))
    if b"disconnect-notice" in wanted:
        client.wait(lambda: client.ended)
    assert client.bytes == wanted


def test_a_command_before_login_leaves_the_connection_open(client: RawClient) -> None:
    assert client.request("api status").reply_text == "-ERR command not found"
    client.login()


def test_the_acl_turns_a_client_away(switch: RehearsalSwitch) -> None:
    switch.faults.deny_access = True
    client = RawClient(switch.port)
    client.wait(lambda: client.ended)
    assert client.bytes == (CAPTURES / "acl_reject.esl").read_bytes()


@pytest.fixture
def impatient() -> Iterator[RehearsalSwitch]:
    with RehearsalSwitch(auth_timeout=0.1) as running:
        yield running


def test_who_does_not_log_in_is_dropped(impatient: RehearsalSwitch) -> None:
    client = RawClient(impatient.port)
    client.wait(lambda: client.ended)
    assert client.bytes == (CAPTURES / "auth_timeout.esl").read_bytes()


def test_who_has_logged_in_stays(impatient: RehearsalSwitch) -> None:
    client = RawClient(impatient.port).login()
    impatient.wait(lambda: False, 0.3)
    assert client.api("uuid_exists nobody") == "false"


def test_a_command_that_announces_too_much_is_hung_up_on(client: RawClient) -> None:
    client.login()
    client.send(b"sendevent CUSTOM\nContent-Length: 16777217\n\n")
    client.wait(lambda: client.ended)
    assert client.messages[-1].content_type == "text/disconnect-notice"
