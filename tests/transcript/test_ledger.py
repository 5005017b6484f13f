import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from examples import UUID, one_of_each, start_of_transcript
from smalldisk import SmallDisk

import fsbot.transcript.ledger
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.switch.connection import Connection
from fsbot.transcript.backlog import Backlog
from fsbot.transcript.esl_events import EventPublisher
from fsbot.transcript.journal import Journal, line_of, read_journal, read_what_is_sound
from fsbot.transcript.ledger import Ledger
from fsbot.transcript.records import Record


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
    ledger = Ledger(UUID, UUID, Journal(tmp_path / "a" / "a.jsonl"), publisher, Backlog())
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
    ledger = Ledger(UUID, UUID, Journal(path), publisher, Backlog())
    ledger.put(start_of_transcript(1))
    with gevent.Timeout(10):
        ledger.flush()
    assert [record.sequence for record in read_journal(path)] == [1]
    assert not switch.received
    ledger.close()
    publisher.close()


def sequences(path: Path) -> list[int]:
    return [record.sequence for record in read_journal(path)]


def many(first: int, last: int) -> list[Record]:
    return [start_of_transcript(number) for number in range(first, last + 1)]


def wait(condition: Callable[[], object]) -> None:
    with gevent.Timeout(60):
        while not condition():
            gevent.sleep(0.05)


class Told:
    """What a ledger complains about, and of which journal it says that all is done."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.settled: list[Path] = []

    def complain(self, error: str, message: str) -> None:
        self.errors.append(error)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr(fsbot.transcript.ledger, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(fsbot.transcript.ledger, "CLOSING_SECONDS", 0.5)
    return Told()


def ledger_at(
    path: Path, publisher: EventPublisher, told: Told, backlog: Backlog, opened: bool = True
) -> Ledger:
    return Ledger(
        UUID,
        UUID,
        Journal(path) if opened else path,
        publisher,
        backlog,
        told.complain,
        told.settled.append,
    )


def sent(switch: RehearsalSwitch) -> list[int]:
    return [int(received.event.headers.get("Fsbot-Sequence")) for received in switch.received]


def test_what_a_full_disk_does_not_take_is_fired_at_once_and_written_later(
    disk: SmallDisk,
    publisher: EventPublisher,
    switch: RehearsalSwitch,
    told: Told,
    log_lines: list[dict[str, object]],
) -> None:
    path = disk.root / "a" / "a.jsonl"
    ledger = ledger_at(path, publisher, told, Backlog())
    for record in many(1, 3):
        ledger.put(record)
    ledger.flush()
    disk.fill()
    for record in many(4, 40):
        ledger.put(record)
    ledger.flush()
    assert publisher.drain(20)
    assert sent(switch) == list(range(1, 41))
    written = sequences_in(path)
    assert written == list(range(1, len(written) + 1))
    assert len(written) < 40
    assert told.errors == ["disk_full"]

    disk.free()
    ledger.put(start_of_transcript(41))
    ledger.close()
    assert sequences(path) == list(range(1, 42))
    wait(lambda: told.settled == [path])
    assert not path.with_suffix(".pending").exists()
    said = [line["event"] for line in log_lines if "journal" in str(line["event"])]
    assert said == ["journal not written", "journal is written again, nothing is missing"]


def sequences_in(path: Path) -> list[int]:
    return [record.sequence for record in read_what_is_sound(path)]


def test_a_call_ends_on_a_full_disk_and_its_journal_is_completed_later(
    disk: SmallDisk, publisher: EventPublisher, told: Told
) -> None:
    path, backlog = disk.root / "a" / "a.jsonl", Backlog()
    ledger = ledger_at(path, publisher, told, backlog)
    disk.fill()
    for record in many(1, 40):
        ledger.put(record)
    with gevent.Timeout(20):
        ledger.close()
    assert len(sequences_in(path)) < 40
    assert path.with_suffix(".pending").exists()
    assert not told.settled
    disk.free()
    wait(lambda: told.settled)
    assert sequences(path) == list(range(1, 41))
    assert backlog._bytes == 0
    assert not backlog._ledgers


def test_a_later_transcript_writes_what_an_earlier_one_could_not(
    disk: SmallDisk, publisher: EventPublisher, told: Told
) -> None:
    path, backlog = disk.root / "a" / "a.jsonl", Backlog()
    earlier = ledger_at(path, publisher, told, backlog)
    disk.fill()
    for record in many(1, 40):
        earlier.put(record)
    earlier.close()
    assert backlog.next_sequence(path) == 41
    later = ledger_at(path, publisher, told, backlog)
    for record in many(41, 50):
        later.put(record)
    disk.free()
    later.close()
    assert sequences(path) == list(range(1, 51))


def test_the_end_of_the_bot_does_not_wait_for_a_full_disk_and_tells_what_is_missing(
    disk: SmallDisk, publisher: EventPublisher, told: Told, log_lines: list[dict[str, object]]
) -> None:
    path, backlog = disk.root / "a" / "a.jsonl", Backlog()
    ledger = ledger_at(path, publisher, told, backlog)
    disk.fill()
    for record in many(1, 40):
        ledger.put(record)
    ledger.close()
    with gevent.Timeout(20):
        backlog.drain(0.3)
    written = len(sequences_in(path))
    (line,) = [line for line in log_lines if line["event"] == "journal is incomplete"]
    assert line["missing"] == f"{written + 1} to 40"
    assert path.with_suffix(".pending").exists()
    assert not told.settled


def test_a_journal_that_cannot_be_opened_yet(
    disk: SmallDisk, publisher: EventPublisher, switch: RehearsalSwitch, told: Told
) -> None:
    path = disk.root / "a" / "a.jsonl"
    disk.make_read_only(True)
    ledger = ledger_at(path, publisher, told, Backlog(), opened=False)
    ledger.put(start_of_transcript(1))
    with gevent.Timeout(20):
        ledger.flush()
    assert publisher.drain(20)
    assert sent(switch) == [1]
    assert told.errors == ["journal"]
    disk.make_read_only(False)
    ledger.put(start_of_transcript(2))
    ledger.close()
    assert sequences(path) == [1, 2]
    wait(lambda: told.settled == [path])


def test_a_journal_that_is_deleted_is_made_again(
    tmp_path: Path, publisher: EventPublisher, told: Told
) -> None:
    path = tmp_path / "transcripts" / "a" / "a.jsonl"
    ledger = ledger_at(path, publisher, told, Backlog())
    ledger.put(start_of_transcript(1))
    ledger.flush()
    shutil.rmtree(tmp_path / "transcripts")
    ledger.put(start_of_transcript(2))
    ledger.flush()
    assert sequences(path) == [1, 2]
    assert path.with_suffix(".pending").exists()
    ledger.close()
    assert told.errors == []
    wait(lambda: told.settled == [path])


def test_other_records_of_that_name_are_not_mixed_with_ours(
    tmp_path: Path, publisher: EventPublisher, told: Told
) -> None:
    path = tmp_path / "a" / "a.jsonl"
    ledger = ledger_at(path, publisher, told, Backlog(), opened=False)
    path.parent.mkdir()
    path.write_bytes(b"".join(map(line_of, many(1, 3))))
    ledger.put(start_of_transcript(1))
    ledger.flush()
    assert told.errors == ["journal"]
    assert sequences(path) == [1, 2, 3]
    ledger.close()
    ledger.give_up()


def test_what_waits_is_bounded_and_the_journal_never_has_a_hole(
    disk: SmallDisk, publisher: EventPublisher, told: Told, log_lines: list[dict[str, object]]
) -> None:
    path, backlog = disk.root / "a" / "a.jsonl", Backlog(most_bytes=8000)
    ledger = ledger_at(path, publisher, told, backlog)
    disk.fill()
    for record in many(1, 100):
        ledger.put(record)
    ledger.flush()
    assert backlog._bytes <= 8000
    disk.free()
    for record in many(101, 110):
        ledger.put(record)
    ledger.close()
    written = sequences(path)
    assert written == list(range(1, len(written) + 1))
    assert 0 < len(written) < 100
    assert path.with_suffix(".pending").exists()
    assert not told.settled
    said = [line["event"] for line in log_lines if line["log_level"] == "error"]
    assert said == [
        "journal not written",
        "too much waits for the disk: no more of this call is journalled",
        "journal is incomplete",
    ]
    assert publisher.drain(20)
