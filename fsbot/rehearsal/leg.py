"""One channel: its states, its variables, its recordings, and the events that tell of them.

Header names, their order and their formats are those of captures inbound_call_all.esl (an
inbound leg), bridged_call.esl (a B leg) and codec_reneg.esl (an originated leg).
"""

import re
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fsbot.rehearsal.events import Core, Pairs, SwitchEvent
from fsbot.rehearsal.recorder import (
    CannotRecord,
    RecordingFile,
    RecordingOptions,
    is_true,
    looked_up,
)
from fsbot.rehearsal.sound import Party

_STATE_NUMBERS = {
    "CS_NEW": 0,
    "CS_INIT": 1,
    "CS_ROUTING": 2,
    "CS_SOFT_EXECUTE": 3,
    "CS_EXECUTE": 4,
    "CS_EXCHANGE_MEDIA": 5,
    "CS_CONSUME_MEDIA": 7,
    "CS_HIBERNATE": 8,
    "CS_HANGUP": 10,
    "CS_REPORTING": 11,
    "CS_DESTROY": 12,
}
_CALL_STATE_NUMBERS = {
    "DOWN": 0,
    "RINGING": 2,
    "EARLY": 3,
    "ACTIVE": 4,
    "HELD": 5,
    "HANGUP": 7,
    "UNHELD": 8,
}
_TIMES = (
    "Profile-Created",
    "Channel-Created",
    "Channel-Answered",
    "Channel-Progress",
    "Channel-Progress-Media",
    "Channel-Hangup",
    "Channel-Transfer",
    "Channel-Resurrect",
    "Channel-Bridged",
)
TITLES = tuple(
    f"record_{what}" for what in ("title", "copyright", "software", "artist", "comment", "date")
)
"""What the start of any recording takes away from the channel (switch_ivr_async.c)."""

HANGUP_HOOKS = ("api_hangup_hook", "api_reporting_hook")
Fire = Callable[[SwitchEvent], None]


@dataclass(frozen=True, slots=True)
class Codec:
    """What a leg's media is coded as; `rate` in Hz. With two channels FreeSWITCH cannot record
    what the leg says and what it hears apart in one file (switch_ivr_record_session_event)."""

    name: str = "PCMU"
    rate: int = 8000
    bit_rate: int = 64000
    channels: int = 1


def microseconds() -> int:
    return int(time.time() * 1e6)


@dataclass(slots=True)
class Profile:
    """Who calls whom: the `Caller-*` headers."""

    caller_name: str
    caller_number: str
    destination: str
    context: str = "default"
    network_address: str = "127.0.0.1"
    callee_name: str = ""
    callee_number: str = ""
    source: str = "mod_sofia"


@dataclass(slots=True)
class Recording:
    """A running `uuid_record` of a leg. `codec_rate`: the leg's rate when it started."""

    file: RecordingFile
    options: RecordingOptions
    inline: Mapping[str, str]
    codec_rate: int
    rate: int
    started: float
    limit_epoch: int | None
    cause: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)
    """By the variables' names in small letters."""


@dataclass(slots=True)
class Leg:
    """A channel and what it has fired so far. Events go out through `fire`."""

    core: Core
    fire: Fire
    direction: str
    name: str
    profile: Profile
    far_party: Party
    write_side_idle: bool = False
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    variables: dict[str, str] = field(default_factory=dict)
    other: "Leg | None" = None
    other_profile: Profile | None = None
    other_type: str = ""
    call_uuid: str = ""
    state: str = "CS_NEW"
    call_state: str = "DOWN"
    answer_state: str = "ringing"
    hangup_cause: str = ""
    codec: Codec | None = None
    hit_dialplan: bool = True
    application: tuple[str, str] = ("", "")
    times: dict[str, int] = field(default_factory=dict)
    held_since: int = 0
    hold_total: int = 0
    recordings: dict[str, Recording] = field(default_factory=dict)
    recorded: list[Recording] = field(default_factory=list)
    starting: int = 0
    """Recordings whose thread has started and which the channel does not list yet."""
    ended: bool = False
    """It has closed its recordings for the last time."""
    kept: bool = False
    """The channel is hung up and stays for good: the thread of a recording waits for ever."""
    on_input: Callable[[SwitchEvent], object] | None = None
    """The input callback of a script that runs on it."""
    queued: deque[SwitchEvent] = field(default_factory=deque)
    """Events that clients have sent to the channel itself, until a script takes them."""
    _sends_silence: bool | None = None
    """What park has read of the variable; None before."""

    def __post_init__(self) -> None:
        self.call_uuid = self.call_uuid or self.uuid
        now = microseconds()
        self.times = {"Profile-Created": now, "Channel-Created": now}

    @property
    def answered(self) -> bool:
        return "Channel-Answered" in self.times

    @property
    def has_media(self) -> bool:
        return self.answered or "Channel-Progress-Media" in self.times

    @property
    def gone(self) -> bool:
        return self.state == "CS_DESTROY"

    @property
    def held(self) -> bool:
        return self.call_state == "HELD"

    @property
    def is_read(self) -> bool:
        """Whether FreeSWITCH reads its sound: not on hold, nor in a bridge that it has left to the
        telephones, nor where it sends everything on as it comes."""
        proxied = self.other is not None and is_true(self.variables.get("proxy_media", ""))
        return not self.held and self.state != "CS_HIBERNATE" and not proxied

    # -- events ------------------------------------------------------------------------------

    def emit(self, name: str, before: Pairs | None = None, after: Pairs | None = None) -> None:
        """Fire an event with the channel's data and variables, and more before or after them."""
        headers = self.core.headers(name) + (before or []) + self.data()
        headers += [(f"variable_{key}", value) for key, value in self.variables.items() if value]
        self.fire(SwitchEvent(name, headers + (after or [])))

    def emit_basic(
        self, name: str, before: Pairs | None = None, after: Pairs | None = None
    ) -> None:
        """The same without channel variables, as CODEC, CHANNEL_STATE and CHANNEL_CALLSTATE are."""
        headers = self.core.headers(name) + (before or []) + self.data()
        self.fire(SwitchEvent(name, headers + (after or [])))

    def dump(self) -> SwitchEvent:
        """What `uuid_dump` prints."""
        headers = self.core.headers("CHANNEL_DATA") + self.data()
        headers += [(f"variable_{key}", value) for key, value in self.variables.items() if value]
        return SwitchEvent("CHANNEL_DATA", headers)

    def data(self) -> Pairs:
        pairs = [
            ("Channel-State", self.state),
            ("Channel-Call-State", self.call_state),
            ("Channel-State-Number", str(self._state_number())),
            ("Channel-Name", self.name),
            ("Unique-ID", self.uuid),
            ("Call-Direction", self.direction),
            ("Presence-Call-Direction", self.direction),
            ("Channel-HIT-Dialplan", "true" if self.hit_dialplan else "false"),
            ("Channel-Call-UUID", self.call_uuid),
            ("Answer-State", self.answer_state),
        ]
        if self.hangup_cause:
            pairs.append(("Hangup-Cause", self.hangup_cause))
        if self.codec:
            for way in ("Read", "Write"):
                pairs += [
                    (f"Channel-{way}-Codec-Name", self.codec.name),
                    (f"Channel-{way}-Codec-Rate", str(self.codec.rate)),
                    (f"Channel-{way}-Codec-Bit-Rate", str(self.codec.bit_rate)),
                ]
        if self.state == "CS_NEW" and not self.codec:
            return pairs
        pairs += self._profile("Caller", self.profile, self.times)
        if self.other and self.other_profile:
            pairs.append(("Other-Type", self.other_type))
            times = self.other.times if self.other_type == "originatee" else {}
            pairs += self.other._profile("Other-Leg", self.other_profile, times)
        return [(name, value) for name, value in pairs if value]

    def join(self, other: "Leg", other_type: str) -> None:
        """From now on events tell of the other leg, as it is now. `other_type`: its part."""
        self.other, self.other_type = other, other_type
        self.other_profile = replace(other.profile)

    def _state_number(self) -> int:
        if self.hangup_cause and self.state not in ("CS_REPORTING", "CS_DESTROY"):
            return _STATE_NUMBERS["CS_HANGUP"]
        # CS_INIT shows the number of the state that comes next, in every capture.
        return 2 if self.state == "CS_INIT" else _STATE_NUMBERS[self.state]

    def _profile(self, prefix: str, who: Profile, times: Mapping[str, int]) -> Pairs:
        pairs = [
            (f"{prefix}-Direction", self.direction),
            (f"{prefix}-Logical-Direction", "inbound" if prefix == "Other-Leg" else self.direction),
            (f"{prefix}-Username", who.caller_number if who.source == "mod_sofia" else ""),
            (f"{prefix}-Dialplan", "XML" if who.source == "mod_sofia" else ""),
            (f"{prefix}-Caller-ID-Name", who.caller_name),
            (f"{prefix}-Caller-ID-Number", who.caller_number),
            (f"{prefix}-Orig-Caller-ID-Name", who.caller_name),
            (f"{prefix}-Orig-Caller-ID-Number", who.caller_number),
            (f"{prefix}-Callee-ID-Name", who.callee_name),
            (f"{prefix}-Callee-ID-Number", who.callee_number),
            (f"{prefix}-Network-Addr", who.network_address),
            (f"{prefix}-ANI", who.caller_number),
            (f"{prefix}-Destination-Number", who.destination),
            (f"{prefix}-Unique-ID", self.uuid),
            (f"{prefix}-Source", who.source),
            (f"{prefix}-Context", who.context),
            (f"{prefix}-Channel-Name", self.name),
        ]
        if prefix == "Caller":
            pairs.append(("Caller-Profile-Index", "1"))
        pairs += [(f"{prefix}-{name}-Time", str(times.get(name, 0))) for name in _TIMES]
        pairs += [
            (f"{prefix}-Channel-Last-Hold", str(self.held_since if times else 0)),
            (f"{prefix}-Channel-Hold-Accum", str(self.hold_total if times else 0)),
            (f"{prefix}-Screen-Bit", "true"),
            (f"{prefix}-Privacy-Hide-Name", "false"),
            (f"{prefix}-Privacy-Hide-Number", "false"),
        ]
        return pairs

    def run_script(self) -> None:
        """20 ms of a script that plays or sleeps: one event (switch_ivr_sleep in switch_ivr.c)."""
        if self.on_input is not None and self.queued:
            self.on_input(self.queued.popleft())

    # -- states ------------------------------------------------------------------------------

    def enter(self, state: str) -> None:
        self.state = state
        self.emit_basic("CHANNEL_STATE")

    def enter_call_state(self, call_state: str) -> None:
        before, self.call_state = self.call_state, call_state
        number = str(_CALL_STATE_NUMBERS[call_state])
        self.emit_basic(
            "CHANNEL_CALLSTATE",
            [("Original-Channel-Call-State", before), ("Channel-Call-State-Number", number)],
        )

    def stamp(self, what: str) -> None:
        self.times[what] = microseconds()

    def set_codec(self, codec: Codec) -> None:
        """CODEC fires twice when a leg gets its first codec, once at a re-negotiation."""
        first = self.codec is None
        self.codec = codec
        self.variables["rtp_use_codec_channels"] = str(codec.channels)
        if first:
            for name, value in (
                ("read_codec", codec.name),
                ("original_read_codec", codec.name),
                ("read_rate", str(codec.rate)),
                ("original_read_rate", str(codec.rate)),
                ("write_codec", codec.name),
                ("write_rate", str(codec.rate)),
            ):
                self.variables[name] = value
            self.emit_basic(
                "CODEC",
                after=[
                    ("channel-read-codec-name", codec.name),
                    ("channel-read-codec-rate", str(codec.rate)),
                    ("channel-read-codec-bit-rate", str(codec.bit_rate)),
                ],
            )
        self.emit_basic(
            "CODEC",
            after=[
                ("Channel-Write-Codec-Name", codec.name),
                ("Channel-Write-Codec-Rate", str(codec.rate)),
                ("Channel-Write-codec-bit-rate", str(codec.bit_rate)),
            ],
        )

    def execute(self, application: str, argument: str = "", identity: str = "") -> str:
        """CHANNEL_EXECUTE; returns the application's UUID for `executed`."""
        if application in ("speak", "playback"):
            self._let_recordings_stand_still(False)
        self.application = (application, argument)
        self.variables["current_application_data"] = argument
        self.variables["current_application"] = application
        identity = identity or str(uuid.uuid4())
        pairs = [("Application", application), ("Application-Data", argument)]
        pairs.append(("Application-UUID", identity))
        self.emit("CHANNEL_EXECUTE", after=[pair for pair in pairs if pair[1]])
        return identity

    def executed(self, identity: str, response: str = "_none_") -> None:
        application, argument = self.application
        pairs = [("Application", application), ("Application-Data", argument)]
        pairs += [("Application-Response", response), ("Application-UUID", identity)]
        self.emit("CHANNEL_EXECUTE_COMPLETE", after=[pair for pair in pairs if pair[1]])

    def begin_park(self) -> None:
        """park reads once whether silence is sent while nothing plays (switch_ivr.c)."""
        if self._sends_silence is None:
            self._sends_silence = self.variables.get("send_silence_when_idle", "") not in ("", "0")

    def text_ended(self) -> None:
        """`speak` has said its text, which ended on part of a frame, as most do."""
        self.begin_park()
        if not self._sends_silence:
            self._let_recordings_stand_still(True)

    def _let_recordings_stand_still(self, stand: bool) -> None:
        for recording in self.recordings.values():
            recording.file.stands_still = stand

    def hold(self) -> None:
        self.held_since = microseconds()
        self.enter_call_state("HELD")
        self.emit("CHANNEL_HOLD")

    def unhold(self) -> None:
        self.hold_total += microseconds() - self.held_since
        self.enter_call_state("UNHELD")
        self.emit("CHANNEL_UNHOLD")
        self.enter_call_state("ACTIVE")

    # -- recordings --------------------------------------------------------------------------

    def recording_variables(self, inline: Mapping[str, str]) -> dict[str, str]:
        """What a recording with these variables in its braces goes by."""
        return looked_up(inline, self.variables, self.core.variables)

    def recording_options(self, inline: Mapping[str, str]) -> RecordingOptions:
        channels = self.codec.channels if self.codec else 1
        return RecordingOptions.from_variables(self.recording_variables(inline), channels)

    def _take_titles(self, inline: Mapping[str, str]) -> dict[str, str]:
        """What is to stand in the file's header, were it no headerless one. FreeSWITCH unsets on
        the channel what it has found anywhere."""
        known = self.recording_variables(inline)
        titles = {name: known[name] for name in TITLES if name in known}
        for name in [name for name in self.variables if name.lower() in titles]:
            del self.variables[name]
        return titles

    def _run_hooks(self, prefix: str) -> None:
        """`execute_on_…` of the channel, and of the global variables, run for every recording."""
        hooks = {**self.core.variables, **self.variables}
        for name, hook in hooks.items():
            if hook and name.lower().startswith(prefix):
                application, _, argument = hook.replace("::", " ").partition(" ")
                self.executed(self.execute(application, argument))

    @property
    def hook_seconds(self) -> float:
        """How long the hooks at its end sleep (api_hook in switch_core_state_machine.c)."""
        hooks = (self.variables.get(name, "") for name in HANGUP_HOOKS)
        sleeps = (re.fullmatch(r"msleep(?: |::)(\d+)", hook) for hook in hooks)
        return sum(int(sleep[1]) / 1000 for sleep in sleeps if sleep)

    def open_recording(self, path: Path, inline: Mapping[str, str], limit: int) -> Recording:
        """The file, without a sound in it yet. Raises CannotRecord."""
        options = self.recording_options(inline).on_file(path)
        codec_rate = self.codec.rate if self.codec else Codec().rate
        rate = options.sample_rate or codec_rate
        try:
            file = RecordingFile(path, options, rate, self.write_side_idle)
        except CannotRecord:
            self.variables["record_completion_cause"] = "uri-failure"
            raise
        now = time.time()
        titles = self._take_titles(inline)
        recording = Recording(
            file,
            options,
            inline,
            codec_rate,
            rate,
            now,
            int(now) + limit if limit else None,
            titles=titles,
        )
        self.recorded.append(recording)
        return recording

    def add_recording(self, recording: Recording) -> None:
        """RECORD_START, and from now on the file grows. If the channel has ended meanwhile, nobody
        stops the recording, and the channel stays (FACTS.md 10)."""
        self.recordings[str(recording.file.path)] = recording
        self.emit("RECORD_START", after=self._recording_headers(recording))
        self._run_hooks("execute_on_record_start")
        self.emit("MEDIA_BUG_START", before=_bug_headers(recording))

    def stop_recording(self, path: str) -> None:
        """Flush, then RECORD_STOP. KeyError if `path` is not being recorded."""
        recording = self.recordings.pop(path)
        recording.cause = recording.file.stop(hung_up=bool(self.hangup_cause))
        samples = round(recording.file.seconds_written * recording.codec_rate)
        if recording.file.path.exists():
            self.variables["record_file_size"] = str(recording.file.path.stat().st_size)
        self.variables["record_samples"] = str(samples)
        self.variables["record_seconds"] = str(samples // recording.codec_rate)
        self.variables["record_ms"] = str(samples * 1000 // recording.codec_rate)
        after = self._recording_headers(recording)
        if recording.cause:
            self.variables["record_completion_cause"] = recording.cause
            after.append(("Record-Completion-Cause", recording.cause))
        if recording.cause in ("empty-file", "input-too-short"):
            self.variables["RECORD_DISCARDED"] = "true"
        self.emit("RECORD_STOP", after=after)
        self._run_hooks("execute_on_record_stop")
        self._run_hooks("record_post_process_exec_app")
        self.emit("MEDIA_BUG_STOP", before=_bug_headers(recording))

    def _recording_headers(self, recording: Recording) -> Pairs:
        return [
            ("Record-File-Path", str(recording.file.path)),
            *((f"Recording-Variable-{name}", value) for name, value in recording.inline.items()),
        ]


def _bug_headers(recording: Recording) -> Pairs:
    return [
        ("Media-Bug-Function", "session_record"),
        ("Media-Bug-Target", str(recording.file.path)),
    ]
