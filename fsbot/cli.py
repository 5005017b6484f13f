"""The command line: which subcommands and flags there are, and how errors end.

Only the chosen subcommand's module is imported, and only here: `fsbot --help` must not wait for
torch. A module that has arguments of its own offers `add_arguments(parser)` and must be light to
import; what is heavy it imports in `run`.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import select
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from fsbot import __version__
from fsbot.errors import INTERRUPTED, UserError

if TYPE_CHECKING:
    from fsbot.sources import Configuration

READER_GONE = 141  # 128 + SIGPIPE

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        try:
            status = _dispatch(sys.argv[1:] if argv is None else list(argv))
        except SystemExit as leaving:  # argparse, after --help, --version or a wrong flag
            if not isinstance(leaving.code, int):
                raise
            status = leaving.code
        sys.stdout.flush()  # here, so that a reader who has gone is noticed here
        return status
    except UserError as error:
        return _say_user_error(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            # What is left in stdout's buffer would raise once more when Python exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return READER_GONE
        _flush_log()
        traceback.print_exc()
        print(
            f"fsbot {__version__} stopped on an error of its own: please report the lines above",
            file=sys.stderr,
        )
        return 1


def _dispatch(argv: list[str]) -> int:
    chosen = argv[0] if argv else ""
    parser, module = _parser(chosen)
    if not argv:
        parser.print_help(sys.stderr)
        return 2
    if chosen not in COMMANDS and not chosen.startswith("-"):
        raise UserError(
            f"fsbot has no command {chosen!r}{_did_you_mean(chosen, list(COMMANDS))}",
            "`fsbot --help` lists the commands",
        )
    # Before the command only --help and --version make sense, and both end here.
    args, unknown = parser.parse_known_args(argv if chosen in COMMANDS else argv[:1])
    command = COMMANDS[args.command]
    if unknown:
        # Only the flag's name: its value may be a password.
        word = unknown[0].partition("=")[0]
        flags = _flags(parser, args.command) if word.startswith("-") else []
        kind = "flag" if word.startswith("-") else "argument"
        raise UserError(
            f"fsbot {args.command} has no {kind} {word!r}{_did_you_mean(word, flags)}",
            f"`fsbot {args.command} --help` lists them all",
        )
    module = module or importlib.import_module(command.module)
    if command.start is not None:
        if command.own_arguments:
            from fsbot import log

            log.configure()
        return command.start(module, args)
    assert command.start_with is not None
    return command.start_with(module, args, _configuration(args))


def _parser(chosen: str) -> tuple[argparse.ArgumentParser, ModuleType | None]:
    """The parser, complete for the `chosen` command only, and that command's module, if it had to
    be imported for its arguments."""
    parser = argparse.ArgumentParser(
        prog="fsbot",
        description="Live FreeSWITCH calls become text while people speak.",
        epilog="`fsbot COMMAND --help` shows a command's flags and examples.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fsbot {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    module = None
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            epilog=f"examples:\n{command.examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name != chosen:
            continue
        if command.own_arguments:
            module = importlib.import_module(command.module)
            module.add_arguments(sub)
        if command.start_with is not None:
            usage = sub.format_usage().removeprefix("usage: ").rstrip()
            sub.usage = usage.replace("%", "%%") + " [SETTINGS]"
            _add_settings(sub, {**ALIASES, **command.aliases})
    return parser, module


def _add_settings(parser: argparse.ArgumentParser, aliases: Mapping[str, str]) -> None:
    from fsbot.catalogue import all_settings, sections

    parser.add_argument(
        "--config",
        metavar="FILE",
        type=lambda text: Path(text).expanduser(),
        dest="config_file",
        help="settings file (default: $FSBOT_CONFIG, or fsbot.toml in the working directory)",
    )
    groups = {
        name: parser.add_argument_group(f"[{name}]", section.__doc__)
        for name, section in sections().items()
    }
    for setting in all_settings():
        names = [setting.flag]
        if setting.name in aliases:
            names.insert(0, aliases[setting.name])
        text = f"{setting.description} ({setting.allowed}; default {setting.shown_default})"
        text = text.replace("%", "%%")
        if setting.switch:
            groups[setting.section].add_argument(
                *names,
                dest=setting.name,
                default=argparse.SUPPRESS,
                action=argparse.BooleanOptionalAction,
                help=text,
            )
        else:
            groups[setting.section].add_argument(
                *names,
                dest=setting.name,
                default=argparse.SUPPRESS,
                metavar=setting.key.upper(),
                help=text,
            )


def _configuration(args: argparse.Namespace) -> Configuration:
    """Takes the settings' flags out of `args` and loads all settings."""
    from fsbot.catalogue import all_settings
    from fsbot.sources import load

    given = vars(args)
    flags = {s.name: given.pop(s.name) for s in all_settings() if s.name in given}
    return load(flags, given.pop("config_file"))


def _configure_log(configuration: Configuration) -> None:
    import structlog

    from fsbot import log

    settings = configuration.settings.log
    log.configure(format=settings.format, level=settings.level, show_text=settings.shows_text)
    for warning in configuration.warnings:
        structlog.get_logger("fsbot.settings").warning(warning)


def _flags(parser: argparse.ArgumentParser, command: str) -> list[str]:
    actions = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return [flag for a in actions.choices[command]._actions for flag in a.option_strings]


def _did_you_mean(word: str, candidates: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, candidates, n=1)
    return f": did you mean {near[0]}?" if near else ""


def _say_user_error(error: UserError) -> int:
    from fsbot.log import printable

    _flush_log()
    # FreeSWITCH's replies and file names can be part of the message.
    lines = [printable(line) for line in str(error).split("\n")]
    print("fsbot: " + "\n".join(lines), file=sys.stderr)
    return error.exit_code


def _flush_log() -> None:
    log = sys.modules.get("fsbot.log")
    if log is not None:
        log.flush()


def _reader_is_gone() -> bool:
    """Whether stdout is a pipe whose reader has gone, not some socket of the bot's."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
