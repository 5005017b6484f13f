"""What `fsbot models` shows on a terminal."""

from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from fsbot.console import OutputConsole
from fsbot.errors import UserError
from fsbot.weights.finding import openai_files
from fsbot.weights.manifest import known_models
from fsbot.weights.store import read_stored, stored_folders


class PullProgress:
    """The observer of a pull: one line per source on standard error, with a bar while bytes come.

    Texts come from servers and files: none of them is taken for markup.
    """

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def step(self, text: str) -> None:
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        self._bars.console.print(Text(text))

    def failed(self, text: str) -> None:
        self._bars.console.print(Text(f"  {text}", style="yellow"))

    def progress(self, done: int, total: int) -> None:
        if not self._bars.task_ids:
            self._bars.add_task("  fetching")
        self._bars.update(self._bars.task_ids[0], completed=done, total=total or None)


def print_models(models_dir: Path | None) -> None:
    """A table of every model that is known or here, on standard output."""
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "MB", "here", "from", "licence"):
        table.add_column(heading, justify="right" if heading == "MB" else "left", overflow="fold")
    folders = stored_folders(models_dir)
    for model in known_models().models:
        names = ", ".join((model.name, *model.aliases))
        if folder := folders.pop(model.name, None):
            table.add_row(*_stored_row(names, folder))
        elif files := openai_files(model, models_dir):
            file = Text(str(files[0]))
            table.add_row(names, str(model.megabytes), "yes", file, model.licence)
        else:
            source = "openai-whisper" + (", wheels" if model.uploads else "")
            table.add_row(names, str(model.megabytes), "no", source, model.licence)
    for name, folder in folders.items():
        table.add_row(*_stored_row(name, folder))
    OutputConsole().print(table)


def _stored_row(names: str, folder: Path) -> tuple[Text, ...]:
    try:
        stored = read_stored(folder)
    except UserError as error:
        return (Text(names), Text("?"), Text("damaged"), Text(error.message), Text("?"))
    size = f"{stored.size / 1e6:.0f}"
    return tuple(
        Text(each) for each in (names, size, "yes", stored.origin.source, stored.origin.licence)
    )
