import hashlib
import json
import os
from pathlib import Path

import pytest
import torch

from fsbot.errors import UserError
from fsbot.weights.finding import find_file, missing
from fsbot.weights.store import (
    Origin,
    StoredModel,
    find_stored,
    locked,
    models_directory,
    read_stored,
    save,
    stored_folders,
)

from .writers import equal, random_checkpoint

ORIGIN = Origin("a test", "0" * 64, "MIT")


@pytest.fixture
def mine(store: Path) -> StoredModel:
    with locked(store):
        return save("mine", random_checkpoint(), ORIGIN, store)


def test_what_is_saved_comes_back_bit_for_bit(mine: StoredModel) -> None:
    found = find_stored("mine")
    assert found == mine
    assert found is not None
    assert equal(found.load(), random_checkpoint())
    assert found.origin == ORIGIN
    assert found.path.stat().st_size == found.size
    assert hashlib.sha256(found.path.read_bytes()).hexdigest() == found.sha256


def test_one_byte_short_names_file_sizes_and_remedy(mine: StoredModel) -> None:
    content = mine.path.read_bytes()
    mine.path.write_bytes(content[:-1])
    with pytest.raises(UserError) as caught:
        mine.load()
    assert str(mine.path) in caught.value.message
    assert f"{mine.size - 1} bytes, expected {mine.size}" in caught.value.message
    assert "fsbot models pull mine" in caught.value.remedy


def test_one_bit_changed_names_file_sums_and_remedy(mine: StoredModel) -> None:
    content = bytearray(mine.path.read_bytes())
    content[-1] ^= 1
    mine.path.write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    with pytest.raises(UserError) as caught:
        mine.load()
    assert str(mine.path) in caught.value.message
    assert f"sha256 {found}, expected {mine.sha256}" in caught.value.message
    assert "fsbot models pull mine" in caught.value.remedy


def test_weights_that_vanished_are_named(mine: StoredModel) -> None:
    mine.path.unlink()
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        mine.load()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        '{"format": 2}',
        {"bytes": "1"},
        {"sha256": 7},
        {"sha256": "../x"},
        {"dims": {}},
        {"alignment_heads": [[9, 9]]},
        {"origin": {"more": 1}},
    ],
)
def test_a_damaged_sidecar_is_a_users_error(
    mine: StoredModel, content: str | dict[str, object]
) -> None:
    sidecar = mine.folder / "model.json"
    if isinstance(content, dict):
        content = json.dumps(json.loads(sidecar.read_text()) | content)
    sidecar.write_text(content)
    with pytest.raises(UserError):
        find_stored("mine")


def test_a_sidecar_of_another_model_is_found_out(mine: StoredModel) -> None:
    sidecar = mine.folder / "model.json"
    values = json.loads(sidecar.read_text())
    values["dims"]["n_text_layer"] = 1
    values["alignment_heads"] = [[0, 0]]
    sidecar.write_text(json.dumps(values))
    with pytest.raises(UserError, match="unknown tensors"):
        read_stored(mine.folder).load()


def test_saving_again_replaces_the_old_one_and_leaves_nothing_else(mine: StoredModel) -> None:
    store = mine.folder.parent
    other = random_checkpoint(dtype=torch.float32, seed=2)
    with locked(store):
        save("mine", other, ORIGIN, store)
    again = find_stored("mine")
    assert again is not None
    assert equal(again.load(), other)
    assert {path.name for path in store.iterdir()} == {"mine", ".lock"}


def test_what_a_killed_writer_left_is_removed(store: Path) -> None:
    (store / ".staging-dead" / "new").mkdir(parents=True)
    with locked(store):
        assert not (store / ".staging-dead").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../mine", "a/b", ".hidden", "a\nb", "x" * 101])
def test_names_that_are_paths_are_refused(mine: StoredModel, name: str) -> None:
    assert find_stored(name) is None
    with pytest.raises(UserError, match="cannot name a model"):
        save(name, random_checkpoint(), ORIGIN, mine.folder.parent)


def test_a_store_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written to"), locked(tmp_path / "file" / "x"):
        pass


def test_the_models_folder_of_the_working_directory_is_searched_too(
    mine: StoredModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine.folder.parent.rename("models")
    assert set(stored_folders()) == {"mine"}
    assert find_stored("mine") is not None


def test_where_models_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FSBOT_MODELS_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/invalid")
    assert models_directory() == tmp_path / ".cache" / "fsbot" / "models"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert models_directory() == tmp_path / "x" / "fsbot" / "models"
    monkeypatch.setenv("FSBOT_MODELS_DIR", "~/y")
    assert models_directory() == tmp_path / "y"
    assert models_directory(tmp_path / "z") == tmp_path / "z"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every directory")
def test_a_working_directory_that_may_not_be_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `sudo -u fsbot fsbot …` from the home directory of somebody else."""
    closed = tmp_path / "closed"
    closed.mkdir()
    monkeypatch.chdir(closed)
    closed.chmod(0)
    try:
        assert stored_folders(tmp_path / "none") == {}
        assert find_file("base", tmp_path / "none") is None
        message = str(missing("base", closed))
        assert f"{closed}, which this user may not enter" in message
    finally:
        closed.chmod(0o700)
