"""`fsbot models`: its arguments, and what each action prints."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fsbot.errors import UserError

if TYPE_CHECKING:
    from fsbot.weights.store import StoredModel

INTERRUPTED = 130  # what a shell reports for SIGINT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions of `fsbot models` on its (sub)parser."""
    parser.add_argument(
        "--models-dir",
        type=Path,
        metavar="DIR",
        help="where models are kept (default: $FSBOT_MODELS_DIR, else fsbot/models in your cache)",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="the models that are known or here")
    action = actions.add_parser("pull", help="fetch a model, check it and convert it")
    action.add_argument("name", metavar="NAME", help="for instance base")
    action.add_argument("--file", type=Path, help="openai-whisper's .pt, brought by other means")
    action = actions.add_parser("path", help="print the file of a model")
    action.add_argument("name", metavar="NAME")
    action = actions.add_parser("verify", help="compute the sha256 of stored models again")
    action.add_argument("names", metavar="NAME", nargs="*", help="default: all")
    action = actions.add_parser("import", help="convert a model of your own")
    action.add_argument(
        "path",
        metavar="PATH",
        type=Path,
        help="a Hugging Face (safetensors) or CTranslate2 folder, or a Whisper .pt",
    )
    action.add_argument("--name", default="", help="default: that of the folder or file")
    action.add_argument("--sha256", default="", help="what a .pt must have; its publisher says")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; returns the exit status. Raises UserError."""
    models_dir: Path | None = args.models_dir
    try:
        match args.action:
            case "list":
                return _list(models_dir)
            case "pull":
                return _pull(args.name, args.file, models_dir)
            case "path":
                return _path(args.name, models_dir)
            case "verify":
                return _verify(args.names, models_dir)
            case _:
                return _import(args.path, args.name, args.sha256, models_dir)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _list(models_dir: Path | None) -> int:
    from fsbot.weights.console import print_models

    print_models(models_dir)
    return 0


def _pull(name: str, file: Path | None, models_dir: Path | None) -> int:
    from fsbot.weights.console import PullProgress
    from fsbot.weights.pull import pull

    with PullProgress() as observer:
        stored = pull(name, observer, models_dir, file)
    _announce(stored)
    return 0


def _import(path: Path, name: str, sha256: str, models_dir: Path | None) -> int:
    from fsbot.weights.pull import import_model

    _announce(import_model(path, name, sha256, models_dir))
    return 0


def _announce(stored: "StoredModel") -> None:
    print(f"{stored.name}: {stored.path} ({stored.size / 1e6:.0f} MB, {stored.origin.source})")


def _path(name: str, models_dir: Path | None) -> int:
    from fsbot.weights.finding import find_file, missing

    file = find_file(name, models_dir)
    if file is None:
        raise missing(name, models_dir)
    print(file)
    return 0


def _verify(names: list[str], models_dir: Path | None) -> int:
    from fsbot.weights.finding import missing
    from fsbot.weights.manifest import known_models
    from fsbot.weights.store import read_stored, stored_folders

    folders = stored_folders(models_dir)
    status = 0
    for name in names or folders:
        known = known_models().find(name)
        folder = folders.get(known.name if known else name)
        if folder is None:
            raise missing(name, models_dir)
        try:
            read_stored(folder).verify()
        except UserError as error:
            print(f"{name}: {error}")
            status = 1
        else:
            print(f"{name}: sound")
    return status
