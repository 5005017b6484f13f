"""What can be asked of FreeSWITCH without a call."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fsbot.doctor.findings import Finding, Status
from fsbot.doctor.host import probe
from fsbot.doctor.listening import addresses, advice_on_refusal
from fsbot.doctor.rights import CHECK as GROUP_CHECK
from fsbot.doctor.rights import ProcessUser, check_process, process_user
from fsbot.settings import Esl, Settings
from fsbot.switch.connection import Connection
from fsbot.switch.errors import ConnectionRefused, EslError
from fsbot.switch.recording import RecordingDirectory

SOCKET_CHECK = "event socket"
PATH_CHECK = "switch's path"

OLDEST_VERSION = (1, 8, 6)
"""The first that takes the variables of a recording in uuid_record itself."""

_VERSION = re.compile(r"Version (\d+)\.(\d+)\.(\d+)[-\w.]*")


@contextlib.contextmanager
def logged_in(settings: Settings) -> Iterator[Connection]:
    """A connection to the event socket. Raises EslError."""
    esl = settings.esl
    connection = Connection(
        esl.host,
        esl.port,
        esl.password.get_secret_value(),
        connect_timeout=esl.connect_timeout,
        request_timeout=esl.request_timeout,
    )
    connection.connect()
    try:
        yield connection
    finally:
        connection.stop()


def socket_failed(error: EslError, esl: Esl) -> Finding:
    """No login, or the end of a link."""
    remedy = error.remedy or "Look at FreeSWITCH's log; esl.host and esl.port say where it is."
    if isinstance(error, ConnectionRefused):
        remedy = advice_on_refusal(esl, addresses(esl.port)) or remedy
    return Finding(SOCKET_CHECK, Status.FAILED, str(error), remedy)


def check_switch(connection: Connection) -> Iterator[Finding]:
    """Login, version, and whether it is ready for calls. Raises EslError."""
    yield Finding(SOCKET_CHECK, Status.OK, f"logged in at {connection.where}")
    reply = connection.api("version")
    version = _VERSION.search(reply)
    if version is None:
        yield Finding(
            "FreeSWITCH",
            Status.FAILED,
            f"answers `api version` with {reply.strip()[:80]!r}",
            "Let this login run api commands (esl-allowed-api of its user, if it has one).",
        )
        return
    status = connection.api("status")
    if tuple(map(int, version.groups())) < OLDEST_VERSION:
        yield Finding(
            "FreeSWITCH",
            Status.WARNING,
            f"{version[0]} does not take variables in uuid_record",
            "Update it to 1.10, or run `global_setvar enable_file_write_buffering=false` there "
            "and see with --call what its recordings are like.",
        )
    elif "is ready" not in status:
        yield Finding(
            "FreeSWITCH",
            Status.WARNING,
            f"{version[0]} is not ready: {' '.join(status.split())[:100]}",
            "It starts, pauses or shuts down: wait, or `fsctl resume`.",
        )
    else:
        yield Finding("FreeSWITCH", Status.OK, f"{version[0]} is ready")


def check_path(connection: Connection, directory: RecordingDirectory) -> Iterator[Finding]:
    """Whether FreeSWITCH finds, under its name of the directory, what this side puts there.

    Raises EslError.
    """
    with probe(directory.local) as file:
        switch_path = directory.on_switch / file.name
        reply = connection.api(f"file_exists {switch_path}").strip()
    if reply == "true":
        message = f"FreeSWITCH finds the directory as {directory.on_switch}"
        yield Finding(PATH_CHECK, Status.OK, message)
    elif reply == "false":
        yield path_differs(
            directory, f"FreeSWITCH does not find {switch_path}, which is {file} here"
        )
    else:
        yield Finding(PATH_CHECK, Status.NOT_TESTED, f"file_exists: {reply[:80]}")


def path_differs(directory: RecordingDirectory, message: str) -> Finding:
    """The two sides do not mean the same directory, or FreeSWITCH may not enter it."""
    return Finding(
        PATH_CHECK,
        Status.FAILED,
        message,
        f"Set recordings.switch_directory to what FreeSWITCH calls {directory.local}, and let its "
        "user enter it and all directories above.",
    )


def check_group(connection: Connection, directory: RecordingDirectory) -> Iterator[Finding]:
    """Whether FreeSWITCH's process may write there, if it runs on this machine. Raises EslError."""
    if directory.on_switch != PurePosixPath(directory.local):
        yield _group_unknown("FreeSWITCH has another name for the directory")
        return
    host = connection.api("global_getvar hostname").strip()
    if host != os.uname().nodename:
        yield _group_unknown(f"FreeSWITCH runs on another host, {host[:80]}")
        return
    user = _switch_user(connection.api("global_getvar run_dir").strip())
    if user is None:
        yield _group_unknown("FreeSWITCH's process is not to be seen from here")
        return
    yield from check_process(user, directory.local)


def _switch_user(run_directory: str) -> ProcessUser | None:
    try:
        pid = int(Path(run_directory, "freeswitch.pid").read_text())
    except (OSError, ValueError):
        return None
    return process_user(pid, "freeswitch")


def _group_unknown(reason: str) -> Finding:
    return Finding(
        GROUP_CHECK,
        Status.NOT_TESTED,
        f"{reason}, and there is no call to record (--call UUID or --originate DIALSTRING)",
    )
