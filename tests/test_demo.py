"""`fsbot demo`, whole: switch, bot with real weights and listener in a process of their own."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from fsbot.transcript.journal import read_journal
from fsbot.transcript.records import EndOfTranscript, StartOfTranscript, Transcription

UTTERANCE = Path(__file__).parent.parent / "fsbot/rehearsal/sounds/utterance-fr.flac"


def start(folder: Path, *argv: object, **environment: str) -> "subprocess.Popen[str]":
    """fsbot demo, with `folder` as its working and temporary directory."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith("FSBOT_") or name == "FSBOT_MODELS_DIR"
    }
    return subprocess.Popen(
        [sys.executable, "-m", "fsbot", "demo", *map(str, argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd=folder,
        env=own | {"TMPDIR": str(folder)} | environment,
    )


def spoken(line: str, mark: str) -> str:
    found = re.fullmatch(rf" *\d+:\d\d\.\d caller {mark} (.+)", line)
    return found[1] if found else ""


def test_what_is_shown_is_what_the_journal_holds(tmp_path: Path) -> None:
    out, err = start(tmp_path, UTTERANCE, "--keep", tmp_path / "kept").communicate(timeout=120)
    journals = list((tmp_path / "kept/transcripts").glob("*/*.jsonl"))
    assert len(journals) == 1, err
    records = list(read_journal(journals[0]))
    assert isinstance(records[0], StartOfTranscript)
    assert isinstance(records[-1], EndOfTranscript)
    said = [r for r in records if isinstance(r, Transcription) and r.text]
    lines = out.splitlines()
    live = [text for line in lines if (text := spoken(line, " "))]
    final = [text for line in lines if (text := spoken(line, "="))]
    assert live == [record.text for record in said if not record.is_final]
    assert final == [record.text for record in said if record.is_final]
    assert len(live) > 2
    words = sum(records[-1].words.values())
    assert words > 5
    assert f"words             {words} (caller {words}, callee 0)" in out
    assert f"journal           {journals[0]}" in lines
    assert Path(records[0].path).stat().st_size > 0


def test_words_are_shown_while_the_call_runs_and_ctrl_c_hangs_up(tmp_path: Path) -> None:
    process = start(tmp_path)
    assert process.stdout is not None
    try:
        first = next(line for line in process.stdout if re.match(r" *\d+:\d\d\.\d ", line))
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert spoken(first.replace("callee", "caller").rstrip("\n"), " ")
    length = re.search(r"^call +([\d.]+) s, ended by hangup$", rest, re.MULTILINE)
    assert length is not None, err
    assert float(length[1]) < 40  # of 43 seconds
    assert "removed with the recording" in rest
    assert "Traceback" not in err
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_weights_that_cannot_be_had_are_one_clear_message(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    process = start(
        tmp_path,
        FSBOT_MODELS_DIR=str(tmp_path / "models"),
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        https_proxy=nowhere,
        HTTPS_PROXY=nowhere,
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS="",
        PIP_CONFIG_FILE=os.devnull,
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "The weights of base are not on this machine yet." in out
    assert "fsbot: the model base cannot be had:" in err
    assert "fsbot models pull base --file base.pt" in err
    assert "Traceback" not in err


def test_a_file_that_is_no_sound_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "call.wav").write_text("no sound")
    out, err = start(tmp_path, "call.wav").communicate(timeout=60)
    assert out == ""
    assert "the sound file call.wav cannot be read" in err
