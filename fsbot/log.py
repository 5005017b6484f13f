"""Logging: structlog lines for people or JSON lines for machines, on stderr.

`configure` is called once by the command line. Modules use `structlog.get_logger("fsbot.<room>")`;
what belongs to a call is logged through a logger bound to its `call_uuid`.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import queue
import re
import sys
import threading
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, ProcessorReturnValue, WrappedLogger

# What people say and who they are: in the log only if log.text says so.
PRIVATE_FIELDS = frozenset({"text", "tentative", "caller", "callee", "destination"})
HIDDEN = "(hidden)"
SECRET_FIELDS = frozenset({"password", "secret", "token"})
MASK = "********"

# Lines that wait for a stderr that nobody reads; more are dropped, and counted.
MAX_WAITING_LINES = 10_000

_COLOURS = {"debug": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
_BOLD, _CYAN, _RESET = "\x1b[1m", "\x1b[36m", "\x1b[0m"
_BARE_VALUE = re.compile(r"[\w.:/+@%,*~-]+")
_CHATTY = ("numba", "urllib3", "asyncio", "markdown_it")


def configure(
    *,
    format: Literal["console", "json"] = "console",
    level: Literal["debug", "info", "warning", "error"] = "info",
    show_text: bool | None = None,
    stream: TextIO | None = None,
) -> None:
    """Send structlog, `logging` and `warnings` to `stream` (default stderr); may be called again.

    `show_text`: whether PRIVATE_FIELDS are logged; None: for console only.
    """
    global _writer
    target = sys.stderr if stream is None else stream
    colours = format == "console" and target.isatty() and not os.environ.get("NO_COLOR")
    hide = [] if (format == "console" if show_text is None else show_text) else [_hide_private]
    render: list[Processor] = (
        [structlog.processors.JSONRenderer()] if format == "json" else [ConsoleLine(colours)]
    )
    threshold = getattr(logging, level.upper())
    previous, _writer = _writer, _Writer(target)
    if previous is not None:
        previous.stop()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *hide,
            _mask_secrets,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=_Sink,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _FromStdlib)]:
        root.removeHandler(handler)
    root.addHandler(_FromStdlib())
    root.setLevel(threshold)
    logging.captureWarnings(True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))


def configure_as_library() -> None:
    """Have `logging` carry fsbot's lines in a program that has not configured structlog.

    structlog would print them on the program's stdout. Loggers of other libraries stay as they
    are, and a program that configures structlog later has fsbot's lines there, too.
    """
    if not structlog.is_configured():
        structlog.configure(
            processors=[_ForLibraries(structlog.get_config()["processors"])],
            logger_factory=_logger_for_libraries,
        )


def flush(timeout: float = 2.0) -> None:
    """Wait until all lines so far are written, at most `timeout` seconds."""
    if _writer is not None:
        _writer.flush(timeout)


def printable(text: str) -> str:
    """`text` on one line and harmless to a terminal: control, formatting (bidirectional
    overrides) and undecodable characters as backslash escapes; every kind of blank is kept."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or unicodedata.category(character) == "Zs"
        else json.dumps(character).strip('"')
        if character > "\xff" or character in "\n\r\t"
        else f"\\x{ord(character):02x}"
        for character in text
    )


class ConsoleLine:
    """Renders an event for people: time, level, event, key=value, logger; values are escaped and,
    where they could be mistaken for more fields, quoted. A traceback follows, indented."""

    def __init__(self, colours: bool) -> None:
        self._colours = colours

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> str:
        level = event.pop("level")
        exception, stack = event.pop("exception", ""), event.pop("stack", "")
        parts = [
            event.pop("timestamp"),
            self._in(_COLOURS.get(level, ""), f"{level:<7}"),
            self._in(_BOLD, printable(str(event.pop("event")))),
        ]
        source = event.pop("logger")
        parts += [f"{self._in(_CYAN, printable(key))}={_value(event[key])}" for key in event]
        if source:
            parts.append(f"[{printable(source)}]")
        lines = [" ".join(parts)]
        for block in (stack, exception):
            lines += [f"    | {printable(line)}" for line in block.splitlines()]
        return "\n".join(lines)

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colours and colour else text


def _value(value: object) -> str:
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    if not isinstance(value, str | os.PathLike):
        return printable(repr(value))
    text = str(value)
    if _BARE_VALUE.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{printable(escaped)}"'


def _hide_private(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    for field in PRIVATE_FIELDS & event.keys():
        event[field] = HIDDEN
    return event


def _mask_secrets(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    for field in SECRET_FIELDS & event.keys():
        event[field] = MASK
    return event


class _FromStdlib(logging.Handler):
    """Passes records of `logging` on to structlog, so that all lines look and are escaped alike."""

    def emit(self, record: logging.LogRecord) -> None:
        # structlog knows the five standard levels only.
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        exc_info = record.exc_info if record.exc_info and record.exc_info[0] else None
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # arguments that do not fit the format
            message = f"{record.msg} {record.args!r}"
        if record.name == "root":
            # Libraries that log on the root logger put what they handle into the message:
            # greenswitch writes callers' numbers and whole events there.
            where = f"{record.module}:{record.lineno}"
            structlog.get_logger(record.module).log(
                level, "library message", text=message, where=where, exc_info=exc_info
            )
        else:
            structlog.get_logger(record.name).log(level, message, exc_info=exc_info)


class _ToLogging:
    """What structlog calls a logger: hands rendered lines to the logger of `logging`."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        self.debug, self.info = self._logger.debug, self._logger.info
        self.warning, self.error = self._logger.warning, self._logger.error
        self.critical = self._logger.critical


class _ForLibraries:
    """Renders fsbot's events as `event key='value'`, others as their processors do."""

    def __init__(self, others: Sequence[Processor]) -> None:
        self._others = tuple(others)

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> ProcessorReturnValue:
        if not isinstance(logger, _ToLogging):
            result: Any = event
            for processor in self._others:
                result = processor(logger, name, result)
            return cast(ProcessorReturnValue, result)
        _mask_secrets(logger, name, _hide_private(logger, name, event))
        exception = structlog.processors.format_exc_info(logger, name, event).pop("exception", "")
        title = event.pop("event", "")
        fields = (f"{key}={value!r}" for key, value in event.items())
        lines = [" ".join([str(title), *fields]), *str(exception).splitlines()]
        return "\n    ".join(map(printable, lines))


def _logger_for_libraries(*args: Any) -> WrappedLogger:
    name = args[0] if args else ""
    if isinstance(name, str) and name.split(".")[0] == "fsbot":
        return _ToLogging(name)
    return structlog.PrintLoggerFactory()(*args)


class _Sink:
    """What structlog calls a logger: takes rendered lines."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        if _writer is not None:
            _writer.write(line)

    debug = info = warning = error = critical = exception = log = msg


class _Writer:
    """Writes lines in a thread of its own.

    A terminal that is stopped (Ctrl-S) or a pipe that nobody reads blocks whoever writes. That may
    not be the gevent hub: a bot that stops reading its event socket freezes every other client of
    that FreeSWITCH (FACTS.md 7). The queue's lock is a real one and is never held for long, so
    greenlets and threads may both log.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        try:
            self._fd: int | None = stream.fileno()
        except (OSError, ValueError):
            self._fd = None  # a StringIO
        self._encoding = stream.encoding or "utf-8"
        self._waiting: queue.SimpleQueue[str | Callable[[], object] | None] = queue.SimpleQueue()
        self._dropped = 0
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="fsbot log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        # The thread's own line says how many were dropped, so it may not be dropped itself.
        if self._waiting.qsize() < MAX_WAITING_LINES or threading.current_thread() is self._thread:
            self._waiting.put(line)
        else:
            with self._counting:
                self._dropped += 1

    def flush(self, timeout: float) -> None:
        done = threading.Event()
        self._waiting.put(done.set)
        done.wait(timeout)

    def stop(self) -> None:
        self.flush(2.0)
        self._waiting.put(None)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            if not isinstance(item, str):
                item()
                continue
            # OSError, ValueError: stderr is gone, and there is nowhere else to say so.
            with contextlib.suppress(OSError, ValueError):
                self._write(item)
            if self._dropped:
                with self._counting:
                    dropped, self._dropped = self._dropped, 0
                structlog.get_logger("fsbot.log").warning("log lines dropped", lines=dropped)

    def _write(self, line: str) -> None:
        data = f"{line}\n".encode(self._encoding, "backslashreplace")
        if self._fd is None:
            self._stream.write(data.decode(self._encoding))
        else:
            # Past the stream's buffer: a thread stuck in there holds its lock, and Python, which
            # flushes stderr when it exits, would hang (seen on 3.11 and 3.13).
            while data:
                data = data[os.write(self._fd, data) :]


_writer: _Writer | None = None
atexit.register(flush)
