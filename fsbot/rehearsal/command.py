"""`fsbot rehearse`: play sound files as calls to whatever bot logs in."""

import argparse
import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsbot.rehearsal.call import Call
    from fsbot.rehearsal.server import RehearsalSwitch
    from fsbot.rehearsal.sound import Sound

DEMO = Path(__file__).parent / "sounds" / "demo-fr.flac"
SECONDS_BETWEEN_CALLS = 0.5
END_OF_TRANSCRIPT = "fsbot::end_of_transcript"
INTERRUPTED = 130  # what a shell reports for SIGINT

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RehearsalOptions:
    """What `fsbot rehearse` was asked for. `repeat` 0: until interrupted."""

    files: Sequence[Path] = (DEMO,)
    host: str = "127.0.0.1"
    port: int = 8021
    password: str = "ClueCon"
    calls: int = 1
    repeat: int = 1
    caller_number: str = "0639980001"  # from the range kept free for fiction
    wait: float = 60.0
    rate: int = 8000
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
        "(default: a French demo call that comes with fsbot)",
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
    add("--rate", type=_at_least_one, default=default.rate, help="Hz, of raw files")
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
        channels=args.channels,
    )
    with _interrupts_here():
        return rehearse(options)


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
    sounds = [load_sound(path, options.rate, options.channels) for path in options.files]
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
        total = self._options.repeat * len(self._sounds)
        while self._placed < total or not total:
            self._switch.wait(lambda: len(self._switch.live_calls) < self._options.calls, inf)
            if self._placed:
                gevent.sleep(SECONDS_BETWEEN_CALLS)
            watchers.spawn(self._watch, self._place())
        watchers.join()
        self._switch.wait(lambda: self._all_told() or not self._switch.sessions, self._options.wait)
        if not self._all_told():
            self._say("Not every recorded call got its end_of_transcript.")

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
        self._say(f"Call {self._placed}: {caller} calls, {sound.name}, {sound.seconds:.1f} s.")
        return self._switch.place(CallScript(sound, caller_number=caller))

    def _watch(self, call: "Call") -> None:
        number = self._placed
        self._switch.wait(lambda: bool(call.recorded) or call.finished, inf)
        for recording in call.recorded:
            self._say(f"Call {number}: recorded to {recording.file.path}")
        self._switch.wait(lambda: call.finished, inf)
        if not call.recorded:
            self._say(f"Call {number}: hung up, not recorded.")
            return
        seconds = sum(recording.file.seconds_written for recording in call.recorded)
        self._say(f"Call {number}: hung up, {seconds:.1f} s recorded.")
        self._recorded += 1
        self._recorded_seconds += seconds
        self._untold.append(call)
        self._all_told()  # forgets calls that are done, however long this runs

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


def _at_least_one(text: str) -> int:
    number = _at_least_zero(text)
    if number == 0:
        raise argparse.ArgumentTypeError("a number from 1 up is wanted")
    return number


def _at_least_zero(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 up")
    return int(text)
