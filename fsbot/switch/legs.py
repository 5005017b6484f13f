"""Which leg is which: A or B, whose voice is on which side, and whether it is to be transcribed."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from fsbot.switch.codec import Event, Headers

_MICROSECONDS = 1_000_000
_NO = frozenset({"false", "no", "off", "0"})

_MOST_TEXT = 256
"""Characters of a caller's number, of the number called, and of hotwords that are kept."""

_MOST_PROMPT = 1024
"""Characters of a prompt; the model reads 223 tokens."""


class Role(StrEnum):
    """A: the leg that a call began with. B: one that FreeSWITCH dialled for another leg."""

    A = "A"
    B = "B"


class Side(StrEnum):
    CALLER = "caller"
    CALLEE = "callee"


@dataclass(frozen=True, slots=True)
class Leg:
    """One channel as an event (or uuid_dump) described it; empty texts where it said nothing.

    `direction` is inbound (it called FreeSWITCH) or outbound (FreeSWITCH called it). `codec_rate`
    is in Hz, 0 before a codec is agreed. `answered_at` is in Unix seconds, None before the answer.
    `language`, `prompt` and `hotwords` are the channel variables of that name behind fsbot_;
    `declined` is true with fsbot=false; `transfer_source` tells of its latest transfer.
    `created_at` is in Unix seconds, None if unknown. `own_side` is the channel variable fsbot_side:
    whose voice the leg says, empty for what its direction tells. All text comes from strangers.
    """

    uuid: str
    call_uuid: str
    direction: str
    channel_name: str
    caller_number: str
    destination: str
    context: str
    codec_rate: int
    answered_at: float | None
    language: str
    prompt: str
    declined: bool
    transfer_source: str = ""
    hotwords: str = ""
    created_at: float | None = None
    own_side: str = ""

    @classmethod
    def from_event(cls, event: Event) -> "Leg":
        """The leg of a channel event, of CHANNEL_DATA, or of what uuid_dump prints."""
        headers = event.headers
        answered = _whole_number(headers.get("Caller-Channel-Answered-Time"))
        created = _whole_number(headers.get("Caller-Channel-Created-Time"))
        return cls(
            uuid=headers.get("Unique-ID"),
            call_uuid=headers.get("Channel-Call-UUID"),
            direction=headers.get("Call-Direction") or headers.get("Caller-Direction"),
            channel_name=headers.get("Channel-Name"),
            caller_number=headers.get("Caller-Caller-ID-Number")[:_MOST_TEXT],
            destination=headers.get("Caller-Destination-Number")[:_MOST_TEXT],
            context=headers.get("Caller-Context"),
            codec_rate=_whole_number(headers.get("Channel-Read-Codec-Rate")),
            answered_at=answered / _MICROSECONDS if answered else None,
            language=headers.get("variable_fsbot_language"),
            prompt=_printable(headers.get("variable_fsbot_prompt")[:_MOST_PROMPT]),
            declined=declines(headers.get("variable_fsbot")),
            hotwords=_printable(headers.get("variable_fsbot_hotwords")[:_MOST_TEXT]),
            transfer_source=headers.get("variable_transfer_source"),
            created_at=created / _MICROSECONDS if created else None,
            own_side=headers.get("variable_fsbot_side").strip().lower(),
        )

    @property
    def transferred_to(self) -> str:
        """The extension that a blind transfer has sent it to: FreeSWITCH notes
        `…:bl_xfer:EXTENSION/CONTEXT/DIALPLAN`. Empty if there was none."""
        _, found, target = self.transfer_source.partition(":bl_xfer:")
        return target.partition("/")[0] if found else ""

    def transferred_since(self, at: float) -> str:
        """The same of a transfer since Unix time `at`: the channel keeps telling of an old one."""
        when = _whole_number(self.transfer_source.partition(":")[0])
        return self.transferred_to if when >= int(at) else ""

    @property
    def is_loopback(self) -> bool:
        """Not a telephone: one end of FreeSWITCH talking to itself."""
        return self.channel_name.startswith("loopback/")

    @property
    def read_side(self) -> Side:
        """Whose voice the leg says (left in a stereo recording), if it is an A leg."""
        if self.own_side in tuple(Side):
            return Side(self.own_side)
        return Side.CALLEE if self.direction == "outbound" else Side.CALLER

    @property
    def write_side(self) -> Side:
        """Whose voice the leg hears (right in a stereo recording), if it is an A leg."""
        return Side.CALLER if self.read_side is Side.CALLEE else Side.CALLEE


def declines(text: str) -> bool:
    """Whether the channel variable fsbot says that a leg is not to be transcribed."""
    return text.strip().lower() in _NO


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _whole_number(text: str) -> int:
    # 16 digits of microseconds are the year 2286: what says more could be no date.
    return int(text) if re.fullmatch(r"[0-9]{1,16}", text) else 0


def role_in(event: Event) -> Role:
    """The role that a channel event, or uuid_dump, gives its leg.

    B legs carry `Other-Type: originator` from their CHANNEL_CREATE on, or, dialled by a thread of
    its own (`:_:`, mod_callcenter, mod_fifo), a variable that names whom they are for. The far end
    of a loopback pair (`loopback/…-b`, mod_loopback.c) is B too: its near end has the same sound.
    Direction alone decides nothing: an originated call's A leg is outbound.
    """
    name = event.headers.get("Channel-Name")
    far_end = name.startswith("loopback/") and name.endswith("-b")
    originated = event.headers.get("Other-Type") == "originator"
    return Role.B if far_end or originated or _dialled_for(event.headers) else Role.A


_FOR_WHOM = (
    "variable_ent_originate_aleg_uuid",
    "variable_cc_member_session_uuid",
    "variable_originating_leg_uuid",
)
"""The leg for which another one is dialled (switch_ivr_originate.c, mod_callcenter.c)."""


def _dialled_for(headers: Headers) -> str:
    """The leg for which this one was dialled by a thread of its own, or the queue; empty if it was
    not."""
    if headers.get("Call-Direction") != "outbound":
        return ""
    named = next(filter(None, map(headers.get, _FOR_WHOM)), "")
    # mod_fifo dials for a queue, whoever is first in it then.
    queue = headers.get("variable_fifo_outbound_uuid") and headers.get("variable_fifo_name")
    return "" if named == headers.get("Unique-ID") else named or queue


class LegRoles:
    """Remembers each leg's role from the first word about it to its CHANNEL_DESTROY.

    The first word counts for life, whatever later headers say: a B leg's own change when its
    bridge ends.
    """

    def __init__(self) -> None:
        self._roles: dict[str, Role] = {}

    def observe(self, event: Event) -> Role | None:
        """Take in an event; the role of its leg, None for one that describes no channel.

        A CUSTOM event, even one without a name (FACTS.md 0.6), says what its sender likes.
        """
        uuid = event.headers.get("Unique-ID")
        if not uuid or event.name in ("", "CUSTOM") or "Channel-Name" not in event.headers:
            return None
        if event.name == "CHANNEL_DESTROY":
            return self._roles.pop(uuid, None) or role_in(event)
        return self._roles.setdefault(uuid, role_in(event))

    def settle(self, leg: Leg, role: Role) -> Role:
        """The role of a leg found otherwise than by an event; an earlier word still counts."""
        return self._roles.setdefault(leg.uuid, role)

    def __contains__(self, uuid: str) -> bool:
        """Whether the leg is known."""
        return uuid in self._roles

    def keep_only(self, uuids: Iterable[str]) -> None:
        """Forget all legs but these: their CHANNEL_DESTROY went by while the link was down."""
        alive = set(uuids)
        self._roles = {uuid: role for uuid, role in self._roles.items() if uuid in alive}

    def __len__(self) -> int:
        return len(self._roles)


@dataclass(frozen=True, slots=True)
class LegFilter:
    """Which legs to record. Contexts and destinations are shell-style patterns (`*`, `?`, `[…]`),
    directions inbound or outbound; empty means all. B legs are recorded only with `each_leg`,
    loopback legs only with `loopback`.
    """

    contexts: Sequence[str] = ()
    destinations: Sequence[str] = ()
    directions: Sequence[str] = ()
    loopback: bool = False
    each_leg: bool = False

    def objection(self, leg: Leg, role: Role) -> str:
        """Why the leg is not to be recorded, in a few words; empty if it is."""
        if role is Role.B and not self.each_leg:
            return "B leg"
        if leg.is_loopback and not self.loopback:
            return "loopback leg"
        if leg.declined:
            return "channel variable fsbot=false"
        if self.directions and leg.direction not in self.directions:
            return "direction"
        if not _matches(leg.context, self.contexts):
            return "context"
        if not _matches(leg.destination, self.destinations):
            return "destination"
        return ""


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns)
