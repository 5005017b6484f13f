import json
import os
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from examples import UUID, one_of_each, start_of_transcript

from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.switch.connection import Connection
from fsbot.transcript.esl_events import EventPublisher
from fsbot.transcript.journal import Journal, read_journal
from fsbot.transcript.ledger import Ledger


@pytest.fixture
def switch() -> Iterator[RehearsalSwitch]:
    with RehearsalSwitch() as running:
        yield running


@pytest.fixture
def publisher(switch: RehearsalSwitch) -> Iterator[EventPublisher]:
    connection = Connection("127.0.0.1", switch.port, "ClueCon")
    connection.connect()
    running = EventPublisher(lambda: connection)
    yield running
    running.close()
    connection.stop()


def test_journal_and_events_say_the_same(
    tmp_path: Path, publisher: EventPublisher, switch: RehearsalSwitch
) -> None:
    ledger = Ledger(UUID, UUID, Journal(tmp_path / "a" / "a.jsonl"), publisher)
    records = one_of_each()
    for record in records:
        ledger.put(record)
    ledger.close()
    assert list(read_journal(tmp_path / "a" / "a.jsonl")) == records
    assert publisher.drain(10)
    sent = [json.loads(received.event.body) for received in switch.received]
    assert sent == [json.loads(record.model_dump_json()) for record in records]


def test_the_journal_comes_first(tmp_path: Path, switch: RehearsalSwitch) -> None:
    """Also when nobody can be told at the moment."""
    publisher = EventPublisher(lambda: Connection("127.0.0.1", switch.port, "ClueCon"))
    path = tmp_path / "a" / "a.jsonl"
    ledger = Ledger(UUID, UUID, Journal(path), publisher)
    ledger.put(start_of_transcript(1))
    with gevent.Timeout(10):
        ledger.flush()
    assert [record.sequence for record in read_journal(path)] == [1]
    assert not switch.received
    ledger.close()
    publisher.close()


def test_a_full_disk_is_told_and_the_event_fired_all_the_same(
    tmp_path: Path,
    publisher: EventPublisher,
    switch: RehearsalSwitch,
    log_lines: list[dict[str, object]],
) -> None:
    journal = Journal(tmp_path / "a" / "a.jsonl")
    journal.close()
    journal._file = os.open("/dev/full", os.O_WRONLY)
    ledger = Ledger(UUID, UUID, journal, publisher)
    ledger.put(start_of_transcript(1))
    with gevent.Timeout(10):
        ledger.flush()
    ledger.close()
    assert publisher.drain(10)
    assert [received.event.headers.get("Fsbot-Sequence") for received in switch.received] == ["1"]
    assert [line["event"] for line in log_lines if line["log_level"] == "error"] == [
        "record not journalled"
    ]
