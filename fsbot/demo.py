"""`fsbot demo`: a rehearsed call, the real bot, and a listener that shows what the bot says.

The three share one process and meet on an event socket only: what is shown comes out of events,
as any other client of FreeSWITCH gets them.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from fsbot.errors import UserError

if TYPE_CHECKING:
    from gevent import Greenlet
    from rich.console import Console

    from fsbot.client import TranscriptClient
    from fsbot.engine.scheduler import Engine
    from fsbot.rehearsal.sound import Sound
    from fsbot.screen import Screen, Tally
    from fsbot.settings import Settings
    from fsbot.sources import Configuration

TICK_SECONDS = 0.25
LONGEST_SILENCE = 120.0
"""Seconds without any event, the call being over, after which the demo gives up."""
INTERRUPTED = 130  # what a shell reports for SIGINT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `fsbot demo` on its (sub)parser."""
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=Path,
        help="wav, flac or raw; one channel: the caller; two: left caller, right callee "
        "(default: a French call that comes with fsbot)",
    )
    parser.add_argument(
        "--keep",
        metavar="DIR",
        type=Path,
        help="leave recording and journal there (default: both are removed at the end)",
    )


def run(args: argparse.Namespace, configuration: Configuration) -> int:
    """Play the call and show its transcript; returns the exit status. Raises UserError."""
    from fsbot.console import OutputConsole
    from fsbot.rehearsal.command import DEMO
    from fsbot.rehearsal.sound import load_sound

    console = OutputConsole(highlight=False)
    _configure_log(configuration, console)
    sound = load_sound(args.file or DEMO)
    engine = _engine(configuration.settings)
    with _folder(args.keep) as folder:
        demo = _Demo(sound, engine, configuration.settings, folder)
        tally = demo.play(console)
        _say("")
        for line in (*tally.lines(engine.times), _kept(folder) if args.keep else _REMOVED):
            _say(line)
    if demo.interrupted:
        return INTERRUPTED
    return 0 if tally.end_reason == "hangup" else 1


def _configure_log(configuration: Configuration, console: Console) -> None:
    """Warnings only, unless the user wants otherwise: the words are on the screen already."""
    from fsbot import log
    from fsbot.screen import AboveScreen

    settings = configuration.settings.log
    shared = console.is_terminal and sys.stderr.isatty()
    chosen = configuration.origins["log.level"].kind != "default"
    log.configure(
        format=settings.format,
        level=settings.level if chosen else "warning",
        show_text=settings.shows_text,
        stream=cast(TextIO, AboveScreen(console)) if shared else None,
    )


def _engine(settings: Settings) -> Engine:
    from fsbot.weights.finding import find_file

    name = settings.engine.model
    if "/" not in name and find_file(name, settings.engine.models_dir) is None:
        from fsbot.weights.console import PullProgress
        from fsbot.weights.pull import pull

        _say(f"The weights of {name} are not on this machine yet.")
        with PullProgress() as progress:
            pull(name, progress, settings.engine.models_dir)
    _say(f"Loading the weights of {name} …")
    from fsbot.engine.setup import make_engine

    return make_engine(settings)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="fsbot-demo-") as folder:
            yield Path(folder)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{keep} cannot be made: {error.strerror}", "Name another directory with --keep."
        ) from error
    yield keep.resolve()


class _Demo:
    """Switch, bot and listener around one call. The engine is started and stopped with the bot."""

    def __init__(self, sound: Sound, engine: Engine, settings: Settings, folder: Path) -> None:
        from fsbot.bot import Bot
        from fsbot.rehearsal.private import HOST, private_settings
        from fsbot.rehearsal.server import RehearsalSwitch

        self.interrupted = False
        self._sound = sound
        self._password = secrets.token_urlsafe()
        self._switch = RehearsalSwitch(HOST, 0, self._password)
        self._switch.start()
        own = private_settings(settings, self._switch.port, self._password, folder)
        self._bot = Bot(own, engine)

    def play(self, console: Console) -> Tally:
        """The whole call; what was heard of it."""
        import gevent

        from fsbot.client import TranscriptClient
        from fsbot.rehearsal.private import HOST
        from fsbot.screen import Tally, make_screen

        tally = Tally()
        bot = gevent.spawn(self._bot.run)
        try:
            # A second client of the event socket, as a robot would be.
            with TranscriptClient(HOST, self._switch.port, self._password) as client:
                _say(f"A call of {self._sound.seconds:.0f} s comes in; Ctrl-C hangs up.\n")
                screen = make_screen(console, self._sound.seconds)
                with _deferred_interrupts() as interrupts, screen:
                    self._follow(bot, client, screen, tally, interrupts)
            self._bot.stop()
            bot.join()
        finally:
            bot.kill()
            self._switch.stop()
        return tally

    def _follow(
        self,
        bot: Greenlet,
        client: TranscriptClient,
        screen: Screen,
        tally: Tally,
        interrupts: list[int],
    ) -> None:
        from fsbot.rehearsal.script import CallScript

        self._switch.wait_for_listener()
        call = self._switch.place(CallScript(self._sound))
        last_news = time.monotonic()
        while not tally.end_reason:
            if (arrival := client.receive(TICK_SECONDS)) is not None:
                tally.add(arrival.record)
                screen.show(arrival.record)
                last_news = time.monotonic()
            screen.tick()
            if interrupts and not self.interrupted:
                self.interrupted = True
                call.hang_up()
            if len(interrupts) > 1:
                raise KeyboardInterrupt
            if bot.ready():
                bot.get()  # raises what ended it
            if call.finished and time.monotonic() - last_news > LONGEST_SILENCE:
                raise RuntimeError(f"no end_of_transcript within {LONGEST_SILENCE:g} s")


@contextlib.contextmanager
def _deferred_interrupts() -> Iterator[list[int]]:
    """Ctrl-C fills the list and does nothing else."""
    signals: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: signals.append(number))
    try:
        yield signals
    finally:
        signal.signal(signal.SIGINT, before)


def _kept(folder: Path) -> str:
    journals = ", ".join(map(str, sorted((folder / "transcripts").glob("*/*.jsonl"))))
    return f"{'journal':<18}{journals}"


_REMOVED = f"{'journal':<18}removed with the recording; --keep DIR keeps both"


def _say(line: str) -> None:
    print(line, flush=True)
