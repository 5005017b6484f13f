import io
import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Literal

import gevent
import pytest
import structlog
from pydantic import SecretStr

from fsbot import log

Lines = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.setLevel(level)
    root.handlers = [h for h in root.handlers if not isinstance(h, log._FromStdlib)]


def start(
    format: Literal["console", "json"] = "console",
    level: Literal["debug", "info", "warning", "error"] = "info",
    show_text: bool | None = None,
) -> Lines:
    stream = io.StringIO()
    log.configure(format=format, level=level, show_text=show_text, stream=stream)

    def lines() -> list[str]:
        log.flush()
        return stream.getvalue().splitlines()

    return lines


def test_console_line() -> None:
    lines = start()
    call = structlog.get_logger("fsbot.call").bind(call_uuid="abc-1")
    call.warning("recording refused", reply="-ERR no session", tries=2)
    (line,) = lines()
    time, rest = line.split(" ", 1)
    assert datetime.fromisoformat(time).utcoffset() is not None
    assert time.endswith("Z")
    assert rest == (
        'warning recording refused call_uuid=abc-1 reply="-ERR no session" tries=2 [fsbot.call]'
    )


def test_json_line() -> None:
    lines = start("json")
    structlog.get_logger("fsbot.call").bind(call_uuid="abc-1").info("call answered", rate=8000)
    record = json.loads(lines()[0])
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "event": "call answered",
        "level": "info",
        "logger": "fsbot.call",
        "call_uuid": "abc-1",
        "rate": 8000,
    }


def test_level() -> None:
    lines = start(level="warning")
    logger = structlog.get_logger("fsbot.x")
    logger.info("quiet")
    logger.warning("loud")
    logging.getLogger("lib").info("quiet")
    logging.getLogger("lib").error("loud")
    assert len(lines()) == 2
    assert "quiet" not in "".join(lines())


@pytest.mark.parametrize(
    ("format", "show_text", "shown"),
    [
        ("console", None, True),
        ("json", None, False),
        ("console", False, False),
        ("json", True, True),
    ],
)
def test_spoken_text_and_numbers_only_by_setting(
    format: Literal["console", "json"], show_text: bool | None, shown: bool
) -> None:
    lines = start(format, show_text=show_text)
    structlog.get_logger("fsbot.call").info(
        "words", text="allô", tentative="allô", caller="allô", callee="allô", destination="allô"
    )
    # greenswitch writes callers' numbers and events on the root logger.
    logging.getLogger().info("Caller %s has gone away.", "allô")
    text = "\n".join(lines())
    found = text.count("allô") + text.count("all\\u00f4")
    assert found == (6 if shown else 0)
    assert text.count(log.HIDDEN) == (0 if shown else 6)


@pytest.mark.parametrize("format", ["console", "json"])
def test_no_secrets(format: Literal["console", "json"]) -> None:
    lines = start(format)
    structlog.get_logger("fsbot.switch").info(
        "login", password="hunter2", given=SecretStr("hunter2"), both=[SecretStr("hunter2")]
    )
    assert "hunter2" not in lines()[0]
    assert log.MASK in lines()[0]


@pytest.mark.parametrize("format", ["console", "json"])
def test_no_value_can_forge_a_line_or_steer_the_terminal(
    format: Literal["console", "json"],
) -> None:
    lines = start(format)
    nasty = "a\x1b[2Jb\r\nfake line\x00\x7f\x9b\u2028\u2029\u202e\udcff\x85 end"
    logger = structlog.get_logger("fsbot.switch")
    logger.info("event", reply=nasty, items=[nasty], mapping={nasty: nasty})
    logger.info(nasty)
    logging.getLogger("lib").warning(nasty)
    written = lines()
    assert len(written) == 3
    assert all(line.isprintable() for line in written)
    if format == "console":
        assert r"\x1b[2J" in written[0]
        assert r"\u202e" in written[0]
        assert r"\udcff" in written[0]


def test_values_cannot_forge_fields() -> None:
    lines = start()
    structlog.get_logger("x").info("event", reply='a" call_uuid="b', empty="", plain="a/b-c:1")
    assert 'reply="a\\" call_uuid=\\"b"' in lines()[0]
    assert 'empty="" plain=a/b-c:1' in lines()[0]


def test_french_stays_readable_on_the_console() -> None:
    lines = start()
    structlog.get_logger("x").info("words", text="« Ça va\u00a0? » œuf")
    assert 'text="« Ça va\u00a0? » œuf"' in lines()[0]


def test_traceback_is_indented_and_escaped() -> None:
    lines = start()
    try:
        raise ValueError("bad\x1b[31m\nError forged")
    except ValueError:
        structlog.get_logger("x").exception("broke")
    head, *block = lines()
    assert "error   broke" in head
    assert block[0].startswith("    | Traceback")
    assert all(line.startswith("    | ") and line.isprintable() for line in block)
    assert any("ValueError: bad\\x1b[31m" in line for line in block)


def test_traceback_in_json_is_one_line() -> None:
    lines = start("json")
    try:
        raise ValueError("bad")
    except ValueError:
        logging.getLogger("lib").exception("broke")
    (line,) = lines()
    assert "ValueError: bad" in json.loads(line)["exception"]


def test_stdlib_records_and_warnings_come_through() -> None:
    lines = start("json")
    logging.getLogger("lib").warning("port %d", 8021)
    logging.getLogger("lib").log(25, "odd level")
    misfit = logging.LogRecord("lib", 30, __file__, 1, "port %d", ("not a number",), None)
    log._FromStdlib().emit(misfit)  # not through the root logger, where pytest's handler raises
    warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    records = [json.loads(line) for line in lines()]
    assert records[0]["event"] == "port 8021"
    assert records[0]["logger"] == "lib"
    assert records[1]["level"] == "info"
    assert "not a number" in records[2]["event"]
    assert records[3]["logger"] == "py.warnings"
    assert "old thing" in records[3]["event"]


def test_chatty_libraries_are_held_at_warning() -> None:
    lines = start(level="debug")
    logging.getLogger("numba.core").debug("noise")
    logging.getLogger("lib").debug("wanted")
    assert len(lines()) == 1


def test_configuring_again_replaces_everything() -> None:
    first = start("json")
    logger = structlog.get_logger("fsbot.x")
    logger.info("one")
    second = start("console")
    logger.info("two")
    logging.getLogger("lib").warning("three")
    assert len(first()) == 1
    assert len(second()) == 2


def test_lines_of_greenlets_and_threads_are_whole() -> None:
    lines = start("json")

    def talk(who: str) -> None:
        logger = structlog.get_logger("fsbot.x").bind(who=who)
        for number in range(50):
            logger.info("line", number=number, padding="x" * 500)
            if who.startswith("greenlet"):
                gevent.sleep(0)

    threads = [threading.Thread(target=talk, args=(f"thread {n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    gevent.joinall([gevent.spawn(talk, f"greenlet {n}") for n in range(3)], raise_error=True)
    for thread in threads:
        thread.join()
    records = [json.loads(line) for line in lines()]
    for who in {record["who"] for record in records}:
        assert [r["number"] for r in records if r["who"] == who] == list(range(50))
    assert len(records) == 300


def test_a_reader_that_stops_reading_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-S on the console must not stop the event socket: the caller goes on; lines are dropped,
    and counted once the reader reads again."""
    monkeypatch.setattr(log, "MAX_WAITING_LINES", 100)
    reading, writing = os.pipe()
    full = os.fdopen(writing, "w")
    log.configure(format="json", stream=full)
    logger = structlog.get_logger("fsbot.x")
    for _ in range(2000):  # 2 MB, and a pipe holds 64 KiB
        logger.info("line", padding="x" * 1000)

    read: list[str] = []
    with os.fdopen(reading) as reader:
        reading_again = threading.Thread(target=lambda: read.extend(reader))
        reading_again.start()
        log.flush(60)
        log.flush(60)  # for the line about the dropped lines
        log.configure(stream=io.StringIO())
        full.close()
        reading_again.join()
    records = [json.loads(line) for line in read]
    lines = sum(record["event"] == "line" for record in records)
    dropped = sum(record["lines"] for record in records if record["event"] == "log lines dropped")
    assert 100 <= lines < 1000
    assert lines + dropped == 2000


def test_stderr_that_is_gone_is_no_error() -> None:
    stream = io.StringIO()
    log.configure(stream=stream)
    stream.close()
    structlog.get_logger("fsbot.x").info("nobody hears this")
    log.flush()
    lines = start()
    structlog.get_logger("fsbot.x").info("this is heard")
    assert len(lines()) == 1


def test_lines_are_written_before_the_program_ends() -> None:
    script = (
        "import structlog; from fsbot import log; log.configure(format='json')\n"
        "for n in range(500): structlog.get_logger('x').info('line', n=n)\n"
        "raise SystemExit(3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 3
    assert [json.loads(line)["n"] for line in done.stderr.splitlines()] == list(range(500))


def test_a_program_whose_stderr_nobody_reads_still_ends() -> None:
    script = (
        "import structlog; from fsbot import log; log.configure()\n"
        "for n in range(2000): structlog.get_logger('x').info('line', padding='x' * 1000)"
    )
    # With PYTHONUNBUFFERED there is no buffer to get stuck in.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w") as unread:
        done = subprocess.run(
            [sys.executable, "-c", script], stderr=unread, check=False, timeout=60, env=environment
        )
    assert done.returncode == 0


def test_stderr_that_is_no_terminal_gets_no_colours() -> None:
    lines = start()
    structlog.get_logger("fsbot.x").error("plain")
    assert "\x1b" not in lines()[0]


def test_terminal_gets_colours_but_only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    log.configure(stream=stream)
    structlog.get_logger("fsbot.x").error("red", value="\x1b[0mnot ours")
    log.flush()
    assert "\x1b[31merror" in stream.getvalue()
    assert "\x1b[0mnot ours" not in stream.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    log.configure(stream=stream)
    structlog.get_logger("fsbot.x").error("plain")
    log.flush()
    assert "\x1b" not in stream.getvalue()
