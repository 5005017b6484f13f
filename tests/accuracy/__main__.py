"""Score the bot on all recorded calls: `python -m tests.accuracy`, or `make accuracy`.

The calls go in real time through `fsbot rehearse` and `fsbot run`, one after the other unless
`--calls` says otherwise; the readings, which are no calls, through `fsbot transcribe`.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from fsbot.bench.scoring import Report, WordErrors
from fsbot.bench.speech import NEARBY, readings, references
from fsbot.transcript.records import Transcription, parse
from tests.accuracy.playing import play

YARDSTICKS = {
    "fr": "SimulStreaming 74.2 %, openai-whisper offline 45.9 %",
    "en": "SimulStreaming 25.6 %, openai-whisper offline 18.7 %",
    "long": "SimulStreaming loops, openai-whisper offline 28.2 %",
}


def main() -> int:
    """Play, score, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.accuracy", description=__doc__)
    parser.add_argument("--calls", type=int, default=1, metavar="N", help="so many at a time")
    parser.add_argument("--only", choices=["fr", "en", "long"], help="one set instead of all")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep journals and logs here")
    parser.add_argument("flags", nargs="*", help="flags for fsbot, after --")
    args = parser.parse_args()
    if not NEARBY.exists():
        print(f"no recorded calls: {NEARBY} is not there", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as temporary:
        directory = args.keep or Path(temporary)
        for language in ("fr", "en"):
            if args.only in (None, language):
                _calls(language, directory / language, args.calls, args.flags)
        if args.only in (None, "long"):
            _readings(args.flags)
    return 0


def _calls(language: str, directory: Path, at_once: int, flags: list[str]) -> None:
    directory.mkdir(parents=True)
    report = Report()
    calls = references(pattern=f"call-{language}-*")
    flags = ["--language", language, *flags]
    journals = play([call.sound for call in calls], directory, at_once=at_once, flags=flags)
    for call, records in zip(calls, journals, strict=True):
        report.add(call, records)
    print("\n".join(report.lines(f"calls {language}")))
    print(f"calls {language}: for comparison, {YARDSTICKS[language]}", flush=True)


def _readings(flags: list[str]) -> None:
    errors = WordErrors()
    for told in readings():
        command = [sys.executable, "-m", "fsbot", "transcribe", str(told.sound)]
        done = subprocess.run(
            [*command, "--format", "jsonl", *flags], capture_output=True, text=True, check=True
        )
        heard = " ".join(
            record.text
            for record in map(parse, done.stdout.splitlines())
            if isinstance(record, Transcription) and record.is_final
        )
        reading = WordErrors()
        for score in (reading, errors):
            score.add(told.text, heard)
        print(f"long {told.name}: final text {reading}", flush=True)
    print(f"long: final text {errors}; for comparison, {YARDSTICKS['long']}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
