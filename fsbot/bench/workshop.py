"""What all cases share: the speech, the settings, the programs, and a place to work in."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fsbot.bench.others import OtherSystem
from fsbot.bench.playing import Played, Stage
from fsbot.bench.points import Point
from fsbot.bench.process import Program
from fsbot.bench.speech import Reading, Reference
from fsbot.bench.switchboard import PlannedCall
from fsbot.weights.finding import find_file, missing
from fsbot.weights.store import sha256_of

ENCODER_PASSES = 5


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks of the cases; seconds where a time is meant.

    at_once: calls at a time where the load is not what is measured; held_calls: 0 to search;
    word_calls: how many the case words plays; music: a folder; simulstreaming: a checkout of it, to
    be run beside; chaos: things go wrong in the case soak; long_hours: of the call of the case
    long; seed: of everything that is drawn by chance.
    """

    at_once: int
    held_calls: int
    held_seconds: float
    warm_up: float
    word_calls: int
    memory_seconds: float
    quiet_seconds: float
    music: Path | None
    simulstreaming: Path | None
    soak_seconds: float
    chaos: bool
    long_hours: float
    seed: int


class Workshop:
    """One run of the benchmark."""

    def __init__(
        self,
        wishes: Wishes,
        point: Point,
        turn_points: Sequence[Point],
        calls: Sequence[Reference],
        long: Sequence[Reading],
        folder: Path,
        other: OtherSystem | None,
        earlier: dict[str, dict[str, str]] | None,
    ) -> None:
        """other: a system to be held against; earlier: texts by track of an earlier report."""
        self.wishes = replace(wishes, at_once=min(wishes.at_once, max(1, len(calls))))
        self.point = point
        self.turn_points = tuple(turn_points)
        self.calls = tuple(calls)
        self.readings = tuple(long)
        self.other = other
        self.earlier = earlier
        self._folder = folder
        self._places = 0
        self._played: dict[tuple[str, ...], Played] = {}
        self._passes: list[float] = []

    def place(self, name: str) -> Path:
        """A new, empty folder."""
        self._places += 1
        place = self._folder / f"{self._places:02d}-{name}"
        place.mkdir()
        return place

    def played_once(self, point: Point) -> Played:
        """All calls, each from its start to its end, `at_once` at a time; played once per point.

        The longest come first, so that the last ones don't play alone.
        """
        key = tuple(sorted(map(str, point.values.items())))
        if key not in self._played:
            self._measure_passes(point)
            calls = sorted(self.calls, key=lambda call: -call.seconds)
            planned = [planned_call(call) for call in calls]
            title = f"{len(planned)} calls, {self.wishes.at_once} at a time, {point.name}"
            seconds = sum(call.seconds for call in calls) / self.wishes.at_once
            self._played[key] = self.play(planned, self.wishes.at_once, point, title, seconds)
            self._measure_passes(point)
        return self._played[key]

    def play(
        self, planned: Sequence[PlannedCall], at_once: int, point: Point, title: str, seconds: float
    ) -> Played:
        """Play these calls to their end. seconds: about how long it takes."""
        stage = Stage(planned, at_once, point.flags, self.place("calls"))
        with progress(title, seconds) as advance, stage:
            stage.play()
            stage.until_over(advance)
            return stage.strike()

    def encoder_pass(self) -> float:
        """CPU seconds of one pass of the encoder over 30 s: median of all measured in this run."""
        if not self._passes:
            self._measure_passes(self.point)
        return median(self._passes)

    def run(self, module: str, arguments: Sequence[str], title: str, seconds: float) -> str:
        """Another program of ours from its start to its end; what it printed. Raises UserError."""
        with (
            progress(title, seconds) as advance,
            Program(module, arguments, self.place(module.rpartition(".")[2]), "log") as program,
        ):
            return program.output_while(advance)

    def weights_sha256(self, model: str) -> str:
        """Of a model's weights on this machine. Raises UserError if they aren't here."""
        models_dir = self.point.settings.engine.models_dir
        found = find_file(model, models_dir)
        if found is None:
            raise missing(model, models_dir)
        return sha256_of(found)

    def _measure_passes(self, point: Point) -> None:
        engine = point.settings.engine
        arguments = [engine.model, str(ENCODER_PASSES)]
        if engine.models_dir:
            arguments.append(str(engine.models_dir))
        printed = self.run("fsbot.bench.encoder_pass", arguments, "one encoder pass", 12.0)
        self._passes += map(float, printed.split())


def planned_call(call: Reference, prompt: str = "") -> PlannedCall:
    """A call played once, under its own name."""
    return PlannedCall(call.name, str(call.sound.resolve()), call.language, prompt)


@contextlib.contextmanager
def progress(title: str, seconds: float) -> Iterator[Callable[[], None]]:
    """Shows on stderr that about so many seconds of work are going on; call what is yielded now
    and then."""
    console = Console(stderr=True)
    if not console.is_terminal:
        print(f"{title}, about {seconds:.0f} s …", file=sys.stderr, flush=True)
        yield lambda: None
        return
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(title, total=seconds)
        yield lambda: bar.update(task, completed=min(seconds, time.monotonic() - began))
