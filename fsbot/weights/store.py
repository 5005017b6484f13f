"""Where converted models live and how they are proven whole before anything in them is read.

A stored model is a folder named after it, outside the clone, so that a fresh clone finds it:

    <models_dir>/<name>/model.safetensors   tensors under openai-whisper's names
    <models_dir>/<name>/model.json          dimensions, alignment heads, size and sha256, origin

safetensors holds numbers and nothing that runs. The folder is written under another name and
renamed when complete, so a model is there wholly or not at all.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fsbot.errors import UserError
from fsbot.weights.architecture import Dimensions, checked_heads

if TYPE_CHECKING:
    from fsbot.weights.checkpoint import Checkpoint

WEIGHTS = "model.safetensors"
SIDECAR = "model.json"
FORMAT = 1
STAGING = ".staging-"
SIDECAR_LIMIT = 1 << 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model came from: `source` for people, `sha256` of what was converted."""

    source: str
    sha256: str
    licence: str


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model folder and what its sidecar says. The weights have not been looked at."""

    folder: Path
    dims: Dimensions
    alignment_heads: tuple[tuple[int, int], ...]
    size: int
    sha256: str
    origin: Origin

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def path(self) -> Path:
        return self.folder / WEIGHTS

    def verify(self) -> None:
        """Raises UserError unless the weights have the size and sha256 that were recorded."""
        verify_file(self.path, self.size, self.sha256, remedy=self._remedy)

    def load(self) -> "Checkpoint":
        """Verify, then read. Raises UserError as verify does."""
        from safetensors import SafetensorError, safe_open  # brings torch, which takes seconds

        from fsbot.weights.checkpoint import Checkpoint

        self.verify()
        try:
            with safe_open(self.path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Checkpoint(self.dims, tensors, self.alignment_heads)
        except SafetensorError as error:
            raise UserError(f"{self.path}: {error}", remedy=self._remedy) from None
        except UserError as error:
            raise UserError(f"{self.path}: {error.message}", remedy=self._remedy) from None

    @property
    def _remedy(self) -> str:
        return f"Fetch it again: fsbot models pull {self.name}"


def models_directory(configured: Path | None = None) -> Path:
    """The setting, else $FSBOT_MODELS_DIR, else fsbot/models in the user's cache."""
    if configured is not None:
        return configured.expanduser()
    if from_environment := os.environ.get("FSBOT_MODELS_DIR"):
        return Path(from_environment).expanduser()
    return cache_directory() / "fsbot" / "models"


def cache_directory() -> Path:
    """XDG base directory specification: $XDG_CACHE_HOME, relative paths being invalid."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return cache if cache.is_absolute() else Path.home() / ".cache"


def places(models_dir: Path | None = None) -> list[Path]:
    """Where models are looked for: as configured, where `fsbot models` puts them, ./models.

    `fsbot models` reads no settings file, so what it fetched must be found with any setting. A
    place that this user may not enter is left out: it may be the working directory of another one.
    """
    return [place for place in possible_places(models_dir) if may_look(place)]


def possible_places(models_dir: Path | None = None) -> list[Path]:
    """The same, whether this user may enter them or not."""
    return list(dict.fromkeys([models_directory(models_dir), models_directory(), Path("models")]))


def may_look(place: Path) -> bool:
    """Whether this user may see what is in a directory, if there is one."""
    try:
        os.scandir(place).close()
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def stored_folders(models_dir: Path | None = None) -> dict[str, Path]:
    """Every model in the store: name → folder. Of two with one name the one that is found."""
    folders: dict[str, Path] = {}
    for place in places(models_dir):
        for sidecar in sorted(place.glob(f"*/{SIDECAR}")):
            if NAME.fullmatch(sidecar.parent.name):
                folders.setdefault(sidecar.parent.name, sidecar.parent)
    return folders


def find_stored(name: str, models_dir: Path | None = None) -> StoredModel | None:
    """The stored model of that name. Raises UserError if its sidecar is damaged."""
    folder = stored_folders(models_dir).get(name)
    return read_stored(folder) if folder else None


def read_stored(folder: Path) -> StoredModel:
    """What the sidecar in `folder` says. Raises UserError if it is damaged or from the future."""
    path = folder / SIDECAR
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(SIDECAR_LIMIT))
        if values["format"] != FORMAT:
            raise UserError(f"{path}: format {values['format']!r} is not known to this fsbot")
        dims = Dimensions.from_mapping(values["dims"])
        size, sha256 = values["bytes"], values["sha256"]
        if not isinstance(size, int) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ValueError("bytes or sha256")
        return StoredModel(
            folder=folder,
            dims=dims,
            alignment_heads=checked_heads(values["alignment_heads"], dims),
            size=size,
            sha256=sha256,
            origin=Origin(**values["origin"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
        raise UserError(
            f"{path} is damaged: {error}",
            remedy=f"Fetch it again: fsbot models pull {folder.name}",
        ) from None


def save(name: str, checkpoint: "Checkpoint", origin: Origin, models_dir: Path) -> StoredModel:
    """Write a model into the store, in place of an older one of that name.

    The caller holds locked(models_dir). Raises UserError if the disk refuses.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if not NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot name a model",
            remedy="Use letters, digits, dots, dashes and underscores (--name).",
        )
    target = models_dir / name
    try:
        with staging_folder(models_dir) as staging:
            new, old = staging / "new", staging / "old"
            new.mkdir()
            save_file(
                {key: tensor.contiguous() for key, tensor in checkpoint.tensors.items()},
                new / WEIGHTS,
            )
            sidecar = {
                "format": FORMAT,
                "bytes": (new / WEIGHTS).stat().st_size,
                "sha256": sha256_of(new / WEIGHTS),
                "dims": checkpoint.dims.as_dict(),
                "alignment_heads": checkpoint.alignment_heads,
                "origin": asdict(origin),
            }
            (new / SIDECAR).write_text(json.dumps(sidecar, indent=1) + "\n")
            if target.exists():
                target.rename(old)
            new.rename(target)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"the model {name} cannot be written to {models_dir}: {error}",
            remedy="Free some space or choose another directory (engine.models_dir).",
        ) from None
    return read_stored(target)


@contextlib.contextmanager
def staging_folder(models_dir: Path) -> Iterator[Path]:
    """A private folder on the same file system as the store, gone afterwards whatever happens."""
    with tempfile.TemporaryDirectory(
        dir=models_dir, prefix=STAGING, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


@contextlib.contextmanager
def locked(models_dir: Path, waiting: Callable[[str], None] = print) -> Iterator[None]:
    """One writer at a time, over all processes; the kernel frees the lock of one that died.

    `waiting` is told if there is another one. Whatever a killed writer left behind is deleted
    first. Raises UserError if the store cannot be
    written to.
    """
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        lock = (models_dir / ".lock").open("w")
    except OSError as error:
        raise UserError(
            f"the models directory {models_dir} cannot be written to: {error.strerror}",
            remedy="Choose another one (engine.models_dir or FSBOT_MODELS_DIR).",
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting(f"another fsbot is writing to {models_dir}: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in models_dir.glob(f"{STAGING}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_file(path: Path, size: int | None, sha256: str, remedy: str) -> None:
    """Raises UserError naming file, expected and found unless size and sha256 are right."""
    try:
        found_size = path.stat().st_size
        if size is not None and found_size != size:
            raise UserError(f"{path} has {found_size} bytes, expected {size}", remedy=remedy)
        found = sha256_of(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", remedy=remedy) from None
    if found != sha256:
        raise UserError(f"{path} has sha256 {found}, expected {sha256}", remedy=remedy)
