"""The command line: how its flags are read, and how errors end.

Only the chosen subcommand's module is imported, and only here: `fsbot --help` must not wait for
torch. A module that has arguments of its own offers `add_arguments(parser)` and must be light to
import; what is heavy it imports in `run`.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import importlib
import os
import select
import sys
import traceback
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from fsbot import __version__
from fsbot.commands import ALIASES, COMMANDS
from fsbot.errors import INTERRUPTED, UserError

if TYPE_CHECKING:
    from fsbot.sources import Configuration

READER_GONE = 141  # 128 + SIGPIPE
_STDERR = 2
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    _mend_standard_streams()
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
            _drop_output()
            return READER_GONE
        if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
            _drop_output()
            return _say_user_error(
                UserError(f"the output cannot be written: {error.strerror}", "Free some space.", 1)
            )
        if isinstance(error, PermissionError) and error.filename:
            return _say_user_error(
                UserError(
                    f"this user may not look at {str(error.filename)!r}: {error.strerror}",
                    "Run the command as a user who may, or elsewhere: relative paths begin at the "
                    "working directory.",
                )
            )
        _flush_log()
        traceback.print_exc()
        print(
            f"fsbot {__version__} stopped on an error of its own: please report the lines above",
            file=sys.stderr,
        )
        return 1


def _mend_standard_streams() -> None:
    """Give a process that was started without standard streams some, and let none of them fail at
    a character that a terminal does not know."""
    # A file that is opened later would get the number of a stream that is closed, and with it
    # what libraries write there.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """What is left in stdout's buffer would raise once more when Python exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
