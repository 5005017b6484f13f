"""Disks that are full, gone or read-only while calls are up; what is deleted when they are over."""

import shutil
import signal
import stat
from pathlib import Path

import gevent
import pytest
from bench import PATIENCE, Bench, Listener, errors, finals, joined, likeness, of_kind, silence
from processes import Start
from smalldisk import SmallDisk

import fsbot.disk
import fsbot.recorder
import fsbot.transcript.ledger
from fsbot.engine.inference import Job
from fsbot.engine.stream import Stream
from fsbot.rehearsal.script import CallScript, Hold
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.transcript.journal import read_journal, read_what_is_sound
from fsbot.transcript.records import EndOfTranscript, Failure

LogLines = list[dict[str, object]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsbot.transcript.ledger, "RETRY_SECONDS", 0.2)
    monkeypatch.setattr(fsbot.transcript.ledger, "CLOSING_SECONDS", 0.5)
    monkeypatch.setattr(fsbot.disk, "WATCH_SECONDS", 0.2)


def test_the_disk_of_the_journals_fills_up_in_mid_call(
    bench: Bench,
    switch: RehearsalSwitch,
    listener: Listener,
    utterance: Sound,
    turn: dict[str, str],
    disk: SmallDisk,
) -> None:
    """The robot hears every word in time; the journal has it all when there is room again."""
    bench.transcripts = disk.root / "transcripts"
    bench.start(recordings={"min_free": 0})
    call = switch.place(CallScript(utterance))
    bench.wait(lambda: bench.journal_path(call.uuid) and call.legs[0].recordings)
    disk.fill()
    bench.wait(lambda: any(b"end_of_transcript" in each.body for each in listener.of(call.uuid)))
    bench.wait(lambda: call.uuid not in bench.bot._calls)
    path = bench.journal_path(call.uuid)
    assert path is not None
    assert not of_kind(read_what_is_sound(path), EndOfTranscript)

    disk.free()
    records = bench.transcript(call.uuid)
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    assert errors(records) == ["disk_full"]
    assert likeness(joined(finals(records)), turn["text"]) >= 0.8
    sequences = {event.headers.get("Fsbot-Sequence") for event in listener.of(call.uuid)}
    assert sequences == {str(record.sequence) for record in records}
    bench.wait(lambda: not path.with_suffix(".pending").exists())


def test_the_disk_of_the_recordings_fills_up_in_mid_call(
    bench: Bench,
    switch: RehearsalSwitch,
    listener: Listener,
    disk: SmallDisk,
    log_lines: LogLines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """FreeSWITCH says nothing: its file stands still. A leg on hold has no such trouble."""
    monkeypatch.setattr(fsbot.recorder, "STALLED_SECONDS", 0.5)
    bench.recordings = disk.root / "recordings"
    bench.start(recordings={"min_free": 0})
    held = switch.place(CallScript(silence(60), actions=(Hold(0.5),)))
    bench.wait(lambda: bench.recorded(held.uuid))
    gevent.sleep(2.0)
    assert errors(bench.journal(held.uuid)) == []
    held.hang_up()
    bench.transcript(held.uuid)

    call = switch.place(CallScript(silence(60)))
    bench.wait(lambda: bench.recorded(call.uuid))
    disk.fill()
    bench.wait(lambda: errors(bench.journal(call.uuid)))
    disk.free()
    bench.wait(lambda: any(line["event"] == "recording grows again" for line in log_lines))
    call.hang_up()
    records = bench.transcript(call.uuid)
    assert errors(records) == ["disk_full"]
    assert str(bench.recorded(call.uuid)[0]) in of_kind(records, Failure)[0].message
    assert of_kind(records, EndOfTranscript)[0].reason == "hangup"


def test_little_room_is_told_before_the_end(
    bench: Bench, switch: RehearsalSwitch, listener: Listener, disk: SmallDisk, log_lines: LogLines
) -> None:
    bench.recordings = disk.root / "recordings"
    bench.transcripts = disk.root / "transcripts"
    bench.start(recordings={"min_free": 1})  # of 256 kB: always low
    bench.wait(lambda: listener.events)
    gevent.sleep(1.0)
    (event,) = listener.events
    assert event.subclass == "fsbot::error"
    assert not event.headers.get("Call-UUID")
    assert b'"disk_low"' in event.body
    assert b"hours of one call" in event.body
    assert [line["event"] for line in log_lines].count("disk is getting full") == 1


def test_the_directory_of_recordings_is_deleted_in_mid_call(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound, turn: dict[str, str]
) -> None:
    bench.start()
    call = switch.place(CallScript(utterance))
    bench.wait(lambda: bench.recorded(call.uuid) and bench.recorded(call.uuid)[0].stat().st_size)
    shutil.rmtree(bench.recordings)
    records = bench.transcript(call.uuid)
    assert errors(records) == []
    assert likeness(joined(finals(records)), turn["text"]) >= 0.8

    second = switch.place(CallScript(utterance))
    records = bench.transcript(second.uuid)
    assert errors(records) == []
    assert likeness(joined(finals(records)), turn["text"]) >= 0.8
    assert stat.S_IMODE(bench.recordings.stat().st_mode) == 0o2770


def test_a_recording_that_is_deleted_in_mid_call_is_heard_to_its_end(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound, turn: dict[str, str]
) -> None:
    bench.start()
    call = switch.place(CallScript(utterance))
    bench.wait(lambda: bench.recorded(call.uuid) and bench.recorded(call.uuid)[0].stat().st_size)
    bench.recorded(call.uuid)[0].unlink()
    records = bench.transcript(call.uuid)
    assert errors(records) == []
    assert likeness(joined(finals(records)), turn["text"]) >= 0.8


def test_a_recording_goes_once_its_transcript_is_complete(
    bench: Bench, switch: RehearsalSwitch, log_lines: LogLines
) -> None:
    bench.start(recordings={"retention": "on_close"})
    others = bench.recordings / "someone-1.raw"
    others.write_bytes(b"\1\0")
    call = switch.place(CallScript(silence(1)))
    bench.wait(lambda: bench.recorded(call.uuid))
    bench.transcript(call.uuid)
    bench.wait(lambda: not bench.recorded(call.uuid))
    assert others.exists()
    deleted = [line for line in log_lines if line["event"] == "recording deleted"]
    assert [line["call_uuid"] for line in deleted] == [call.uuid]


def test_a_recording_stays_if_not_all_of_it_was_heard(
    bench: Bench,
    switch: RehearsalSwitch,
    utterance: Sound,
    monkeypatch: pytest.MonkeyPatch,
    log_lines: LogLines,
) -> None:
    def fail(stream: Stream) -> Job[None]:
        raise RuntimeError("out of memory, say")
        yield

    monkeypatch.setattr(Stream, "work", fail)
    bench.start(recordings={"retention": "on_close"})
    call = switch.place(CallScript(utterance))
    assert set(errors(bench.transcript(call.uuid))) == {"engine"}
    bench.wait(lambda: any("recordings kept" in str(line["event"]) for line in log_lines))
    assert bench.recorded(call.uuid)[0].stat().st_size


def test_what_a_killed_bot_has_left_goes_when_it_is_transcribed(
    switch: RehearsalSwitch, start: Start, tmp_path: Path
) -> None:
    first = start(switch.port)
    assert switch.wait_for_listener(timeout=PATIENCE)
    call = switch.place(CallScript(silence(3)))
    recording = tmp_path / "recordings" / f"{call.uuid}-1.raw"
    assert switch.wait(recording.exists, PATIENCE)
    gevent.sleep(0.5)
    first.send(signal.SIGKILL)
    first.wait(switch)
    assert switch.wait(lambda: not switch.live_calls, PATIENCE)
    assert recording.exists()

    second = start(switch.port)
    assert switch.wait(lambda: not recording.exists(), PATIENCE)
    second.send(signal.SIGTERM)
    assert second.wait(switch) == 0
    (journal,) = (tmp_path / "transcripts").glob(f"*/{call.uuid}.jsonl")
    (end,) = of_kind(list(read_journal(journal)), EndOfTranscript)
    assert end.reason == "recovered"
    assert end.duration > 2
