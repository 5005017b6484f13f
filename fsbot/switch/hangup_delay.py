"""Keeps a hang-up from overtaking the start of a recording.

FreeSWITCH (1.11.3-dev: switch_core_media_bug_add, record_callback and recording_thread) starts the
thread that writes the file first, waits 10 ms or more for it, and adds the recording to the channel
after that. A channel that ends in between has nothing to close; the thread then waits for ever and
keeps the channel, its ports, and `fsctl shutdown` from their end. As it ends, the channel closes
its recordings twice: when the hang-up begins, and when its thread ends. The hooks named here run
between the two. One that sleeps while a recording starts makes sure that the second time comes
late enough.
"""

from fsbot.switch.connection import Connection
from fsbot.switch.errors import RequestTimeout
from fsbot.switch.uuids import check_uuid

HOOKS = ("api_reporting_hook", "api_hangup_hook")
"""Channel variables with a command that the channel's thread runs as it ends, BYE being sent."""

SLEEP = "msleep 1000"
"""Milliseconds; FreeSWITCH adds a recording some 12 ms after it was asked to start it."""

REPLY_SECONDS = 1.0
"""A reply that takes longer is not waited for: the call is being spoken on."""

_NOT_SET = "_undef_"


def delay_hangup(connection: Connection, uuid: str) -> str:
    """Have the channel's end take a second from now on; the name of the hook that does it.

    Empty if both hooks are the user's own, which are left alone, if there is no such channel, or if
    FreeSWITCH does not answer in time. Raises ConnectionLost, CommandRefused or UnsafeUuid.
    """
    try:
        for hook in HOOKS:
            value = connection.api(f"uuid_getvar {check_uuid(uuid)} {hook}", REPLY_SECONDS).strip()
            if value == SLEEP:  # of a bot that was killed
                return hook
            if value == _NOT_SET:
                connection.api(f"uuid_setvar {uuid} {hook} {SLEEP}", REPLY_SECONDS)
                return hook
    except RequestTimeout:
        pass
    return ""


def end_delay(connection: Connection, uuid: str, hook: str) -> None:
    """Take back what `delay_hangup` did, unless the dialplan has set a hook of its own since.

    Raises EslError or UnsafeUuid.
    """
    command = f"uuid_getvar {check_uuid(uuid)} {hook}"
    if connection.api(command, REPLY_SECONDS).strip() == SLEEP:
        connection.api(f"uuid_setvar {uuid} {hook}", REPLY_SECONDS)
