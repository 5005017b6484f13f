"""`fsbot transcribe`: files through the very engine that transcribes calls."""

import argparse
import contextlib
import itertools
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fsbot import simulstreaming
from fsbot.errors import UserError
from fsbot.output import format_of, is_same_file, opened

if TYPE_CHECKING:
    from fsbot.settings import Settings
    from fsbot.transcribe.sound import SoundFile

SIMULATED = ("simulstreaming-jsonl", "simulstreaming-txt")

SUFFIXES = {
    "txt": ("text", "simulstreaming-txt"),
    "jsonl": ("jsonl", "simulstreaming-jsonl"),
    "json": ("json",),
    "srt": ("srt",),
    "vtt": ("vtt",),
    "csv": ("csv",),
}
"""Formats by what the name of --output ends in; the first one is meant where none is given."""

OF_ONE_FILE = ("srt", "vtt", "json", "csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `fsbot transcribe` on its (sub)parser."""
    add = parser.add_argument
    add(
        "files",
        metavar="FILE",
        nargs="+",
        type=Path,
        help="wav, flac or raw (s16le), a pipe, or - for standard input; one channel: the caller; "
        "two: left caller, right callee",
    )
    add(
        "--format",
        choices=("text", "jsonl", "json", "srt", "vtt", "csv", *SIMULATED),
        default=argparse.SUPPRESS,
        help="default: what the name of --output ends in, else text; text, srt, vtt, json and csv "
        "hold the final texts; jsonl every record as it comes, "
        "words as they are committed included (its latency_ms has a meaning with --realtime only); "
        "simulstreaming-jsonl and -txt simulate live streaming of one file in SimulStreaming's "
        "formats, with emission times",
    )
    add(
        "--output",
        metavar="FILE",
        default="-",
        help="a name that ends in .txt, .srt, .vtt, .json, .jsonl or .csv says the format "
        "(default: standard output, -)",
    )
    add("--realtime", action="store_true", help="at the pace of speech, as from a live call")
    add("--rate", type=int, help="Hz, of sound without a header (default: 16000)")
    add(
        "--channels",
        type=int,
        choices=(1, 2),
        help="of sound without a header (default: 1); either of these two says that a file or pipe "
        "without one is s16le, as the name .raw does",
    )
    add(
        "--comp_unaware",
        action="store_true",
        help="simulation: emission times on the sound's clock, computing left out",
    )
    add(
        "--start_at",
        metavar="S",
        type=float,
        default=0.0,
        help="simulation: the first update hears everything up to that second",
    )
    simulstreaming.add_arguments(parser, "format", *SIMULATED)


def run(args: argparse.Namespace, settings: "Settings") -> int:
    """`fsbot transcribe`; returns the exit status, 1 if the engine failed. Raises UserError."""
    simulstreaming.check_decoder(args.decoder, settings.engine.pace.beams)
    if any(is_same_file(args.output, file) for file in args.files):
        raise UserError(f"{args.output} is the sound itself", "Give another --output.")
    simulated = args.comp_unaware or args.start_at > 0
    suffixes = {key: forms[::-1] if simulated else forms for key, forms in SUFFIXES.items()}
    default = SIMULATED[0] if simulated else "text"
    args.format = format_of(args.output, getattr(args, "format", None), default, suffixes)
    if args.format in SIMULATED:
        return _simulate(args, settings)
    if simulated:
        raise UserError(
            f"--format {args.format} has no emission times to simulate",
            f"Give --format {SIMULATED[0]} or {SIMULATED[1]} with --comp_unaware or --start_at.",
        )
    if args.files.count(Path("-")) > 1:
        raise UserError("standard input can be read once", "Name - once.")
    if len(args.files) > 1 and args.format in OF_ONE_FILE:
        raise UserError(
            f"{len(args.files)} files do not fit into one {args.format} file",
            "Give one FILE at a time, or --format text or jsonl.",
        )
    from fsbot.transcribe.sound import SoundFile

    sounds = [SoundFile(path, args.rate, args.channels) for path in args.files]
    with opened(args.output) as output:
        # torch takes seconds to import: not for --help, nor for a wrong file.
        from fsbot.engine.setup import make_engine
        from fsbot.transcribe.paper import make_paper
        from fsbot.transcribe.transcriber import Transcriber

        engine = make_engine(settings)
        engine.start()
        status = 0
        try:
            for sound, call_uuid in zip(sounds, call_uuids(args.files), strict=True):
                paper = make_paper(args.format, output, sound, heading=len(sounds) > 1)
                with _progress(sound, output) as advance:
                    transcriber = Transcriber(engine, settings, sound, call_uuid, paper)
                    status |= transcriber.run(realtime=args.realtime, advance=advance)
        finally:
            engine.stop()
        return status


def _simulate(args: argparse.Namespace, settings: "Settings") -> int:
    from fsbot.transcribe.sound import SoundFile

    if len(args.files) > 1:
        raise UserError(
            f"{len(args.files)} files: a simulation is of one", "Give one FILE at a time."
        )
    sound = SoundFile(args.files[0], args.rate, args.channels)
    if len(sound.sides) > 1:
        raise UserError(
            f"{sound.name} has two channels: a simulation is of one voice",
            "ffmpeg takes one out: "
            f"ffmpeg -i {shlex.quote(str(sound.path))} -af 'pan=mono|c0=c0' left.wav",
        )
    with opened(args.output) as output:
        from fsbot.engine.online import OnlineProcessor
        from fsbot.transcribe.simulation import VAC_STEP_SECONDS, lines, simulate

        def say(said: dict[str, object], emission_time: float) -> None:
            # Without --vac SimulStreaming knows no ends of utterances.
            output.write(lines(args.format, said, emission_time, ends=args.vac))
            output.flush()

        online = OnlineProcessor.of(settings)
        step = VAC_STEP_SECONDS if args.vac else settings.engine.pace.chunk
        aware = not args.comp_unaware
        simulate(online, sound, step, say, aware=aware, start_at=args.start_at)
    return 0


def call_uuids(files: Sequence[Path]) -> list[str]:
    """A name per file that can stand where a call's UUID does: letters, digits, hyphens."""
    names: list[str] = []
    for file in files:
        plain = unicodedata.normalize("NFKD", file.stem)
        plain = "".join(c for c in plain if not unicodedata.combining(c))
        name = re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")[:100]
        name = name or ("stdin" if file == Path("-") else "file")
        numbered = (name if count == 1 else f"{name}-{count}" for count in itertools.count(1))
        names.append(next(each for each in numbered if each not in names))
    return names


@contextlib.contextmanager
def _progress(sound: "SoundFile", output: TextIO) -> Iterator[Callable[[float], object]]:
    """A bar on standard error, if people look at it and the transcript goes elsewhere."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    from fsbot.log import printable

    console = Console(stderr=True)
    bar = Progress(
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not console.is_terminal or output.isatty(),
    )
    with bar:
        task = bar.add_task(escape(printable(sound.path.name)), total=sound.seconds)
        yield lambda seconds: bar.update(task, completed=seconds)
