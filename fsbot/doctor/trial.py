"""A recording on a live call: started, watched, stopped, deleted."""

import contextlib
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import gevent
from inotify_simple import INotify, flags

from fsbot.audio.pcm import PcmFormat
from fsbot.doctor.findings import Finding, Status
from fsbot.doctor.growth import Observation, SizeWatch, judge
from fsbot.doctor.host import blind, trial_path
from fsbot.doctor.rights import check_recording
from fsbot.doctor.switch import path_differs
from fsbot.settings import Settings
from fsbot.switch.connection import Connection
from fsbot.switch.errors import CommandRefused, EslError
from fsbot.switch.recording import (
    RecordingDirectory,
    RecordingRefused,
    check_reply,
    start_command,
    stop_command,
)
from fsbot.switch.resync import exists
from fsbot.switch.uuids import UnsafeUuid

CALL_CHECK = "call"
RECORDING_CHECK = "recording"

RING_SECONDS = 30
PATIENCE_SECONDS = 5.0
"""For the first bytes; FreeSWITCH's own buffering takes 4.1 s at the lowest rate."""

WATCH_SECONDS = 2.0
LOOK_AGAIN_SECONDS = 0.05


@contextlib.contextmanager
def placed_call(connection: Connection, dial_string: str) -> Iterator[str]:
    """The UUID of a call that FreeSWITCH places and parks; hung up afterwards, whatever happens.

    Raises EslError, CommandRefused if nobody answers, and ValueError for a line break.
    """
    call = str(uuid.uuid4())
    variables = (
        f"origination_uuid={call},originate_timeout={RING_SECONDS}"
        ",ignore_early_media=true,fsbot=false"
    )
    command = f"originate {{{variables}}}{dial_string} &park"
    try:
        reply = connection.api(command, timeout=RING_SECONDS + 10)
        if not reply.startswith("+OK"):
            raise CommandRefused(f"originate {dial_string} &park", reply)
        yield call
    finally:
        with contextlib.suppress(EslError, ValueError):
            connection.api(f"uuid_kill {call}")


def check_placed_call(
    connection: Connection, dial_string: str, directory: RecordingDirectory, settings: Settings
) -> Iterator[Finding]:
    """Everything a recording shows, on a call placed for it. Raises EslError for a lost link."""
    try:
        with placed_call(connection, dial_string) as call:
            yield Finding(CALL_CHECK, Status.OK, f"{dial_string} answered")
            yield from check_call(connection, call, directory, settings)
    except (CommandRefused, ValueError) as error:
        yield Finding(
            CALL_CHECK,
            Status.FAILED,
            str(error),
            "Give --originate a dial string that somebody or something answers, for instance "
            "user/1000 or loopback/9196/default; `originate … &park` in fs_cli tries it.",
        )


def check_call(
    connection: Connection, call: str, directory: RecordingDirectory, settings: Settings
) -> Iterator[Finding]:
    """Everything a recording of a live call shows. Raises EslError for a lost link."""
    try:
        alive = exists(connection, call)
    except UnsafeUuid as error:
        alive, call = False, str(error)
    if not alive:
        yield Finding(
            CALL_CHECK,
            Status.FAILED,
            f"there is no such call: {call}",
            "`show channels` in fs_cli lists the UUIDs of all that are up.",
        )
        return
    file = trial_path(directory.local)
    switch_path = str(directory.on_switch / file.name)
    wanted = settings.recordings
    command = start_command(
        call, switch_path, sample_rate=wanted.sample_rate, each_leg=wanted.each_leg
    )
    inotify = _writes_in(directory.local)
    try:
        seen = _record(connection, command, stop_command(call, switch_path), file)
        yield from _what_was_seen(seen, file, directory, settings)
        if inotify and seen.changes and not _announced(inotify, file):
            yield blind(directory.local)
    except RecordingRefused as error:
        yield Finding(
            RECORDING_CHECK,
            Status.FAILED,
            str(error),
            f"Let FreeSWITCH's user write to {directory.on_switch} (recordings.shared_group), or "
            "set recordings.switch_directory to its name for the directory.",
        )
    finally:
        if inotify:
            inotify.close()
        file.unlink(missing_ok=True)


def _record(connection: Connection, start: str, stop: str, file: Path) -> Observation:
    """Record for a few seconds. Raises EslError, RecordingRefused for what is not +OK."""
    try:
        with SizeWatch(file) as watch:
            check_reply(start, connection.api(start))
            seen = watch.seen
            seen.accepted_at = time.monotonic()
            while not seen.changes and time.monotonic() < seen.accepted_at + PATIENCE_SECONDS:
                gevent.sleep(LOOK_AGAIN_SECONDS)
            if seen.changes:
                gevent.sleep(WATCH_SECONDS)
    finally:
        with contextlib.suppress(EslError):
            connection.api(stop)
    return seen


def _what_was_seen(
    seen: Observation,
    file: Path,
    directory: RecordingDirectory,
    settings: Settings,
) -> Iterator[Finding]:
    if not seen.appeared:
        yield path_differs(
            directory,
            f"FreeSWITCH says that it records to {directory.on_switch / file.name} (and leaves it "
            f"there), but there is no {file}",
        )
        return
    yield Finding(RECORDING_CHECK, Status.OK, f"FreeSWITCH writes to {directory.on_switch}")
    if file.exists():  # FreeSWITCH deletes a recording that stayed empty
        yield from check_recording(file, directory.local)
    channels = 1 if settings.recordings.each_leg else 2
    yield judge(seen, PcmFormat(settings.recordings.sample_rate, channels).byte_rate)


def _writes_in(directory: Path) -> INotify | None:
    """None where inotify is not to be had; check_inotify has said so."""
    inotify = None
    try:
        inotify = INotify(nonblocking=True)
        inotify.add_watch(directory, flags.MODIFY)
    except OSError:
        if inotify:
            inotify.close()
        return None
    return inotify


def _announced(inotify: INotify, file: Path) -> bool:
    return any(event.name == file.name for event in inotify.read(timeout=0))
