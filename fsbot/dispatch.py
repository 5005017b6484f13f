"""Hands FreeSWITCH's events to the calls that they are about."""

import time
from collections.abc import Callable

import gevent
import structlog

from fsbot.call import Call
from fsbot.switch.bridges import Bridges, bridged_legs
from fsbot.switch.codec import Event, Headers
from fsbot.switch.conversations import CONFERENCE, DECLINED, Conversations, Wish
from fsbot.switch.errors import EslError
from fsbot.switch.legs import Leg, LegRoles, Role
from fsbot.switch.masks import CONTROL, MaskChange, event_time, mask_change
from fsbot.transcript.position import TranscriptPosition
from fsbot.transcript.records import SideName

log = structlog.get_logger("fsbot.bot")

EVENTS = (
    "CHANNEL_CREATE",
    "CHANNEL_ANSWER",
    "CHANNEL_PROGRESS_MEDIA",
    "CHANNEL_BRIDGE",
    "CHANNEL_UNBRIDGE",
    "CHANNEL_HANGUP",
    "CHANNEL_DESTROY",
    "CHANNEL_HOLD",
    "CHANNEL_UNHOLD",
    "CHANNEL_EXECUTE",
    "CODEC",
    "DTMF",
    "RECORD_STOP",
    "API",
)
SUBCLASSES = (CONTROL, CONFERENCE)

DESTROY_SECONDS = 5.0
"""CHANNEL_DESTROY comes this long after CHANNEL_HANGUP, or FreeSWITCH is asked for the channel."""


class Dispatcher:
    """Knows which call speaks on which leg. Belongs to the hub."""

    def __init__(
        self,
        roles: LegRoles,
        answered: Callable[[Leg, Role], object],
        destroyed: Callable[[str], object],
        *,
        follow_transfer: bool,
        follow_mask: bool,
        each_leg: bool,
    ) -> None:
        """answered(leg, role), destroyed(uuid): of any leg there is. follow_transfer: a call whose
        leg ends goes on with the leg that it leaves behind. follow_mask: who masks any recording
        masks the transcript, too. each_leg: every leg has a transcript of its own words.
        """
        self.calls: dict[str, Call] = {}
        """By the UUID that their transcript has."""
        self.conversations = Conversations()
        self._survivors: dict[str, Call] = {}
        """Calls whose own leg is gone, by the leg that is recorded instead."""
        self._roles = roles
        self._answered = answered
        self._destroyed = destroyed
        self._follow_transfer = follow_transfer
        self._follow_mask = follow_mask
        self._each_leg = each_leg
        self._bridges = Bridges()
        self._surveying = False
        """Who hears whom is not known for certain at the moment."""

    def recorded_on(self, uuid: str) -> Call | None:
        """The call that is recorded on this leg."""
        return self._survivors.get(uuid) or self.calls.get(uuid)

    def take(self, call: Call) -> None:
        """A call begins."""
        self.calls[call.uuid] = call
        self._agree(time.time())

    def take_up(self, call: Call, unfinished: TranscriptPosition) -> None:
        """A call goes on that a former run has begun, and written so far."""
        self.calls[call.uuid] = call
        if call.recorded_leg != call.uuid:
            self._survivors[call.recorded_leg] = call
        for wish in call.wishes:
            if wish.who != DECLINED:  # a variable of the leg, which tells whether it still does
                self.conversations.wish(wish)

    def forget(self, call: Call) -> None:
        """Its transcript has ended."""
        if self.calls.get(call.uuid) is call:
            del self.calls[call.uuid]
        for uuid in [uuid for uuid, other in self._survivors.items() if other is call]:
            del self._survivors[uuid]
        self._agree(time.time())

    # After the link was down

    def survey(self) -> None:
        """What is known of the legs may be out of date, until `surveyed`."""
        self._surveying = True

    def describe(self, dump: Headers) -> None:
        """What uuid_dump says of a leg that lives."""
        self.conversations.describe(dump)
        leg = dump.get("Unique-ID")
        if (call := self.recorded_on(leg)) and (partner := self.conversations.partner(leg)):
            call.marks.talks_to(partner)

    def surveyed(self) -> None:
        """All legs that live are known, and who hears whom."""
        self._surveying = False
        self._agree(time.time())

    def on_event(self, event: Event) -> None:
        """Take in an event. Never blocks."""
        at = event_time(event)
        role = self._roles.observe(event)
        self._bridges.observe(event)
        uuid = event.headers.get("Unique-ID")
        news = self.conversations.observe(event)
        if event.name == "CHANNEL_ANSWER" and role is not None:
            self._answered(Leg.from_event(event), role)
        if (change := mask_change(event)) is not None:
            news |= self._mask(change)
        if event.name == "RECORD_STOP":
            news |= self._unmask(uuid, event)
        if event.name == "CHANNEL_BRIDGE":
            self._bridged(event)
        if event.name in ("CHANNEL_HOLD", "CHANNEL_UNHOLD"):
            self._held(uuid, event.name == "CHANNEL_HOLD", at)
        if (deflected := self._bridges.deflected(event)) is not None:
            leg, party = deflected
            for call in self.calls.values():
                with_it = {call.recorded_leg, self._bridges.partner(call.recorded_leg)}
                if leg in with_it | self.conversations.heard_by(call.recorded_leg):
                    call.marks.transferred(at, party)
        if (call_of_leg := self.recorded_on(uuid)) is not None:
            self._tell(call_of_leg, uuid, event)
        if news:
            self._agree(at)
        if event.name == "CHANNEL_DESTROY":
            self._bridges.forget(uuid)
            self._survivors.pop(uuid, None)
            self._destroyed(uuid)

    def _tell(self, call: Call, uuid: str, event: Event) -> None:
        at = event_time(event)
        match event.name:
            case "CHANNEL_UNBRIDGE":
                if party := self._bridges.transferred_to(event):
                    call.marks.transferred(at, party)
                elif partner := self.conversations.partner(uuid):
                    call.marks.back_to(at, partner)
            case "CHANNEL_HANGUP" if call.recorded_leg == uuid:
                call.hung_up(at, may_go_on=bool(self._survivor(uuid, at)))
                gevent.spawn(self._expect_end, call, uuid)
            case "CHANNEL_DESTROY" if call.recorded_leg == uuid:
                self._leg_ended(call, uuid, at)
            case "RECORD_STOP":
                call.recording_stopped(event.headers.get("Record-File-Path"), at)
            case "CODEC":
                leg = Leg.from_event(event)
                call.codec_changed(leg.codec_rate, at)

    def _leg_ended(self, call: Call, uuid: str, at: float) -> None:
        if survivor := self._survivor(uuid, at):
            self._go_on(call, survivor, at)
        else:
            call.gone()

    def _expect_end(self, call: Call, uuid: str) -> None:
        """End a call whose leg has hung up, also if no CHANNEL_DESTROY comes: the event was lost,
        or FreeSWITCH keeps the channel."""
        while not call.ended.wait(DESTROY_SECONDS):
            try:
                if call.leg_gone or call.recorded_leg != uuid:
                    return
                if not call.outlives_hang_up() and not call.leg_gone and call.recorded_leg == uuid:
                    self._leg_ended(call, uuid, time.time())
            except EslError as error:
                log.info("end of a call not found out", call_uuid=uuid, reason=str(error))

    # Who hears whom

    def _agree(self, at: float) -> None:
        """Every call is told who of those that are heard in it wants silence since Unix time `at`,
        and which transcript has their words: one for every conversation."""
        for call in self.calls.values():
            heard = self.conversations.heard_by(call.recorded_leg)
            call.marks.heard(at, heard)
            wishes = self.conversations.wishes(heard)
            covered = self._covered(call, heard)
            if self._surveying:
                # What has not been seen yet may still want it.
                call.withhold(wishes | call.wishes, at)
                continue
            call.withhold(wishes, at)
            call.cover(covered, at)
            for leg in call.marks.holding:
                if leg not in heard:
                    call.marks.unhold(at, leg)

    def _covered(self, call: Call, heard: set[str]) -> dict[SideName, str]:
        """Which sides of a call are not its transcript's to write, with the call UUID of the one
        that writes them; empty if nobody does, since nobody hears them."""
        leg = call.recorded_leg
        own, *others = call.sides
        covered: dict[SideName, str] = {}
        if self.conversations.is_muted(leg):
            covered[own] = ""
        if self._each_leg:
            return covered
        company = self.conversations.company(leg)
        together = []
        listened_to = ""
        for other in {self.recorded_on(each) for each in (*company, *heard)} - {None, call}:
            assert other is not None
            if leg in self.conversations.company(other.recorded_leg):
                together.append(other)
            else:
                listened_to = min(filter(None, (listened_to, other.uuid)))
        first = min((call, *together), key=self._precedence)
        if spied_on := self.conversations.listens_in_to(leg):
            told = first.uuid if first is not call else listened_to
            if not told and spied_on in self._roles:
                return covered  # nobody else transcribes what it hears
            covered |= dict.fromkeys(others, told)
            if self.conversations.joins_in(leg):
                covered[own] = told  # its voice is in the recording of the call, too
            elif not self.conversations.whispers(leg):
                covered.setdefault(own, "")
        elif first is not call:
            covered = dict.fromkeys(call.sides, first.uuid) | covered
        elif listened_to:
            covered |= dict.fromkeys(others, listened_to)
        return covered

    def _precedence(self, call: Call) -> tuple[bool, float, str]:
        """Of calls that became one conversation the earliest goes on, but for those of agents: they
        may stay for one caller after the other. FreeSWITCH's clock goes by steps of 20 ms: calls
        may be equally old."""
        return self.conversations.serves(call.recorded_leg), call.began_at, call.uuid

    def _held(self, uuid: str, holds: bool, at: float) -> None:
        """A leg holds, or does no longer: a mark in the transcript of its conversation."""
        for call in self.calls.values():
            if not holds:
                call.marks.unhold(at, uuid)
            elif uuid in self.conversations.heard_by(call.recorded_leg):
                own, *others = call.sides
                side = own if uuid == call.recorded_leg or not others else others[0]
                if side not in call.covered:
                    call.marks.hold(at, uuid, side)

    # Transfers

    def _survivor(self, uuid: str, at: float) -> str:
        """The leg on which the call of leg `uuid` goes on; empty if there is none, or if what it
        says is recorded anyway: on itself, or on the leg that it talks to by now."""
        survivor = self._bridges.survivor(uuid, at) if self._follow_transfer else ""
        partner = self._bridges.partner(survivor)
        recorded = self.recorded_on(survivor) or (partner != uuid and self.recorded_on(partner))
        return "" if recorded else survivor

    def _go_on(self, call: Call, survivor: str, at: float) -> None:
        self.conversations.pass_on(call.recorded_leg, survivor, CONTROL)
        self._survivors[survivor] = call
        call.go_on_with(survivor, at)

    def _bridged(self, event: Event) -> None:
        """A leg talks to another one than before; or to one that another call records."""
        legs = bridged_legs(event)
        at = event_time(event)
        for ending in list(self.calls.values()):
            # A leg that has asked the new party by att_xfer is not destroyed before those end.
            if self._bridges.is_ending(ending.recorded_leg) and ending.recorded_leg not in legs:
                left = self._survivor(ending.recorded_leg, at)
                if left in legs:
                    self._go_on(ending, left, at)
        first, second = (self.recorded_on(leg) for leg in legs)
        for leg, other, call in zip(legs, legs[::-1], (first, second), strict=True):
            if call is not None:
                call.marks.bridged(at, other, _party(event, leg == legs[0]))
        if first is not None and second is not None and first is not second:
            surviving = [call for call in (first, second) if call.recorded_leg != call.uuid]
            if surviving:
                # Both would have the same words: the one that began later has nothing to add.
                max(surviving, key=lambda call: call.answered_at).stop_recording()

    # Masks

    def _mask(self, change: MaskChange) -> bool:
        """True if it was not known yet."""
        call = self.recorded_on(change.uuid)
        if change.who == CONTROL:
            return self._control(change, call)
        if not self._follow_mask:
            return False
        if change.uuid not in self._roles and not self._surveying:
            return False
        if change.masked:
            self.conversations.wish(Wish(change.uuid, change.who, change.mark))
        else:
            self.conversations.content([change.uuid], change.who)
        return True

    def _control(self, change: MaskChange, call: Call | None) -> bool:
        """A client asks the bot itself for silence, on any leg of a conversation."""
        leg = call.recorded_leg if call is not None else change.uuid
        heard = self.conversations.heard_by(leg)
        if not any(map(self.recorded_on, heard)):
            log.warning(
                "fsbot::control for a call that is not transcribed", call_uuid=change.uuid[:128]
            )
            return False
        if change.masked:
            self.conversations.wish(Wish(leg, CONTROL, change.mark))
        else:
            self.conversations.content(heard, CONTROL)
        return True

    def _unmask(self, uuid: str, stopped: Event) -> bool:
        """A recording that is over masks no longer; one of ours may be followed by the next."""
        path = stopped.headers.get("Record-File-Path")
        call = self.recorded_on(uuid)
        if call is not None and call.has_recorded(path):
            return False
        self.conversations.content([uuid], path)
        return True


def _party(bridge: Event, is_first: bool) -> str:
    """Whom one end of a bridge talks to, by the event, which is the first end's."""
    headers = bridge.headers
    if is_first:
        return headers.get("Caller-Callee-ID-Number") or headers.get("Other-Leg-Destination-Number")
    outbound = headers.get("Call-Direction") == "outbound"
    return headers.get("Caller-Destination-Number" if outbound else "Caller-Caller-ID-Number")
