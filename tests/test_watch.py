"""`fsbot watch`, on journals that grow."""

import os
import select
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from fsbot.transcript.journal import line_of
from fsbot.transcript.records import (
    Alternative,
    EndOfTranscript,
    Failure,
    Record,
    StartOfTranscript,
    Transcription,
)
from fsbot.watch import SHOWN_AFTER_END, Watch, plain_lines, screen

NOW = time.time()
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


def said(text: str, tentative: str = "", *, final: bool = False, uuid: str = "call-1") -> Record:
    return Transcription(
        call_uuid=uuid,
        sequence=2,
        emission_time=1.0,
        emitted_at=NOW + 1,
        side="caller",
        channel_tag=1,
        utterance=1,
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


def append(folder: Path, *records: Record, torn: bytes = b"") -> Path:
    day = folder / datetime.now(UTC).date().isoformat()
    day.mkdir(parents=True, exist_ok=True)
    path = day / f"{records[0].call_uuid}.jsonl"
    with path.open("ab") as file:
        file.write(b"".join(map(line_of, records)) + torn)
    return path


def shown(watch: Watch, height: int = 24, width: int = 80) -> str:
    console = Console(width=width, height=height, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(screen(watch.calls(), height, width))
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
    append(tmp_path, start(), end())
    watch.look()
    assert "hangup" in shown(watch)
    assert "0 calls" in shown(watch)
    clock[0] += SHOWN_AFTER_END + 1
    watch.look()
    assert watch.calls() == []


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
