"""Who has a recording masked, as FreeSWITCH tells it.

mask and unmask fire no event of their own: an API event carries the command, CHANNEL_EXECUTE the
dialplan's application (FACTS.md 8; mod_commands.c, mod_dptools.c).
"""

import re
import time
from dataclasses import dataclass

import structlog

from fsbot.switch.codec import Event
from fsbot.switch.recording import OWN_MASK

log = structlog.get_logger("fsbot.bot")

CONTROL = "fsbot::control"
"""The subclass by which a client of the event socket asks the bot itself for silence."""

_BY_COMMAND = {"mask": True, "unmask": False}
_BY_APPLICATION = {"record_session_mask": True, "record_session_unmask": False}
_BY_CONTROL = {"pause": True, "resume": False}


@dataclass(frozen=True, slots=True)
class MaskChange:
    """A recording of a leg is masked since Unix time `at`, or no longer.

    who: the recording's path, or CONTROL if a client asks the bot itself.
    """

    uuid: str
    who: str
    masked: bool
    at: float


def mask_change(event: Event) -> MaskChange | None:
    """What an event has to say of that; None for all others, whatever strangers put into them."""
    headers = event.headers
    at = event_time(event)
    match event.name:
        case "API" if headers.get("API-Command").lower() == "uuid_record":
            arguments = headers.get("API-Command-Argument").strip()
            uuid, action, path, mark, *_ = [*arguments.split(" "), "", "", "", ""]
            if mark == OWN_MASK:
                # Of this bot, or of another one on the same FreeSWITCH, which follows the same
                # masks: each would keep the other's call masked for ever.
                return None
            if (masked := _BY_COMMAND.get(action.lower())) is not None and path:
                return MaskChange(uuid, path, masked, at)
        case "CHANNEL_EXECUTE":
            masked = _BY_APPLICATION.get(headers.get("Application"))
            path = headers.get("Application-Data").strip()
            if masked is not None and path:
                return MaskChange(headers.get("Unique-ID"), path, masked, at)
        case "CUSTOM" if event.subclass == CONTROL:
            wish = headers.get("Fsbot-Command").strip().lower()
            if (masked := _BY_CONTROL.get(wish)) is not None:
                return MaskChange(headers.get("Call-UUID"), CONTROL, masked, at)
            log.warning("fsbot::control without pause or resume", command=wish[:40])
    return None


def event_time(event: Event) -> float:
    """Unix seconds at which FreeSWITCH made the event; now, if it does not say.

    The last one counts: a sender's own goes out before FreeSWITCH's.
    """
    stamps = event.headers.all("Event-Date-Timestamp")
    known = bool(stamps) and re.fullmatch(r"[0-9]{1,16}", stamps[-1])
    return int(stamps[-1]) / 1_000_000 if known else time.time()
