"""What FreeSWITCH has going on right now: for a bot that comes, or comes back, in mid-call."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from fsbot.switch.codec import Headers, ProtocolError, parse_json_event
from fsbot.switch.connection import Connection
from fsbot.switch.errors import CommandRefused
from fsbot.switch.legs import Leg, Role, role_in
from fsbot.switch.uuids import UnsafeUuid, check_uuid

_LIST_CHANNELS = "show channels as json"
_RECORDING = re.compile(r"<function>session_record</function>\s*<target>(.*?)</target>", re.DOTALL)


class Media(StrEnum):
    """What FreeSWITCH does with the sound of a leg."""

    READ = "read"
    HELD = "held"
    BYPASSED = "bypassed"
    """The telephones send it to each other: bypass_media, or `uuid_media off`."""
    PROXIED = "proxied"
    """It is sent on unread: proxy_media."""


@dataclass(frozen=True, slots=True)
class LiveLeg:
    """A leg that exists now. `leg.answered_at` tells whether it has been answered; `dump` is what
    uuid_dump says of it."""

    leg: Leg
    role: Role
    dump: Headers

    @property
    def media(self) -> Media:
        """What becomes of its sound."""
        if self.dump.get("Channel-Call-State") == "HELD":
            return Media.HELD
        # A bridge that FreeSWITCH has left to the telephones (audio_bridge_on_hibernate).
        if self.dump.get("Channel-State") == "CS_HIBERNATE":
            return Media.BYPASSED
        return Media.PROXIED if self.dump.get("variable_proxy_media") == "true" else Media.READ


def parse_channels(text: str) -> list[Mapping[str, str]]:
    """The rows of `show channels as json`: uuid, direction, call_uuid, name, callstate, ….

    Raises CommandRefused for `-ERR …` (FreeSWITCH with -nosql keeps no list) and for what is
    no such list.
    """
    try:
        rows = json.loads(text, strict=False).get("rows", [])  # none at all if there are none
        return [{name: str(value) for name, value in row.items()} for row in rows]
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise CommandRefused(_LIST_CHANNELS, text) from error


def live_legs(connection: Connection) -> Iterator[LiveLeg]:
    """Every leg that lives now, one question to FreeSWITCH each. Raises EslError.

    Legs with a UUID that must not be put into a command are left out.
    """
    for row in parse_channels(connection.api(_LIST_CHANNELS)):
        found = look_up(connection, row.get("uuid", ""), row.get("call_uuid", ""))
        if found is not None:
            yield found


def look_up(
    connection: Connection, uuid: str, call_uuid: str = "", timeout: float | None = None
) -> LiveLeg | None:
    """One leg by its UUID; None if there is no such channel (any more). Raises EslError.

    `call_uuid` is the one of its row in `show channels`, if known: a B leg has its A leg's there.
    timeout: seconds that the answer may take.
    """
    try:
        dump = connection.api(f"uuid_dump {check_uuid(uuid)} json", timeout)
        event = parse_json_event(dump)
    except (UnsafeUuid, ProtocolError):
        return None
    belongs_to_another = call_uuid not in ("", uuid)
    role = Role.B if belongs_to_another else role_in(event)
    return LiveLeg(Leg.from_event(event), role, event.headers)


def is_listed(connection: Connection, uuid: str) -> bool:
    """Whether FreeSWITCH lists the channel, perhaps one that is hung up and cannot end.

    Raises EslError.
    """
    rows = parse_channels(connection.api(_LIST_CHANNELS))
    return any(row.get("uuid") == uuid for row in rows)


def exists(connection: Connection, uuid: str) -> bool:
    """Whether the channel still lives. Raises EslError, also for an answer that says neither: a
    call must not end because of a reply that belongs to another command. Raises UnsafeUuid.
    """
    command = f"uuid_exists {check_uuid(uuid)}"
    answer = connection.api(command)
    if answer.strip() not in ("true", "false"):
        raise CommandRefused(command, answer)
    return answer.strip() == "true"


def active_recordings(connection: Connection, uuid: str) -> list[str]:
    """FreeSWITCH's paths of the files into which the channel is being recorded right now.

    Only uuid_buglist knows: no channel variable tells. Raises EslError, also for an answer that
    is no such list and no `-ERR` (there is no such channel any more), or UnsafeUuid.
    """
    command = f"uuid_buglist {check_uuid(uuid)}"
    answer = connection.api(command)
    if not answer.lstrip().startswith(("<", "-ERR")):
        raise CommandRefused(command, answer)
    return _RECORDING.findall(answer)
