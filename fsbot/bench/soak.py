"""The case soak: nothing is lost, nothing grows, for as long as calls go on; with --chaos, whatever
goes wrong meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import count, islice
from pathlib import Path

import numpy as np

from fsbot.bench.chaos import drawn_faults
from fsbot.bench.lag import lag_samples, with_judged_silence
from fsbot.bench.playing import Played
from fsbot.bench.report import CaseReport, Figure, complaint_figure, limited
from fsbot.bench.scoring import WordErrors, compare
from fsbot.bench.soaking import Sample, SoakStage
from fsbot.bench.speech import SIDES, Reference
from fsbot.bench.switchboard import PlannedCall
from fsbot.bench.wholeness import (
    Comparison,
    by_call,
    compare_call,
    finals_of,
    flaws_of_events,
    flaws_of_journal,
    live_of,
    summed,
    text_of,
)
from fsbot.bench.workshop import Workshop, planned_call, progress
from fsbot.transcript.journal import read_what_is_sound
from fsbot.transcript.records import Record, StartOfTranscript, parse

CALLS = 4
MOST_LAG = 1.5
MOST_GROWTH = 10.0
"""Per cent that memory may grow by after the first quarter of the run, two minutes at most."""

SETTLED_SECONDS = 120.0
FASTER = 8.0
"""About so many times faster than real time recordings are heard alone; for the progress bar."""

Transcripts = Mapping[str, list[Record]]


def soak(workshop: Workshop) -> CaseReport:
    """Calls for as long as wished, then all of them once more from their recordings, alone."""
    if not workshop.calls:
        return CaseReport("soak", "no call to be played", ())
    wishes, folder = workshop.wishes, workshop.place("soak")
    seconds, at_once = wishes.soak_seconds, wishes.held_calls or CALLS
    planned, played_from = _planned(workshop.calls, seconds, at_once, wishes.seed)
    faults = drawn_faults(wishes.seed, seconds) if wishes.chaos else []
    stage = SoakStage(planned, at_once, workshop.point.flags, folder, seconds)
    title = f"{at_once} calls at a time" + (f", {len(faults)} faults" if faults else "")
    with progress(title, seconds + 60) as advance, stage:
        stage.run(seconds, faults, advance)
        played = stage.strike()
    journals = {
        path.stem: read_what_is_sound(path) for path in folder.glob("transcripts/*/*.jsonl")
    }
    references = {uuid: played_from[uuid] for uuid in sorted(stage.expected)}
    alone = _heard_alone(workshop, journals, references)
    flaws = {uuid: found for uuid in references if (found := _flaws(uuid, journals, stage))}
    compared = summed(
        compare_call(uuid, journals[uuid], alone[uuid]) for uuid in references if uuid in alone
    )
    return CaseReport(
        "soak",
        f"{at_once} calls at a time for {seconds:.0f} s"
        + (f", {len(faults)} faults (seed {wishes.seed})" if wishes.chaos else "")
        + ", then every recording alone by the same settings; words are lost where no final text "
        f"covers what was heard alone; {workshop.point.summary}",
        (
            Figure("calls held", at_once),
            Figure("calls played", len(references)),
            *_wholeness(flaws, compared, folder),
            *_errors(references, journals, alone),
            *_lags(references, played, faulty=bool(faults)),
            *_resources(stage.samples, faulty=bool(faults)),
            complaint_figure(played.complaints),
        ),
        {
            "seed": wishes.seed,
            "faults": stage.suffered,
            "flaws": flaws,
            "compared": asdict(compared),
            "samples": [asdict(sample) for sample in stage.samples],
            "complaints": played.complaints,
        },
    )


def _planned(
    calls: Sequence[Reference], seconds: float, at_once: int, seed: int
) -> tuple[list[PlannedCall], dict[str, Reference]]:
    """More calls than can begin in time, all of them in turn, in an order drawn anew each time; and
    what each of them plays."""
    chance = np.random.default_rng(seed)
    most = 2 + int(at_once * (1 + seconds / min(call.seconds for call in calls)))
    endless = (calls[index] for _ in count() for index in chance.permutation(len(calls)))
    planned, playing = [], {}
    for number, call in enumerate(islice(endless, most), start=1):
        uuid = f"{call.name}-{number}"
        planned.append(replace(planned_call(call), uuid=uuid))
        playing[uuid] = call
    return planned, playing


def _flaws(uuid: str, journals: Transcripts, stage: SoakStage) -> list[str]:
    journal = journals.get(uuid)
    if not journal:
        return ["no journal"]
    return flaws_of_journal(journal) + flaws_of_events(stage.sent[uuid], journal)


def _heard_alone(
    workshop: Workshop, journals: Transcripts, references: Mapping[str, Reference]
) -> Transcripts:
    """Every call's recordings by `fsbot transcribe`, one after the other."""
    place, heard = workshop.place("alone"), []
    for language in sorted({call.language for call in references.values()}):
        files = [
            _recorded(journals[uuid], place / f"{uuid}.raw")
            for uuid, call in references.items()
            if call.language == language and journals.get(uuid)
        ]
        files = [file for file in files if file.exists() and file.stat().st_size]
        if not files:
            continue
        seconds = sum(file.stat().st_size for file in files) / (16000 * 4)
        arguments = ["transcribe", *map(str, files), "--format", "jsonl", "--channels", "2"]
        arguments += [*workshop.point.flags, "--language", language]
        title = f"{len(files)} recordings alone, {language}"
        printed = workshop.run("fsbot", arguments, title, seconds / FASTER)
        heard += [parse(line) for line in printed.splitlines()]
    return by_call(heard)


def _recorded(journal: Sequence[Record], path: Path) -> Path:
    """The recordings of a call behind one another, as its journal counts their seconds."""
    starts = [record for record in journal if isinstance(record, StartOfTranscript)]
    parts = [Path(start.path) for start in starts if Path(start.path).exists()]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def _wholeness(flaws: Mapping[str, list[str]], compared: Comparison, folder: Path) -> list[Figure]:
    pending = len(list(folder.glob("transcripts/*/*.pending")))
    return [
        limited("transcripts or events with a flaw", len(flaws), "", 0, "0"),
        limited("transcripts left pending", pending, "", 0, "0"),
        limited(f"words lost, of {compared.words} heard alone", len(compared.lost), "", 0, "0"),
        limited("words with a final text and no live text", len(compared.unsaid), "", 0, "0"),
        limited("stretches with two final texts", len(compared.twice), "", 0, "0"),
        Figure("sides word for word as alone", f"{compared.same_sides} of {compared.sides}"),
    ]


def _errors(
    references: Mapping[str, Reference], journals: Transcripts, alone: Transcripts
) -> list[Figure]:
    """Word error rates of the run and alone, and their difference."""
    figures = []
    for name, pick in (("final", finals_of), ("live", live_of)):
        rates: list[list[WordErrors]] = []
        for heard in (journals, alone):
            parts = []
            for uuid, call in references.items():
                for side in SIDES:
                    errors = WordErrors()
                    errors.add(call.text(side), text_of(pick(heard.get(uuid, ()), side)))
                    parts.append(errors)
            rates.append(parts)
        run, reference = (_together(parts) for parts in rates)
        figures.append(Figure(f"{name} word error rate", f"{run.rate:.1f} %"))
        figures.append(Figure(f"{name} word error rate, alone", f"{reference.rate:.1f} %"))
        difference = compare(rates[0], rates[1])
        if difference is not None:
            figures.append(
                Figure(
                    f"{name}, the run minus alone",
                    f"{difference.points:+.2f} points "
                    f"[{difference.low:+.2f}, {difference.high:+.2f}]",
                    "",
                    "not worse",
                    difference.low <= 0,
                )
            )
    return figures


def _together(parts: Sequence[WordErrors]) -> WordErrors:
    return WordErrors(sum(part.errors for part in parts), sum(part.words for part in parts))


def _lags(references: Mapping[str, Reference], played: Played, *, faulty: bool) -> list[Figure]:
    """How far the text was behind, of all streams together; no target where faults cause it."""
    lags: list[float] = []
    for uuid, reference in references.items():
        call = played.calls[uuid]
        if len(call.clock.walls) < 2 or not call.records:
            continue
        window = (call.clock.walls[0], call.clock.walls[-1])
        for side in SIDES:
            trace = [line for line in played.trace.get(uuid, ()) if line.side == side]
            speech = [
                (call.clock.wall(turn.speech_start), call.clock.wall(turn.speech_end))
                for turn in reference.turns_of(side)
            ]
            lags += lag_samples(speech, with_judged_silence(call, trace), window)
    if not lags:
        return []
    p50, p95, p99 = (float(np.percentile(lags, share)) for share in (50, 95, 99))
    target = (
        Figure("lag p95", p95, "s")
        if faulty
        else limited("lag p95", p95, "s", MOST_LAG, f"<= {MOST_LAG} s")
    )
    return [Figure("lag p50", p50, "s"), target, Figure("lag p99", p99, "s")]


def _resources(samples: Sequence[Sample], *, faulty: bool) -> list[Figure]:
    """A bot that was killed meanwhile has begun anew: no target for its growth then."""
    first, last = samples[0], samples[-1]
    settled_at = min(SETTLED_SECONDS, last.at / 4)
    settled = next(sample for sample in samples if sample.at >= settled_at)
    grown = "memory, growth between these two"
    growth = 100 * (last.memory / settled.memory - 1)
    hub = [sample.hub for sample in samples if sample.hub is not None]
    return [
        Figure("memory before the first call", round(first.memory), "MB"),
        Figure(f"memory after {settled.at:.0f} s", round(settled.memory), "MB"),
        Figure("memory at the end", round(last.memory), "MB"),
        Figure(grown, growth, "%")
        if faulty
        else limited(grown, growth, "%", MOST_GROWTH, f"<= {MOST_GROWTH:.0f} %"),
        Figure("file descriptors before the first call", first.descriptors),
        limited(
            "file descriptors at the end",
            last.descriptors,
            "",
            first.descriptors,
            "as before the first call",
        ),
        Figure("hub delay, p99 of a minute, median", float(np.median(hub)) if hub else None, "s"),
        Figure("hub delay, p99 of a minute, worst", max(hub, default=None), "s"),
    ]
