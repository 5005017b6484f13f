"""A call from answer to hangup, and everything that is told about it."""

import json
import stat
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bench import Bench, Listener, as_sent, finals, joined, likeness, live, of_kind, silence, words
from structlog.testing import capture_logs

from fsbot.engine.model import SpeechModel
from fsbot.rehearsal.call import Call
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.switch.codec import Event
from fsbot.transcript.journal import Journal
from fsbot.transcript.records import (
    EndOfTranscript,
    EndOfUtterance,
    Record,
    StartOfSpeech,
    StartOfTranscript,
)


class Commands(deque[str]):
    """The switch's list of commands, which looks into the journals as each one comes in."""

    def __init__(self, transcripts: Path) -> None:
        super().__init__()
        self.journalled: list[tuple[str, str]] = []
        self._transcripts = transcripts

    def append(self, line: str) -> None:
        journals = self._transcripts.glob("*/*.jsonl")
        self.journalled.append((line, "".join(path.read_text() for path in journals)))
        super().append(line)


@dataclass
class Told:
    """One call, and all that is known of it."""

    call: Call
    answered: float
    ended: float
    journal: Path
    records: list[Record]
    events: list[Event]
    commands: Commands
    log: list[dict[str, Any]]
    left_open: list[str]


@pytest.fixture(scope="module")
def told(
    speech_model: SpeechModel, utterance: Sound, tmp_path_factory: pytest.TempPathFactory
) -> Told:
    with RehearsalSwitch() as switch, capture_logs() as log:
        bench = Bench(switch, speech_model, tmp_path_factory.mktemp("call"))
        switch.commands = commands = Commands(bench.transcripts)
        listener = Listener(switch.port)
        bench.start()
        call = switch.place(CallScript(utterance))
        answered = time.time()
        records = bench.transcript(call.uuid)
        ended = time.time()
        bench.wait(lambda: len(listener.of(call.uuid)) == len(records))
        journal = bench.journal_path(call.uuid)
        assert journal is not None
        targets = map(_target, Path("/proc/self/fd").iterdir())
        left_open = [target for target in targets if target.startswith(str(bench.recordings))]
        bench.stop()
        listener.close()
        return Told(
            call,
            answered,
            ended,
            journal,
            records,
            listener.of(call.uuid),
            commands,
            list(log),
            left_open,
        )


def _target(link: Path) -> str:
    try:
        return str(link.readlink()) if link.readlink().suffix == ".raw" else ""
    except OSError:
        return ""


def test_the_journal_is_one_private_file_per_call_and_day(told: Told) -> None:
    day = datetime.fromtimestamp(told.answered, UTC).date().isoformat()
    assert told.journal.parent.name == day
    assert stat.S_IMODE(told.journal.stat().st_mode) == 0o640
    assert stat.S_IMODE(told.journal.parent.stat().st_mode) == 0o750
    assert stat.S_IMODE(told.journal.parent.parent.stat().st_mode) == 0o750


def test_records_are_numbered_without_holes_and_complete(told: Told) -> None:
    lines = [json.loads(line) for line in told.journal.read_text().splitlines()]
    assert [line["sequence"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines == [as_sent(record) for record in told.records]
    assert {line["call_uuid"] for line in lines} == {told.call.uuid}


def test_the_journal_knows_of_a_recording_before_it_is_asked_for(told: Told) -> None:
    asked = [(line, known) for line, known in told.commands.journalled if " start " in line]
    assert len(asked) == 1
    line, known = asked[0]
    start = told.records[0]
    assert isinstance(start, StartOfTranscript)
    assert json.loads(known) == as_sent(start)
    assert line.split()[4] == start.switch_path
    assert (start.rate, start.channels, start.sides) == (16000, 2, ("caller", "callee"))
    assert (start.codec_rate, start.recording, start.direction) == (8000, 1, "inbound")
    assert start.answered_at == pytest.approx(told.answered, abs=0.5)


def test_a_slow_disk_holds_up_the_recording_and_nothing_else(
    bench: Bench, switch: RehearsalSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Journal.append

    def slow_append(journal: Journal, line: bytes) -> None:
        time.sleep(0.5)
        append(journal, line)

    monkeypatch.setattr(Journal, "append", slow_append)
    switch.commands = commands = Commands(bench.transcripts)
    bench.start()
    calls = [switch.place(CallScript(silence(1.5))) for _ in range(2)]
    for call in calls:
        bench.transcript(call.uuid)
        (known,) = [
            known for line, known in commands.journalled if f"uuid_record {call.uuid} start" in line
        ]
        assert call.uuid in known


def test_every_record_reaches_a_second_client(told: Told) -> None:
    assert [json.loads(event.body) for event in told.events] == [as_sent(r) for r in told.records]
    for event, record in zip(told.events, told.records, strict=True):
        headers = event.headers
        assert event.subclass == f"fsbot::{record.kind}"
        assert headers.get("Call-UUID") == told.call.uuid
        assert headers.get("Channel-Call-UUID") == told.call.uuid
        assert headers.get("Fsbot-Sequence") == str(record.sequence)
        assert headers.get("Fsbot-Side") == getattr(record, "side", "")
        assert headers.get("transcription-vendor") == "fsbot"
        ended = isinstance(record, EndOfTranscript)
        assert headers.get("transcription-session-finished") == ("true" if ended else "false")
        assert "Unique-ID" not in headers
        assert "Fsbot-Resent" not in headers


def test_each_word_once_in_the_live_text_and_once_in_the_final_text(
    told: Told, turn: dict[str, Any]
) -> None:
    for text in (joined(live(told.records)), joined(finals(told.records))):
        assert likeness(text, turn["text"]) >= 0.8
        assert words(text).count("compose") == 1
        assert words(text).count("nouveau") == 1


def test_one_final_record_per_utterance_after_its_last_live_words(told: Told) -> None:
    numbers = [record.utterance for record in finals(told.records)]
    assert numbers == list(range(1, len(numbers) + 1))
    for final in finals(told.records):
        of_it = [r for r in live(told.records) if r.utterance == final.utterance]
        assert of_it
        assert all(record.sequence < final.sequence for record in of_it)
        assert all(not record.speech_final for record in of_it[:-1])
        assert of_it[-1].text or not of_it[-1].speech_final
        assert final.speech_final
        assert final.revised == (final.text != joined(of_it))
        assert [r.revised for r in of_it] == [False] * len(of_it)


def test_a_live_record_shows_the_whole_utterance_so_far(told: Told) -> None:
    so_far: dict[int, list[str]] = {}
    for record in live(told.records):
        spoken = so_far.setdefault(record.utterance, [])
        spoken += [record.text] if record.text else []
        guess = [record.tentative] if record.tentative else []
        assert record.alternatives[0].transcript == " ".join(spoken + guess)
        shown = " ".join(word.word for word in record.alternatives[0].words)
        assert shown == record.alternatives[0].transcript


def test_times_are_seconds_since_the_answer(told: Told, turn: dict[str, Any]) -> None:
    spoken = [word for record in finals(told.records) for word in record.alternatives[0].words]
    assert spoken[0].start_time == pytest.approx(turn["speech_start"], abs=0.5)
    assert spoken[-1].end_time == pytest.approx(turn["speech_end"], abs=0.5)
    assert all(word.start_time <= word.end_time for word in spoken)
    first = of_kind(told.records, StartOfSpeech)[0]
    assert first.start == pytest.approx(turn["speech_start"], abs=0.5)
    last = of_kind(told.records, EndOfUtterance)[-1]
    assert last.end == pytest.approx(turn["speech_end"], abs=0.5)
    for record in told.records:
        assert 0 <= record.emission_time <= told.ended - told.answered + 0.5
        assert told.answered <= record.emitted_at <= told.ended


def test_words_come_while_the_call_goes_on_and_say_how_late_they_are(told: Told) -> None:
    for record in [*live(told.records), *finals(told.records)]:
        assert 0 < record.latency_ms < (told.ended - told.answered) * 1000
        words = record.alternatives[0].words
        spoken_until = words[-1].end_time if record.is_final and words else record.end
        lateness = (record.emission_time - spoken_until) * 1000
        assert record.latency_ms == pytest.approx(lateness, abs=50)


def test_the_end_is_told_last(told: Told) -> None:
    end = told.records[-1]
    assert of_kind(told.records, EndOfTranscript) == [end]
    assert end.reason == "hangup"
    assert end.duration == pytest.approx(told.call.recorded[0].file.seconds_written, abs=0.1)
    assert end.words == {
        "caller": sum(len(r.alternatives[0].words) for r in finals(told.records)),
        "callee": 0,
    }


def test_nothing_is_left_of_a_call_that_is_over(told: Told) -> None:
    assert told.left_open == []
    assert [line for line in told.log if line["log_level"] in ("error", "critical")] == []


def test_the_bot_says_at_its_end_how_well_its_hub_kept_time(told: Told) -> None:
    reports = [line for line in told.log if line["event"] == "hub"]
    assert len(reports) == 1
    assert reports[0].keys() >= {"p99_ms", "control_p99_ms", "holds"}
