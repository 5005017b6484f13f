"""How commands end: the one exception that does so without a traceback, and exit statuses."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, or a second signal: 128 + SIGINT."""


class UserError(Exception):
    """Something the user can mend: a setting, a file, a password, a permission.

    `message` says what is wrong and where; `remedy` says what to do, naming the setting.
    `exit_code` is the exit status of the command (2 unless a caller needs to tell it apart).
    """

    def __init__(self, message: str, remedy: str = "", exit_code: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message
