"""One call being played: its legs, its place in the sound, the order of its events."""

import time
import uuid
from collections.abc import Sequence

import numpy as np

from fsbot.rehearsal.ending import end_channel
from fsbot.rehearsal.events import Core
from fsbot.rehearsal.joining import announce_uuid_bridge, part
from fsbot.rehearsal.leg import Codec, Fire, Leg, Profile, Recording
from fsbot.rehearsal.playback import Playback
from fsbot.rehearsal.recorder import is_true
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.sound import (
    FRAME_SECONDS,
    FRAMES_PER_SECOND,
    Layout,
    Sound,
    frame,
    idle_frame,
    ringback,
)
from fsbot.rehearsal.variables import leg_variables

_RINGBACK = ringback()


class Call:
    """Plays a CallScript; `tick` is 20 ms of it. `legs[0]` is the A leg."""

    def __init__(self, core: Core, fire: Fire, script: CallScript) -> None:
        self.script = script
        self.finished = False
        self._core = core
        self._fire = fire
        self._actions = sorted(script.actions, key=lambda action: action.at)
        self._ticks = 0
        self._ticks_since_answer = 0
        self._position = _ticks(script.offset)
        self._application = ""
        self._aside: Sound | None = None
        self._aside_from = 0
        self.joined: Call | None = None
        """A call whose first leg this one's is bridged to: its voice is heard here."""
        self.handed_over = bool(script.socket)
        """A program on an outbound socket has it, or is about to."""
        self.legs: list[Leg] = [self._first_leg()]
        self.playback = Playback(self.legs[0])
        self._begin()

    @property
    def uuid(self) -> str:
        return self.legs[0].uuid

    @property
    def recorded(self) -> Sequence[Recording]:
        """Every recording of any leg, running or over."""
        return [recording for leg in self.legs for recording in leg.recorded]

    @property
    def position(self) -> int:
        """20 ms frames of the sound that have been played, repetitions included."""
        return self._position

    @property
    def on_hold(self) -> bool:
        """The A leg is held: nothing of it is recorded. A B leg's hold shows on that leg only."""
        return self.legs[0].held

    def tick(self) -> None:
        """20 ms go by: audio first, then what the script has for this moment."""
        for leg in self.legs:
            if leg.has_media and leg.is_read:
                self._record_frame(leg)
            leg.run_script()
        if self.finished:
            return
        self._ticks += 1
        leg = self.legs[0]
        if not leg.answered:
            self._proceed_to_answer()
            return
        if not self.on_hold:
            self._position += 1
        self._ticks_since_answer += 1
        while self._actions and self._ticks_since_answer >= _ticks(self._actions[0].at):
            self._actions.pop(0).perform(self)
            if self.finished:
                return
        plays = self.script.repeat * self.script.sound.frames
        if plays and self._position >= plays + _ticks(self.script.tail):
            self.hang_up("NORMAL_CLEARING")

    # -- what befalls a call -----------------------------------------------------------------

    def pre_answer(self) -> None:
        """Early media; a recording that starts before the answer forces it."""
        leg = self.legs[0]
        leg.answer_state = "early"
        leg.stamp("Channel-Progress-Media")
        leg.emit("CHANNEL_PROGRESS_MEDIA")
        leg.enter_call_state("EARLY")

    def answer(self) -> None:
        """The program that has the call answers it."""
        if not self.legs[0].answered:
            self._answer(self.legs[0])

    def go_on_in_dialplan(self) -> None:
        """The program has let go of the call, or was not there."""
        self.handed_over = False
        if self.finished:
            return
        if self.legs[0].answered:
            self._start_application()
        else:
            self._proceed_to_answer()

    def press(self, digit: str) -> None:
        pairs = [("DTMF-Digit", digit), ("DTMF-Duration", "2000"), ("DTMF-Source", "RTP")]
        self.legs[0].emit("DTMF", after=pairs)

    def say(self, sound: Sound) -> None:
        """The caller says something that the script does not have, from now on."""
        self._aside, self._aside_from = sound, self._position

    def transfer(self, extension: str) -> None:
        """`uuid_transfer`: the leg goes on at another extension, which parks it."""
        self.handed_over = False
        self.playback.break_off()
        self.legs[0].profile.destination = extension
        self.legs[0].execute("park")

    def renegotiate(self, codec: Codec) -> None:
        for leg in self.legs:
            leg.set_codec(codec)

    def hang_up(self, cause: str = "NORMAL_CLEARING") -> None:
        """The whole end of a call, in FreeSWITCH's order; every file is complete after it."""
        if not self.finished:
            self.hang_up_legs(cause)
            self.destroy()

    def hang_up_legs(self, cause: str) -> None:
        """The first half of `hang_up`. FreeSWITCH fires the API event of a command that ends a leg
        between the two halves."""
        self.finished = True
        for leg in self.legs:
            leg.answer_state = "hangup"
            leg.hangup_cause = cause
            leg.emit("CHANNEL_HANGUP")

    def destroy(self) -> None:
        """The second half: the channels are gone, and every file is complete."""
        part(self)
        first = self.legs[0]
        for leg in self.legs:
            leg.stamp("Channel-Hangup")
        if len(self.legs) > 1 and first.other_type == "originatee":
            first.emit("CHANNEL_UNBRIDGE", before=self._bridge_headers())
            self.legs[1].call_uuid = self.legs[1].uuid
        else:
            self._end_application()
        for leg in reversed(self.legs):
            end_channel(leg)

    # -- its beginning -----------------------------------------------------------------------

    def _first_leg(self) -> Leg:
        script = self.script
        outbound = script.direction == "outbound"
        loopback = script.endpoint == "loopback"
        profile = Profile(
            script.caller_name or script.caller_number,
            script.caller_number,
            script.destination,
            script.context,
        )
        if outbound:
            profile.source = "src/switch_ivr_originate.c"
            profile.callee_name, profile.callee_number = "Outbound Call", script.destination
        if loopback:
            name = f"loopback/{script.destination}-a"
        else:
            user = script.destination if outbound else script.caller_number
            name = f"sofia/internal/{user}@127.0.0.1:5080"
        return self._leg(
            name,
            "outbound" if outbound or loopback else "inbound",
            profile,
            uuid=script.uuid or str(uuid.uuid4()),
            # The only voice there is belongs to the far end, whoever called.
            far_is_callee=outbound and script.sound.callee is not None,
        )

    def _leg(
        self, name: str, direction: str, profile: Profile, uuid: str, far_is_callee: bool
    ) -> Leg:
        self._core.sessions_since_start += 1
        leg = Leg(
            self._core,
            self._fire,
            direction,
            name,
            profile,
            far_party="callee" if far_is_callee else "caller",
            write_side_idle=self.script.sound.callee is None,
            uuid=uuid,
            hit_dialplan=direction == "inbound",
        )
        leg.variables = leg_variables(leg, self._core.sessions_since_start)
        leg.variables.update(self.script.variables)
        return leg

    def _begin(self) -> None:
        leg = self.legs[0]
        leg.enter("CS_NEW")
        if leg.direction == "inbound":
            leg.set_codec(self.script.codec)
        leg.enter("CS_INIT")
        leg.emit("CHANNEL_CREATE")
        if self.script.endpoint == "loopback":
            self._add_loopback_peer()
        if leg.direction == "inbound":
            leg.enter_call_state("RINGING")
            leg.enter("CS_ROUTING")
            leg.enter("CS_EXECUTE")
        else:
            leg.enter("CS_ROUTING")
            leg.enter("CS_CONSUME_MEDIA")
        if self.script.ring > 0:
            leg.stamp("Channel-Progress")
            leg.emit("CHANNEL_PROGRESS")
        self._proceed_to_answer()

    def _proceed_to_answer(self) -> None:
        leg = self.legs[0]
        ringing = _ticks(self.script.ring)
        if self._ticks < ringing or self.handed_over:
            return
        if self._ticks < ringing + _ticks(self.script.early_media):
            if not leg.has_media:
                self.pre_answer()
            return
        if self.script.bridged and self.script.dialled == "queue":
            self._answer(leg)
            leg.variables["cc_side"] = "member"
            leg.execute("callcenter", "support@default")
            self._add_bridged_leg()
            announce_uuid_bridge(leg, self.legs[1])
            self._bridge()
            return
        if self.script.bridged:
            self._add_bridged_leg()
            leg.stamp("Channel-Progress")
            leg.emit("CHANNEL_PROGRESS")
            self._answer(leg)
            self._bridge()
            return
        execution = leg.execute("answer") if leg.direction == "inbound" else ""
        self._answer(leg)
        for peer in self.legs[1:]:
            self._answer(peer)
        if execution:
            leg.executed(execution)
        self._start_application()

    def _answer(self, leg: Leg) -> None:
        if not leg.codec:
            leg.set_codec(self.script.codec)
        leg.answer_state = "answered"
        leg.stamp("Channel-Answered")
        leg.variables["endpoint_disposition"] = "ANSWER"
        leg.emit("CHANNEL_ANSWER")
        leg.enter_call_state("ACTIVE")

    def _start_application(self) -> None:
        leg = self.legs[0]
        if leg.state == "CS_CONSUME_MEDIA":
            leg.enter("CS_EXECUTE")
        if leg.write_side_idle:
            self._application = leg.execute("park")
        else:
            self._application = leg.execute("playback", self.script.sound.name)
            leg.emit("PLAYBACK_START", after=[("Playback-File-Path", self.script.sound.name)])

    def _end_application(self) -> None:
        leg = self.legs[0]
        if not self._application:
            return
        if not leg.write_side_idle:
            path = self.script.sound.name
            leg.emit(
                "PLAYBACK_STOP", after=[("Playback-File-Path", path), ("Playback-Status", "done")]
            )
        leg.executed(self._application)

    def _add_bridged_leg(self) -> None:
        first = self.legs[0]
        profile = Profile(
            first.profile.caller_name,
            first.profile.caller_number,
            "2002",
            first.profile.context,
            callee_name="Outbound Call",
            callee_number="2002",
        )
        second = self._leg(
            "sofia/internal/2002@127.0.0.1:5090",
            "outbound",
            profile,
            uuid=str(uuid.uuid4()),
            far_is_callee=first.far_party == "caller",
        )
        match self.script.dialled:
            case "bridge":
                second.join(first, "originator")
                second.call_uuid = first.uuid
                second.variables["call_uuid"] = first.uuid
                second.variables["originator"] = first.uuid
                second.variables["originating_leg_uuid"] = first.uuid
            case "enterprise":
                # By a thread of its own: a call of its own until the bridge.
                second.variables["originating_leg_uuid"] = first.uuid
                second.variables["ent_originate_aleg_uuid"] = first.uuid
            case "queue":
                second.variables["cc_member_session_uuid"] = first.uuid
                second.variables["cc_side"] = "agent"
        second.variables.update(self.script.b_variables)
        self.legs.append(second)
        second.enter("CS_NEW")
        second.enter("CS_INIT")
        second.emit("CHANNEL_CREATE")
        second.enter("CS_ROUTING")
        second.enter("CS_CONSUME_MEDIA")
        second.stamp("Channel-Progress")
        second.emit("CHANNEL_PROGRESS")
        second.enter_call_state("RINGING")
        self._answer(second)
        first.profile.callee_name = profile.callee_name
        first.profile.callee_number = profile.callee_number

    def _bridge(self) -> None:
        first, second = self.legs
        first.join(second, "originatee")
        first.stamp("Channel-Bridged")
        first.emit("CHANNEL_BRIDGE", before=self._bridge_headers())
        second.stamp("Channel-Bridged")
        for leg, other in ((first, second), (second, first)):
            for name in ("bridge_uuid", "bridge_to", "signal_bond"):
                leg.variables[name] = other.uuid
        if second.other is None:
            second.join(first, "originator")
            second.call_uuid = first.uuid
        second.enter("CS_EXCHANGE_MEDIA")
        if is_true(first.variables.get("bypass_media_after_bridge", "")):
            self.bypass_media(True)

    def bypass_media(self, bypass: bool) -> None:
        """`uuid_media off`: the telephones send their sound to each other; or back again."""
        for leg in self.legs:
            leg.enter("CS_HIBERNATE" if bypass else "CS_SOFT_EXECUTE")

    def _bridge_headers(self) -> list[tuple[str, str]]:
        return [
            ("Bridge-A-Unique-ID", self.legs[0].uuid),
            ("Bridge-B-Unique-ID", self.legs[1].uuid),
        ]

    def _add_loopback_peer(self) -> None:
        first = self.legs[0]
        peer = self._leg(
            f"loopback/{self.script.destination}-b",
            "inbound",
            Profile(
                first.profile.caller_name, first.profile.caller_number, first.profile.destination
            ),
            uuid=str(uuid.uuid4()),
            far_is_callee=True,
        )
        self.legs.append(peer)
        peer.enter("CS_NEW")
        peer.set_codec(self.script.codec)
        peer.enter("CS_INIT")
        peer.emit("CHANNEL_CREATE")
        peer.enter_call_state("RINGING")
        peer.enter("CS_ROUTING")
        peer.enter("CS_EXECUTE")

    # -- audio -------------------------------------------------------------------------------

    def _record_frame(self, leg: Leg) -> None:
        for path, recording in list(leg.recordings.items()):
            if recording.options.answer_required and not leg.answered:
                continue
            if recording.options.bridge_required and leg.other is None:
                continue
            recording.file.push(self._frame(leg, recording))
            if recording.file.failed and recording.options.hang_up_on_error:
                self.hang_up("DESTINATION_OUT_OF_ORDER")
                return
            late = recording.limit_epoch and time.time() >= recording.limit_epoch
            if late or recording.file.silent_too_long:
                leg.stop_recording(path)

    def _frame(self, leg: Leg, recording: Recording) -> bytes:
        own = self._own_frame(leg, recording)
        if self.joined is None or recording.options.layout.channels != 2:
            return own
        both = np.frombuffer(own, np.int16).reshape(-1, 2).copy()
        heard = self.joined._own_frame(self.joined.legs[0], recording)
        both[:, 1] = np.frombuffer(heard, np.int16).reshape(-1, 2)[:, 0]
        return both.tobytes()

    def _own_frame(self, leg: Leg, recording: Recording) -> bytes:
        codec_rate = leg.codec.rate if leg.codec else recording.codec_rate
        # The file's resampler was set up for the codec at the start and does not notice a new one.
        rate = recording.rate * codec_rate // recording.codec_rate
        layout: Layout = recording.options.layout
        if not leg.answered:
            track = _RINGBACK.render("caller", layout, codec_rate, rate)
            return frame(track, self._ticks % _RINGBACK.frames, rate)
        sound, position = self.script.sound, self._position
        over = 0 < self.script.repeat * sound.frames <= position
        if self._aside is not None and position - self._aside_from < self._aside.frames:
            sound, position, over = self._aside, position - self._aside_from, False
        if self.on_hold or over:
            return idle_frame(layout.channels, int(rate * FRAME_SECONDS))
        track = sound.render(leg.far_party, layout, codec_rate, rate)
        return frame(track, position % sound.frames, rate)


def _ticks(seconds: float) -> int:
    return round(seconds * FRAMES_PER_SECOND)
