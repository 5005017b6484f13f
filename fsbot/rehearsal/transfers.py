"""Transfers of rehearsed calls, with the events that FreeSWITCH 1.11 sends.

Measured with REFER, REFER with Replaces, uuid_transfer and uuid_bridge: a leg that transfers the
other one is destroyed before that one is bridged to its new party; the other one is never hung up.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fsbot.rehearsal.call import Call
    from fsbot.rehearsal.leg import Leg


@dataclass(frozen=True, slots=True)
class BlindTransfer:
    """One leg of a bridged call sends the other one to an extension, which plays on."""

    at: float
    by: Literal["A", "B"]
    extension: str = "3003"

    def perform(self, call: "Call") -> None:
        first, second = call.legs
        leaves, stays = (first, second) if self.by == "A" else (second, first)
        leaves.hangup_cause = "BLIND_TRANSFER"
        stays.variables["transfer_source"] = (
            f"{int(time.time())}:{stays.uuid}:bl_xfer:{self.extension}/default/XML"
        )
        stays.profile.destination = self.extension
        if self.by == "A":
            _unbridge(call, first, second)
            leaves.emit("CHANNEL_HANGUP")
        else:
            leaves.emit("CHANNEL_HANGUP")
            _unbridge(call, first, second)
        _destroy(leaves)
        call.legs.remove(leaves)
        stays.execute("playback", call.script.sound.name)


@dataclass(frozen=True, slots=True)
class AttendedTransfer:
    """The A leg joins its B leg with the B leg of another call of its own, and is gone."""

    at: float
    other: "Call"

    def perform(self, call: "Call") -> None:
        (first, second), (consulting, target) = call.legs, self.other.legs
        _unbridge(self.other, consulting, target)
        for leg in (consulting, first):
            leg.hangup_cause = "NORMAL_CLEARING"
            leg.emit("CHANNEL_HANGUP")
        _unbridge(call, first, second)
        for leg in (first, consulting):
            _destroy(leg)
        call.legs.remove(first)
        self.other.legs.remove(consulting)
        second.join(target, "originatee")
        second.profile.callee_number = target.profile.destination
        ends = [("Bridge-A-Unique-ID", second.uuid), ("Bridge-B-Unique-ID", target.uuid)]
        second.emit("CHANNEL_BRIDGE", before=ends)


def _unbridge(call: "Call", first: "Leg", second: "Leg") -> None:
    ends = [("Bridge-A-Unique-ID", first.uuid), ("Bridge-B-Unique-ID", second.uuid)]
    first.emit("CHANNEL_UNBRIDGE", before=ends)
    second.call_uuid = second.uuid


def _destroy(leg: "Leg") -> None:
    leg.answer_state = "hangup"
    leg.enter("CS_HANGUP")
    for path in list(leg.recordings):
        leg.stop_recording(path)
    leg.emit("CHANNEL_HANGUP_COMPLETE", before=[("Hangup-Cause", leg.hangup_cause)])
    leg.emit("CHANNEL_DESTROY")
    leg.enter("CS_DESTROY")
