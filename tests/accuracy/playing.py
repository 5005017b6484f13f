"""Playing calls through `fsbot rehearse` and `fsbot run`, as two programs."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fsbot.transcript.journal import read_journal
from fsbot.transcript.records import Record, StartOfTranscript

PASSWORD = "rehearsed"
FIRST_CALLER = 100


def play(
    sounds: Sequence[Path], directory: Path, *, at_once: int = 1, flags: Sequence[str] = ()
) -> list[list[Record]]:
    """The journal of each sound, in their order. The programs' output is left in `directory`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    fsbot = [sys.executable, "-m", "fsbot"]
    environment = os.environ | {"FSBOT_ESL_PASSWORD": PASSWORD}
    run = [
        *(*fsbot, "run", "--esl-port", port),
        *("--recordings-directory", str(directory / "recordings")),
        *("--transcripts-directory", str(directory / "transcripts")),
        *flags,
    ]
    rehearse = [
        *(*fsbot, "rehearse", *map(str, sounds)),
        *("--port", port, "--password", PASSWORD, "--calls", str(at_once)),
        *("--caller-number", str(FIRST_CALLER)),
    ]
    with (directory / "run.log").open("w") as log:
        bot = subprocess.Popen(run, stderr=log, env=environment, cwd=directory)
        try:
            played = subprocess.run(
                rehearse, capture_output=True, text=True, check=False, cwd=directory
            )
        finally:
            bot.terminate()
            bot.wait(60)
    (directory / "rehearse.log").write_text(played.stdout + played.stderr)
    assert played.returncode == 0, played.stdout + played.stderr
    return _by_caller(directory / "transcripts", len(sounds))


def _by_caller(transcripts: Path, count: int) -> list[list[Record]]:
    """Journals in the order of their calls: the rehearsal's callers count up."""
    journals: dict[int, list[Record]] = {}
    for path in transcripts.glob("*/*.jsonl"):
        records = list(read_journal(path))
        start = records[0]
        assert isinstance(start, StartOfTranscript)
        journals[int(start.caller) - FIRST_CALLER] = records
    return [journals[number] for number in range(count)]
