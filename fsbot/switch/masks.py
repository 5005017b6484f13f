"""Who has a recording masked or paused, as FreeSWITCH tells it.

Neither fires an event of its own: an API event carries the command, CHANNEL_EXECUTE the dialplan's
application (FACTS.md 8; mod_commands.c, mod_dptools.c).
"""

import re
import time
from dataclasses import dataclass
from typing import Literal

import structlog

from fsbot.switch.codec import Event
from fsbot.switch.recording import OWN_MASK

log = structlog.get_logger("fsbot.bot")

CONTROL = "fsbot::control"
"""The subclass by which a client of the event socket asks the bot itself for silence."""

Silence = Literal["mask", "pause"]

_ACTIONS: dict[str, tuple[Silence, bool]] = {
    "mask": ("mask", True),
    "unmask": ("mask", False),
    "pause": ("pause", True),
    "resume": ("pause", False),
}
_APPLICATION = "record_session_"


@dataclass(frozen=True, slots=True)
class MaskChange:
    """A recording of a leg is masked since Unix time `at`, or no longer.

    who: the recording's path, or CONTROL if a client asks the bot itself. mark: mask, or pause if
    the file does not grow meanwhile.
    """

    uuid: str
    who: str
    masked: bool
    at: float
    mark: Silence = "mask"


def mask_change(event: Event) -> MaskChange | None:
    """What an event has to say of that; None for all others, whatever strangers put into them."""
    headers = event.headers
    at = event_time(event)
    match event.name:
        case "API" if headers.get("API-Command").lower() == "uuid_record":
            arguments = headers.get("API-Command-Argument").strip()
            uuid, action, path, end, *_ = [*_arguments(arguments), "", "", "", ""]
            if end == OWN_MASK:
                # Of this bot, or of another one on the same FreeSWITCH, which follows the same
                # masks: each would keep the other's call masked for ever.
                return None
            if (change := _ACTIONS.get(action.lower())) is not None and path:
                mark, masked = change
                return MaskChange(uuid, path, masked, at, mark)
        case "CHANNEL_EXECUTE":
            application = headers.get("Application").lower()
            change = _ACTIONS.get(application.removeprefix(_APPLICATION))
            path = headers.get("Application-Data").strip()
            if change is not None and application.startswith(_APPLICATION) and path:
                mark, masked = change
                return MaskChange(headers.get("Unique-ID"), path, masked, at, mark)
        case "CUSTOM" if event.subclass == CONTROL:
            wish = headers.get("Fsbot-Command").strip().lower()
            if wish in ("pause", "resume"):
                masked = wish == "pause"
                return MaskChange(headers.get("Call-UUID"), CONTROL, masked, at, "pause")
            log.warning("fsbot::control without pause or resume", command=wish[:40])
    return None


def _arguments(text: str) -> list[str]:
    """The words of a command, as FreeSWITCH separates them: at one blank or more, but not within
    single quotes (switch_separate_string in switch_utils.c)."""
    words = re.findall(r"(?:'[^']*'|[^ '])+|'", text)
    return [word.replace("'", "") for word in words]


def event_time(event: Event) -> float:
    """Unix seconds at which FreeSWITCH made the event; now, if it does not say.

    The last one counts: a sender's own goes out before FreeSWITCH's.
    """
    stamps = event.headers.all("Event-Date-Timestamp")
    known = bool(stamps) and re.fullmatch(r"[0-9]{1,16}", stamps[-1])
    return int(stamps[-1]) / 1_000_000 if known else time.time()
