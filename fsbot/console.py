"""Standard output as `rich` writes to it."""

from rich.console import Console


class OutputConsole(Console):
    """A console that leaves a reader who has gone to the command line.

    rich itself would end the program with exit status 1, which means something else for `grep`
    and `doctor`.
    """

    def on_broken_pipe(self) -> None:
        """Called by rich where it has caught the BrokenPipeError."""
        raise
