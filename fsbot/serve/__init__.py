"""`fsbot serve`: SimulStreaming's TCP protocol, for many clients."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fsbot import simulstreaming

if TYPE_CHECKING:
    from fsbot.settings import Settings

SIMULSTREAMING_PORT = 43007


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `fsbot serve` on its (sub)parser."""
    parser.add_argument(
        "--jsonl",
        dest="serve.format",
        action="store_const",
        const="jsonl",
        default=argparse.SUPPRESS,
        help="serve.format = jsonl",
    )
    parser.add_argument(
        "--warmup-file",
        metavar="FILE",
        type=Path,
        help="a sound whose first seconds are transcribed before anybody is served (default: one "
        "that comes with fsbot)",
    )
    simulstreaming.add_arguments(
        parser, "serve.format", "jsonl", "text", **{"serve.port": SIMULSTREAMING_PORT}
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM. Raises UserError."""
    simulstreaming.check_decoder(args.decoder, settings.engine.pace.beams)
    from fsbot.serve.service import serve

    # Without --vac SimulStreaming knows no ends of utterances.
    ends = args.vac or not args.simulstreaming
    return serve(settings, ends=ends, warm_up=args.warmup_file)
