"""`fsbot rehearse`: play sound files as calls to whatever bot logs in."""

import argparse
import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from fsbot.errors import UserError

if TYPE_CHECKING:
    from fsbot.rehearsal.call import Call
    from fsbot.rehearsal.server import RehearsalSwitch
    from fsbot.rehearsal.sound import Sound

DEMO = Path(__file__).parent / "sounds" / "demo-fr.flac"
TOLD_EVERY = 10.0
"""Seconds between two lines about a load."""

END_OF_TRANSCRIPT = "fsbot::end_of_transcript"
INTERRUPTED = 130  # what a shell reports for SIGINT

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RehearsalOptions:
    """What `fsbot rehearse` was asked for.

    `repeat` 0: until interrupted. `rate`: most new calls per second. `duration`: seconds after
    which a load is taken away, however often the files were played; 0: there is none.
    `sample_rate` (Hz) and `channels` are those of raw files.
    """

    files: Sequence[Path] = (DEMO,)
    host: str = "127.0.0.1"
    port: int = 8021
    password: str = "ClueCon"
    calls: int = 1
    repeat: int = 1
    caller_number: str = "0639980001"  # from the range kept free for fiction
    wait: float = 60.0
    rate: float = 2.0
    duration: float = 0.0
    sample_rate: int = 8000
    channels: int = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `fsbot rehearse` on its (sub)parser."""
    default = RehearsalOptions()
    add = parser.add_argument
    add(
        "files",
        metavar="FILE",
        nargs="*",
        type=Path,
        help="wav, flac or raw; one channel: the caller; two: left caller, right callee "
        "(default: a French demo call that comes with fsbot). Behind a robot's .py file: what the "
        "caller says to it; several are said in turn, when the robot has spoken",
    )
    add("--host", default=default.host, help="address to listen on (default: %(default)s)")
    add("--port", type=_port, default=default.port, help="default: %(default)s; 0: any free one")
    add("--password", default=default.password, help="what clients must log in with")
    add(
        "--calls",
        type=_at_least_one,
        default=default.calls,
        metavar="N",
        help="so many at a time (default: %(default)s)",
    )
    add(
        "--repeat",
        type=_at_least_zero,
        default=default.repeat,
        metavar="N",
        help="play every file N times; 0: until interrupted (default: %(default)s)",
    )
    add(
        "--rate",
        type=_positive,
        default=default.rate,
        metavar="R",
        help="at most so many new calls per second (default: %(default)g)",
    )
    add(
        "--duration",
        type=_positive,
        default=default.duration,
        metavar="SECONDS",
        help="a load: play the files over and over for so long, a new call for each that ends, "
        "then hang up",
    )
    add("--loop", dest="repeat", action="store_const", const=0, help="the same as --repeat 0")
    add(
        "--caller-number",
        default=default.caller_number,
        metavar="NUMBER",
        help="of the first call; the next ones count up (default: %(default)s)",
    )
    add(
        "--wait",
        type=float,
        default=default.wait,
        metavar="SECONDS",
        help="for the last transcripts, after the last call (default: %(default)g)",
    )
    add(
        "--sample-rate",
        type=_at_least_one,
        default=default.sample_rate,
        metavar="HZ",
        help="of raw files (default: %(default)s)",
    )
    add(
        "--pause",
        type=_positive,
        default=0.5,
        metavar="SECONDS",
        help="from a robot's last word to the caller's next file (default: %(default)g)",
    )
    add("--channels", type=int, choices=(1, 2), default=default.channels, help="of raw files")


def run(args: argparse.Namespace) -> int:
    """`fsbot rehearse`; returns the exit status. Raises UserError."""
    options = RehearsalOptions(
        files=args.files or [DEMO],
        host=args.host,
        port=args.port,
        password=args.password,
        calls=args.calls,
        repeat=args.repeat,
        caller_number=args.caller_number,
        wait=args.wait,
        rate=args.rate,
        duration=args.duration,
        sample_rate=args.sample_rate,
        channels=args.channels,
    )
    with _interrupts_here():
        if options.files[0].suffix == ".py":
            return _rehearse_robot(options.files[0], options.files[1:], args.pause)
        return rehearse(options)


def _rehearse_robot(robot: Path, files: Sequence[Path], pause: float) -> int:
    from statistics import median

    from fsbot import log
    from fsbot.rehearsal.trial import try_robot
    from fsbot.sources import load

    if not files:
        raise UserError(
            "a robot is rehearsed with what a caller says to it",
            f"Give one sound file or more behind it: fsbot rehearse {robot.name} caller.wav",
        )
    settings = load().settings
    log.configure(format=settings.log.format, level="warning", show_text=settings.log.shows_text)
    _print("Loading the weights …")
    try:
        answers = try_robot(robot, files, settings, _print, pause)
    except KeyboardInterrupt:
        return INTERRUPTED
    if answers:
        middle = median(answer.total for answer in answers)
        _print(f"{len(answers)} answers; {middle:.2f} s after the caller, at the median.")
    return 0


@contextlib.contextmanager
def _interrupts_here() -> Iterator[None]:
    """Ctrl-C reaches the calling greenlet; in any other one gevent would print a traceback."""
    import gevent

    main = gevent.getcurrent()
    before = signal.signal(signal.SIGINT, lambda *_: gevent.kill(main, KeyboardInterrupt))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def rehearse(options: RehearsalOptions, say: Say | None = None) -> int:
    """Wait for a bot, play the calls, wait for the transcripts, sum up.

    Raises UserError for a file that cannot be played or a port that is taken.
    """
    from fsbot.rehearsal.server import RehearsalSwitch
    from fsbot.rehearsal.sound import load_sound

    say = say or _print
    sounds = [load_sound(path, options.sample_rate, options.channels) for path in options.files]
    switch = RehearsalSwitch(options.host, options.port, options.password)
    switch.start()
    rehearsal = _Rehearsal(switch, sounds, options, say)
    status = 0
    try:
        say(f"Listening on {options.host}:{switch.port}; waiting for a bot (fsbot run) to log in.")
        switch.wait_for_listener(timeout=inf)
        rehearsal.play()
    except KeyboardInterrupt:
        status = INTERRUPTED
    finally:
        switch.stop()
    say(rehearsal.summary())
    return status


class _Rehearsal:
    """Places the calls one after the other and says what becomes of each."""

    def __init__(
        self,
        switch: "RehearsalSwitch",
        sounds: Sequence["Sound"],
        options: RehearsalOptions,
        say: Say,
    ) -> None:
        self._switch = switch
        self._sounds = sounds
        self._options = options
        self._say = say
        self._placed = 0
        self._recorded = 0
        self._recorded_seconds = 0.0
        self._untold: list[Call] = []

    def play(self) -> None:
        """All calls, from the first to the last transcript."""
        import gevent
        from gevent.pool import Group

        watchers = Group()
        load = self._options.duration
        began, next_at = time.monotonic(), 0.0
        ends = began + (load or inf)
        telling = gevent.spawn(self._tell, began) if load else None
        try:
            while self._wanted and self._await_place(max(next_at, time.monotonic()), ends):
                next_at = time.monotonic() + 1 / self._options.rate
                watchers.spawn(self._watch, self._place(), self._placed)
            if load:
                gevent.sleep(max(0.0, ends - time.monotonic()))
                self._hang_up()
            watchers.join()
        finally:
            if telling is not None:
                telling.kill()
        self._switch.wait(lambda: self._all_told() or not self._switch.sessions, self._options.wait)
        if not self._all_told():
            self._say("Not every recorded call got its end_of_transcript.")

    @property
    def _wanted(self) -> bool:
        """Another call."""
        total = self._options.repeat * len(self._sounds)
        return bool(self._options.duration) or not total or self._placed < total

    def _await_place(self, earliest: float, latest: float) -> bool:
        """Whether another call may be up before `latest`, and not before `earliest` (monotonic)."""
        return self._switch.wait(
            lambda: (
                time.monotonic() >= earliest and len(self._switch.live_calls) < self._options.calls
            ),
            latest - time.monotonic(),
        )

    def _hang_up(self) -> None:
        for call in self._switch.live_calls:
            call.hang_up()

    def _tell(self, began: float) -> None:
        """How a load goes on."""
        import gevent

        while True:
            gevent.sleep(TOLD_EVERY)
            self._say(
                f"{time.monotonic() - began:.0f} of {self._options.duration:.0f} s: "
                f"{len(self._switch.live_calls)} calls up, {self._placed} placed, "
                f"{len(self._untold)} transcripts to come."
            )

    def summary(self) -> str:
        kinds = sorted(self._switch.received_per_kind.items())
        received = ", ".join(f"{count} {kind}" for kind, count in kinds)
        return (
            f"{self._placed} calls, {self._recorded} recorded, "
            f"{self._recorded_seconds:.1f} s of audio; events received: {received or 'none'}."
        )

    def _place(self) -> "Call":
        from fsbot.rehearsal.script import CallScript

        sound = self._sounds[self._placed % len(self._sounds)]
        caller = _counted_up(self._options.caller_number, self._placed)
        self._placed += 1
        self._say_of(self._placed, f"{caller} calls, {sound.name}, {sound.seconds:.1f} s.")
        return self._switch.place(CallScript(sound, caller_number=caller))

    def _watch(self, call: "Call", number: int) -> None:
        self._switch.wait(lambda: bool(call.recorded) or call.finished, inf)
        for recording in call.recorded:
            self._say_of(number, f"recorded to {recording.file.path}")
        self._switch.wait(lambda: call.finished, inf)
        if not call.recorded:
            self._say_of(number, "hung up, not recorded.")
            return
        seconds = sum(recording.file.seconds_written for recording in call.recorded)
        self._say_of(number, f"hung up, {seconds:.1f} s recorded.")
        self._recorded += 1
        self._recorded_seconds += seconds
        self._untold.append(call)
        self._all_told()  # forgets calls that are done, however long this runs

    def _say_of(self, number: int, what: str) -> None:
        """Of one call; a load has too many of them."""
        if not self._options.duration:
            self._say(f"Call {number}: {what}")

    def _all_told(self) -> bool:
        """Every recorded call's transcript has ended."""
        told = {
            event.headers.get("Call-UUID")
            for event in self._switch.custom_events(END_OF_TRANSCRIPT)
        }
        self._untold = [
            call for call in self._untold if not any(leg.uuid in told for leg in call.legs)
        ]
        return not self._untold


def _counted_up(number: str, steps: int) -> str:
    if not number.isdigit():
        return number
    return str(int(number) + steps).zfill(len(number))


def _print(line: str) -> None:
    print(line, flush=True)


def _port(text: str) -> int:
    number = _at_least_zero(text)
    if number > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return number


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.001 <= number <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0.001 to 1000000")
    return number


def _at_least_one(text: str) -> int:
    number = _at_least_zero(text)
    if number == 0:
        raise argparse.ArgumentTypeError("a number from 1 up is wanted")
    return number


def _at_least_zero(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 up")
    return int(text)
