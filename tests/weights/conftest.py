import contextlib
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbot.weights.pull import pull
from fsbot.weights.store import StoredModel


class Notes:
    """An observer of pulls that remembers what it was told."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.failures: list[str] = []
        self.bytes: list[tuple[int, int]] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def failed(self, text: str) -> None:
        self.failures.append(text)

    def progress(self, done: int, total: int) -> None:
        self.bytes.append((done, total))


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture(scope="session")
def base() -> StoredModel:
    """The real base model, fetched once and kept outside the clone."""
    return pull("base", Notes())


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store, and nothing of this user's to be found beside it."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("FSBOT_MODELS_DIR", str(tmp_path / "store"))
    return tmp_path / "store"


class FileServer:
    """Serves `content` with ranges; can wait, break off, lie or refuse."""

    def __init__(self) -> None:
        self.content = b""
        self.break_after: int | None = None
        self.status = 0
        self.ranges: list[str | None] = []
        self.gate = threading.Event()
        self.gate.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                outer.ranges.append(asked)
                outer.gate.wait(60)
                if outer.status:
                    self.send_error(outer.status)
                    return
                start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
                if start >= len(outer.content):
                    self.send_error(416)
                    return
                self.send_response(206 if asked else 200)
                self.send_header("Content-Length", str(len(outer.content) - start))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(outer.content[start : outer.break_after])

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/tiny.pt"


@pytest.fixture
def file_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    for name in list(os.environ):
        if name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name)
    server = FileServer()
    thread = threading.Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.server.shutdown()
    thread.join()
    server.server.server_close()
