"""Which legs talk to each other, and who is left when one of them goes.

Measured on FreeSWITCH 1.11 (blind transfer by REFER, uuid_transfer, attended transfer by REFER with
Replaces, uuid_bridge): when the leg that transfers is destroyed, the leg that it leaves behind has
had no CHANNEL_HANGUP; the bridge to its new party comes 40 ms later, if there is one. At the end of
an ordinary call both have hung up before either is destroyed.

A channel keeps the variable that tells of its latest transfer until it ends: a transfer took place
during a bridge only if the variable has changed since the bridge began.
"""

from fsbot.switch.codec import Event
from fsbot.switch.legs import Leg
from fsbot.switch.masks import event_time

PARTED_SECONDS = 2.0
"""A bridge that ended longer ago than this before the end of a leg has nothing to do with it."""


class Bridges:
    """Knows of every leg with whom it talks, or talked last."""

    def __init__(self) -> None:
        self._partner: dict[str, str] = {}
        self._parted: dict[str, float] = {}
        self._ending: set[str] = set()
        self._deflected: dict[str, str] = {}
        """Where a leg's telephone has been told to call."""
        self._sources: dict[str, str] = {}
        """What a leg's last bridge began with as its latest transfer."""

    def observe(self, event: Event) -> None:
        """Take in a channel event; to be called before anybody asks about it."""
        uuid = event.headers.get("Unique-ID")
        ends = bridged_legs(event)
        match event.name:
            case "CHANNEL_BRIDGE":
                for leg, other in (ends, ends[::-1]):
                    self._partner[leg] = other
                    self._parted.pop(leg, None)
                self._sources[uuid] = event.headers.get("variable_transfer_source")
            case "CHANNEL_UNBRIDGE":
                for leg in ends:
                    self._parted[leg] = event_time(event)
            case "CHANNEL_HANGUP":
                self._ending.add(uuid)
            case "CHANNEL_EXECUTE" if event.headers.get("Application") == "deflect":
                self._deflect(uuid, event.headers.get("Application-Data"))
            case "API" if (told := _told_to_call(event)) is not None and told[0] in self._partner:
                self._deflect(*told)

    def forget(self, uuid: str) -> None:
        """The leg is destroyed."""
        self._partner.pop(uuid, None)
        self._parted.pop(uuid, None)
        self._ending.discard(uuid)
        self._sources.pop(uuid, None)
        self._deflected.pop(uuid, None)

    def deflected(self, event: Event) -> tuple[str, str] | None:
        """The leg that has hung up because its telephone calls elsewhere, and where that is.

        FreeSWITCH fires the API event of `uuid_deflect` after the command ran, usually after the
        leg has hung up (seen on 1.11.3-dev).
        """
        told = _told_to_call(event)
        if event.name != "CHANNEL_HANGUP" and told is None:
            return None
        leg = told[0] if told is not None else event.headers.get("Unique-ID")
        if leg in self._ending and (party := self._deflected.get(leg)):
            return leg, party
        return None

    def _deflect(self, uuid: str, target: str) -> None:
        """target: `sip:USER@HOST`."""
        user, _, _ = target.strip().partition("@")
        self._deflected[uuid] = user.rpartition(":")[2]

    def transferred_to(self, unbridge: Event) -> str:
        """The extension that a blind transfer has sent the leg to that a CHANNEL_UNBRIDGE is about;
        empty if none has ended that bridge."""
        leg = Leg.from_event(unbridge)
        fresh = self._sources.get(leg.uuid, "") != leg.transfer_source
        return leg.transferred_to if fresh else ""

    def is_ending(self, uuid: str) -> bool:
        """Whether it has hung up, and is not destroyed yet."""
        return uuid in self._ending

    def partner(self, uuid: str) -> str:
        """With whom the leg talks, or talked last; empty if with nobody."""
        return self._partner.get(uuid, "")

    def survivor(self, uuid: str, at: float) -> str:
        """The leg that lives on when `uuid` ends at Unix time `at`; empty if there is none."""
        partner = self.partner(uuid)
        parted_for = at - self._parted.get(uuid, at)
        alive = partner in self._partner and partner not in self._ending
        return partner if alive and parted_for < PARTED_SECONDS else ""


def _told_to_call(event: Event) -> tuple[str, str] | None:
    """The leg and the target, `sip:USER@HOST`, of the command `uuid_deflect`."""
    headers = event.headers
    if event.name != "API" or headers.get("API-Command").lower() != "uuid_deflect":
        return None
    leg, _, target = headers.get("API-Command-Argument").strip().partition(" ")
    return leg, target


def bridged_legs(event: Event) -> tuple[str, str]:
    """Both ends of the bridge that the event tells of, empty for others."""
    headers = event.headers
    return headers.get("Bridge-A-Unique-ID"), headers.get("Bridge-B-Unique-ID")
