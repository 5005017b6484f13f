"""The client of fsbot's events: each record once, over lost links, and what it says of failures."""

import itertools
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent import subprocess

from fsbot import client as client_module
from fsbot.client import SeenRecords, TranscriptClient
from fsbot.errors import UserError
from fsbot.rehearsal.events import SwitchEvent
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.switch import link as link_module
from fsbot.switch.codec import Event, Headers
from fsbot.switch.connection import Connection
from fsbot.switch.errors import ConnectionLost
from fsbot.switch.link import Endpoint
from fsbot.transcript.esl_events import event_of
from fsbot.transcript.records import (
    EndOfTranscript,
    EndOfUtterance,
    Failure,
    Mark,
    Record,
    StartOfSpeech,
    Transcription,
)
from tests.transcript.examples import UUID, one_of_each, start_of_transcript

OTHER = "99999999-0000-4de5-8f94-483111e7e880"
PATIENCE = 30.0
LogLines = list[dict[str, Any]]


def as_event(record: Record, body: bytes | None = None) -> Event:
    made = event_of(record, record.call_uuid)
    headers = [("Event-Name", "CUSTOM"), ("Event-Subclass", made.subclass), *made.headers]
    return Event(Headers(headers), made.body if body is None else body)


def numbered(sequence: int, call_uuid: str = UUID) -> Record:
    return start_of_transcript(sequence, call_uuid=call_uuid)


def end(sequence: int, call_uuid: str = UUID) -> Record:
    last = one_of_each()[-1]
    return last.model_copy(update={"sequence": sequence, "call_uuid": call_uuid})


class Sender:
    """A bot's connection, as far as clients notice: it fires events."""

    def __init__(self, switch: RehearsalSwitch) -> None:
        self._connection = Connection("127.0.0.1", switch.port, "ClueCon")
        self._connection.connect()

    def fire(self, *records: Record) -> None:
        for record in records:
            event = event_of(record, record.call_uuid)
            self._connection.send_event(event.subclass, event.headers, event.body)

    def fire_raw(self, subclass: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self._connection.send_event(subclass, headers, body)

    def close(self) -> None:
        self._connection.stop()


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Iterator[RehearsalSwitch]:
    monkeypatch.setattr(link_module, "waiting_times", lambda: itertools.repeat(0.05))
    with RehearsalSwitch() as running:
        yield running


@pytest.fixture
def sender(switch: RehearsalSwitch) -> Iterator[Sender]:
    connected = Sender(switch)
    yield connected
    connected.close()


@pytest.fixture
def connect(switch: RehearsalSwitch) -> Iterator[Callable[..., TranscriptClient]]:
    """connect(option=…) → an open client of the switch."""
    opened: list[TranscriptClient] = []

    def begin(**options: Any) -> TranscriptClient:
        opened.append(TranscriptClient("127.0.0.1", switch.port, **options))
        opened[-1].open()
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


def take(client: TranscriptClient, count: int) -> list[Record]:
    """So many records, each of which has to come."""
    taken = list(itertools.islice(client.records(PATIENCE), count))
    assert len(taken) == count
    return taken


def listening(switch: RehearsalSwitch) -> bool:
    """Whether a client has asked for fsbot's events."""
    probe = SwitchEvent("CUSTOM", [], subclass="fsbot::start_of_transcript")
    return any(session.subscription.wants(probe) for session in switch.sessions)


def drop_link(switch: RehearsalSwitch, client: TranscriptClient) -> Sender:
    """End all connections, and wait until the client is back; a new sender."""
    switch.drop_clients()
    assert switch.wait(lambda: not client.is_up, PATIENCE)
    assert switch.wait(lambda: client.is_up, PATIENCE)
    return Sender(switch)


class TestSeenRecords:
    def test_in_any_order_each_is_new_once(self) -> None:
        for order in itertools.permutations(range(1, 6)):
            seen = SeenRecords()
            assert all(seen.is_new(numbered(n), 0.0) for n in order)
            assert not any(seen.is_new(numbered(n), 0.0) for n in order)

    def test_holes_stay_holes(self) -> None:
        seen = SeenRecords()
        for number in (10, 11, 20):
            assert seen.is_new(numbered(number), 0.0)
        fresh = [n for n in range(1, 25) if seen.is_new(numbered(n), 0.0)]
        assert fresh == [n for n in range(1, 25) if n not in (10, 11, 20)]

    def test_calls_have_numbers_of_their_own(self) -> None:
        seen = SeenRecords()
        assert seen.is_new(numbered(1), 0.0)
        assert seen.is_new(numbered(1, OTHER), 0.0)
        assert not seen.is_new(numbered(1, OTHER), 0.0)

    def test_what_belongs_to_no_call_is_never_a_repetition(self) -> None:
        seen = SeenRecords()
        assert seen.is_new(numbered(1, ""), 0.0)
        assert seen.is_new(numbered(1, ""), 0.0)
        assert len(seen) == 0

    def test_a_call_is_forgotten_a_while_after_its_last_event(self) -> None:
        seen = SeenRecords(remembered_seconds=100.0)
        seen.is_new(numbered(1), 0.0)
        seen.is_new(end(2), 1000.0)
        assert not seen.is_new(end(2), 1099.0)  # from here on it counts anew
        assert not seen.is_new(numbered(1), 1198.0)
        seen.is_new(numbered(1, OTHER), 1298.0)
        assert len(seen) == 1
        assert seen.is_new(numbered(1), 1298.0)

    def test_a_call_that_goes_on_is_not_forgotten(self) -> None:
        seen = SeenRecords(remembered_seconds=100.0)
        seen.is_new(numbered(1), 0.0)
        assert not seen.is_new(numbered(1), 1e6)

    def test_calls_whose_end_never_came_are_bounded(self) -> None:
        seen = SeenRecords(most_runs=10)
        for number in range(1000):
            seen.is_new(numbered(1, f"call-{number}"), 0.0)
            assert not seen.is_new(numbered(1, "call-0"), 0.0)  # the one that is never silent
        assert len(seen) == 10

    def test_holes_of_one_call_are_bounded_too(self) -> None:
        seen = SeenRecords(most_runs=10)
        for number in range(1, 1001, 2):
            assert seen.is_new(numbered(number), 0.0)
        assert not any(seen.is_new(numbered(n), 0.0) for n in range(981, 1001, 2))
        assert seen._size == len(seen._runs[UUID]) == 10

    def test_a_call_without_holes_takes_one_run(self) -> None:
        seen = SeenRecords()
        for number in range(1, 5001):
            seen.is_new(numbered(number), 0.0)
        assert seen._runs[UUID] == [[1, 5000]]
        seen.is_new(end(5001), 0.0)
        seen.is_new(numbered(1, OTHER), 1e9)
        assert (len(seen), seen._size) == (1, 1)


class TestReplaying:
    def test_every_kind_comes_as_it_was_sent(self) -> None:
        events = [as_event(record) for record in one_of_each()]
        assert list(TranscriptClient.replaying(events)) == one_of_each()

    def test_repetitions_are_dropped(self) -> None:
        events = [as_event(record) for record in one_of_each()]
        assert list(TranscriptClient.replaying(events + events)) == one_of_each()

    def test_restricted_to_a_call(self) -> None:
        events = [as_event(numbered(n, uuid)) for n in (1, 2) for uuid in (UUID, OTHER)]
        records = list(TranscriptClient.replaying(events, call_uuid=OTHER))
        assert records == [numbered(1, OTHER), numbered(2, OTHER)]

    def test_restricted_to_kinds(self) -> None:
        events = [as_event(record) for record in one_of_each()]
        kinds = (Mark, Transcription)
        records = list(TranscriptClient.replaying(events, kinds=kinds))
        assert [type(record) for record in records] == [Transcription, Mark]

    @pytest.mark.parametrize("kind", [dict, Record, "transcription"])
    def test_no_other_kinds(self, kind: Any) -> None:
        with pytest.raises(ValueError, match="no kind of record"):
            TranscriptClient(kinds=[kind])
        with pytest.raises(ValueError, match="no kind of record"):
            TranscriptClient().on(kind, print)

    def test_arrivals_have_the_time(self) -> None:
        before = time.time()
        (arrival,) = TranscriptClient.replaying([as_event(numbered(1))]).arrivals()
        assert before <= arrival.at <= time.time()
        assert arrival.record == numbered(1)

    def test_events_of_others_are_nothing_to_it(self, log_lines: LogLines) -> None:
        others = [
            Event(Headers([("Event-Name", "HEARTBEAT")])),
            Event(Headers([("Event-Name", "CUSTOM"), ("Event-Subclass", "fsbot::control")])),
            Event(Headers([("Event-Name", "CUSTOM"), ("Event-Subclass", "conference::x")])),
        ]
        assert list(TranscriptClient.replaying(others)) == []
        assert log_lines == []

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            (b"", "EOF"),
            (b"\xff\xfe", "JSON"),
            (b"[" * 10_000, "recursion"),
            (b'{"kind":"transcription","text":"4970 1234"}', "Field required"),
            (b'{"kind":"\\u001b[2J\\n"}', "tag"),
        ],
    )
    def test_what_cannot_be_read_is_logged_and_skipped(
        self, body: bytes, problem: str, log_lines: LogLines
    ) -> None:
        events = [as_event(numbered(1)), as_event(numbered(2), body), as_event(numbered(2))]
        assert list(TranscriptClient.replaying(events)) == [numbered(1), numbered(2)]
        (line,) = log_lines
        assert line["event"] == "event without a readable record skipped"
        assert problem in line["problem"]
        assert line["log_level"] == "warning"
        assert "4970" not in str(line)
        assert all(text.isprintable() for text in map(str, line.values()))

    def test_an_unreadable_event_does_not_hide_the_readable_one(self, log_lines: LogLines) -> None:
        events = [as_event(numbered(1), b"{}"), as_event(numbered(1))]
        assert list(TranscriptClient.replaying(events)) == [numbered(1)]
        assert len(log_lines) == 1

    def test_a_uuid_from_strangers_is_escaped_in_the_log(self, log_lines: LogLines) -> None:
        headers = [("Event-Subclass", "fsbot::mark"), ("Call-UUID", "\x1b[2J" + "9" * 5000)]
        assert list(TranscriptClient.replaying([Event(Headers(headers), b"{}")])) == []
        (line,) = log_lines
        assert line["call_uuid"].startswith("\\x1b[2J999")
        assert len(line["call_uuid"]) < 300

    def test_callbacks_by_kind(self) -> None:
        client = TranscriptClient.replaying(as_event(record) for record in one_of_each())
        heard: list[tuple[str, Record]] = []
        client.on(Transcription, lambda record: heard.append(("text", record)))
        client.on(EndOfTranscript, lambda record: heard.append(("end", record)))
        client.on(Transcription, lambda record: heard.append(("again", record)))
        client.run()
        _, _, said, *_, last = one_of_each()
        assert heard == [("text", said), ("again", said), ("end", last)]

    def test_a_callback_may_close_the_client(self) -> None:
        client = TranscriptClient.replaying(as_event(record) for record in one_of_each())
        heard: list[Record] = []
        client.on(StartOfSpeech, lambda record: client.close())
        client.on(Transcription, heard.append)
        client.run()
        assert heard == []

    def test_what_a_callback_raises_is_the_programs(self) -> None:
        client = TranscriptClient.replaying([as_event(end(1))])
        client.on(EndOfTranscript, lambda record: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            client.run()

    def test_it_has_no_freeswitch_to_command(self) -> None:
        with pytest.raises(ConnectionLost), TranscriptClient.replaying([]) as client:
            client.api("status")


class TestOnASwitch:
    def test_records_come_once_and_in_order(
        self, connect: Callable[..., TranscriptClient], sender: Sender
    ) -> None:
        client = connect()
        first, second, *rest = one_of_each()
        sender.fire(first, second, second, first, *rest)
        assert take(client, len(rest) + 2) == one_of_each()

    def test_kinds_are_asked_for_and_the_end_always(
        self, connect: Callable[..., TranscriptClient], switch: RehearsalSwitch, sender: Sender
    ) -> None:
        client = connect(kinds=[EndOfUtterance, Failure])
        sender.fire(*one_of_each(), end(8))
        records = take(client, 2)
        assert [type(record) for record in records] == [EndOfUtterance, Failure]
        assert client.receive(0) is None
        # The ends came, and of the other kinds nothing at all.
        assert switch.wait(lambda: client._seen._runs[UUID] == [[4, 5], [7, 8]], PATIENCE)

    def test_it_need_not_be_opened(self, switch: RehearsalSwitch, sender: Sender) -> None:
        client = TranscriptClient("127.0.0.1", switch.port)
        reading = gevent.spawn(take, client, 1)
        assert switch.wait(lambda: client.is_up, PATIENCE)
        sender.fire(numbered(1))
        assert reading.get(timeout=PATIENCE) == [numbered(1)]
        client.close()

    def test_a_timeout_ends_an_iteration_and_not_the_client(
        self, connect: Callable[..., TranscriptClient], sender: Sender
    ) -> None:
        client = connect()
        assert client.receive(0.01) is None
        assert list(client.records(0.01)) == []
        sender.fire(numbered(1))
        assert take(client, 1) == [numbered(1)]

    def test_repetitions_are_dropped_after_a_reconnection(
        self,
        connect: Callable[..., TranscriptClient],
        switch: RehearsalSwitch,
        sender: Sender,
        log_lines: LogLines,
    ) -> None:
        client = connect()
        sender.fire(numbered(1), end(2))
        assert take(client, 2) == [numbered(1), end(2)]
        again = drop_link(switch, client)
        again.fire(numbered(1), end(2), numbered(1, OTHER))
        assert take(client, 1) == [numbered(1, OTHER)]
        again.close()
        told = [(line["event"], line["log_level"]) for line in log_lines]
        assert ("event socket closed", "warning") in told
        assert ("link to FreeSWITCH is back", "warning") in told

    def test_it_comes_back_to_a_freeswitch_that_was_restarted(
        self, connect: Callable[..., TranscriptClient], switch: RehearsalSwitch
    ) -> None:
        client = connect()
        switch.kill()
        assert switch.wait(lambda: not client.is_up, PATIENCE)
        with RehearsalSwitch(port=switch.port) as successor:
            assert successor.wait(lambda: client.is_up, PATIENCE)
            sender = Sender(successor)
            sender.fire(numbered(1))
            assert take(client, 1) == [numbered(1)]
            sender.close()
            client.close()

    def test_it_reads_while_the_program_blocks(
        self, switch: RehearsalSwitch, sender: Sender
    ) -> None:
        program = (
            "import threading\n"
            "from fsbot.client import TranscriptClient\n"
            "came = threading.Event()\n"
            f"client = TranscriptClient('127.0.0.1', {switch.port},\n"
            "    on_event=lambda event: came.set())\n"
            "client.open()\n"
            f"print('came', came.wait({PATIENCE}))\n"
        )
        running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert switch.wait(lambda: listening(switch), PATIENCE)
        sender.fire(numbered(1))
        out, _ = running.communicate(timeout=2 * PATIENCE)
        assert "came True" in out.decode().splitlines()

    def test_from_a_thread_that_knows_no_gevent(
        self, connect: Callable[..., TranscriptClient], switch: RehearsalSwitch, sender: Sender
    ) -> None:
        client = connect()
        taken: list[Record] = []
        answers: list[str] = []

        def read() -> None:
            taken.extend(take(client, 1))
            answers.append(client.api("echo salut"))

        thread = threading.Thread(target=read)
        thread.start()
        sender.fire(numbered(1))
        assert switch.wait(lambda: not thread.is_alive(), PATIENCE)
        assert (taken, answers) == ([numbered(1)], ["salut"])

    def test_close_ends_whoever_waits(
        self, connect: Callable[..., TranscriptClient], switch: RehearsalSwitch
    ) -> None:
        client = connect()
        readers = [gevent.spawn(list, client) for _ in range(3)]
        gevent.sleep(0)
        client.close()
        assert [reader.get(timeout=PATIENCE) for reader in readers] == [[], [], []]
        assert switch.wait(lambda: not switch.sessions, PATIENCE)
        assert client.receive() is None
        client.close()
        with pytest.raises(ValueError, match="closed"):
            client.open()
        with pytest.raises(ConnectionLost):
            client.api("status")

    def test_close_drops_what_nobody_has_read(
        self, connect: Callable[..., TranscriptClient], sender: Sender
    ) -> None:
        client = connect()
        sender.fire(numbered(1), numbered(2), numbered(3))
        assert take(client, 1) == [numbered(1)]
        client.close()
        assert list(client) == []

    def test_it_is_closed_behind_its_block(self, switch: RehearsalSwitch) -> None:
        def fail(client: TranscriptClient) -> None:
            with client:
                assert client.is_up
                raise ZeroDivisionError

        client = TranscriptClient("127.0.0.1", switch.port)
        with pytest.raises(ZeroDivisionError):
            fail(client)
        assert not client.is_up
        assert switch.wait(lambda: not switch.sessions, PATIENCE)

    def test_every_event_can_be_seen_as_it_comes(
        self, connect: Callable[..., TranscriptClient], switch: RehearsalSwitch, sender: Sender
    ) -> None:
        events: list[Event] = []
        connect(on_event=events.append)
        sender.fire(numbered(1), numbered(1))
        sender.fire_raw("fsbot::mark", [("Call-UUID", UUID)], b"forged")
        assert switch.wait(lambda: len(events) == 3, PATIENCE)
        assert [event.body for event in events[:2]] == [as_event(numbered(1)).body] * 2
        assert events[2].body == b"forged"

    def test_commands(self, connect: Callable[..., TranscriptClient]) -> None:
        client = connect()
        assert client.api("uuid_exists nobody") == "false"
        with pytest.raises(ValueError, match="one line"):
            client.api("echo a\nexit")

    def test_commands_while_the_link_is_down(
        self, connect: Callable[..., TranscriptClient], switch: RehearsalSwitch
    ) -> None:
        client = connect()
        switch.kill()
        assert switch.wait(lambda: not client.is_up, PATIENCE)
        with pytest.raises(ConnectionLost):
            client.api("status")

    def test_a_program_that_does_not_read_loses_records_and_is_told(
        self,
        connect: Callable[..., TranscriptClient],
        switch: RehearsalSwitch,
        sender: Sender,
        log_lines: LogLines,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(client_module, "MOST_WAITING", 2)
        events: list[Event] = []
        client = connect(on_event=events.append)
        sender.fire(*map(numbered, range(1, 6)))
        assert switch.wait(lambda: client._dropped == 3, PATIENCE)
        assert take(client, 2) == [numbered(1), numbered(2)]
        sender.fire(numbered(6))
        assert take(client, 1) == [numbered(6)]
        told = [line for line in log_lines if "dropp" in str(line["event"])]
        assert [line.get("most") or line.get("count") for line in told] == [2, 3]


class TestRefusals:
    @pytest.mark.parametrize("wait", [True, False])
    def test_a_wrong_password(self, switch: RehearsalSwitch, wait: bool) -> None:
        client = TranscriptClient("127.0.0.1", switch.port, "geheim", wait=wait)
        with pytest.raises(UserError, match="refuses the password") as raised:
            client.open()
        assert raised.value.remedy.startswith("Give the password")
        assert raised.value.exit_code == 3
        assert "geheim" not in str(raised.value) + repr(client)
        client.close()

    def test_an_address_that_is_not_let_in(self, switch: RehearsalSwitch) -> None:
        switch.faults.deny_access = True
        with pytest.raises(UserError, match="refuses this machine") as raised:
            next(iter(TranscriptClient("127.0.0.1", switch.port)))
        assert raised.value.exit_code == 4

    def test_nobody_there(self, switch: RehearsalSwitch) -> None:
        switch.stop()
        client = TranscriptClient("127.0.0.1", switch.port, wait=False)
        with pytest.raises(UserError, match="refused") as raised:
            client.open()
        assert "mod_event_socket" in raised.value.remedy
        assert "esl." not in raised.value.remedy
        with pytest.raises(UserError):  # so it does for the next one who asks
            client.receive()
        client.close()

    def test_it_waits_if_it_may(self, switch: RehearsalSwitch) -> None:
        switch.stop()
        client = TranscriptClient("127.0.0.1", switch.port)
        opening = gevent.spawn(client.open)
        opening.join(0.2)
        assert not opening.ready()
        with RehearsalSwitch(port=switch.port):
            opening.get(timeout=PATIENCE)
            assert client.is_up
            client.close()

    def test_close_ends_the_waiting_for_a_freeswitch(self, switch: RehearsalSwitch) -> None:
        switch.stop()
        client = TranscriptClient("127.0.0.1", switch.port)
        reading = gevent.spawn(list, client)
        opening = gevent.spawn(client.open)
        opening.join(0.1)
        client.close()
        opening.get(timeout=PATIENCE)
        assert reading.get(timeout=PATIENCE) == []

    def test_close_ends_a_login_that_nobody_answers(self) -> None:
        client = TranscriptClient("127.0.0.1", 0)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            client._endpoint = Endpoint("127.0.0.1", silent.getsockname()[1], "", 3600.0)
            opening = gevent.spawn(client.open)
            silent.settimeout(PATIENCE)
            taken, _ = gevent.get_hub().threadpool.apply(silent.accept)
            client.close()
            opening.get(timeout=PATIENCE)
            taken.close()

    def test_a_password_changed_later_does_not_end_it(
        self,
        connect: Callable[..., TranscriptClient],
        switch: RehearsalSwitch,
        log_lines: LogLines,
    ) -> None:
        client = connect()
        switch.password = "geheim"
        switch.drop_clients()
        assert switch.wait(
            lambda: any("refuses the password" in str(line.get("problem")) for line in log_lines),
            PATIENCE,
        )
        assert client.receive(0) is None
        switch.password = "ClueCon"
        assert switch.wait(lambda: client.is_up, PATIENCE)
        assert "geheim" not in json.dumps(log_lines, default=str)


def test_a_forgotten_client_does_not_keep_a_program_from_ending(switch: RehearsalSwitch) -> None:
    program = (
        "from fsbot.client import TranscriptClient\n"
        f"client = TranscriptClient('127.0.0.1', {switch.port})\n"
        "client.open()\n"
        "print('over')\n"
    )
    command = [sys.executable, "-c", program]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = running.communicate(timeout=PATIENCE)
    assert "over" in out.decode().splitlines()
    assert (running.returncode, err) == (0, b"")
