"""Transfers of rehearsed calls, with the events that FreeSWITCH 1.11 sends.

Measured with REFER, REFER with Replaces, uuid_transfer and uuid_bridge: a leg that transfers the
other one is destroyed before that one is bridged to its new party; the other one is never hung up.
But where a B leg transfers with Replaces, the leg on which it asked the new party outlives that
bridge.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import gevent

from fsbot.rehearsal.ending import end_channel

if TYPE_CHECKING:
    from fsbot.rehearsal.call import Call
    from fsbot.rehearsal.leg import Leg

CONSULTING_SECONDS = 1.6
"""From the new bridge to the end of the leg on which B has asked."""


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
        end_channel(leaves)
        call.legs.remove(leaves)
        stays.execute("playback", call.script.sound.name)


@dataclass(frozen=True, slots=True)
class AttendedTransfer:
    """Who is in two calls joins the others of both, and is gone.

    By A: the A leg of both, which leaves their B legs. By B: a telephone that is the B leg of one
    and the A leg of the other; what it leaves is an A leg, and the other one's B leg.
    """

    at: float
    other: "Call"
    by: Literal["A", "B"] = "A"

    def perform(self, call: "Call") -> None:
        if self.by == "A":
            self._by_a(call)
        else:
            self._by_b(call)

    def _by_a(self, call: "Call") -> None:
        (first, second), (consulting, target) = call.legs, self.other.legs
        _unbridge(self.other, consulting, target)
        for leg in (consulting, first):
            leg.hangup_cause = "NORMAL_CLEARING"
            leg.emit("CHANNEL_HANGUP")
        _unbridge(call, first, second)
        for leg in (first, consulting):
            end_channel(leg)
        call.legs.remove(first)
        self.other.legs.remove(consulting)
        _bridge(second, target)

    def _by_b(self, call: "Call") -> None:
        (first, second), (consulting, target) = call.legs, self.other.legs
        _unbridge(self.other, consulting, target)
        second.hangup_cause = "NORMAL_CLEARING"
        second.emit("CHANNEL_HANGUP")
        _unbridge(call, first, second)
        end_channel(second)
        call.legs.remove(second)
        self.other.legs.remove(consulting)
        _bridge(first, target)
        gevent.spawn_later(CONSULTING_SECONDS, _end_consulting, consulting)


def _bridge(first: "Leg", second: "Leg") -> None:
    first.join(second, "originatee")
    first.profile.callee_number = second.profile.destination
    ends = [("Bridge-A-Unique-ID", first.uuid), ("Bridge-B-Unique-ID", second.uuid)]
    first.emit("CHANNEL_BRIDGE", before=ends)


def _end_consulting(leg: "Leg") -> None:
    leg.hangup_cause = "ATTENDED_TRANSFER"
    leg.emit("CHANNEL_HANGUP")
    end_channel(leg)


def _unbridge(call: "Call", first: "Leg", second: "Leg") -> None:
    ends = [("Bridge-A-Unique-ID", first.uuid), ("Bridge-B-Unique-ID", second.uuid)]
    first.emit("CHANNEL_UNBRIDGE", before=ends)
    second.call_uuid = second.uuid
