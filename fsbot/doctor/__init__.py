"""`fsbot doctor`: is everything there that a live call needs, and what to do if it is not."""

import argparse
import contextlib
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsbot.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `fsbot doctor` on its (sub)parser."""
    parser.add_argument(
        "--test-connection",
        action="store_true",
        help="only the event socket: login, version and whether FreeSWITCH is ready",
    )
    calls = parser.add_mutually_exclusive_group()
    calls.add_argument(
        "--call",
        metavar="UUID",
        help="record this live call for two seconds beside whatever else is done with it; the "
        "file is deleted",
    )
    calls.add_argument(
        "--originate",
        metavar="DIALSTRING",
        help="place a call (originate DIALSTRING &park), record it for two seconds, hang up",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per check")


def run(args: argparse.Namespace, settings: "Settings") -> int:
    """`fsbot doctor`; returns 1 if a check failed, else 0."""
    from fsbot.doctor.examination import Examination
    from fsbot.doctor.findings import Report

    report = Report(as_json=args.json)
    examination = Examination(settings, args.call, args.originate)
    findings = examination.short() if args.test_connection else examination.whole()
    # Closing ends a recording or a call that is up, wherever an interrupt finds us.
    with _interrupts_here(), contextlib.closing(findings):
        for finding in findings:
            report.add(finding)
    report.close()
    return int(report.failed)


@contextlib.contextmanager
def _interrupts_here() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the checks in order: recordings stopped, calls hung up."""
    import gevent

    main = gevent.getcurrent()

    def interrupt(*_: object) -> None:
        if gevent.getcurrent() is main:
            raise KeyboardInterrupt
        # In any other greenlet gevent would print it and go on.
        gevent.kill(main, KeyboardInterrupt)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
