"""Replies of the api commands, byte for byte as captured in errors.esl and others."""

import json
import re
from pathlib import Path

import pytest
from raw_client import CAPTURES, RawClient, capture_messages, speech

from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.switch.codec import CommandDecoder

UUID = "4de073fb-ce32-4969-bcfd-9faecd306957"
ORIGINATED = CallScript(speech(60), direction="outbound")
# What says something about that one machine.
VARYING = re.compile(r"api (status|uuid_dump|global_getvar)")


def moved(text: str, root: Path) -> str:
    return text.replace("/srv/calls", str(root)).replace("/dev/full", f"{root}/full")


def replay_errors(switch: RehearsalSwitch, client: RawClient, root: Path) -> list[tuple[str, str]]:
    """(command, reply) of each command in errors.esl.sent, its files moved under `root`."""
    decoder = CommandDecoder()
    decoder.feed(moved((CAPTURES / "errors.esl.sent").read_text(), root).encode())
    answered = []
    while command := decoder.next_command():
        if command.line.startswith("exit"):
            break
        reply = client.request(command.line, list(command.headers.items()))
        answered.append((command.line, reply.text or reply.reply_text))
        if "/trap/" in command.line:  # the captured client waited here for lim.raw's two seconds
            leg = switch.live_calls[0].legs[0]
            assert switch.wait(lambda leg=leg: "lim.raw" not in str(leg.recordings), 5)
    return answered


def test_every_reply_of_the_errors_capture(tmp_path: Path) -> None:
    (tmp_path / "rec" / "trap" / "8000").mkdir(parents=True)
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "agent.wav").write_text("a file, not a directory")
    with RehearsalSwitch(originated=ORIGINATED, sound_prefix=tmp_path / "sounds") as switch:
        ours = replay_errors(switch, RawClient(switch.port), tmp_path)
    replies = [
        message.text or message.reply_text
        for message in capture_messages("errors.esl")
        if message.content_type in ("command/reply", "api/response")
    ]
    for (command, our), their in zip(ours, replies, strict=False):
        if "Job-UUID" in their and "my-job" not in their:
            assert re.fullmatch(r"\+OK Job-UUID: [0-9a-f-]{36}", our), command
        elif VARYING.match(command):
            assert our.partition(" ")[0] == their.partition(" ")[0] or "hostname" in command
        else:
            assert our == moved(their, tmp_path), command
    assert len(ours) == len(replies) - 1  # all but exit


def test_status_reads_like_the_captured_one(client: RawClient) -> None:
    client.login()
    theirs = next(m.text for m in capture_messages("errors.esl") if m.text.startswith("UP "))
    # Stack sizes are about a thread of the real one.
    theirs = "".join(line for line in theirs.splitlines(True) if "Stack Size" not in line)

    def without_numbers(text: str) -> str:
        return re.sub(r"(\w)s\b", r"\1", re.sub(r"\d+", "0", text))

    ours = client.api("status")
    assert without_numbers(ours) == without_numbers(theirs)


def test_show_channels_as_json(switch: RehearsalSwitch, client: RawClient) -> None:
    client.login()
    assert client.api("show channels as json") == '{"row_count": 0}\n'
    inbound = switch.place(CallScript(speech(5)))
    outbound = switch.place(CallScript(speech(5), direction="outbound"))
    bridged = switch.place(CallScript(speech(5, stereo=True), bridged=True))
    ours = json.loads(client.api("show channels as json"))
    theirs = json.loads(capture_messages("resync_after_restart.esl")[2].text)
    assert ours["row_count"] == len(ours["rows"]) == 4
    for row in ours["rows"]:
        assert list(row) == list(theirs["rows"][0])
    belongs = {row["uuid"]: row["call_uuid"] for row in ours["rows"]}
    assert belongs[inbound.uuid] == ""
    assert belongs[outbound.uuid] == outbound.uuid
    assert belongs[bridged.legs[1].uuid] == bridged.uuid
    assert client.api("show channels count") == "\n4 total.\n"


def test_uuid_dump_tells_of_the_other_leg(switch: RehearsalSwitch, client: RawClient) -> None:
    client.login()
    call = switch.place(CallScript(speech(5, stereo=True), bridged=True))
    dump = json.loads(client.api(f"uuid_dump {call.legs[1].uuid} json"))
    assert dump["Other-Type"] == "originator"
    assert dump["Other-Leg-Unique-ID"] == call.uuid
    assert f"Unique-ID: {call.uuid}\n" in client.api(f"uuid_dump {call.uuid}")


def test_hanging_up(switch: RehearsalSwitch, client: RawClient) -> None:
    client.login().request("event plain CHANNEL_HANGUP CHANNEL_HANGUP_COMPLETE")
    first, second = (switch.place(CallScript(speech(5))) for _ in range(2))
    assert client.api(f"uuid_kill {first.uuid}") == "+OK\n"
    assert client.api(f"uuid_kill {first.uuid}") == "-ERR No such channel!\n"
    assert client.api(f"uuid_exists {first.uuid}") == "false"
    assert client.api(f"uuid_exists {second.uuid}") == "true"
    assert client.api("hupall") == "+OK hangup all channels with cause MANAGER_REQUEST\n"
    last = client.wait_event("CHANNEL_HANGUP_COMPLETE", 2)
    assert last.headers.all("Hangup-Cause") == ["MANAGER_REQUEST"] * 2


def test_background_jobs_report(switch: RehearsalSwitch, client: RawClient) -> None:
    client.login().request("event plain BACKGROUND_JOB")
    client.request("bgapi uuid_exists nobody", [("Job-UUID", "my-job")])
    event = client.wait_event("BACKGROUND_JOB")
    assert event.body == b"false"
    theirs = next(
        m for m in capture_messages("errors.esl") if b"Event-Name: BACKGROUND_JOB" in m.body
    )
    names = [line.split(b":")[0].decode() for line in theirs.body.split(b"\n\n")[0].split(b"\n")]
    assert list(event.headers) == names
    assert event.headers["Job-UUID"] == "my-job"


def test_commands_show_as_api_events(switch: RehearsalSwitch, client: RawClient) -> None:
    client.login().request("event plain API")
    call = switch.place(CallScript(speech(5)))
    client.api(f"uuid_record {call.uuid} mask /nowhere.raw")
    event = client.wait_event("API").headers
    assert event["API-Command"] == "uuid_record"
    assert event["API-Command-Argument"] == f"{call.uuid} mask /nowhere.raw"


def test_originate_without_a_route_fails(client: RawClient) -> None:
    client.login()
    assert client.api("originate user/1000 &park()") == "-ERR NO_ROUTE_DESTINATION\n"


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("event plain CUSTOM a::b CHANNEL_ANSWER", ["CUSTOM"]),
        ("event plain CHANNEL_ANSWER CUSTOM a::b", ["CHANNEL_ANSWER", "CUSTOM"]),
        ("event plain CUSTOM a::c", []),
        ("event json ALL", ["CHANNEL_ANSWER", "CUSTOM"]),
    ],
)
def test_words_after_custom_are_subclasses(
    switch: RehearsalSwitch, client: RawClient, command: str, wanted: list[str]
) -> None:
    client.login().request(command)
    switch.place(CallScript(speech(5)))
    client.request("sendevent CUSTOM", [("Event-Subclass", "a::b")])
    switch.wait(lambda: False, 0.1)
    heard = [name for name in client.names() if name in ("CHANNEL_ANSWER", "CUSTOM")]
    assert heard == wanted


def test_subscriptions_end(switch: RehearsalSwitch, client: RawClient) -> None:
    client.login()
    assert client.request("noevents").reply_text == "-ERR not listening for events"
    client.request("event plain CHANNEL_ANSWER CHANNEL_CREATE")
    assert client.request("nixevent CHANNEL_CREATE").reply_text == "+OK events nixed"
    switch.place(CallScript(speech(5)))
    client.wait_event("CHANNEL_ANSWER")
    assert client.request("noevents").reply_text == "+OK no longer listening for events"
    switch.place(CallScript(speech(5)))
    switch.wait(lambda: False, 0.1)
    assert client.names() == ["CHANNEL_ANSWER"]


def test_filters_let_through_one_call_and_no_custom_without_its_header(
    switch: RehearsalSwitch, client: RawClient
) -> None:
    client.login().request("event plain CHANNEL_ANSWER CUSTOM a::b")
    reply = client.request("filter Unique-ID CALL-ONE").reply_text
    assert reply == "+OK filter added. [Unique-ID]=[CALL-ONE]"
    for name in ("call-one", "call-two"):
        switch.place(CallScript(speech(5), uuid=name))
    client.request("sendevent CUSTOM", [("Event-Subclass", "a::b")])
    switch.wait(lambda: False, 0.1)
    assert [event.headers["Unique-ID"] for event in client.events] == ["call-one"]
    client.request("filter delete all")
    client.request("sendevent CUSTOM", [("Event-Subclass", "a::b")])
    client.wait_event("CUSTOM")


def test_sendmsg_runs_applications_and_hangs_up(switch: RehearsalSwitch, client: RawClient) -> None:
    client.login().request("event plain CHANNEL_EXECUTE CHANNEL_HANGUP")
    call = switch.place(CallScript(speech(5)))
    execute = [("call-command", "execute"), ("execute-app-name", "playback")]
    assert client.request(f"sendmsg {call.uuid}", execute).reply_text == "+OK"
    assert client.wait_event("CHANNEL_EXECUTE", 3).headers["Application"] == "playback"
    client.request(f"sendmsg {call.uuid}", [("call-command", "hangup")])
    client.wait_event("CHANNEL_HANGUP")
