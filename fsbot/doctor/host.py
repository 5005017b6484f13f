"""What can be checked on this machine alone: directories, disk, inotify, weights."""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from inotify_simple import INotify, flags

from fsbot.audio.follower import REMEDIES
from fsbot.claims import holder
from fsbot.doctor.findings import Finding, Status
from fsbot.doctor.rights import user_name
from fsbot.errors import UserError
from fsbot.languages import wrong_language
from fsbot.settings import Settings
from fsbot.switch.recording import RecordingDirectory, prepare_directory

CALLS = 4
HOURS = 1
NETWORK_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "lustre"}
    | {"nfs", "nfs4", "ocfs2", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"}
)
"""Types of mounts whose files other machines may write: inotify does not see these writes."""


def check_settings(settings: Settings) -> Iterator[Finding]:
    """They have been loaded, or we would not be here; rights are those of this user."""
    yield Finding(
        "settings",
        Status.OK,
        f"valid, `fsbot config` prints them; checking as user {user_name(os.geteuid())}",
    )


def open_recordings(settings: Settings) -> tuple[RecordingDirectory | None, Finding]:
    """The directory of recordings from the bot's side, as the bot makes or checks it."""
    wanted = settings.recordings
    try:
        directory = prepare_directory(
            wanted.directory, wanted.switch_directory, wanted.shared_group
        )
    except UserError as error:
        return None, Finding("recordings", Status.FAILED, error.message, error.remedy)
    found = directory.local.stat()
    message = f"this user can write to {directory.local} (mode {found.st_mode & 0o7777:o})"
    return directory, Finding("recordings", Status.OK, message)


def check_transcripts(settings: Settings) -> Iterator[Finding]:
    """Whether journals can be written."""
    directory = settings.transcripts.directory
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        yield Finding(
            "transcripts",
            Status.FAILED,
            f"{directory} cannot be written to: {error.strerror}",
            "Let this user write there, or change transcripts.directory.",
        )
    else:
        message = f"this user can write to {directory}"
        if (other := holder(directory, "transcripts")) is not None:
            message += f"; fsbot ({other}) works there"
        yield Finding("transcripts", Status.OK, message)


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Room where recordings and transcripts go, once per file system."""
    recordings = _existing(settings.recordings.directory)
    transcripts = _existing(settings.transcripts.directory)
    least = settings.recordings.min_free * 10**6
    yield _room("recordings", recordings, settings.recordings.sample_rate, least)
    if transcripts.stat().st_dev != recordings.stat().st_dev:
        yield _room("transcripts", transcripts, 0, least)


def _room(what: str, directory: Path, rate: int, least: int) -> Finding:
    free = shutil.disk_usage(directory).free
    per_hour = CALLS * 2 * 2 * rate * 3600
    message = f"{what}: {free / 1e9:.1f} GB free at {directory}"
    if per_hour:
        message += f", {free / per_hour:.0f} h of {CALLS} calls at a time"
    if free >= max(least, HOURS * per_hour):
        return Finding("disk", Status.OK, message)
    return Finding(
        "disk",
        Status.WARNING,
        message,
        f"Free some space, keep less ({what}.retention), or change {what}.directory.",
    )


def _existing(directory: Path) -> Path:
    return next(each for each in (directory, *directory.parents) if each.is_dir())


def check_inotify(directory: Path) -> Iterator[Finding]:
    """Whether the kernel announces writes in the directory of recordings."""
    system = file_system(directory, Path("/proc/self/mountinfo").read_text())
    try:
        announced = _own_write_is_announced(directory)
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, "Recordings are polled every 50 ms instead.")
        yield Finding("inotify", Status.WARNING, f"not to be had: {error.strerror}", remedy)
        return
    if announced and system not in NETWORK_FILE_SYSTEMS:
        yield Finding("inotify", Status.OK, f"sees writes in {directory} ({system})")
    else:
        yield blind(directory, system)


def blind(directory: Path, system: str = "") -> Finding:
    """Writes there are not announced."""
    kind = f", which is on {system}," if system else ""
    return Finding(
        "inotify",
        Status.WARNING,
        f"does not see FreeSWITCH's writes in {directory}{kind}: it is polled every 50 ms",
        "If FreeSWITCH runs on this machine, choose a local recordings.directory.",
    )


def _own_write_is_announced(directory: Path) -> bool:
    with INotify(nonblocking=True) as inotify, probe(directory) as file:
        inotify.add_watch(directory, flags.MODIFY)
        file.write_bytes(b"x")
        return bool(inotify.read(timeout=500))


@contextlib.contextmanager
def probe(directory: Path) -> Iterator[Path]:
    """A file of the doctor's own in the directory of recordings, deleted afterwards."""
    file = trial_path(directory)
    file.touch(mode=0o640, exist_ok=False)
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def trial_path(directory: Path) -> Path:
    """A name that is no call's: those end with a hyphen and a number."""
    return directory / f"doctor-{secrets.token_hex(8)}x.raw"


def file_system(directory: Path, mounts: str) -> str:
    """The type of the file system that `directory` is on. mounts: of /proc/self/mountinfo."""
    found, longest = "unknown", -1
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        # Blanks in paths are written as octal escapes.
        point = Path(fields.split()[4].encode().decode("unicode_escape"))
        if directory.resolve().is_relative_to(point) and len(point.parts) >= longest:
            found, longest = rest.split()[0], len(point.parts)
    return found


def check_weights(settings: Settings) -> Iterator[Finding]:
    """The model is here, whole, and speaks the language."""
    from fsbot.weights.finding import find_file
    from fsbot.weights.loading import load_checkpoint
    from fsbot.weights.manifest import known_models
    from fsbot.weights.store import find_stored

    name, models_dir = settings.engine.model, settings.engine.models_dir
    known = known_models().find(name)
    try:
        stored = find_stored(known.name if known else name, models_dir)
        if stored is not None:
            stored.verify()
            dims, where = stored.dims, stored.path
        else:
            dims = load_checkpoint(name, models_dir).dims
            where = find_file(name, models_dir) or Path(name)
    except UserError as error:
        yield Finding("weights", Status.FAILED, error.message, error.remedy)
        yield Finding("language", Status.NOT_TESTED, "no weights")
        return
    yield Finding("weights", Status.OK, f"{name} is whole: {where}")
    yield language_fits(name, settings.engine.language, dims.n_vocab)


def language_fits(model: str, language: str, vocabulary: int) -> Finding:
    """Whether a model with so many tokens can write a language."""
    if (refusal := wrong_language(model, language, vocabulary)) is not None:
        return Finding("language", Status.FAILED, refusal.message, refusal.remedy)
    return Finding("language", Status.OK, f"{model} knows {language}")
