"""`fsbot bench`: what fsbot costs, how late it is and how well it hears, on this machine.

Everything is measured from outside, on the programs that users run. benchmarks.md defines the
figures.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import signal
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fsbot.errors import UserError

if TYPE_CHECKING:
    from fsbot.bench.report import BenchReport
    from fsbot.bench.workshop import Workshop
    from fsbot.sources import Configuration

PAGE_WIDTH = 110
"""Columns of a report that goes to a file or a pipe."""

CASES = {
    "cost": "fsbot.bench.whole_calls",
    "closing": "fsbot.bench.whole_calls",
    "turns": "fsbot.bench.whole_calls",
    "starts": "fsbot.bench.starts",
    "accuracy": "fsbot.bench.accuracy",
    "live": "fsbot.bench.live",
    "profile": "fsbot.bench.profile",
    "words": "fsbot.bench.words",
    "names": "fsbot.bench.names",
    "held": "fsbot.bench.held",
    "memory": "fsbot.bench.memory",
    "quiet": "fsbot.bench.quiet",
    "serve": "fsbot.bench.tcp",
    "soak": "fsbot.bench.soak",
    "long": "fsbot.bench.long",
}
"""Every case, in the order of running, and the module with the function of that name."""

ASKED_FOR = frozenset({"soak", "long"})
"""Cases that are left out unless they are named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `fsbot bench` on its (sub)parser."""
    add = parser.add_argument
    add(
        "cases",
        metavar="CASE",
        nargs="*",
        help=f"any of {', '.join(CASES)} (default: all but {' and '.join(sorted(ASKED_FOR))}, "
        "about half an hour)",
    )
    add(
        "--speech",
        metavar="DIR",
        type=Path,
        help="recorded calls with known text (default: ../shared/speech beside the project)",
    )
    add("--json", metavar="FILE", type=Path, help="write the whole report there too")
    add("--only", metavar="PATTERN", default="*", help="calls and readings of these names only")
    add(
        "--at-once",
        metavar="N",
        type=_positive_number,
        default=4,
        help="calls at a time where the load is not what is measured (default: %(default)s)",
    )
    add(
        "--calls",
        metavar="N",
        type=_positive_number,
        default=0,
        help="`held`: try so many calls at a time (default: 2, 4, 6, … until it fails); `soak`: so "
        "many (default: 4)",
    )
    add(
        "--seconds",
        metavar="S",
        type=_number_of("seconds", 1, 86_400),
        default=120.0,
        help="`held`: how long it is measured (default: %(default)g)",
    )
    add(
        "--warm-up",
        metavar="S",
        type=_number_of("seconds", 1, 86_400),
        default=30.0,
        help="`held`: how long the calls run before (default: %(default)g)",
    )
    add(
        "--word-calls",
        metavar="N",
        type=_positive_number,
        default=6,
        help="`words`: so many calls, one at a time (default: %(default)s)",
    )
    add(
        "--memory-seconds",
        metavar="S",
        type=_number_of("seconds", 1, 86_400),
        default=180.0,
        help="`memory`: how long (default: %(default)g)",
    )
    add(
        "--quiet-seconds",
        metavar="S",
        type=_number_of("seconds", 1, 86_400),
        default=600.0,
        help="`quiet`: of each sound (default: %(default)g)",
    )
    add(
        "--soak-seconds",
        metavar="S",
        type=_number_of("seconds", 1, 86_400),
        default=1800.0,
        help="`soak`: how long calls are placed (default: %(default)g)",
    )
    add(
        "--chaos",
        action="store_true",
        help="`soak`: cut and half-open links, stalls and kills of the bot, drawn by --seed",
    )
    add(
        "--long-hours",
        metavar="H",
        type=_number_of("hours", 0.1, 100),
        default=8.0,
        help="`long`: of the simulated call (default: %(default)g)",
    )
    add("--music", metavar="DIR", type=Path, help="`quiet`: music on hold, wav or flac files")
    add(
        "--simulstreaming",
        metavar="CHECKOUT",
        type=Path,
        help="`serve`: a clone of github.com/ufal/SimulStreaming, whose server is run beside",
    )
    add(
        "--point",
        metavar="SETTINGS",
        action="append",
        default=[],
        help="a point of the curve of `turns`, e.g. preset=fast,vad.min_silence=0.4; may be "
        "repeated (default: the three presets)",
    )
    add(
        "--reference-results",
        metavar="FILE",
        type=Path,
        help="SimulStreaming's, from `python -m fsbot.bench.simulstreaming`, to be held against",
    )
    add(
        "--compare",
        metavar="FILE",
        type=Path,
        help="an earlier report with `accuracy`, to be held against",
    )
    add("--keep", metavar="DIR", type=Path, help="leave journals, logs and traces there")
    add("--seed", type=int, default=0, help="of what is drawn by chance (default: %(default)s)")


def run(args: argparse.Namespace, configuration: Configuration) -> int:
    """Measure and report; 1 if a target was missed, else 0. Raises UserError."""
    chosen = _chosen(args.cases)
    _configure_log(configuration)
    from rich.console import Console

    from fsbot.bench.report import all_met, print_case

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PAGE_WIDTH
    with _folder(args.keep) as folder, _interrupts_here():
        workshop, report = _prepare(args, configuration, folder)
        for name in chosen:
            case = getattr(importlib.import_module(CASES[name]), name)(workshop)
            report.cases.append(case)
            print_case(case, console)
            if args.json:
                report.write(args.json)  # after each case: a long run may be broken off
    return 0 if all_met(report.cases) else 1


def _prepare(
    args: argparse.Namespace, configuration: Configuration, folder: Path
) -> tuple[Workshop, BenchReport]:
    """Everything that can be wrong is found before anything is played."""
    from fsbot.bench.machine import describe_machine
    from fsbot.bench.others import read_other_system, read_texts
    from fsbot.bench.points import PRESET_POINTS, point_in_force, points
    from fsbot.bench.report import BenchReport
    from fsbot.bench.speech import readings, references, speech_folder
    from fsbot.bench.workshop import Wishes, Workshop

    speech = speech_folder(args.speech)
    calls, long = references(speech, args.only), readings(speech, args.only)
    if not calls and not long:
        raise UserError(
            f"--only {args.only}: no call and no reading in {speech} has such a name",
            "Give a shell pattern, such as 'call-fr-*'.",
        )
    point = point_in_force(configuration)
    workshop = Workshop(
        Wishes(
            at_once=args.at_once,
            held_calls=args.calls,
            held_seconds=args.seconds,
            warm_up=args.warm_up,
            word_calls=args.word_calls,
            memory_seconds=args.memory_seconds,
            quiet_seconds=args.quiet_seconds,
            music=args.music,
            simulstreaming=args.simulstreaming,
            soak_seconds=args.soak_seconds,
            chaos=args.chaos,
            long_hours=args.long_hours,
            seed=args.seed,
        ),
        point,
        points(args.point or PRESET_POINTS, configuration),
        calls,
        long,
        folder,
        read_other_system(args.reference_results) if args.reference_results else None,
        read_texts(args.compare) if args.compare else None,
    )
    report = BenchReport(
        machine=describe_machine(configuration.settings),
        settings=point.values,
        speech=str(speech),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if args.json:
        report.write(args.json)
    return workshop, report


def _chosen(cases: list[str]) -> list[str]:
    for case in cases:
        if case not in CASES:
            near = difflib.get_close_matches(case, CASES, n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            raise UserError(
                f"fsbot bench has no case {case!r}{hint}", f"There are {', '.join(CASES)}."
            )
    default = set(CASES) - ASKED_FOR
    return [case for case in CASES if case in (cases or default)]


def _configure_log(configuration: Configuration) -> None:
    """Warnings only: the bot's own log is in its folder."""
    from fsbot import log

    log.configure(format=configuration.settings.log.format, level="warning", show_text=True)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="fsbot-bench-") as folder:
            yield Path(folder)
        return
    try:
        keep.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"--keep: {keep} cannot be made: {error.strerror}",
            "Name a directory that is not there.",
        ) from error
    yield keep.resolve()


@contextlib.contextmanager
def _interrupts_here() -> Iterator[None]:
    """Ctrl-C and SIGTERM reach the calling greenlet, whose programs are ended on the way out."""
    import gevent

    main = gevent.getcurrent()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {
        number: signal.signal(number, lambda *_: gevent.kill(main, KeyboardInterrupt))
        for number in numbers
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _number_of(unit: str, least: float, most: float) -> Callable[[str], float]:
    """What reads an argument of that unit."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            what = f"{text!r} is no number of {unit} from {least:g} to {most:g}"
            raise argparse.ArgumentTypeError(what)
        return number

    return read


def _positive_number(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)
