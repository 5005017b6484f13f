"""The case quiet: nobody speaks, so nothing may be said."""

from __future__ import annotations

from pathlib import Path

from fsbot.bench.report import CaseReport, Figure, limited
from fsbot.bench.tones import TONES, write_music, write_tone
from fsbot.bench.workshop import Workshop
from fsbot.transcript.records import Transcription, parse

FASTER = 25.0
"""About so many times faster than real time, for the progress bar."""


def quiet(workshop: Workshop) -> CaseReport:
    """Each sound through `fsbot transcribe`; words committed and words of final texts."""
    seconds, folder = workshop.wishes.quiet_seconds, workshop.place("quiet")
    sounds = []
    for name in TONES:
        path = folder / f"{name.replace(' ', '-')}.wav"
        write_tone(name, seconds, path, workshop.wishes.seed)
        sounds.append((name, path))
    if workshop.wishes.music is not None:
        path = folder / "music.wav"
        files = write_music(workshop.wishes.music, seconds, path)
        sounds.append((f"music on hold ({files} files)", path))
    figures: list[Figure] = []
    details = {}
    for name, path in sounds:
        found, texts = _heard(workshop, name, path, seconds)
        figures += found
        details[name] = texts
        path.unlink()
    if workshop.wishes.music is None:
        figures.append(Figure("music on hold", "not played: no --music"))
    return CaseReport(
        "quiet",
        f"{seconds:.0f} s each, through mu-law, over noise at -60 dB, by fsbot transcribe; "
        f"{workshop.point.summary}",
        tuple(figures),
        details,
    )


def _heard(
    workshop: Workshop, name: str, path: Path, seconds: float
) -> tuple[list[Figure], list[str]]:
    arguments = ["transcribe", str(path), "--format", "jsonl", *workshop.point.flags]
    printed = workshop.run("fsbot", arguments, f"{name}, {seconds:.0f} s", seconds / FASTER)
    records = list(map(parse, printed.splitlines()))
    said = [record for record in records if isinstance(record, Transcription)]
    committed = [record.text for record in said if not record.is_final]
    final = [record.text for record in said if record.is_final]
    return [
        limited(f"{name}: words committed", _count(committed), "", 0, "0"),
        limited(f"{name}: words of final texts", _count(final), "", 0, "0"),
    ], [text for text in final if text]


def _count(texts: list[str]) -> int:
    return sum(len(text.split()) for text in texts)
