"""Who may write what, who may read it: FreeSWITCH's user, this user, and the group they share."""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fsbot.doctor.findings import Finding, Status

CHECK = "shared group"


@dataclass(frozen=True, slots=True)
class ProcessUser:
    """Whose rights a running process has. gids: its group and all supplementary ones."""

    uid: int
    gids: frozenset[int]

    def may(self, found: os.stat_result, bits: int) -> bool:
        """Whether it has these of `rwx` (4, 2, 1) on what was stat'ed, access lists aside."""
        if self.uid == 0:
            return True
        if found.st_uid == self.uid:
            shift = 6
        elif found.st_gid in self.gids:
            shift = 3
        else:
            shift = 0
        return (found.st_mode >> shift) & bits == bits


def user_name(uid: int) -> str:
    """As people know it; the number, if it has no name here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """As people know it; the number, if it has no name here."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def process_user(pid: int, name: str, proc: Path = Path("/proc")) -> ProcessUser | None:
    """The user of process `pid` if it is called `name`; None if it is another or is not here.

    The groups are those it was started with: being added to a group later changes nothing.
    """
    try:
        lines = (proc / str(pid) / "status").read_text().splitlines()
    except OSError:
        return None
    fields = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
    if fields.get("Name") != [name]:
        return None
    # Real, effective, saved, file system: the last ones decide about files.
    uid, gid = int(fields["Uid"][3]), int(fields["Gid"][3])
    return ProcessUser(uid, frozenset([gid, *map(int, fields["Groups"])]))


def check_process(user: ProcessUser, directory: Path) -> Iterator[Finding]:
    """Whether a FreeSWITCH that runs here can write recordings that this user can read."""
    name = user_name(user.uid)
    directory = directory.resolve()
    for parent in reversed(directory.parents):
        if not user.may(parent.stat(), 1):
            yield Finding(
                CHECK,
                Status.FAILED,
                f"FreeSWITCH (user {name}) may not enter {parent}",
                f"Run `chmod o+x {parent}`, or choose a recordings.directory elsewhere.",
            )
            return
    found = directory.stat()
    group = group_name(found.st_gid)
    if user.may(found, 3):
        yield Finding(
            CHECK,
            Status.OK,
            f"FreeSWITCH (user {name}) may write to {directory}, which is of group {group}",
        )
    else:
        yield Finding(
            CHECK,
            Status.FAILED,
            f"FreeSWITCH (user {name}) may not write to {directory}: it is of group {group}, mode "
            f"{found.st_mode & 0o7777:o}",
            _join(name, group) if found.st_mode & stat.S_IWGRP else f"Run `chmod 2770 {directory}`",
        )


def check_recording(path: Path, directory: Path) -> Iterator[Finding]:
    """What owner, group and mode of a file that FreeSWITCH has just made say."""
    made, folder = path.stat(), directory.stat()
    owner, group = user_name(made.st_uid), group_name(made.st_gid)
    wanted = group_name(folder.st_gid)
    mode = f"{made.st_mode & 0o777:o}"
    said = f"FreeSWITCH writes as user {owner}, group {group}, mode {mode}"
    problem = _why_not_readable(path)
    readable_by_group = made.st_mode & stat.S_IRGRP or made.st_mode & stat.S_IROTH
    if problem:
        yield Finding(
            CHECK,
            Status.FAILED,
            f"{said}: this user cannot read it ({problem})",
            f"Set recordings.shared_group to a group that both users are in, and let FreeSWITCH's "
            f"umask leave the group its right to read (UMask=0027); the directory's is {wanted}.",
        )
    elif made.st_uid != os.geteuid() and not readable_by_group:
        yield Finding(
            CHECK,
            Status.WARNING,
            f"{said}: only root can read it",
            "Let FreeSWITCH's umask leave the group its right to read (UMask=0027).",
        )
    elif made.st_gid != folder.st_gid:
        yield Finding(
            CHECK,
            Status.WARNING,
            f"{said}, not of the directory's group {wanted}",
            f"Run `chmod g+s {directory}`: then recordings get the directory's group.",
        )
    else:
        yield Finding(CHECK, Status.OK, f"{said}; this user can read it")


def _join(user: str, group: str) -> str:
    return (
        f"Run `usermod -aG {group} {user}` and restart FreeSWITCH, or set recordings.shared_group "
        "to a group of its user and let fsbot make the directory anew."
    )


def _why_not_readable(path: Path) -> str:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""
