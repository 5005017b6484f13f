"""Who hears whom among FreeSWITCH's legs, and which of them want nothing to be written.

Measured on FreeSWITCH 1.11 (FACTS.md 10) and read in its source: a bridge tells of itself by
CHANNEL_BRIDGE and CHANNEL_UNBRIDGE, however its legs were dialled (switch_ivr_bridge.c); a
conference by conference::maintenance (conference_member.c); eavesdrop and three_way only by
CHANNEL_EXECUTE, and whispering by the keys 1, 2, 3 and 0 (switch_ivr_async.c); the two ends of a
loopback channel by a variable (mod_loopback.c).
"""

import json
import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

from fsbot.switch.bridges import bridged_legs
from fsbot.switch.codec import Event, Headers
from fsbot.switch.legs import declines
from fsbot.switch.masks import Silence

CONFERENCE = "conference::maintenance"
"""The subclass by which mod_conference tells who comes, goes and is muted."""

DECLINED = "fsbot=false"
"""The channel variable as one of those who want silence."""

_PARTLESS = frozenset({"CODEC", "CUSTOM", "API", ""})
"""Events that carry no channel variables, or those of their sender's choice."""

_SPYING = frozenset({"eavesdrop", "three_way", "userspy"})
_ASSIGNING = frozenset({"set", "export", "multiset", "unset"})
_TRUE = frozenset({"true", "yes", "on", "enabled", "active", "allow", "1"})
_TO_ONE = "2"
_LONGEST = 128


@dataclass(frozen=True, order=True, slots=True)
class Wish:
    """A leg wants silence. who: the path of a recording that is masked, or who else it is. mark:
    what the transcript calls it, mask or pause."""

    leg: str
    who: str
    mark: Silence = "mask"


@dataclass(frozen=True, slots=True)
class _Room:
    """A conference, as a node between its members."""

    uuid: str


_Node = str | _Room


class Conversations:
    """Legs, by their UUIDs, and what they hear of each other at the moment."""

    def __init__(self) -> None:
        self._bridges: dict[str, list[str]] = {}
        """With whom each leg is bridged, the latest last: a leg that asks a third party, by
        att_xfer, stays in its first bridge and hears nothing of it."""
        self._early: dict[str, str] = {}
        """Legs whose early media another one hears."""
        self._other_end: dict[str, str] = {}
        """Ends of loopback channels."""
        self._room: dict[str, _Room] = {}
        self._members: dict[_Room, set[str]] = {}
        self._muted: set[str] = set()
        self._spied_on: dict[str, str] = {}
        """By the leg that listens in."""
        self._whispering: dict[str, str] = {}
        """The key that says who hears a leg that listens in: 1 for the far end of the one that it
        listens to, 2 for that one alone, 3 for both."""
        self._declined: set[str] = set()
        self._serving: set[str] = set()
        self._wishes: dict[str, dict[str, Wish]] = {}

    # Questions

    def heard_by(self, leg: str) -> set[str]:
        """The legs whose voices may reach a leg now, itself included."""
        return self._reach(leg, self._muted)

    def company(self, leg: str) -> set[str]:
        """The same if nobody were muted."""
        return self._reach(leg, frozenset())

    def _reach(self, leg: str, muted: Set[str]) -> set[str]:
        found: set[_Node] = {leg}
        waiting: list[_Node] = [leg]
        while waiting:
            for node in self._heard_directly(waiting.pop(), muted):
                if node not in found:
                    found.add(node)
                    waiting.append(node)
        return {node for node in found if isinstance(node, str)}

    def wishes(self, legs: Iterable[str]) -> frozenset[Wish]:
        """Who of these legs wants silence."""
        found: set[Wish] = set()
        for leg in legs:
            found.update(self._wishes.get(leg, {}).values())
            if leg in self._declined:
                found.add(Wish(leg, DECLINED, "pause"))
        return frozenset(found)

    def partner(self, leg: str) -> str:
        """The leg that it is bridged to and talks to now; empty if there is none."""
        partner = self._latest(leg)
        return partner if self._latest(partner) == leg else ""

    def is_muted(self, leg: str) -> bool:
        """Whether it is a member of a conference that does not hear it."""
        return leg in self._muted

    def whispers(self, leg: str) -> bool:
        """Whether it speaks to the leg that it listens in to, and to nobody else: measured, that is
        in no recording of the call."""
        return self._whispering.get(leg) == _TO_ONE

    def joins_in(self, leg: str) -> bool:
        """Whether it speaks to the far end of the leg that it listens in to, or to both."""
        return leg in self._whispering and not self.whispers(leg)

    def listens_in_to(self, leg: str) -> str:
        """The leg, or what else it named (`all`, a user), whose call it listens in to; empty if it
        does not."""
        return self._spied_on.get(leg, "")

    def serves(self, leg: str) -> bool:
        """Whether it is an agent of a queue, who may serve one caller after the other."""
        return leg in self._serving

    @property
    def masking_legs(self) -> list[str]:
        """Those that have a recording masked."""
        return list(self._wishes)

    # Wishes

    def wish(self, wish: Wish) -> None:
        """It holds until `content`, or until the leg is no more."""
        self._wishes.setdefault(wish.leg, {})[wish.who] = wish

    def content(self, legs: Iterable[str], who: str) -> None:
        """That one of these legs wants silence no longer."""
        for leg in legs:
            wishes = self._wishes.get(leg, {})
            wishes.pop(who, None)
            if not wishes:
                self._wishes.pop(leg, None)

    def content_all(self, leg: str, keep: Iterable[str] = ()) -> None:
        """No recording of the leg is masked any more; others who want silence, `keep`, still do."""
        for who in set(self._wishes.get(leg, {})) - set(keep):
            self.content([leg], who)

    def pass_on(self, leg: str, to: str, who: str) -> None:
        """The call of a leg goes on with another one: what that one wanted holds for it."""
        if (wish := self._wishes.get(leg, {}).get(who)) is not None:
            self.wish(Wish(to, who, wish.mark))

    # Events

    def observe(self, event: Event) -> bool:
        """Take in an event; whether it may have changed who hears whom, or who declines."""
        headers = event.headers
        if event.name == "CUSTOM":
            return event.subclass == CONFERENCE and self._conference(headers)
        if event.name == "API":
            return self._command(headers)
        uuid = headers.get("Unique-ID")
        if not uuid:
            return False
        changed = event.name not in _PARTLESS and self._variables(uuid, headers)
        match event.name:
            case "CHANNEL_BRIDGE":
                self._bridge(*bridged_legs(event))
            case "CHANNEL_UNBRIDGE":
                self._unbridge(*bridged_legs(event))
            case "CHANNEL_PROGRESS_MEDIA" if headers.get("Other-Type") == "originator":
                self._early[uuid] = headers.get("Other-Leg-Unique-ID")
            case "CHANNEL_EXECUTE":
                return self._execute(uuid, headers) or changed
            case "DTMF" if uuid in self._spied_on:
                self._pressed(uuid, headers.get("DTMF-Digit"))
            case "CHANNEL_DESTROY":
                self._forget(uuid)
            case _:
                return changed
        return True

    def describe(self, dump: Headers) -> None:
        """What uuid_dump says of a leg that lives now."""
        uuid = dump.get("Unique-ID")
        self._variables(uuid, dump)
        if partner := dump.get("variable_bridge_to") or dump.get("variable_signal_bridge_to"):
            own, others = (self._bridges.setdefault(leg, []) for leg in (uuid, partner))
            if partner in own:
                own.remove(partner)
            own.append(partner)
            if uuid not in others:
                others.insert(0, uuid)  # who may have asked somebody else meanwhile
        application = dump.get("variable_current_application")
        self._listen_in(uuid, application, dump.get("variable_current_application_data"), dump)

    def describe_conferences(self, listing: str) -> None:
        """What `conference json_list` says; anything else says nothing."""
        try:
            rooms = json.loads(listing, strict=False)
            members = [
                (str(room["conference_uuid"]), str(member["uuid"]), member["flags"])
                for room in rooms
                for member in room["members"]
                if member.get("uuid")
            ]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return
        self._room.clear()
        self._members.clear()
        self._muted.clear()
        for room, uuid, flags in members:
            self._enter(uuid, _Room(room))
            if isinstance(flags, dict) and flags.get("can_speak") is False:
                self._muted.add(uuid)

    def forget_bridges(self) -> None:
        """`describe` tells what there is of them."""
        self._bridges.clear()

    def keep_only(self, alive: Iterable[str]) -> None:
        """Forget all legs but these: their CHANNEL_DESTROY went by while the link was down."""
        known = {
            *self._bridges,
            *self._early,
            *self._other_end,
            *self._room,
            *self._spied_on,
            *self._declined,
            *self._serving,
            *self._wishes,
        }
        for leg in known.difference(alive):
            self._forget(leg)

    # The inside

    def _heard_directly(self, node: _Node, muted: Set[str]) -> Iterator[_Node]:
        if isinstance(node, _Room):
            yield from self._members.get(node, set()) - muted
            return
        if partner := self.partner(node):
            yield partner
        for leg in (self._other_end, self._spied_on):
            if node in leg:
                yield leg[node]
        if node in self._room:
            yield self._room[node]
        yield from (leg for leg, hearer in self._early.items() if hearer == node)
        yield from (
            spy for spy in self._whispering if self._spied_on[spy] == node and self.joins_in(spy)
        )

    def _variables(self, uuid: str, headers: Headers) -> bool:
        """True if the leg declines now and did not before, or the other way round."""
        if other_end := headers.get("variable_other_loopback_leg_uuid"):
            self._other_end[uuid], self._other_end[other_end] = other_end, uuid
        if "variable_direction" not in headers:
            return False
        agent = headers.get("variable_cc_side") == "agent"
        if agent or headers.get("variable_fifo_role") == "consumer":
            self._serving.add(uuid)
        return self._decline(uuid, declines(headers.get("variable_fsbot")))

    def _decline(self, uuid: str, declined: bool) -> bool:
        if declined == (uuid in self._declined):
            return False
        if declined:
            self._declined.add(uuid)
        else:
            self._declined.discard(uuid)
            self.content([uuid], DECLINED)
        return True

    def _command(self, headers: Headers) -> bool:
        """`uuid_setvar` of the variable that declines."""
        command = headers.get("API-Command").lower()
        if command not in ("uuid_setvar", "uuid_setvar_multi"):
            return False
        uuid, _, rest = headers.get("API-Command-Argument").strip().partition(" ")
        if command == "uuid_setvar":
            pairs = [rest.strip().partition(" ")]
        else:
            pairs = [each.strip().partition("=") for each in rest.split(";")]
        values = [value.strip() for name, _, value in pairs if name == "fsbot"]
        known = len(uuid) <= _LONGEST
        return bool(values) and known and self._decline(uuid, declines(values[-1]))

    def _execute(self, uuid: str, headers: Headers) -> bool:
        application = headers.get("Application")
        data = headers.get("Application-Data").strip()
        if application in _ASSIGNING:
            # `export nolocal:` assigns it to legs that are dialled later, not to this one.
            found = re.search(r"(?:^|[^\w:])fsbot(?:=([^\s;,|]*)|$)", f" {data}")
            return bool(found) and self._decline(uuid, declines((found and found[1]) or ""))
        return self._listen_in(uuid, application, data, headers)

    def _listen_in(self, uuid: str, application: str, data: str, headers: Headers) -> bool:
        """Whatever else a leg executes ends its listening in."""
        before = self._spied_on.pop(uuid, None)
        self._whispering.pop(uuid, None)
        if application in _SPYING and data:
            self._spied_on[uuid] = data
            far, one = (
                headers.get(f"variable_eavesdrop_whisper_{leg}").lower() in _TRUE
                for leg in ("aleg", "bleg")
            )
            if application == "three_way" or one or far:
                self._whispering[uuid] = _TO_ONE if one and not far else "3"
        return before != self._spied_on.get(uuid)

    def _pressed(self, uuid: str, key: str) -> None:
        if key in ("1", "2", "3"):
            self._whispering[uuid] = key
        elif key == "0":
            self._whispering.pop(uuid, None)

    def _latest(self, leg: str) -> str:
        bridges = self._bridges.get(leg)
        return bridges[-1] if bridges else ""

    def _bridge(self, first: str, second: str) -> None:
        self._unbridge(first, second)
        for leg, other in ((first, second), (second, first)):
            self._early.pop(leg, None)
            self._bridges.setdefault(leg, []).append(other)

    def _unbridge(self, first: str, second: str) -> None:
        for leg, other in ((first, second), (second, first)):
            bridges = self._bridges.get(leg, [])
            if other in bridges:
                bridges.remove(other)
                if not bridges:
                    del self._bridges[leg]

    def _conference(self, headers: Headers) -> bool:
        uuid = headers.get("Unique-ID")
        room = headers.get("Conference-Unique-ID") or headers.get("Conference-Name")
        action = headers.get("Action")
        if not uuid or not room or len(uuid) > _LONGEST:
            return False
        match action:
            case "add-member":
                self._enter(uuid, _Room(room))
                self._mute(uuid, headers.get("Speak") == "false")
            case "del-member":
                self._leave(uuid)
            case "mute-member":
                self._mute(uuid, True)
            case "unmute-member":
                self._mute(uuid, False)
            case _:
                return False
        return True

    def _enter(self, uuid: str, room: _Room) -> None:
        self._leave(uuid)
        self._room[uuid] = room
        self._members.setdefault(room, set()).add(uuid)

    def _leave(self, uuid: str) -> None:
        self._muted.discard(uuid)
        if (room := self._room.pop(uuid, None)) is not None:
            self._members[room].discard(uuid)
            if not self._members[room]:
                del self._members[room]

    def _mute(self, uuid: str, muted: bool) -> None:
        if muted and uuid in self._room:
            self._muted.add(uuid)
        else:
            self._muted.discard(uuid)

    def _forget(self, uuid: str) -> None:
        for partner in list(self._bridges.get(uuid, ())):
            self._unbridge(uuid, partner)
        self._leave(uuid)
        self._declined.discard(uuid)
        self._serving.discard(uuid)
        for known in (self._whispering, self._early, self._spied_on, self._wishes):
            known.pop(uuid, None)
        other_end = self._other_end.pop(uuid, "")
        if self._other_end.get(other_end) == uuid:
            del self._other_end[other_end]
