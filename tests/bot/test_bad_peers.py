"""A switch, or another client of it, that sends what it should not: calls are none the worse."""

import json
from typing import Any

import gevent
import numpy as np
import pytest
from bench import Bench, Listener, as_sent, errors, finals, joined, likeness, of_kind, silence

from fsbot.rehearsal.call import Call
from fsbot.rehearsal.events import SwitchEvent, reply
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.switch import connection as connection_module
from fsbot.switch.codec import encode_message
from fsbot.switch.connection import Connection
from fsbot.transcript.records import EndOfTranscript, Record, StartOfTranscript

LogLines = list[dict[str, object]]
EVENTS_IN_A_FLOOD = 20_000


@pytest.fixture
def client(switch: RehearsalSwitch) -> Any:
    other = Connection("127.0.0.1", switch.port, "ClueCon")
    other.connect()
    yield other
    other.stop()


def in_mid_word(bench: Bench, switch: RehearsalSwitch, utterance: Sound) -> Call:
    call = switch.place(CallScript(utterance))
    bench.wait(lambda: len(bench.journal(call.uuid)) >= 3)
    return call


def whole(bench: Bench, call: Call, turn: dict[str, Any]) -> list[Record]:
    """The transcript, in which nothing is missing and nothing is twice."""
    records = bench.transcript(call.uuid)
    assert likeness(joined(finals(records)), turn["text"]) >= 0.8
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    assert len(of_kind(records, StartOfTranscript)) == 1
    assert of_kind(records, EndOfTranscript)[0].reason == "hangup"
    assert errors(records) == []
    return records


def why_closed(log_lines: LogLines) -> list[str]:
    return [str(line["reason"]) for line in log_lines if line["event"] == "event socket closed"]


def an_event_of(switch: RehearsalSwitch, call: Call) -> SwitchEvent:
    """One that a busy dialplan fires all the time, as large as FreeSWITCH makes it."""
    call.legs[0].execute("sleep", "1")
    return next(event for event in reversed(switch.fired) if event.name == "CHANNEL_EXECUTE")


def test_a_flood_of_events_is_handled_as_fast_as_it_comes(
    bench: Bench,
    switch: RehearsalSwitch,
    utterance: Sound,
    turn: dict[str, Any],
) -> None:
    bench.start()
    call = in_mid_word(bench, switch, utterance)
    event = an_event_of(switch, call)
    assert len(event.plain) > 3000
    link = bench.bot._link.connection
    most = 0

    def watch() -> None:
        nonlocal most
        while True:
            most = max(most, link._queued_bytes)
            gevent.sleep(0.001)

    watching = gevent.spawn(watch)
    for _ in range(EVENTS_IN_A_FLOOD):
        switch.fire(event)
    whole(bench, call, turn)
    watching.kill()
    assert bench.bot._link.connections == 1
    assert most < connection_module.MOST_QUEUED_BYTES / 4


def test_a_flood_that_is_too_much_ends_the_link_and_no_call(
    bench: Bench,
    switch: RehearsalSwitch,
    utterance: Sound,
    turn: dict[str, Any],
    log_lines: LogLines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench.start()
    call = in_mid_word(bench, switch, utterance)
    event = an_event_of(switch, call)
    with monkeypatch.context() as patch:
        patch.setattr(connection_module, "MOST_QUEUED_BYTES", 30_000)
        for _ in range(1000):
            switch.fire(event)
        bench.wait(lambda: why_closed(log_lines))
    whole(bench, call, turn)
    assert why_closed(log_lines)[0].startswith("events come faster than they are handled: ")
    assert bench.bot._link.connections == 2


@pytest.mark.parametrize("where", ["header", "lines", "body"])
def test_an_event_of_10_megabytes(
    where: str,
    bench: Bench,
    switch: RehearsalSwitch,
    utterance: Sound,
    turn: dict[str, Any],
    log_lines: LogLines,
) -> None:
    bench.start()
    call = in_mid_word(bench, switch, utterance)
    headers, body = switch.core.headers("CHANNEL_EXECUTE"), b""
    if where == "header":
        headers.append(("variable_x", "%20" * 3_400_000))
    elif where == "lines":
        headers += [("a", "1")] * 2_000_000
    else:
        body = bytes(10_000_000)
    switch.fire(SwitchEvent("CHANNEL_EXECUTE", headers, body))
    whole(bench, call, turn)
    assert bench.bot._link.connections == 1
    dropped = [line for line in log_lines if line["event"] == "unreadable event dropped"]
    assert len(dropped) == (where != "body")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"Content-Type: api/response\nContent-Length: -5\n\nhello", "no number: '-5'"),
        (b"Content-Type: api/response\nContent-Length: 99999999999\n\n", "the limit is"),
        (b"Content-Type: text/event-plain\nContent-Length: 5\n\nA: b\n\nC: d\n\n", "without"),
        (b"A: " + bytes(2_000_000), "a header block of more than"),
        (reply("+OK"), "a reply to"),
        (encode_message("api/response", body=b"+OK Success\n"), "a reply to"),
        (b"\n" * 100_000 + b"HTTP/1.1 400 Bad Request\n\n", "without Content-Type"),
    ],
    ids=["negative", "huge", "short", "endless header", "reply", "api reply", "http"],
)
def test_bytes_without_sense_end_the_link_and_no_call(
    data: bytes,
    reason: str,
    bench: Bench,
    switch: RehearsalSwitch,
    utterance: Sound,
    turn: dict[str, Any],
    log_lines: LogLines,
) -> None:
    bench.start()
    call = in_mid_word(bench, switch, utterance)
    assert bench.session is not None
    bench.session._send(data)
    whole(bench, call, turn)
    assert reason in why_closed(log_lines)[0]
    assert bench.bot._link.connections == 2


@pytest.mark.parametrize("fault", ["late", "never", "twice"])
@pytest.mark.parametrize("when", ["at the start", "in mid word"])
def test_replies_that_come(
    fault: str,
    when: str,
    bench: Bench,
    switch: RehearsalSwitch,
    listener: Listener,
    utterance: Sound,
    turn: dict[str, Any],
) -> None:
    """No reply is taken for another's: every event gets there, in order, and no word is lost."""
    bench.start(esl={"request_timeout": 0.5})
    bench.wait(lambda: "api show channels as json" in switch.commands)
    gevent.sleep(0.3)  # the last of what a new link asks is answered
    call = in_mid_word(bench, switch, utterance) if when == "in mid word" else None
    if fault == "late":
        switch.faults.reply_delay = 0.8
    elif fault == "never":
        switch.faults.lose_replies = 1
    else:
        switch.faults.repeat_replies = 1
    # Whatever FreeSWITCH is asked before it records, a lost reply costs a new link: what is said
    # before is nobody's to hear.
    later = np.concatenate([np.zeros(5 * utterance.rate, np.int16), utterance.caller])
    call = call or switch.place(CallScript(Sound("later", utterance.rate, later, None)))
    gevent.sleep(1.5)
    switch.faults.reply_delay = 0.0
    records = whole(bench, call, turn)
    wanted = [as_sent(record) for record in records]

    def told() -> list[dict[str, Any]]:
        bodies = [json.loads(event.body) for event in listener.of(call.uuid)]
        return [body for n, body in enumerate(bodies) if body not in bodies[:n]]

    bench.wait(lambda: len(told()) == len(wanted))
    assert told() == wanted


def test_events_in_our_own_name_are_nothing_to_us(
    bench: Bench,
    switch: RehearsalSwitch,
    listener: Listener,
    client: Connection,
    utterance: Sound,
    turn: dict[str, Any],
) -> None:
    bench.start()
    call = in_mid_word(bench, switch, utterance)
    coming = "11111111-2222-3333-4444-555555555555"
    forged = json.dumps({"call_uuid": call.uuid, "sequence": 3, "text": "forged"}).encode()
    for kind in ("transcription", "end_of_transcript", "error", "mark"):
        client.send_event(f"fsbot::{kind}", [("Call-UUID", call.uuid)], forged)
    # Whoever sends an event chooses its headers, those of a channel too.
    headers = [
        ("Event-Subclass", "fsbot::control"),
        ("Event-Name", "CHANNEL_HANGUP"),
        ("Event-Date-Timestamp", "1"),
        ("Unique-ID", coming),
        ("Channel-Name", "sofia/internal/x"),
        ("Other-Type", "originator"),
        ("Call-UUID", "\x1b[2J" + "9" * 5000),
        ("Fsbot-Command", "pause"),
    ]
    client.request("sendevent CUSTOM", headers)
    records = whole(bench, call, turn)
    bench.wait(lambda: len(listener.of(call.uuid)) == len(records) + 4)
    later = switch.place(CallScript(silence(0.5), uuid=coming))
    assert of_kind(bench.transcript(later.uuid), EndOfTranscript)[0].reason == "hangup"


@pytest.mark.parametrize("uuid", ["../../outside", "22222222-2222-3333-4444-555555555555"])
def test_an_answer_of_a_call_that_does_not_exist(
    uuid: str,
    bench: Bench,
    switch: RehearsalSwitch,
    client: Connection,
    utterance: Sound,
    turn: dict[str, Any],
) -> None:
    bench.start()
    call = in_mid_word(bench, switch, utterance)
    before = {path.name for path in bench.recordings.parent.parent.iterdir()}
    headers = [
        ("Unique-ID", uuid),
        ("Channel-Name", "sofia/internal/x"),
        ("Caller-Channel-Answered-Time", "9" * 18),
        ("Caller-Caller-ID-Number", "x" * 100_000),
    ]
    assert client.request("sendevent CHANNEL_ANSWER", headers).reply_text.startswith("+OK")
    if uuid.startswith("2"):
        records = bench.transcript(uuid)
        start, end = records[0], records[-1]
        assert isinstance(start, StartOfTranscript)
        assert isinstance(end, EndOfTranscript)
        assert len(start.caller) < 1000
        assert (end.reason, end.duration) == ("hangup", 0.0)
        assert errors(records) == ["recording_refused"]
    whole(bench, call, turn)
    files = {path.name for path in bench.recordings.iterdir() if not path.name.startswith(".")}
    assert files == {f"{call.uuid}-1.raw"}
    assert {path.name for path in bench.recordings.parent.parent.iterdir()} == before
