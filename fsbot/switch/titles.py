"""What the start of a recording does to variables that are the dialplan's, and how it is mended.

FreeSWITCH unsets the titles on the channel whenever a recording starts, as they are for its file.
A headerless file holds none, and the user's own recording may start later: they are set again.
What the dialplan has run at the start or the end of a recording runs at ours, too. That cannot be
helped: FreeSWITCH looks for those variables on the channel and has no value for "not this time".
Source: switch_ivr_record_session_event, record_callback and switch_channel_execute_on.
"""

from fsbot.switch.codec import Headers
from fsbot.switch.connection import Connection
from fsbot.switch.errors import CommandRefused
from fsbot.switch.resync import look_up
from fsbot.switch.uuids import check_uuid

_PREFIX = "variable_"
_TITLES = frozenset(
    f"record_{what}" for what in ("title", "copyright", "software", "artist", "comment", "date")
)
_HOOKS = (
    "execute_on_record_start",
    "api_on_record_start",
    "execute_on_record_stop",
    "api_on_record_stop",
    "record_post_process_exec_app",
    "record_post_process_exec_api",
)
_ESCAPED = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def titles_of(dump: Headers) -> dict[str, str]:
    """The titles that uuid_dump shows on a channel, by the names that the dialplan has used."""
    variables = ((name.removeprefix(_PREFIX), value) for name, value in dump.items())
    return {name: value for name, value in variables if name.lower() in _TITLES and value}


def hooks_of(dump: Headers) -> list[str]:
    """Names of the channel's variables that FreeSWITCH carries out with any recording."""
    names = (name.removeprefix(_PREFIX) for name in dump if name.startswith(_PREFIX))
    return [name for name in names if name.lower().startswith(_HOOKS)]


def restore_titles(connection: Connection, uuid: str, titles: dict[str, str]) -> None:
    """Set again what the start of a recording has unset, but for what has been set anew since.

    Raises EslError or UnsafeUuid.
    """
    live = look_up(connection, uuid)
    known = {name.lower() for name in titles_of(live.dump)} if live is not None else _TITLES
    for name, value in titles.items():
        if name.lower() not in known and "\0" not in value:
            command = f"uuid_setvar {check_uuid(uuid)} {name} {argument(value)}"
            if connection.api(command).startswith("-ERR"):
                raise CommandRefused(command, "there is no such channel any more")


def argument(value: str) -> str:
    """A text as the last argument of a command, which FreeSWITCH makes the same text of: without
    line ends, quotes and escapes of its own, and blanks at its ends kept (switch_separate_string).
    """
    text = "".join(_ESCAPED.get(letter, letter) for letter in value)
    core = text.strip(" ")
    if not core:
        return "\\s" * len(text)
    before, behind = len(text) - len(text.lstrip(" ")), len(text) - len(text.rstrip(" "))
    return "\\s" * before + core + "\\s" * behind
