"""Two legs that are bridged although neither was dialled for the other: uuid_bridge, which
intercept, valet_park and mod_callcenter end in.

Captured on FreeSWITCH 1.11: both execute `uuid_bridge`, each with the other as its far leg and a
`transfer_source` that says uuid_br; CHANNEL_BRIDGE comes from the first.
"""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsbot.rehearsal.call import Call
    from fsbot.rehearsal.leg import Leg


def announce_uuid_bridge(first: "Leg", second: "Leg") -> None:
    """What comes before the bridge itself."""
    for leg, other, part in ((first, second, "originatee"), (second, first, "originator")):
        leg.join(other, part)
        leg.variables["signal_bond"] = leg.variables["bridge_uuid"] = other.uuid
        leg.variables["transfer_source"] = f"{int(time.time())}:{leg.uuid}:uuid_br:{other.uuid}"
    second.call_uuid = first.uuid
    first.execute("uuid_bridge", second.uuid)
    second.execute("uuid_bridge", first.uuid)


def join(first: "Call", second: "Call") -> None:
    """Bridge the first legs of two calls: each hears the other from now on."""
    part(first)
    part(second)
    one, other = first.legs[0], second.legs[0]
    announce_uuid_bridge(one, other)
    first.joined, second.joined = second, first
    one.emit("CHANNEL_BRIDGE", before=_ends(one, other))
    for leg, partner in ((one, other), (other, one)):
        leg.variables["bridge_to"] = partner.uuid


def part(call: "Call") -> None:
    """End what `join` began; both legs are parked."""
    other = call.joined
    if other is None:
        return
    call.joined = other.joined = None
    legs = (call.legs[0], other.legs[0])
    for leg in legs:
        leg.variables.pop("bridge_to", None)
        leg.variables.pop("signal_bond", None)
    legs[0].emit("CHANNEL_UNBRIDGE", before=_ends(*legs))
    legs[1].call_uuid = legs[1].uuid


def _ends(first: "Leg", second: "Leg") -> list[tuple[str, str]]:
    return [("Bridge-A-Unique-ID", first.uuid), ("Bridge-B-Unique-ID", second.uuid)]
