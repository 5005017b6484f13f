"""`fsbot bench` as a program: its mistakes, its end, and one call through all of it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from fsbot.bench import CASES
from fsbot.bench.process import Program
from fsbot.bench.speech import NEARBY
from fsbot.bench.switchboard import Plan

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.upper().startswith("FSBOT_")}
PATIENCE = 240.0
LONG_PATIENCE = 1200.0

with_speech = pytest.mark.skipif(
    not NEARBY.exists(), reason="no recorded calls: ../shared/speech is not there"
)


def bench(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fsbot", "bench", *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(folder: Path, *arguments: str, patience: float = PATIENCE) -> tuple[int, str, str]:
    process = bench(folder, *arguments)
    out, err = process.communicate(timeout=patience)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tunrs"], ("did you mean turns?", "accuracy")),
        (["cost", "--speech", "."], ("--speech", "calls/NAME.flac", "speech_end")),
        (["cost", "--seconds", "0"], ("--seconds", "1 to 86400")),
        (["cost", "--at-once", "none"], ("--at-once",)),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    arguments: list[str], words: tuple[str, ...], tmp_path: Path
) -> None:
    status, _, err = outcome(tmp_path, *arguments)
    assert status == 2
    assert "Traceback" not in err
    for word in words:
        assert word in err


def test_speech_that_is_described_wrongly(tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    described = tmp_path / "calls" / "call.json"
    described.write_text('{"lang": "fr", "duration": 1.0}')
    status, _, err = outcome(tmp_path, "cost", "--speech", ".")
    assert status == 2
    assert "call.json lacks turns" in err
    described.write_text('{"lang": "fr", "duration": 1.0, "turns": []}')
    status, _, err = outcome(tmp_path, "cost", "--speech", ".")
    assert status == 2
    assert "call.flac" in err


@pytest.fixture
def switchboard(tmp_path: Path) -> Iterator[Program]:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(asdict(Plan("secret", 1, ()))))
    with Program("fsbot.bench.switchboard", [str(plan)], tmp_path, "log") as program:
        yield program


def test_a_program_is_measured_and_ended(switchboard: Program) -> None:
    assert switchboard.line().startswith("listening ")
    assert switchboard.cpu_seconds > 0
    assert switchboard.resident_bytes > 10_000_000
    assert switchboard.running
    switchboard.end()
    assert not switchboard.running
    assert switchboard.cpu_seconds == 0


def test_a_switchboard_leaves_its_clocks_when_it_is_not_needed_any_more(
    switchboard: Program, tmp_path: Path
) -> None:
    switchboard.line()
    switchboard.hears_no_more()
    assert switchboard.wait(PATIENCE)
    assert json.loads((tmp_path / "clocks.json").read_text()) == {}


def children(of: int) -> set[int]:
    """Processes with `of` as their parent."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == of and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


@with_speech
def test_an_interrupt_ends_everything_that_was_started(
    speech_model: object, tmp_path: Path
) -> None:
    process = bench(tmp_path, "closing", "--only", "call-fr-03", "--keep", "kept")
    deadline = time.monotonic() + PATIENCE
    while not list(tmp_path.glob("kept/*/recordings/*.raw")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    started = children(process.pid)
    assert len(started) == 2, "bot and load generator"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)


@with_speech
def test_one_call_through_all_of_it(speech_model: object, tmp_path: Path) -> None:
    """Says nothing about speed: every case that plays a whole call comes to its figures."""
    status, out, err = outcome(
        tmp_path,
        *("cost", "closing", "turns", "accuracy"),
        *("--only", "call-fr-03", "--point", "preset=balanced", "--json", "report.json"),
    )
    assert status in (0, 1), err
    assert "Traceback" not in err
    report = json.loads((tmp_path / "report.json").read_text())
    cases = {case["case"]: case for case in report["cases"]}
    assert list(cases) == ["cost", "closing", "turns", "accuracy"]
    figures = {
        name: {figure["name"]: figure for figure in case["figures"]} for name, case in cases.items()
    }
    assert figures["cost"]["CPU per second of track"]["value"] > 0
    assert figures["cost"]["one 30 s encoder pass"]["value"] > 0
    # A busy machine may stall the hub; nothing else is to be warned of.
    warnings = figures["cost"]["warnings and errors of the bot"]["value"]
    assert re.fullmatch(r"none|hub held \(\d+\)", warnings)
    assert figures["closing"]["utterances"]["value"] >= 3
    assert figures["closing"]["p50"]["value"] > 0
    assert figures["turns"]["balanced: turns"]["value"] == 5
    assert 0 < figures["accuracy"]["fr: final word error rate, of 50 words"]["value"] < 60
    assert figures["accuracy"]["fr: turns lost"]["value"] == 0
    assert set(cases["accuracy"]["details"]["texts"]) == {
        "call-fr-03/caller",
        "call-fr-03/callee",
    }
    for name in cases:
        assert name in out


@with_speech
def test_load_is_held_against_the_trace(speech_model: object, tmp_path: Path) -> None:
    status, _, err = outcome(
        tmp_path,
        *("held", "--calls", "1", "--seconds", "12", "--warm-up", "4"),
        *("--only", "call-fr-03", "--json", "report.json"),
    )
    assert status in (0, 1), err
    [case] = json.loads((tmp_path / "report.json").read_text())["cases"]
    trial = case["details"]["1"]
    assert trial["lag"]["samples"] > 0
    assert trial["updates"] > 0
    assert set(trial["shares"]) == {"fr-1/caller", "fr-1/callee"}
    assert 0 < trial["usage"]["generator_cpu"] < trial["usage"]["bot_cpu"]


@with_speech
def test_where_the_time_goes_adds_up(speech_model: object, tmp_path: Path) -> None:
    status, _, err = outcome(tmp_path, "profile", "--only", "call-fr-03", "--json", "report.json")
    assert status == 0, err
    [case] = json.loads((tmp_path / "report.json").read_text())["cases"]
    told = case["details"]["told"]
    assert told["updates"] > 10
    assert min(told["parts"].values()) > 0
    assert 0.7 * told["total"] < sum(told["parts"].values()) < told["total"]


@pytest.mark.timeout(1500)
@with_speech
def test_nothing_is_lost_whatever_befalls_the_bot(speech_model: object, tmp_path: Path) -> None:
    """Says nothing about speed."""
    status, _, err = outcome(
        tmp_path,
        *("soak", "--chaos", "--soak-seconds", "60", "--calls", "2", "--only", "call-fr-0[34]"),
        *("--seed", "3", "--json", "report.json"),
        patience=LONG_PATIENCE,
    )
    assert status in (0, 1), err
    [case] = json.loads((tmp_path / "report.json").read_text())["cases"]
    told = case["details"]
    assert {fault["kind"] for fault in told["faults"]} >= {"kill", "cut"}
    assert told["flaws"] == {}
    assert told["compared"]["words"] > 50
    assert told["compared"]["lost"] == []
    assert told["compared"]["twice"] == []
    figures = {figure["name"]: figure["value"] for figure in case["figures"]}
    assert figures["transcripts left pending"] == 0
    assert figures["hub delay, p99 of a minute, median"] is not None


@pytest.mark.timeout(1500)
@with_speech
def test_half_an_hour_on_one_call(speech_model: object, tmp_path: Path) -> None:
    status, out, err = outcome(
        tmp_path,
        *("long", "--long-hours", "0.5", "--only", "call-fr-*", "--json", "report.json"),
        patience=LONG_PATIENCE,
    )
    assert status == 0, out + err
    [case] = json.loads((tmp_path / "report.json").read_text())["cases"]
    told = case["details"]
    assert told["stalls"] > 10
    assert told["holds"] >= 1
    assert told["words"] > 50
    # What the file does not hold is what the call has lost, and no more.
    assert told["seconds"] - told["audio"] > 60


def test_every_case_is_told_in_the_help(tmp_path: Path) -> None:
    status, out, _ = outcome(tmp_path, "--help")
    assert status == 0
    for case in CASES:
        assert case in out
