"""What tests of the bot can make go wrong."""

from pathlib import Path

import pytest
from gevent import Timeout
from raw_client import RawClient, speech

from fsbot.errors import UserError
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch


def test_a_mute_switch_keeps_the_connection_open(
    switch: RehearsalSwitch, client: RawClient
) -> None:
    client.login()
    switch.faults.mute = True
    with pytest.raises(Timeout):
        client.wait(lambda: client.request("api status"), timeout=0.2)
    assert not client.ended


def test_recordings_can_be_refused(switch: RehearsalSwitch, client: RawClient) -> None:
    client.login()
    call = switch.place(CallScript(speech(5)))
    switch.faults.refuse_recording = "-ERR Cannot record session!\n"
    reply = client.api(f"uuid_record {call.uuid} start /nowhere.raw")
    assert reply == "-ERR Cannot record session!\n"


def test_a_lost_reply_still_delivers_the_event(switch: RehearsalSwitch, client: RawClient) -> None:
    client.login().request("event plain CUSTOM a::b")
    switch.faults.lose_event_replies = 1
    client.send(b"sendevent CUSTOM\nEvent-Subclass: a::b\n\n")
    client.wait_event("CUSTOM")
    assert len(client.replies) == 2
    client.request("sendevent CUSTOM", [("Event-Subclass", "a::b")])


def test_replies_can_be_lost_and_repeated(switch: RehearsalSwitch, client: RawClient) -> None:
    client.login()
    before = len(client.replies)
    switch.faults.lose_replies = 1
    switch.faults.repeat_replies = 1
    client.send(b"api echo lost\n\napi echo twice\n\napi echo once\n\n")
    client.wait(lambda: len(client.replies) == before + 3)
    assert switch.commands[-3] == "api echo lost"
    assert [reply.body for reply in client.replies[before:]] == [b"twice", b"twice", b"once"]


def test_events_can_be_lost(switch: RehearsalSwitch, client: RawClient) -> None:
    client.login().request("event plain CHANNEL_CREATE CHANNEL_ANSWER")
    switch.faults.lose_events = frozenset({"CHANNEL_CREATE"})
    switch.place(CallScript(speech(5)))
    client.wait_event("CHANNEL_ANSWER")
    assert client.names() == ["CHANNEL_ANSWER"]


def test_clients_can_be_dropped_and_come_back(switch: RehearsalSwitch, client: RawClient) -> None:
    client.login()
    switch.drop_clients()
    client.wait(lambda: client.ended)
    RawClient(switch.port).login()


def test_a_port_in_use_is_the_users_mistake(switch: RehearsalSwitch) -> None:
    with pytest.raises(UserError, match=f"127.0.0.1:{switch.port}"):
        RehearsalSwitch(port=switch.port).start()


def test_a_hang_up_that_overtakes_a_recording_leaves_the_channel_for_good(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    """FACTS.md, section 10: CHANNEL_HANGUP comes, CHANNEL_DESTROY and RECORD_STOP never."""
    client.login().request("event plain CHANNEL_HANGUP_COMPLETE CHANNEL_DESTROY RECORD_START")
    call = switch.place(CallScript(speech(5)))
    switch.faults.hang_up_while_starting = 1
    assert client.api(f"uuid_record {call.uuid} start {tmp_path}/x.raw") == "+OK Success\n"
    client.wait_event("RECORD_START")
    assert client.names() == ["CHANNEL_HANGUP_COMPLETE", "RECORD_START"]
    assert client.api(f"uuid_exists {call.uuid}") == "false"
    assert client.api(f"uuid_kill {call.uuid}") == "-ERR No such channel!\n"
    assert call.uuid in client.api("show channels as json")
    assert "1 session(s) - peak" in client.api("status")


@pytest.mark.parametrize("hook", ["api_reporting_hook msleep 50", "api_hangup_hook msleep::50"])
def test_a_hook_that_sleeps_lets_the_recording_be_found(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path, hook: str
) -> None:
    client.login().request("event plain CHANNEL_HANGUP_COMPLETE CHANNEL_DESTROY RECORD_STOP")
    call = switch.place(CallScript(speech(5)))
    client.api(f"uuid_setvar {call.uuid} {hook}")
    switch.faults.hang_up_while_starting = 1
    assert client.api(f"uuid_record {call.uuid} start {tmp_path}/x.raw") == "+OK Success\n"
    client.wait_event("CHANNEL_DESTROY")
    assert client.names() == ["CHANNEL_HANGUP_COMPLETE", "RECORD_STOP", "CHANNEL_DESTROY"]
    assert call.uuid not in client.api("show channels as json")


def test_without_a_thread_nothing_can_be_overtaken(
    switch: RehearsalSwitch, client: RawClient, tmp_path: Path
) -> None:
    client.login().request("event plain RECORD_STOP CHANNEL_DESTROY")
    call = switch.place(CallScript(speech(5)))
    switch.faults.hang_up_while_starting = 1
    variables = "{RECORD_USE_THREAD=false}"
    reply = client.api(f"uuid_record {call.uuid} start {tmp_path}/x.raw 0 {variables}")
    assert (reply, switch.faults.hang_up_while_starting) == ("+OK Success\n", 1)
    call.hang_up()
    client.wait_event("CHANNEL_DESTROY")
    assert client.names() == ["RECORD_STOP", "CHANNEL_DESTROY"]
