"""Recordings that are refused, late, empty, elsewhere or broken off: told, and survived."""

import gc
from collections import Counter
from pathlib import Path

import gevent
import pytest
from bench import Bench, Listener, errors, finals, joined, likeness, of_kind, silence, words
from gevent import Greenlet

import fsbot.listening
import fsbot.recorder
from fsbot.engine.inference import Job
from fsbot.engine.stream import Stream
from fsbot.errors import UserError
from fsbot.rehearsal.script import CallScript, HangUp, Hold
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.transcript.ledger import Ledger
from fsbot.transcript.records import EndOfTranscript, Failure, Record

OF_CALL = (fsbot.call.Call, fsbot.recorder.Recorder, Ledger)
LogLines = list[dict[str, object]]


def end_of(records: list[Record]) -> EndOfTranscript:
    (end,) = of_kind(records, EndOfTranscript)
    assert end is records[-1]
    return end


def test_a_refused_recording(
    bench: Bench, switch: RehearsalSwitch, listener: Listener, log_lines: LogLines
) -> None:
    bench.start()
    switch.faults.refuse_recording = "-ERR Cannot record session!\n"
    refused = switch.place(CallScript(silence(30)))
    records = bench.transcript(refused.uuid)
    assert errors(records) == ["recording_refused"]
    assert "-ERR Cannot record session!" in of_kind(records, Failure)[0].message
    assert end_of(records).reason == "refused"
    bench.wait(lambda: len(listener.of(refused.uuid)) == len(records))
    assert "fsbot::error" in [event.subclass for event in listener.of(refused.uuid)]
    assert any(line.get("error") == "recording_refused" for line in log_lines)

    switch.faults.refuse_recording = ""
    taken = switch.place(CallScript(silence(0.5)))
    assert end_of(bench.transcript(taken.uuid)).reason == "hangup"
    assert errors(bench.journal(taken.uuid)) == []


def test_a_recording_refused_after_another_codec(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    call = switch.place(CallScript(silence(30)))
    bench.wait(lambda: call.legs[0].recordings)
    gevent.sleep(0.5)
    switch.faults.refuse_recording = "-ERR Cannot record session!\n"
    assert "+OK" in switch.api.run(f"uuid_media_reneg {call.uuid} =L16@16000h@20i")
    records = bench.transcript(call.uuid)
    assert errors(records) == ["recording_refused"]
    assert end_of(records).reason == "refused"
    assert 0.3 < end_of(records).duration < 20
    assert not call.legs[0].recordings


def test_a_call_that_hangs_up_before_its_file_exists(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    switch.faults.reply_delay = 0.5
    call = switch.place(CallScript(silence(30), actions=(HangUp(0.1),)))
    records = bench.transcript(call.uuid)
    assert end_of(records).reason == "hangup"
    assert errors(records) == []  # a call that is over is nobody's trouble
    assert bench.recorded(call.uuid) == []


def test_a_recording_that_stays_empty(bench: Bench, switch: RehearsalSwitch) -> None:
    """A leg on hold from its answer to its end: FreeSWITCH deletes the file as it stops."""
    bench.start()
    call = switch.place(CallScript(silence(30), actions=(Hold(0.0),)))
    bench.wait(lambda: bench.recorded(call.uuid))
    gevent.sleep(0.5)
    call.hang_up()
    records = bench.transcript(call.uuid)
    assert (end_of(records).reason, end_of(records).duration) == ("hangup", 0.0)
    assert bench.recorded(call.uuid) == []


def test_a_recording_that_nobody_can_find(
    bench: Bench, switch: RehearsalSwitch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsbot.recorder, "NO_AUDIO_SECONDS", 1.0)
    bench.start(recordings={"switch_directory": str(tmp_path / "elsewhere")})
    call = switch.place(CallScript(silence(2.5)))
    records = bench.transcript(call.uuid)
    assert errors(records) == ["no_audio"]
    assert "recordings.switch_directory" in of_kind(records, Failure)[0].message
    assert end_of(records).reason == "hangup"


def test_a_recording_that_cannot_be_read(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    bench.recordings.joinpath("known-1.raw").symlink_to("/dev/null")
    bench.recordings.joinpath("known-2.raw").symlink_to(bench.recordings / "target.raw")
    call = switch.place(CallScript(silence(30), uuid="known"))
    records = bench.transcript("known")
    assert errors(records) == ["recording_unreadable"]
    assert "symbolic link" in of_kind(records, Failure)[0].message
    assert end_of(records).reason == "failed"
    bench.wait(lambda: not call.legs[0].recordings)


def test_recordings_of_a_former_run_are_left_alone(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    former = bench.recordings / "known-1.raw"
    former.write_bytes(b"\1\0" * 100)
    switch.place(CallScript(silence(0.5), uuid="known"))
    bench.transcript("known")
    assert former.read_bytes() == b"\1\0" * 100
    assert (bench.recordings / "known-2.raw").stat().st_size > 0


def test_a_directory_for_recordings_that_cannot_be_written(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError) as caught:
        bench.make(recordings={"directory": tmp_path / "file" / "recordings"})
    assert "recordings.directory" in caught.value.remedy


def test_a_directory_for_transcripts_that_cannot_be_written(
    bench: Bench,
    switch: RehearsalSwitch,
    listener: Listener,
    tmp_path: Path,
    log_lines: LogLines,
    capfd: pytest.CaptureFixture[str],
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("in the way")
    bench.transcripts = blocked / "transcripts"
    bench.start()
    call = switch.place(CallScript(silence(30)))
    bench.wait(lambda: len(listener.of(call.uuid)) >= 2)
    start, error = listener.of(call.uuid)
    assert (start.subclass, error.subclass) == ("fsbot::start_of_transcript", "fsbot::error")
    assert b'"journal"' in error.body
    assert str(blocked).encode() in error.body
    bench.wait(lambda: call.legs[0].recordings)
    assert any(line["event"] == "journal not written" for line in log_lines)

    blocked.unlink()
    call.hang_up()
    records = bench.transcript(call.uuid)
    assert [record.kind for record in records] == [
        "start_of_transcript",
        "error",
        "end_of_transcript",
    ]
    assert [record.sequence for record in records] == [1, 2, 3]
    assert "Traceback" not in capfd.readouterr().err


def test_a_failing_stream_harms_no_other_and_its_call_still_ends(
    bench: Bench,
    switch: RehearsalSwitch,
    utterance: Sound,
    turn: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = Stream.work

    def fail_in_english(stream: Stream) -> Job[None]:
        if stream._stream_options.language == "en":
            raise RuntimeError("out of memory, say")
        yield from work(stream)

    monkeypatch.setattr(Stream, "work", fail_in_english)
    # Less than what comes after the failure: audio for a dead stream must not be waited for.
    monkeypatch.setattr(fsbot.listening, "MOST_PENDING_SECONDS", 1.0)
    bench.start()
    failing = switch.place(CallScript(utterance, variables={"fsbot_language": "en"}))
    other = switch.place(CallScript(utterance))
    records = bench.transcript(failing.uuid)
    assert errors(records) == ["engine"]
    assert "out of memory, say" in of_kind(records, Failure)[0].message
    assert end_of(records).reason == "hangup"
    assert likeness(joined(finals(bench.transcript(other.uuid))), turn["text"]) >= 0.8
    assert errors(bench.journal(other.uuid)) == []


def test_calls_leave_nothing_behind(bench: Bench, switch: RehearsalSwitch) -> None:
    def living() -> Counter[str]:
        gc.collect()
        greenlets = [found for found in gc.get_objects() if isinstance(found, Greenlet)]
        named = (getattr(each, "name", "") for each in greenlets if not each.dead)
        return Counter(name for name in named if name.startswith(("call", "ledger", "recorder")))

    def kept() -> Counter[str]:
        gc.collect()
        found = (each for each in gc.get_objects() if isinstance(each, OF_CALL))
        return Counter(type(each).__name__ for each in found)

    bench.start()
    calls = [switch.place(CallScript(silence(0.5 + n / 10))) for n in range(8)]
    bench.wait(lambda: len(bench.bot._calls) == len(calls))
    assert sum(living().values()) >= len(calls)
    for call in calls:
        assert end_of(bench.transcript(call.uuid)).reason == "hangup"
    bench.wait(lambda: living() == Counter())
    bench.wait(lambda: kept() == Counter())
    # A call that hangs up while its recording starts is destroyed a second later.
    bench.wait(lambda: bench.bot._finished == set())
    bench.wait(lambda: len(bench.bot._roles) == 0)
    assert bench.bot._engine._streams == []
    open_files = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    targets = [str(link.readlink()) for link in open_files if link.exists()]
    targets = [target for target in targets if not target.endswith(".lock")]  # the bot's own
    assert not [target for target in targets if target.startswith(str(bench.recordings))]
    assert not [target for target in targets if target.startswith(str(bench.transcripts))]


def test_words_are_in_no_record_of_a_silent_call(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    call = switch.place(CallScript(silence(3, stereo=True)))
    records = bench.transcript(call.uuid)
    assert words(joined(finals(records))) == []
    assert [record.kind for record in records] == ["start_of_transcript", "end_of_transcript"]
