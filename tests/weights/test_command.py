import argparse
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbot.errors import UserError
from fsbot.weights.command import INTERRUPTED, add_arguments, run
from fsbot.weights.store import StoredModel, find_stored

from .writers import random_checkpoint, write_huggingface


def models(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(each) for each in arguments]))


def test_import_list_path_verify(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_huggingface(tmp_path / "fine-tuned", random_checkpoint())
    assert models("import", tmp_path / "fine-tuned") == 0
    stored = find_stored("fine-tuned")
    assert stored is not None
    assert str(stored.path) in capsys.readouterr().out

    assert models("path", "fine-tuned") == 0
    assert capsys.readouterr().out == f"{stored.path}\n"

    assert models("list") == 0
    lines = {line.split()[0].strip(","): line for line in capsys.readouterr().out.splitlines()}
    assert " no " in lines["base"]
    assert "MIT" in lines["base"]
    assert "145" in lines["base"]
    assert "turbo" in lines["large-v3-turbo"]
    assert " yes " in lines["fine-tuned"]

    assert models("verify") == 0
    assert capsys.readouterr().out == "fine-tuned: sound\n"
    stored.path.write_bytes(stored.path.read_bytes()[:-1])
    assert models("verify", "fine-tuned") == 1
    assert f"{stored.size - 1} bytes, expected {stored.size}" in capsys.readouterr().out
    (stored.folder / "model.json").write_text("{")
    assert models("verify") == 1
    assert models("list") == 0
    assert "damaged" in capsys.readouterr().out


def test_another_models_directory(store: Path, tmp_path: Path) -> None:
    write_huggingface(tmp_path / "fine-tuned", random_checkpoint())
    other = tmp_path / "other"
    assert models("--models-dir", other, "import", tmp_path / "fine-tuned", "--name", "x") == 0
    assert models("--models-dir", other, "path", "x") == 0
    with pytest.raises(UserError, match="no model 'x'"):
        models("path", "x")
    assert models("import", tmp_path / "fine-tuned", "--name", "y") == 0
    assert models("--models-dir", other, "path", "y") == 0, "what is in the usual place is found"


@pytest.mark.parametrize("action", ["path", "verify", "pull"])
def test_unknown_names_get_the_nearest(store: Path, action: str) -> None:
    with pytest.raises(UserError) as caught:
        models(action, "tinny")
    assert "tiny" in caught.value.remedy


def test_pulling_base_again_finds_it(base: StoredModel, capsys: pytest.CaptureFixture[str]) -> None:
    assert models("pull", "base.pt") == 0
    assert str(base.path) in capsys.readouterr().out
    assert models("verify", "base") == 0


def test_the_command_line_does_not_wait_for_torch() -> None:
    code = "import sys, fsbot.weights.command, fsbot.weights.console; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "False\n"


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


@pytest.mark.parametrize("stage", ["download", "pip"])
def test_an_interrupted_pull_ends_at_once_and_leaves_nothing(
    store: Path, silent_server: socket.socket, stage: str
) -> None:
    silent = f"http://127.0.0.1:{silent_server.getsockname()[1]}"
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refused = f"http://127.0.0.1:{closed.getsockname()[1]}"
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {
        "FSBOT_MODELS_DIR": str(store),
        "XDG_CACHE_HOME": str(store.parent / "cache"),
        "HTTPS_PROXY": silent if stage == "download" else refused,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"{silent}/simple",
    }
    code = (
        "import argparse, sys; from fsbot.weights.command import *; p = argparse.ArgumentParser();"
        "add_arguments(p); sys.exit(run(p.parse_args(['pull', 'base'])))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True
    )
    with process:
        connection, _ = silent_server.accept()
        with connection:
            assert connection.recv(4)  # it is asking by now
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
            # The child is gone too: nobody holds its end of the connection any more.
            connection.settimeout(60)
            while connection.recv(65536):
                pass
    assert process.returncode == INTERRUPTED
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert {path.name for path in store.iterdir()} == {".lock"}
