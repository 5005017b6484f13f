"""Events as a FreeSWITCH fires them: headers of the core, encodings, who wants which."""

import json
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property

from fsbot.switch.codec import Headers, encode_event_plain, encode_message

Pairs = list[tuple[str, str]]
VERSION = "1.11.3-dev"
HOSTNAME = "fsbot-rehearsal"

# File, function and line that fire each event in FreeSWITCH 1.11, as the captures show them.
_FIRED_BY: dict[str, tuple[str, str, int]] = {
    "API": ("switch_loadable_module.c", "switch_api_execute", 3140),
    "BACKGROUND_JOB": ("mod_event_socket.c", "api_exec", 1580),
    "CHANNEL_ANSWER": ("switch_channel.c", "switch_channel_perform_mark_answered", 3848),
    "CHANNEL_BRIDGE": ("switch_ivr_bridge.c", "switch_ivr_multi_threaded_bridge", 1689),
    "CHANNEL_CALLSTATE": ("switch_channel.c", "switch_channel_perform_set_callstate", 302),
    "CHANNEL_CREATE": ("switch_core_state_machine.c", "switch_core_session_run", 626),
    "CHANNEL_DATA": ("mod_commands.c", "uuid_dump_function", 6495),
    "CHANNEL_DESTROY": ("switch_core_session.c", "switch_core_session_perform_destroy", 1611),
    "CHANNEL_EXECUTE": ("switch_core_session.c", "switch_core_session_exec", 2949),
    "CHANNEL_EXECUTE_COMPLETE": ("switch_core_session.c", "switch_core_session_exec", 2972),
    "CHANNEL_HANGUP": ("switch_channel.c", "switch_channel_perform_hangup", 3447),
    "CHANNEL_HANGUP_COMPLETE": (
        "switch_core_state_machine.c",
        "switch_core_session_reporting_state",
        943,
    ),
    "CHANNEL_HOLD": ("switch_channel.c", "switch_channel_mark_hold", 876),
    "CHANNEL_PROGRESS": (
        "switch_channel.c",
        "switch_channel_perform_mark_ring_ready_value",
        3570,
    ),
    "CHANNEL_PROGRESS_MEDIA": (
        "switch_channel.c",
        "switch_channel_perform_mark_pre_answered",
        3655,
    ),
    "CHANNEL_STATE": ("switch_channel.c", "switch_channel_perform_set_running_state", 2409),
    "CHANNEL_UNBRIDGE": ("switch_ivr_bridge.c", "switch_ivr_multi_threaded_bridge", 1879),
    "CHANNEL_UNHOLD": ("switch_channel.c", "switch_channel_mark_hold", 876),
    "CODEC": ("switch_core_codec.c", "switch_core_session_set_real_read_codec", 189),
    "CUSTOM": ("mod_event_socket.c", "parse_command", 2283),
    "HEARTBEAT": ("switch_core.c", "send_heartbeat", 95),
    "MEDIA_BUG_START": ("switch_core_media_bug.c", "switch_core_media_bug_add", 1014),
    "MEDIA_BUG_STOP": ("switch_core_media_bug.c", "switch_core_media_bug_destroy", 84),
    "PLAYBACK_START": ("switch_ivr_play_say.c", "switch_ivr_play_file", 1649),
    "PLAYBACK_STOP": ("switch_ivr_play_say.c", "switch_ivr_play_file", 2023),
    "DTMF": ("switch_channel.c", "switch_channel_dequeue_dtmf", 602),
    "RECORD_START": ("switch_ivr_async.c", "record_callback", 1482),
    "RECORD_STOP": ("switch_ivr_async.c", "send_record_stop_event", 1241),
    "SHUTDOWN": ("switch_core.c", "switch_core_destroy", 3033),
}
# Names of events that are known but never fired here: a subscription to them is no mistake.
_OTHER_NAMES = (
    "ALL CALL_UPDATE CALL_SECURE CHANNEL_ORIGINATE CHANNEL_OUTGOING CHANNEL_PARK CHANNEL_UNPARK "
    "CHANNEL_UUID CHANNEL_APPLICATION CLONE COMMAND CONFERENCE_DATA DETECTED_SPEECH "
    "DETECTED_TONE FAILURE LOG MESSAGE MODULE_LOAD MODULE_UNLOAD NAT "
    "NOTIFY NOTIFY_IN PHONE_FEATURE PRESENCE_IN PRESENCE_OUT PRESENCE_PROBE PRIVATE_COMMAND "
    "RECV_INFO RECV_MESSAGE RECV_RTCP_MESSAGE RELOADXML RE_SCHEDULE ROSTER SEND_INFO "
    "SEND_MESSAGE SERVER_CONNECTED SERVER_DISCONNECTED SESSION_DATA SESSION_HEARTBEAT "
    "SHUTDOWN_REQUESTED STARTUP TALK NOTALK TEXT TRAP UNPUBLISH PUBLISH"
)
EVENT_NAMES = frozenset(_FIRED_BY) | frozenset(_OTHER_NAMES.split())


class SwitchEvent:
    """One event on its way to subscribers; each encoding is made once, if anybody wants it.

    `name` and `subclass` are what subscriptions go by; the headers of that name may say
    otherwise, or be missing.
    """

    def __init__(
        self,
        name: str,
        headers: Sequence[tuple[str, str]],
        body: bytes = b"",
        subclass: str = "",
    ) -> None:
        self.name = name
        self.subclass = subclass
        self.headers = Headers(headers)
        self.body = body

    @cached_property
    def plain(self) -> bytes:
        return encode_event_plain(self.headers.items(), self.body)

    @cached_property
    def json(self) -> bytes:
        members = [(name, _json_value(value)) for name, value in self.headers.items()]
        if self.body:
            members.append(("Content-Length", json.dumps(str(len(self.body)))))
            text = self.body.decode("utf-8", "surrogateescape")
            members.append(("_body", json.dumps(text, ensure_ascii=False)))
        content = "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in members) + "}"
        encoded = content.encode("utf-8", "surrogateescape")
        return b"Content-Length: %d\nContent-Type: text/event-json\n\n%s" % (len(encoded), encoded)


def _json_value(value: str) -> str:
    if value.startswith("ARRAY::"):
        items = value.removeprefix("ARRAY::").split("|:")
        return json.dumps(items, ensure_ascii=False, separators=(",", ":"))
    return json.dumps(value, ensure_ascii=False)


class Core:
    """The identity of one running switch and the headers that every event of it begins with."""

    def __init__(self) -> None:
        self.uuid = str(uuid.uuid4())
        self.started = time.time()
        self.sequence = 0
        self.sessions_since_start = 0
        self.variables: dict[str, str] = {}
        """Global variables, which any channel falls back to."""

    def headers(self, name: str) -> Pairs:
        """Core headers of a new event `name`; takes the next Event-Sequence."""
        self.sequence += 1
        now = time.time()
        local = datetime.fromtimestamp(now)
        file, function, line = _FIRED_BY[name]
        return [
            ("Event-Name", name),
            ("Core-UUID", self.uuid),
            ("FreeSWITCH-Hostname", HOSTNAME),
            ("FreeSWITCH-Switchname", HOSTNAME),
            ("FreeSWITCH-IPv4", "127.0.0.1"),
            ("FreeSWITCH-IPv6", "::1"),
            ("Event-Date-Local", local.strftime("%Y-%m-%d %H:%M:%S")),
            (
                "Event-Date-GMT",
                datetime.fromtimestamp(now, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
            ),
            ("Event-Date-Timestamp", str(int(now * 1e6))),
            ("Event-Calling-File", file),
            ("Event-Calling-Function", function),
            ("Event-Calling-Line-Number", str(line)),
            ("Event-Sequence", str(self.sequence)),
        ]

    def heartbeat(self, sessions: int) -> SwitchEvent:
        numbers = {
            "FreeSWITCH-Version": f"{VERSION}~64bit",
            "Uptime-msec": int((time.time() - self.started) * 1000),
            "Session-Count": sessions,
            "Max-Sessions": 1000,
            "Session-Per-Sec": 100,
            "Session-Per-Sec-Last": 0,
            "Session-Per-Sec-Max": 0,
            "Session-Per-Sec-FiveMin": 0,
            "Session-Since-Startup": self.sessions_since_start,
            "Session-Peak-Max": sessions,
            "Session-Peak-FiveMin": sessions,
            "Idle-CPU": "50.000000",
        }
        headers = self.headers("HEARTBEAT")
        headers += [("Event-Info", "System Ready"), ("Up-Time", self.uptime())]
        headers += [(name, str(value)) for name, value in numbers.items()]
        return SwitchEvent("HEARTBEAT", headers)

    def uptime(self) -> str:
        """E.g. `0 years, 0 days, 0 hours, 5 minutes, 1 second, 20 milliseconds, …`."""
        microseconds = int((time.time() - self.started) * 1e6)
        parts = []
        for unit, size in (
            ("year", 365 * 86400 * 10**6),
            ("day", 86400 * 10**6),
            ("hour", 3600 * 10**6),
            ("minute", 60 * 10**6),
            ("second", 10**6),
            ("millisecond", 1000),
            ("microsecond", 1),
        ):
            count, microseconds = divmod(microseconds, size)
            parts.append(f"{count} {unit}" + ("" if count == 1 else "s"))
        return ", ".join(parts)


class Subscription:
    """Which events one client has asked for, and in which format."""

    def __init__(self) -> None:
        self.format = "plain"
        self._names: set[str] = set()
        self._subclasses: set[str] = set()
        self.filters: Pairs = []

    def event(self, words: Sequence[str]) -> str:
        """`event [plain|json] NAME… [CUSTOM subclass…]`: every word after CUSTOM is a subclass."""
        if words and words[0].lower() in ("plain", "json"):
            self.format = words[0].lower()
            words = words[1:]
        names, subclasses = _split_at_custom(words)
        if not names:
            return "-ERR no keywords supplied"
        self._names |= names
        self._subclasses |= subclasses
        return f"+OK event listener enabled {self.format}"

    def nixevent(self, words: Sequence[str]) -> str:
        names, subclasses = _split_at_custom(words)
        if not names:
            return "-ERR no keywords supplied"
        self._subclasses -= subclasses
        names.discard("CUSTOM")
        if "ALL" in names:
            self._names.clear()
        elif "ALL" in self._names and names:
            self._names = set(EVENT_NAMES - {"ALL"})
        self._names -= names
        return "+OK events nixed"

    def noevents(self) -> str:
        if not (self._names or self._subclasses):
            return "-ERR not listening for events"
        self._names.clear()
        self._subclasses.clear()
        return "+OK no longer listening for events"

    def filter(self, words: Sequence[str]) -> str:
        if words[:1] == ["delete"] and len(words) > 1:
            name, value = words[1], " ".join(words[2:])
            self.filters = [
                (kept, wanted)
                for kept, wanted in self.filters
                if name.lower() != "all"
                and (kept.lower() != name.lower() or (value and wanted != value))
            ]
            return f"+OK filter deleted. [{name}][{value}]"
        if len(words) < 2:
            return "-ERR invalid syntax"
        name, value = words[0], " ".join(words[1:])
        self.filters.append((name, value))
        return f"+OK filter added. [{name}]=[{value}]"

    def listens_to(self, name: str) -> bool:
        return name in self._names or "ALL" in self._names

    def wants(self, event: SwitchEvent) -> bool:
        return self._subscribed(event) and self._passes(event)

    def _subscribed(self, event: SwitchEvent) -> bool:
        if "ALL" in self._names:
            return True
        if event.name == "CUSTOM" and event.subclass:
            return event.subclass in self._subclasses
        return event.name in self._names

    def _passes(self, event: SwitchEvent) -> bool:
        return not self.filters or any(
            value.lower() in (held.lower() for held in event.headers.all(name))
            for name, value in self.filters
        )


def _split_at_custom(words: Sequence[str]) -> tuple[set[str], set[str]]:
    upper = [word.upper() for word in words]
    end = upper.index("CUSTOM") + 1 if "CUSTOM" in upper else len(words)
    return set(upper[:end]) & EVENT_NAMES, set(words[end:])


def reply(text: str, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    return encode_message("command/reply", [("Reply-Text", text), *headers])
