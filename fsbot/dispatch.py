"""Hands FreeSWITCH's events to the calls that they are about."""

from collections.abc import Callable

import structlog

from fsbot.call import Call
from fsbot.switch.bridges import Bridges, bridged_legs
from fsbot.switch.codec import Event
from fsbot.switch.legs import Leg, LegRoles, Role
from fsbot.switch.masks import CONTROL, MaskChange, event_time, mask_change

log = structlog.get_logger("fsbot.bot")

EVENTS = (
    "CHANNEL_CREATE",
    "CHANNEL_ANSWER",
    "CHANNEL_BRIDGE",
    "CHANNEL_UNBRIDGE",
    "CHANNEL_HANGUP",
    "CHANNEL_DESTROY",
    "CHANNEL_HOLD",
    "CHANNEL_UNHOLD",
    "CODEC",
    "RECORD_STOP",
)
MASKING_EVENTS = ("API", "CHANNEL_EXECUTE")


class Dispatcher:
    """Knows which call speaks on which leg. Belongs to the hub."""

    def __init__(
        self,
        roles: LegRoles,
        answered: Callable[[Leg, Role], object],
        destroyed: Callable[[str], object],
        *,
        follow_transfer: bool,
    ) -> None:
        """answered(leg, role), destroyed(uuid): of any leg there is. follow_transfer: a call whose
        leg ends goes on with the leg that it leaves behind.
        """
        self.calls: dict[str, Call] = {}
        """By the UUID that their transcript has."""
        self._survivors: dict[str, Call] = {}
        """Calls whose own leg is gone, by the leg that is recorded instead."""
        self._roles = roles
        self._answered = answered
        self._destroyed = destroyed
        self._follow_transfer = follow_transfer
        self._bridges = Bridges()

    def recorded_on(self, uuid: str) -> Call | None:
        """The call that is recorded on this leg."""
        return self._survivors.get(uuid) or self.calls.get(uuid)

    def take_up(self, call: Call) -> None:
        """A call goes on that a former run has begun."""
        self.calls[call.uuid] = call
        if call.recorded_leg != call.uuid:
            self._survivors[call.recorded_leg] = call

    def forget(self, call: Call) -> None:
        """Its transcript has ended."""
        if self.calls.get(call.uuid) is call:
            del self.calls[call.uuid]
        for uuid in [uuid for uuid, other in self._survivors.items() if other is call]:
            del self._survivors[uuid]

    def on_event(self, event: Event) -> None:
        """Take in an event. Never blocks."""
        role = self._roles.observe(event)
        self._bridges.observe(event)
        uuid = event.headers.get("Unique-ID")
        if event.name == "CHANNEL_ANSWER" and role is not None:
            self._answered(Leg.from_event(event), role)
        if (change := mask_change(event)) is not None:
            self._mask(change)
        if event.name == "RECORD_STOP":
            self._unmask(self._heard_in(uuid), event)
        if event.name == "CHANNEL_BRIDGE":
            self._bridged(event)
        call = self.recorded_on(uuid)
        if call is not None:
            self._tell(call, uuid, event)
        if event.name == "CHANNEL_DESTROY":
            self._bridges.forget(uuid)
            self._survivors.pop(uuid, None)
            self._destroyed(uuid)

    def _tell(self, call: Call, uuid: str, event: Event) -> None:
        at = event_time(event)
        match event.name:
            case "CHANNEL_HOLD":
                call.marks.put("hold", at)
            case "CHANNEL_UNHOLD":
                call.marks.put("unhold", at)
            case "CHANNEL_UNBRIDGE":
                if party := Leg.from_event(event).transferred_to:
                    call.marks.transferred(at, party)
            case "CHANNEL_HANGUP" if call.recorded_leg == uuid:
                call.hung_up(at, may_go_on=bool(self._survivor(uuid, at)))
            case "CHANNEL_DESTROY" if call.recorded_leg == uuid:
                if survivor := self._survivor(uuid, at):
                    self._survivors[survivor] = call
                    call.go_on_with(survivor, at)
                else:
                    call.gone()
            case "RECORD_STOP":
                call.recording_stopped(event.headers.get("Record-File-Path"))
            case "CODEC":
                leg = Leg.from_event(event)
                call.codec_changed(leg.codec_rate, at)

    # Transfers

    def _survivor(self, uuid: str, at: float) -> str:
        """The leg on which the call of leg `uuid` goes on; empty if there is none, or if what it
        says is recorded anyway: on itself, or on the leg that it talks to by now."""
        survivor = self._bridges.survivor(uuid, at) if self._follow_transfer else ""
        partner = self._bridges.partner(survivor)
        recorded = self.recorded_on(survivor) or (partner != uuid and self.recorded_on(partner))
        return "" if recorded else survivor

    def _bridged(self, event: Event) -> None:
        """A leg talks to another one than before; or to one that another call records."""
        legs = bridged_legs(event)
        first, second = (self.recorded_on(leg) for leg in legs)
        for leg, call in zip(legs, (first, second), strict=True):
            if call is not None:
                call.marks.bridged(event_time(event), _party(event, leg == legs[0]))
        if first is not None and second is not None and first is not second:
            surviving = [call for call in (first, second) if call.recorded_leg != call.uuid]
            if surviving:
                # Both would have the same words: the one that began later has nothing to add.
                max(surviving, key=lambda call: call.answered_at).stop_recording()

    # Masks

    def _heard_in(self, uuid: str) -> Call | None:
        """The call whose transcript a leg speaks in: its own, or its A leg's."""
        return self.recorded_on(uuid) or self.calls.get(self._roles.call_of(uuid))

    def _mask(self, change: MaskChange) -> None:
        call = self._heard_in(change.uuid)
        if call is not None:
            call.masked(change)
        elif change.who == CONTROL:
            log.warning(
                "fsbot::control for a call that is not transcribed", call_uuid=change.uuid[:128]
            )

    def _unmask(self, call: Call | None, stopped: Event) -> None:
        """A recording that is over masks no longer; one of ours may be followed by the next."""
        path = stopped.headers.get("Record-File-Path")
        if call is not None and not call.has_recorded(path):
            call.masked(MaskChange(call.uuid, path, False, event_time(stopped)))


def _party(bridge: Event, is_first: bool) -> str:
    """Whom one end of a bridge talks to, by the event, which is the first end's."""
    headers = bridge.headers
    if is_first:
        return headers.get("Caller-Callee-ID-Number") or headers.get("Other-Leg-Destination-Number")
    outbound = headers.get("Call-Direction") == "outbound"
    return headers.get("Caller-Destination-Number" if outbound else "Caller-Caller-ID-Number")
