"""`fsbot watch`, on journals that grow."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from fsbot.transcript.journal import Journal, journal_path, line_of
from fsbot.transcript.records import (
    Alternative,
    EndOfTranscript,
    Failure,
    Record,
    StartOfTranscript,
    Transcription,
)
from fsbot.transcript.redaction import Redaction
from fsbot.watch import SHOWN_AFTER_END, Watch, plain_lines, screen

NOW = time.time()
DAY = 86_400
EVIL = "\x1b[2J\x07Dupont"


def start(uuid: str = "call-1", caller: str = "0612345678") -> StartOfTranscript:
    return StartOfTranscript(
        call_uuid=uuid,
        sequence=1,
        emission_time=0.0,
        emitted_at=NOW,
        channel_call_uuid=uuid,
        recording=1,
        path="/a.raw",
        switch_path="/a.raw",
        rate=16000,
        channels=2,
        sides=("caller", "callee"),
        answered_at=NOW - 5,
        codec_rate=8000,
        leg_uuid=uuid,
        direction="inbound",
        caller=caller,
        destination="3726",
        language_code="fr",
    )


def said(
    text: str,
    tentative: str = "",
    *,
    final: bool = False,
    uuid: str = "call-1",
    utterance: int = 1,
) -> Record:
    return Transcription(
        call_uuid=uuid,
        sequence=2,
        emission_time=1.0,
        emitted_at=NOW + 1,
        side="caller",
        channel_tag=1,
        utterance=utterance,
        is_final=final,
        speech_final=final,
        revised=False,
        text=text,
        start=0.0,
        end=1.0,
        audio_start=0.0,
        audio_end=1.0,
        tentative=tentative,
        language_code="fr",
        alternatives=(Alternative(transcript=text, confidence=0.5, words=()),),
        latency_ms=0.0,
    )


def end(uuid: str = "call-1") -> EndOfTranscript:
    return EndOfTranscript(
        call_uuid=uuid,
        sequence=9,
        emission_time=2.0,
        emitted_at=NOW + 2,
        reason="hangup",
        duration=2.0,
        words={"caller": 2, "callee": 0},
    )


def append(folder: Path, *records: Record, torn: bytes = b"", at: float = NOW) -> Path:
    """As a bot does that answered the call at `at`, all of whose events are confirmed."""
    journal = Journal(journal_path(folder, records[0].call_uuid, at))
    for record in records:
        journal.append(line_of(record))
    if isinstance(records[-1], EndOfTranscript):
        journal.delivery.complete()
    journal.close()
    with journal.path.open("ab") as file:
        file.write(torn)
    return journal.path


def shown(watch: Watch, height: int = 24, width: int = 80) -> str:
    console = Console(width=width, height=height, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(screen(watch, height, width))
    return console.export_text()


def test_what_is_being_said_is_shown(tmp_path: Path) -> None:
    append(tmp_path, start(), said("Bonjour,", "je vou"))
    watch = Watch(tmp_path)
    watch.look()
    assert "1 calls" in shown(watch)
    assert "0612345678 → 3726" in shown(watch)
    assert "caller  Bonjour, je vou" in shown(watch)
    append(tmp_path, said("je voudrais", "un"))
    watch.look()
    assert "Bonjour, je voudrais un" in shown(watch)
    append(tmp_path, said("Bonjour, je voudrais.", final=True))
    watch.look()
    assert "caller  Bonjour, je voudrais.\n" in shown(watch).replace(" \n", "\n")
    append(tmp_path, said("Demain", "mat", utterance=2))
    watch.look()
    assert "caller  Bonjour, je voudrais. Demain mat" in shown(watch)


def test_an_utterance_may_begin_before_the_final_text_of_the_one_before(tmp_path: Path) -> None:
    append(tmp_path, start(), said("un"), said("deux", utterance=2), said("Un.", final=True))
    watch = Watch(tmp_path)
    watch.look()
    assert "caller  Un. deux" in shown(watch)


def test_what_is_to_be_taken_out_of_older_journals_is_not_shown(tmp_path: Path) -> None:
    append(tmp_path, start(), said("le 06", "12"), said("le 06 12 34 56 78", final=True))
    watch = Watch(tmp_path, redaction=Redaction(["phone"]))
    lines = [line for record in watch.look() for line in plain_lines(record)]
    assert lines[-1].endswith("caller: le [phone]")
    assert "caller  le [phone]" in shown(watch)


def test_a_line_that_is_being_written_waits(tmp_path: Path) -> None:
    line = line_of(said("Oui.", final=True))
    path = append(tmp_path, start(), torn=line[:50])
    watch = Watch(tmp_path)
    assert [record.kind for record in watch.look()] == ["start_of_transcript"]
    with path.open("ab") as file:
        file.write(line[50:])
    assert [record.kind for record in watch.look()] == ["transcription"]
    assert watch.look() == []


def test_a_call_goes_a_while_after_its_end(tmp_path: Path) -> None:
    clock = [NOW + 2]
    watch = Watch(tmp_path, now=lambda: clock[0])
    append(tmp_path, start())
    watch.look()
    append(tmp_path, end())
    watch.look()
    assert "hangup" in shown(watch)
    assert "0 calls" in shown(watch)
    clock[0] += SHOWN_AFTER_END + 1
    watch.look()
    assert watch.calls() == []


def test_of_calls_that_are_over_none_is_read(tmp_path: Path) -> None:
    append(tmp_path, start("over"), end("over"))
    watch = Watch(tmp_path, now=lambda: NOW + 3)
    assert watch.look() == []
    append(tmp_path, start("refused"), end("refused"))  # between two looks
    assert [record.call_uuid for record in watch.look()] == ["refused", "refused"]
    assert [call.uuid for call in watch.calls()] == ["refused"]


def test_a_restarted_bot_goes_on_in_the_same_journal(tmp_path: Path) -> None:
    clock = [NOW + 2]
    watch = Watch(tmp_path, now=lambda: clock[0])
    watch.look()
    append(tmp_path, start(), end())
    watch.look()
    clock[0] += SHOWN_AFTER_END + 1
    watch.look()
    assert watch.calls() == []
    append(tmp_path, start(), said("Oui.", final=True))
    assert [record.kind for record in watch.look()] == ["start_of_transcript", "transcription"]
    assert "1 calls" in shown(watch)


def test_a_call_of_long_ago_and_the_days_after_midnight(tmp_path: Path) -> None:
    clock = [NOW]
    append(tmp_path, start("long"), at=NOW - 5 * DAY)
    watch = Watch(tmp_path, now=lambda: clock[0])
    assert [record.call_uuid for record in watch.look()] == ["long"]
    for days in (1, 2, 3):
        clock[0] = NOW + days * DAY
        append(tmp_path, start(f"day-{days}"), at=clock[0])
        assert [record.call_uuid for record in watch.look()] == [f"day-{days}"]
    append(tmp_path, said("Oui.", uuid="long"), at=NOW - 5 * DAY)
    assert [record.call_uuid for record in watch.look()] == ["long"]


def test_only_calls_of_that_uuid(tmp_path: Path) -> None:
    append(tmp_path, start("abc"))
    append(tmp_path, start("xyz"))
    watch = Watch(tmp_path, "ab")
    watch.look()
    assert [call.uuid for call in watch.calls()] == ["abc"]


@pytest.mark.parametrize(("height", "width"), [(8, 40), (10, 20), (40, 200)])
def test_the_screen_is_never_overrun(tmp_path: Path, height: int, width: int) -> None:
    for number in range(30):
        uuid = f"call-{number}"
        append(tmp_path, start(uuid), said("mot " * 200 + "fin", uuid=uuid))
    watch = Watch(tmp_path)
    watch.look()
    lines = shown(watch, height, width).splitlines()
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)
    assert any(line.rstrip().endswith("mot fin") for line in lines)
    assert any("more" in line for line in lines)


def test_strangers_do_not_rule_the_terminal(tmp_path: Path) -> None:
    trouble = Failure(
        call_uuid="call-1",
        sequence=3,
        emission_time=1.0,
        emitted_at=NOW,
        error="no_audio",
        message=EVIL,
        over=False,
    )
    records = (start(caller=EVIL), said(EVIL, EVIL), said(EVIL, final=True), trouble)
    append(tmp_path, *records)
    watch = Watch(tmp_path)
    watch.look()
    told = shown(watch) + "".join(line for record in records for line in plain_lines(record))
    assert "\x1b" not in told
    assert "\x07" not in told
    assert "Dupont" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_terminal_is_left_as_it_was(tmp_path: Path, number: signal.Signals) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fsbot", "watch", "--transcripts-directory", str(tmp_path)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm"},
    )
    os.close(theirs)
    drawn = os.read(ours, 4096)
    while b"fsbot watch: 0 calls" not in drawn:
        drawn += os.read(ours, 4096)
    assert b"\x1b[?1049h" in drawn  # the second screen
    process.send_signal(number)
    left = b""
    with suppress(OSError):  # how Linux tells that nobody writes any more
        while more := os.read(ours, 4096):
            left += more
    os.close(ours)
    assert process.wait(timeout=30) == 0
    assert b"\x1b[?1049l" in left
    assert b"\x1b[?25h" in left  # the cursor
    assert b"Traceback" not in left


def test_lines_for_a_pipe_and_a_clean_end(tmp_path: Path) -> None:
    append(tmp_path, start("before"))
    process = subprocess.Popen(
        [sys.executable, "-m", "fsbot", "watch", "--transcripts-directory", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    number = 0
    while time.monotonic() < deadline:  # until it watches
        number += 1
        append(tmp_path, start(f"call-{number}"), said("Oui.", final=True, uuid=f"call-{number}"))
        time.sleep(0.5)
        if select.select([process.stdout], [], [], 0)[0]:
            break
    process.send_signal(signal.SIGINT)
    text, complaints = process.communicate(timeout=30)
    assert process.returncode == 0
    assert complaints == ""
    assert "before" not in text
    assert "0612345678 → 3726" in text
    assert "caller: Oui." in text
