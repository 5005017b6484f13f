"""The case starts: how soon it is told that somebody speaks, and how often nobody does."""

from __future__ import annotations

from pathlib import Path

from fsbot.bench.latencies import Quantiles, start_latencies
from fsbot.bench.noises import ECHO_DB, NOISES, write_echo, write_noise
from fsbot.bench.report import CaseReport, Figure, limited
from fsbot.bench.speech import voice_starts
from fsbot.bench.workshop import Workshop
from fsbot.transcript.records import StartOfSpeech, parse

START_P50, START_P95 = 0.2, 0.35
NOISE_SECONDS = 120.0
FASTER = 15.0
"""About so many times faster than real time, for the progress bar."""


def starts(workshop: Workshop) -> CaseReport:
    """From the first sound of a turn to its start_of_speech at a second client, and how often one
    comes, by the minute, where nobody speaks."""
    played = workshop.played_once(workshop.point)
    at_once: list[float] = []
    from_voice: list[float] = []
    confirmed: list[float] = []
    for call in workshop.calls:
        sounds = [turn.speech_start for turn in call.turns]
        voices = voice_starts(call)
        heard = played.calls[call.name]
        at_once += start_latencies(call, heard, sounds, confirmed=False)
        from_voice += start_latencies(call, heard, voices, confirmed=False)
        confirmed += start_latencies(call, heard, voices, confirmed=True)
    first, voiced, sure = map(Quantiles.of, (at_once, from_voice, confirmed))
    turns = sum(len(call.turns) for call in workshop.calls)
    figures = [
        limited("from speech_start: p50", first.p50, "s", START_P50, "<= 0.2 s"),
        limited("from speech_start: p95", first.p95, "s", START_P95, "<= 0.35 s"),
        Figure("from the voice: p50", voiced.p50, "s"),
        Figure("from the voice: p95", voiced.p95, "s"),
        Figure("turns told", f"{first.count} of {turns}"),
        Figure("from the voice, confirmed: p50", sure.p50, "s"),
        Figure("from the voice, confirmed: p95", sure.p95, "s"),
        Figure("turns confirmed", f"{sure.count} of {turns}"),
    ]
    folder = workshop.place("noises")
    for name in NOISES:
        path = folder / "noise.wav"
        write_noise(name, NOISE_SECONDS, path, workshop.wishes.seed)
        figures.append(_false_starts(workshop, name, path, NOISE_SECONDS))
    for decibels in ECHO_DB:
        figures.append(_echoes(workshop, decibels, folder / "echo.wav"))
    return CaseReport(
        "starts",
        f"{workshop.wishes.at_once} calls at a time; {workshop.point.summary}; false starts by "
        "fsbot transcribe",
        tuple(figures),
        {"from_speech_start": [round(late, 3) for late in at_once]},
    )


def _echoes(workshop: Workshop, decibels: float, path: Path) -> Figure:
    """The callee's side of a call, coming back to the caller's."""
    seconds = write_echo(workshop.calls[0].sound, decibels, path)
    return _false_starts(workshop, f"echo at {decibels:.0f} dB", path, seconds)


def _false_starts(workshop: Workshop, name: str, path: Path, seconds: float) -> Figure:
    arguments = ["transcribe", str(path), "--format", "jsonl", *workshop.point.flags]
    printed = workshop.run("fsbot", arguments, name, seconds / FASTER)
    begun = [
        record
        for record in map(parse, printed.splitlines())
        if isinstance(record, StartOfSpeech) and record.side == "caller"
    ]
    told = sum(not record.confirmed and not record.echo for record in begun)
    sure = sum(record.confirmed for record in begun)
    echoes = sum(record.echo for record in begun)
    per_minute = 60 / seconds
    return Figure(
        f"false starts a minute: {name}",
        f"{told * per_minute:.1f}, {sure * per_minute:.1f} confirmed, "
        f"{echoes * per_minute:.1f} told as echo",
    )
