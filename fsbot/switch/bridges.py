"""Which legs talk to each other, and who is left when one of them goes.

Measured on FreeSWITCH 1.11 (blind transfer by REFER, uuid_transfer, attended transfer by REFER with
Replaces, uuid_bridge): when the leg that transfers is destroyed, the leg that it leaves behind has
had no CHANNEL_HANGUP; the bridge to its new party comes 40 ms later, if there is one. At the end of
an ordinary call both have hung up before either is destroyed.
"""

from fsbot.switch.codec import Event
from fsbot.switch.masks import event_time

PARTED_SECONDS = 2.0
"""A bridge that ended longer ago than this before the end of a leg has nothing to do with it."""


class Bridges:
    """Knows of every leg with whom it talks, or talked last."""

    def __init__(self) -> None:
        self._partner: dict[str, str] = {}
        self._parted: dict[str, float] = {}
        self._ending: set[str] = set()

    def observe(self, event: Event) -> None:
        """Take in a channel event; to be called before anybody asks about it."""
        uuid = event.headers.get("Unique-ID")
        ends = bridged_legs(event)
        match event.name:
            case "CHANNEL_BRIDGE":
                for leg, other in (ends, ends[::-1]):
                    self._partner[leg] = other
                    self._parted.pop(leg, None)
            case "CHANNEL_UNBRIDGE":
                for leg in ends:
                    self._parted[leg] = event_time(event)
            case "CHANNEL_HANGUP":
                self._ending.add(uuid)

    def forget(self, uuid: str) -> None:
        """The leg is destroyed."""
        self._partner.pop(uuid, None)
        self._parted.pop(uuid, None)
        self._ending.discard(uuid)

    def partner(self, uuid: str) -> str:
        """With whom the leg talks, or talked last; empty if with nobody."""
        return self._partner.get(uuid, "")

    def survivor(self, uuid: str, at: float) -> str:
        """The leg that lives on when `uuid` ends at Unix time `at`; empty if there is none."""
        partner = self.partner(uuid)
        parted_for = at - self._parted.get(uuid, at)
        alive = partner in self._partner and partner not in self._ending
        return partner if alive and parted_for < PARTED_SECONDS else ""


def bridged_legs(event: Event) -> tuple[str, str]:
    """Both ends of the bridge that the event tells of, empty for others."""
    headers = event.headers
    return headers.get("Bridge-A-Unique-ID"), headers.get("Bridge-B-Unique-ID")
