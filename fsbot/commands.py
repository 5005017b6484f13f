"""The subcommands of `fsbot`: what each is called, which module does it, and what it is given."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsbot.sources import Configuration

# Flags that many people type, beside the ones made from the settings' names.
ALIASES = {
    "engine.language": "--language",
    "engine.model": "--model",
    "engine.preset": "--preset",
}

REDACT = {"transcripts.redact": "--redact"}


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand. `own_arguments`: its module offers add_arguments. `start(module, args)` for
    commands without settings, `start_with(module, args, configuration)` for those with. `aliases`:
    flags by setting, beside those that every command has."""

    summary: str
    module: str
    examples: str
    own_arguments: bool = True
    start: Callable[[ModuleType, argparse.Namespace], int] | None = None
    start_with: Callable[[ModuleType, argparse.Namespace, Configuration], int] | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)


def _run(module: ModuleType, args: argparse.Namespace) -> int:
    return int(module.run(args))


def _run_with_settings(
    module: ModuleType, args: argparse.Namespace, configuration: Configuration
) -> int:
    _configure_log(configuration)
    return int(module.run(args, configuration.settings))


def _run_bot(module: ModuleType, args: argparse.Namespace, configuration: Configuration) -> int:
    _configure_log(configuration)
    return int(module.run(configuration.settings))


def _run_with_origins(
    module: ModuleType, args: argparse.Namespace, configuration: Configuration
) -> int:
    return int(module.run(args, configuration))


def _print_schema(module: ModuleType, args: argparse.Namespace) -> int:
    import json

    print(json.dumps(module.json_schema(), indent=2, ensure_ascii=False))
    return 0


def _configure_log(configuration: Configuration) -> None:
    import structlog

    from fsbot import log

    settings = configuration.settings.log
    log.configure(format=settings.format, level=settings.level, show_text=settings.shows_text)
    for warning in configuration.warnings:
        structlog.get_logger("fsbot.settings").warning(warning)


COMMANDS = {
    "run": Command(
        "transcribe the calls of a FreeSWITCH while they are spoken",
        "fsbot.bot",
        """\
  fsbot run                                   settings from ./fsbot.toml, if there is one
  fsbot run --esl-host 10.0.0.5 --esl-password-file /run/secrets/esl
  fsbot run --language en --preset fast --log-format json
  FSBOT_ENGINE_MODEL=small fsbot run --config /etc/fsbot/fsbot.toml
  fsbot run --robot receptionist.py           with a robot for calls that a dialplan hands over
  fsbot run --serve                           and TCP clients, by the same engine
  fsbot run --metrics 9181                    figures for Prometheus""",
        own_arguments=False,
        aliases={"serve.enabled": "--serve", "metrics.port": "--metrics", "robot.file": "--robot"},
        start_with=_run_bot,
    ),
    "serve": Command(
        "take sound over TCP and give text, as SimulStreaming does, for many clients",
        "fsbot.serve",
        """\
  fsbot serve                                 then: arecord -f S16_LE -c1 -r 16000 -t raw |
                                              nc -N 127.0.0.1 43001
  fsbot serve --port 43007 --language en --jsonl
  fsbot serve --rate 8000                     telephone sound as it is
  fsbot serve --simulstreaming --vac --min-chunk-size 1.0 --model_path ./small.pt""",
        start_with=_run_with_settings,
        aliases={
            f"serve.{key}": f"--{key.replace('_', '-')}"
            for key in ("host", "port", "rate", "channels", "max_clients", "allow_remote")
        },
    ),
    "demo": Command(
        "show a call being transcribed while it is spoken",
        "fsbot.demo",
        """\
  fsbot demo                                  a French call that comes with fsbot
  fsbot demo call.wav --language en --keep ./demo
  fsbot demo --preset fast                    of the settings [engine], [vad] and [log] count""",
        start_with=_run_with_origins,
    ),
    "rehearse": Command(
        "be a FreeSWITCH that plays recorded calls, to try the bot and robots on",
        "fsbot.rehearsal.command",
        """\
  fsbot rehearse call.wav                     then, in another terminal: fsbot run
  fsbot rehearse calls/*.flac --calls 4 --port 8021
  fsbot rehearse robot.py caller.wav          a robot, and a caller who talks to it""",
        start=_run,
    ),
    "transcribe": Command(
        "transcribe a file with the same engine",
        "fsbot.transcribe",
        """\
  fsbot transcribe call.wav                   two channels are two sides
  fsbot transcribe call.flac --format srt --language en
  fsbot transcribe call.wav --realtime --format jsonl""",
        start_with=_run_with_settings,
    ),
    "watch": Command(
        "show all calls that are up, and what is being said",
        "fsbot.watch",
        """\
  fsbot watch                                 Ctrl-C ends it
  fsbot watch 2e972b4a                        one call
  fsbot watch | tee -a calls.txt              a line for each final text""",
        aliases=REDACT,
        start_with=_run_with_settings,
    ),
    "show": Command(
        "show a transcript: sides, times, what was said, what befell the call",
        "fsbot.show",
        """\
  fsbot show 1ad22dfd                         the beginning of a call's UUID
  fsbot show transcripts/2026-11-25/1ad22dfd-de6d-4de5-8f94-483111e7e880.jsonl""",
        aliases=REDACT,
        start_with=_run_with_settings,
    ),
    "export": Command(
        "write a transcript as txt, srt, vtt, json or csv",
        "fsbot.export",
        """\
  fsbot export 1ad22dfd --output call.srt
  fsbot export 1ad22dfd --format csv
  fsbot export 1ad22dfd --redact card,email   what a journal has that was written without""",
        aliases=REDACT,
        start_with=_run_with_settings,
    ),
    "grep": Command(
        "search what was said in all transcripts",
        "fsbot.grep",
        """\
  fsbot grep conseiller
  fsbot grep 'dossier|commande' --side caller --since 2026-11-01""",
        aliases=REDACT,
        start_with=_run_with_settings,
    ),
    "models": Command(
        "fetch, verify, import and list Whisper's weights",
        "fsbot.weights.command",
        """\
  fsbot models list
  fsbot models pull base
  fsbot models import ./whisper-large-v3-french""",
        start=_run,
    ),
    "doctor": Command(
        "check event socket, directories, weights and disk, and say what to mend",
        "fsbot.doctor",
        """\
  fsbot doctor
  fsbot doctor --test-connection              the short form: only the event socket
  fsbot doctor --originate 'user/1000'        place a call and watch its recording grow""",
        start_with=_run_with_settings,
    ),
    "bench": Command(
        "measure cost, latency and accuracy of the whole bot on this machine",
        "fsbot.bench",
        """\
  fsbot bench                                 everything, about half an hour
  fsbot bench cost turns --json report.json
  fsbot bench accuracy --only 'call-fr-*' --preset fast
  fsbot bench turns --point preset=fast --point preset=balanced,vad.min_silence=0.4
  fsbot bench held --calls 8 --seconds 60""",
        start_with=_run_with_origins,
    ),
    "config": Command(
        "print the settings in force and where each value came from",
        "fsbot.config",
        """\
  fsbot config
  fsbot config --format toml > fsbot.toml     a complete settings file with comments
  fsbot config --preset accurate --config /etc/fsbot/fsbot.toml""",
        start_with=_run_with_origins,
    ),
    "schema": Command(
        "print the JSON Schema of the records in journal, events and --format jsonl",
        "fsbot.transcript.records",
        """\
  fsbot schema > record.schema.json""",
        own_arguments=False,
        start=_print_schema,
    ),
}
