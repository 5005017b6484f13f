"""How FreeSWITCH is told to record a leg, and where the recording goes.

Source: section 1 and 3 of our measurements of FreeSWITCH 1.11 (tests/fixtures/captures, errors.esl
and unwritable_dir.esl hold the replies).
"""

import grp
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fsbot.errors import UserError
from fsbot.switch.errors import CommandRefused
from fsbot.switch.uuids import FILE_STEM, check_uuid, file_stem

_FILE_NAME = re.compile(rf"({FILE_STEM})-([1-9][0-9]{{0,8}})\.raw")
# uuid_record splits its arguments at blanks and gives meaning to quotes, backslashes, braces, $.
_SAFE_DIRECTORY = re.compile(r"/[\w./@+=,~:-]*")
_DIRECTORY_MODE = 0o2770

OWN_MASK = "fsbot"
"""The last argument of a mask command that a bot sends."""

_VARIABLES = {
    "RECORD_STEREO": "false",
    "RECORD_STEREO_SWAP": "false",
    "RECORD_READ_ONLY": "false",
    "RECORD_WRITE_ONLY": "false",
    "record_sample_rate": "16000",
    "enable_file_write_buffering": "false",
    "RECORD_PRE_BUFFER_FRAMES": "0",
    "RECORD_USE_THREAD": "true",
    "RECORD_APPEND": "false",
    "RECORD_ANSWER_REQ": "false",
    "RECORD_BRIDGE_REQ": "false",
    "RECORD_MIN_SEC": "0",
    "RECORD_INITIAL_TIMEOUT_MS": "-1",
    "RECORD_FINAL_TIMEOUT_MS": "-1",
    "RECORD_SILENCE_THRESHOLD": "0",
    "RECORD_TOGGLE_ON_REPEAT": "false",
    "RECORD_CHECK_BRIDGE": "false",
    "RECORD_HANGUP_ON_ERROR": "false",
}
"""Every variable that rules a recording to an absolute path without video. FreeSWITCH looks for
each of them in the braces of the command, then on the channel, then among the global variables
(get_recording_var in switch_ivr_async.c): one that is not in the braces is the dialplan's.

An empty value would not count as one, so each has the value that means "no". A timeout of silence
below 0 leaves its detection off, a threshold of 0 turns it off.
"""


class RecordingRefused(CommandRefused):
    """FreeSWITCH did not answer `+OK` to uuid_record; `reply` is its answer, unchanged."""

    @property
    def leg_is_gone(self) -> bool:
        return self.reply.startswith("-ERR Cannot locate session")


@dataclass(frozen=True, slots=True)
class RecordingDirectory:
    """One directory under the two names that the bot and FreeSWITCH have for it."""

    local: Path
    on_switch: PurePosixPath
    group: int = -1
    """Of the directory, if it has to be made; -1: the bot's own."""

    def make_again(self) -> None:
        """Make the directory if somebody has deleted it: FreeSWITCH would make one that the bot
        cannot read. Raises OSError."""
        if not self.local.is_dir():
            _make(self.local, self.group)

    def path(self, uuid: str, number: int) -> Path:
        """Where the bot finds recording `number` (from 1) of a leg. Raises UnsafeUuid."""
        return self.local / _file_name(uuid, number)

    def switch_path(self, uuid: str, number: int) -> str:
        """The same file as FreeSWITCH names it, in commands and in `Record-File-Path`."""
        return str(self.on_switch / _file_name(uuid, number))

    def identify(self, switch_path: str) -> tuple[str, int] | None:
        """The `file_stem` of the leg's UUID and the number of a `Record-File-Path`; None if the
        file is not one of ours."""
        path = PurePosixPath(switch_path)
        return self.identify_name(path.name) if path.parent == self.on_switch else None

    @staticmethod
    def identify_name(name: str) -> tuple[str, int] | None:
        """The same of a file's name; None if the bot gives no such names."""
        found = _FILE_NAME.fullmatch(name)
        return (found[1], int(found[2])) if found else None


def _file_name(uuid: str, number: int) -> str:
    return f"{file_stem(uuid)}-{number}.raw"


def start_command(
    uuid: str,
    switch_path: str,
    *,
    sample_rate: int = 16_000,
    each_leg: bool = False,
    swapped: bool = False,
    threaded: bool = True,
) -> str:
    """The API command that starts a recording written frame by frame, 20 ms each.

    Normally both sides: left is what this leg says, right what it hears; `swapped`, the other way
    round. With `each_leg` one channel, only what this leg says. `threaded`: a thread of the
    recording's own writes the file, so a disk that stalls does not silence the call; see
    fsbot.switch.hangup_delay for what has to be done first. Raises UnsafeUuid.
    """
    wanted = "RECORD_READ_ONLY" if each_leg else "RECORD_STEREO"
    if swapped:
        wanted = "RECORD_STEREO_SWAP"
    variables = _VARIABLES | {wanted: "true", "record_sample_rate": str(sample_rate)}
    if not threaded:
        variables["RECORD_USE_THREAD"] = "false"
    braces = ",".join(f"{name}={value}" for name, value in variables.items())
    # Without the limit 0 FreeSWITCH says +OK and ignores every variable.
    return f"uuid_record {check_uuid(uuid)} start {switch_path} 0 {{{braces}}}"


def stop_command(uuid: str, switch_path: str) -> str:
    """The API command that ends a recording; the file is complete before the reply.

    Raises UnsafeUuid.
    """
    return f"uuid_record {check_uuid(uuid)} stop {switch_path}"


def mask_command(uuid: str, switch_path: str, *, masked: bool) -> str:
    """The API command that has zeros written instead of sound, or sound again; time goes on.

    FreeSWITCH ignores OWN_MASK at its end. It is for the API event that FreeSWITCH makes of the
    command: every fsbot that hears it knows that no user wants silence by it. Raises UnsafeUuid.
    """
    action = "mask" if masked else "unmask"
    return f"uuid_record {check_uuid(uuid)} {action} {switch_path} {OWN_MASK}"


def check_reply(command: str, reply: str) -> None:
    """Raises RecordingRefused unless the reply to a command of this module begins with `+OK`.

    `+OK` to a start also means that this very file was being recorded already.
    """
    if not reply.startswith("+OK"):
        raise RecordingRefused(command, reply)


def prepare_directory(
    directory: Path, switch_directory: str = "", shared_group: str = ""
) -> RecordingDirectory:
    """The directory for recordings: made if it is missing, checked if it is there.

    `switch_directory` is FreeSWITCH's name for it, empty if both have the same. A new directory
    gets mode 02770 and `shared_group`, FreeSWITCH's group (a name or number, empty: the bot's
    own). One that is there is never changed. Raises UserError with the remedy.
    """
    local = Path(os.path.abspath(directory))
    on_switch = PurePosixPath(os.path.normpath(switch_directory or local))
    _check_switch_view(on_switch, "switch_directory" if switch_directory else "directory")
    group = _group_id(shared_group)
    try:
        if not local.is_dir():
            _make_for_group(local, group, shared_group)
        _check_access(local, group, shared_group)
        _check_contents(local)
    except OSError as error:
        raise UserError(
            f"the directory for recordings {str(local)!r} cannot be used: {error.strerror}",
            "Let the bot's user write there, or change recordings.directory.",
        ) from error
    return RecordingDirectory(local, on_switch, group)


def _check_switch_view(on_switch: PurePosixPath, setting: str) -> None:
    if not _SAFE_DIRECTORY.fullmatch(str(on_switch)):
        raise UserError(
            f"FreeSWITCH cannot record into {str(on_switch)!r}",
            f"Let recordings.{setting} be an absolute path of letters, digits and ._-/@+=,~: "
            "only (FreeSWITCH cuts a path at a blank).",
        )


def _group_id(name: str) -> int:
    """-1, which leaves a file's group alone, for the empty name."""
    if not name:
        return -1
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise UserError(
            f"there is no group {name!r} on this machine",
            "Set recordings.shared_group to the group that FreeSWITCH runs as, or leave it empty.",
        ) from None


def _make_for_group(local: Path, group: int, group_name: str) -> None:
    try:
        _make(local, group)
    except PermissionError as error:
        if local.parent.is_dir() and os.access(local.parent, os.W_OK):
            raise UserError(
                f"the bot's user may not give {str(local)!r} to group {group_name!r}",
                f"Add the bot's user to that group (usermod -aG {group_name} USER), or correct "
                "recordings.shared_group.",
            ) from error
        raise


def _make(local: Path, group: int) -> None:
    local.parent.mkdir(parents=True, exist_ok=True)
    local.mkdir(mode=0o700)
    try:
        os.chown(local, -1, group)
    except OSError:
        local.rmdir()
        raise
    local.chmod(_DIRECTORY_MODE)  # after chown, which clears the set-group-id bit


def _check_access(local: Path, group: int, group_name: str) -> None:
    found = local.stat()
    if found.st_mode & 0o007:
        raise UserError(
            f"everybody on this machine may enter {str(local)!r}, which is to hold recorded calls",
            f"Run `chmod 2770 {local}`, or set recordings.directory to one that fsbot may create.",
        )
    if group not in (-1, found.st_gid):
        raise UserError(
            f"{str(local)!r} does not belong to group {group_name!r}",
            f"Run `chgrp {group_name} {local}`, or correct recordings.shared_group.",
        )
    with tempfile.TemporaryFile(dir=local):
        pass  # permissions do not tell of a read-only or immutable file system; trying does


def _check_contents(local: Path) -> None:
    rates = sorted(entry.name for entry in local.iterdir() if entry.name.isdigit())
    if rates:
        raise UserError(
            f"{str(local)!r} holds {rates[0]!r}, which FreeSWITCH takes for recordings at that "
            "sample rate: it would refuse to record",
            "Move it away, or change recordings.directory.",
        )
