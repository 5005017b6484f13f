"""The `api` commands of the stand-in switch, with FreeSWITCH's exact replies.

Sources: FACTS.md section 3, captures errors.esl and resync_after_restart.esl, mod_commands.c.
"""

import json
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote
from xml.sax.saxutils import escape

import gevent

from fsbot.rehearsal.call import Call
from fsbot.rehearsal.events import HOSTNAME, VERSION, SwitchEvent
from fsbot.rehearsal.joining import join, part
from fsbot.rehearsal.leg import Codec, Leg
from fsbot.rehearsal.recorder import CannotRecord, is_true
from fsbot.switch.codec import encode_event_plain

if TYPE_CHECKING:
    from fsbot.rehearsal.server import RehearsalSwitch

_RECORD_USAGE = "-USAGE: <uuid> [start|stop|mask|unmask] <path> [<limit>] [<recording_vars>]\n"
_NO_SUCH_CHANNEL = "-ERR No such channel!\n"
_SUCCESS = "+OK Success\n"

THREAD_SECONDS = 0.01
"""Between the start of a recording's thread and the recording's place on the channel."""


class Api:
    """Runs one command line and returns the reply's body."""

    def __init__(self, switch: "RehearsalSwitch") -> None:
        self._switch = switch
        self._ending: list[Call] = []
        self._commands: dict[str, Callable[[str], str]] = {
            "create_uuid": lambda arguments: str(uuid.uuid4()),
            "echo": lambda arguments: arguments,
            "file_exists": lambda arguments: "true" if Path(arguments).exists() else "false",
            "fsctl": self._fsctl,
            "global_getvar": self._global_getvar,
            "hupall": self._hupall,
            "originate": self._originate,
            "show": self._show,
            "status": self._status,
            "lua": self._lua,
            "uuid_break": self._uuid_break,
            "uuid_bridge": self._uuid_bridge,
            "uuid_broadcast": self._uuid_broadcast,
            "uuid_buglist": self._uuid_buglist,
            "uuid_dump": self._uuid_dump,
            "uuid_deflect": self._uuid_deflect,
            "uuid_exists": self._uuid_exists,
            "uuid_getvar": self._uuid_getvar,
            "uuid_kill": self._uuid_kill,
            "uuid_media": self._uuid_media,
            "uuid_media_reneg": self._uuid_media_reneg,
            "uuid_record": self._uuid_record,
            "uuid_setvar": self._uuid_setvar,
            "uuid_setvar_multi": self._uuid_setvar_multi,
            "uuid_transfer": self._uuid_transfer,
            "version": lambda arguments: f"FreeSWITCH Version {VERSION} ( 64bit)\n",
        }

    def run(self, line: str) -> str:
        """Carry a command out, then tell of it: whoever hears the event comes too late."""
        name, _, arguments = line.strip().partition(" ")
        command = self._commands.get(name.lower())
        if command is None:
            answer = f"-ERR {name} Command not found!\n"
        else:
            answer = command(arguments.strip())
        self._switch.fire_api(name, arguments)
        while self._ending:
            self._ending.pop().destroy()
        return answer

    # -- uuid_record ---------------------------------------------------------------------------

    def _uuid_record(self, arguments: str) -> str:
        words = _separated(arguments, 5)
        if len(words) < 3 or not all(words[:3]):
            return _RECORD_USAGE
        identity, action, path = words[0], words[1].lower(), words[2]
        found = self._switch.find_leg(identity)
        if found is None:
            return "-ERR Cannot locate session!\n"
        call, leg = found
        if action == "start":
            limit = int(words[3]) if words[3:] and words[3].isdigit() else 0
            # Only the fifth word is read as variables: `start <path> {…}` ignores its braces.
            variables = inline_variables(words[4]) if words[4:] else {}
            return self._start_recording(call, leg, path, limit, variables)
        if action == "stop":
            if path != "all" and path not in leg.recordings:
                return "-ERR Cannot stop record session!\n"
            for each in list(leg.recordings) if path == "all" else [path]:
                leg.stop_recording(each)
            return _SUCCESS
        if action not in ("mask", "unmask", "pause", "resume"):
            return _RECORD_USAGE
        if path not in leg.recordings:
            return f"-ERR Cannot {action} recording session!\n"
        file = leg.recordings[path].file
        if action in ("mask", "unmask"):
            file.masked = action == "mask"
        else:
            file.paused = action == "pause"
        return _SUCCESS

    def _start_recording(
        self, call: Call, leg: Leg, path: str, limit: int, variables: dict[str, str]
    ) -> str:
        if self._switch.faults.refuse_recording:
            return self._switch.faults.refuse_recording
        if not path.startswith("/"):
            path = str(self._switch.sound_prefix / path)
        known = leg.recording_variables(variables)
        if path in leg.recordings:
            if is_true(known.get("record_toggle_on_repeat", "")):
                leg.stop_recording(path)
            return _SUCCESS
        if is_true(known.get("record_check_bridge", "")) and leg.other:
            partner = leg.other
            if path in partner.recordings:
                if is_true(partner.variables.get("RECORD_TOGGLE_ON_REPEAT", "")):
                    partner.stop_recording(path)
                return _SUCCESS
        if not leg.has_media:
            call.pre_answer()
        options = leg.recording_options(variables).on_file(Path(path))
        codec_rate = leg.codec.rate if leg.codec else Codec().rate
        # Resampling a long file takes a while: off the hub, or it would stop every other call.
        gevent.get_hub().threadpool.apply(
            call.script.sound.render,
            (leg.far_party, options.layout, codec_rate, options.sample_rate or codec_rate),
        )
        if leg.hangup_cause:
            return "-ERR Cannot locate session!\n"
        if path in leg.recordings:
            return _SUCCESS
        try:
            recording = leg.open_recording(Path(path), variables, limit)
        except CannotRecord:
            if options.hang_up_on_error:
                call.hang_up("DESTINATION_OUT_OF_ORDER")
            return "-ERR Cannot record session!\n"
        if options.threaded:
            self._wait_for_thread(call, leg)
        leg.add_recording(recording)
        return _SUCCESS

    def _wait_for_thread(self, call: Call, leg: Leg) -> None:
        """record_callback in switch_ivr_async.c; the channel does not list the recording yet."""
        faults = self._switch.faults
        leg.starting += 1
        if faults.hang_up_while_starting:
            faults.hang_up_while_starting -= 1
            call.hang_up()
        gevent.sleep(THREAD_SECONDS)
        leg.starting -= 1

    # -- channels --------------------------------------------------------------------------------

    def _uuid_exists(self, arguments: str) -> str:
        return "true" if self._switch.find_leg(arguments) else "false"

    def _uuid_getvar(self, arguments: str) -> str:
        words = _separated(arguments)
        if len(words) < 2:
            return "-USAGE: <uuid> <var>\n"
        found = self._switch.find_leg(words[0])
        if found is None:
            return _NO_SUCH_CHANNEL
        return found[1].variables.get(words[1]) or "_undef_"

    def _uuid_setvar(self, arguments: str) -> str:
        words = _separated(arguments, 3)
        if len(words) < 2:
            return "-USAGE: <uuid> <var> [value]\n"
        found = self._switch.find_leg(words[0])
        if found is None:
            return _NO_SUCH_CHANNEL
        found[1].variables[words[1]] = words[2] if words[2:] else ""
        return "+OK\n"

    def _uuid_setvar_multi(self, arguments: str) -> str:
        identity, _, pairs = arguments.partition(" ")
        found = self._switch.find_leg(identity)
        if not pairs:
            return "-USAGE: <uuid> <var>=<value>;<var>=<value>...\n"
        if found is None:
            return _NO_SUCH_CHANNEL
        for pair in pairs.split(";"):
            name, _, value = pair.partition("=")
            found[1].variables[name] = value
        return "+OK\n"

    def _uuid_dump(self, arguments: str) -> str:
        words = _separated(arguments, 2)
        if not words:
            return "-USAGE: <uuid> [format]\n"
        found = self._switch.find_leg(words[0])
        if found is None:
            return _NO_SUCH_CHANNEL
        event = found[1].dump()
        frame = event.json if words[1:] == ["json"] else encode_event_plain(event.headers.items())
        return frame.partition(b"\n\n")[2].decode("utf-8", "surrogateescape")

    def _uuid_buglist(self, arguments: str) -> str:
        words = _separated(arguments)
        if not words:
            return "-USAGE: <uuid>\n"
        found = self._switch.find_leg(words[0])
        if found is None:
            return ""
        bugs = "".join(
            " <media-bug>\n  <function>session_record</function>\n"
            f"  <target>{escape(path)}</target>\n"
            "  <thread-locked>0</thread-locked>\n </media-bug>\n"
            for path in found[1].recordings
        )
        return f"<media-bugs>\n{bugs}</media-bugs>\n"

    def _uuid_break(self, arguments: str) -> str:
        found = self._switch.find_leg(arguments.split(" ")[0])
        if found is None:
            return _NO_SUCH_CHANNEL
        if (control := self._switch.control_of(found[0])) is not None:
            control.break_off(everything="all" in arguments.split(" ")[1:])
        found[0].playback.break_off()
        return "+OK\n"

    def _uuid_bridge(self, arguments: str) -> str:
        found = [self._switch.find_leg(identity) for identity in arguments.split()]
        if len(found) != 2:
            return "-USAGE: <uuid> <other_uuid>\n"
        if None in found:
            return "-ERR Invalid uuid\n"
        first, second = (each[0] for each in found if each is not None)
        join(first, second)
        return f"+OK {second.uuid}\n"

    def _uuid_broadcast(self, arguments: str) -> str:
        words = _separated(arguments)
        found = self._switch.find_leg(words[0]) if len(words) > 1 else None
        if found is None:
            return "-ERR Message not sent\n"
        application, named, argument = words[1].partition("::")
        if not named:
            application, argument = "playback", words[1]
        found[0].playback.start(application, argument)
        return "+OK Message sent\n"

    def _uuid_transfer(self, arguments: str) -> str:
        words = arguments.split()
        found = self._switch.find_leg(words[0]) if len(words) > 1 else None
        if found is None:
            return _NO_SUCH_CHANNEL
        part(found[0])
        self._switch.transfer(found[0], words[1])
        return "+OK\n"

    def _lua(self, arguments: str) -> str:
        """Not Lua, but the one script that fsbot sends: it fires an event."""
        subclass = re.match(r'~local e=freeswitch\.Event\("CUSTOM","([\w:]+)"\) ', arguments)
        if subclass is None or not arguments.endswith(" e:fire()"):
            return "-ERR no such script\n"
        headers = re.findall(r'e:addHeader\("([^"]+)","((?:[^"\\]|\\.)*)"\)', arguments)
        headers = [(name, re.sub(r"\\(.)", r"\1", value)) for name, value in headers]
        body = re.search(r'e:addBody\(\(\("([0-9a-f]+)"\):gsub\(', arguments)
        pairs = [("Event-Subclass", subclass[1]), *headers, *self._switch.core.headers("CUSTOM")]
        content = bytes.fromhex(body[1]) if body else b""
        self._switch.fire(SwitchEvent("CUSTOM", pairs, content, subclass[1]))
        return "-ERR no reply\n"  # it has printed nothing

    def _uuid_kill(self, arguments: str) -> str:
        identity, _, cause = arguments.partition(" ")
        if not identity:
            return "-USAGE: <uuid> [cause]\n"
        found = self._switch.find_leg(identity)
        if found is None:
            return _NO_SUCH_CHANNEL
        self._end_afterwards(found[0], cause or "NORMAL_CLEARING")
        return "+OK\n"

    def _uuid_deflect(self, arguments: str) -> str:
        uuid, _, target = arguments.partition(" ")
        found = self._switch.find_leg(uuid)
        if found is None or not target:
            return _NO_SUCH_CHANNEL
        self._end_afterwards(found[0], "BLIND_TRANSFER")
        return "+OK:SIP/2.0 200 OK\n"

    def _end_afterwards(self, call: Call, cause: str) -> None:
        """The call hangs up now, and is destroyed when the command has been told of."""
        if not call.finished:
            call.hang_up_legs(cause)
            self._ending.append(call)

    def _uuid_media(self, arguments: str) -> str:
        words = arguments.split()
        found = self._switch.find_leg(words[-1]) if words else None
        if found is None:
            return "-ERR Operation failed\n"
        found[0].bypass_media(words[0] == "off")
        return _SUCCESS

    def _uuid_media_reneg(self, arguments: str) -> str:
        identity, _, wish = arguments.partition(" ")
        found = self._switch.find_leg(identity)
        if found is None:
            return "-ERR Operation failed\n"
        if match := re.match(r"=?(\w+)@(\d+)h", wish):
            found[0].renegotiate(Codec(match[1], int(match[2]), 0))
        return _SUCCESS

    def _hupall(self, arguments: str) -> str:
        cause = arguments.split(" ")[0] or "MANAGER_REQUEST"
        for call in self._switch.live_calls:
            call.hang_up(cause)
        return f"+OK hangup all channels with cause {cause}\n"

    def _originate(self, arguments: str) -> str:
        if not arguments:
            return "-USAGE: <call url> <exten>|&<application_name>(<app_args>)\n"
        call = self._switch.originate(inline_variables(arguments), arguments)
        return f"+OK {call.uuid}\n" if call else "-ERR NO_ROUTE_DESTINATION\n"

    def _show(self, arguments: str) -> str:
        words = arguments.split()
        if words[:1] not in (["channels"], ["calls"]):
            return "-USAGE: codec|endpoint|application|api|dialplan|file|timer|calls|channels\n"
        rows = [
            _channel_row(leg)
            for call in self._switch.live_calls
            for leg in call.legs
            if words[0] == "channels" or leg is call.legs[0]
        ]
        rows += [_channel_row(leg) for leg in self._switch.kept_legs]
        if words[1:3] == ["as", "json"]:
            if not rows:
                return '{"row_count": 0}\n'
            result = {"row_count": len(rows), "rows": rows}
            return json.dumps(result, separators=(",", ":"), ensure_ascii=False)
        if words[1:2] == ["count"]:
            return f"\n{len(rows)} total.\n"
        lines = [",".join(row.values()) for row in rows]
        title = [",".join(rows[0])] if rows else []
        return "".join(f"{line}\n" for line in title + lines) + f"\n{len(rows)} total.\n"

    # -- the switch ------------------------------------------------------------------------------

    def _status(self, arguments: str) -> str:
        core = self._switch.core
        sessions = sum(len(call.legs) for call in self._switch.live_calls)
        sessions += len(self._switch.kept_legs)
        return (
            f"UP {core.uptime()}\n"
            f"FreeSWITCH (Version {VERSION}  64bit) is ready\n"
            f"{core.sessions_since_start} session(s) since startup\n"
            f"{sessions} session(s) - peak {sessions}, last 5min {sessions} \n"
            "0 session(s) per Sec out of max 100, peak 0, last 5min 0 \n"
            "1000 session(s) max\n"
            "min idle cpu 0.00/50.00\n"
        )

    def _global_getvar(self, arguments: str) -> str:
        known = {"hostname": HOSTNAME, "sound_prefix": str(self._switch.sound_prefix)}
        return (known | self._switch.core.variables).get(arguments, "")

    def _fsctl(self, arguments: str) -> str:
        if arguments.split()[:1] == ["shutdown"]:
            gevent.spawn(self._switch.shut_down)
            return "+OK\n"
        return "-USAGE: [hupall|shutdown [cancel|elegant|asap|now|restart]]\n"


def inline_variables(text: str) -> dict[str, str]:
    """`{name=value,…}` at the start of a text, percent-decoded; nothing without a brace."""
    match = re.match(r"\{([^}]*)\}", unquote(text))
    pairs = (part.partition("=") for part in match[1].split(",")) if match else ()
    return {name.strip(): value.strip("'") for name, equals, value in pairs if equals}


def _channel_row(leg: Leg) -> dict[str, str]:
    codec = leg.codec or Codec("", 0, 0)
    who = leg.profile
    created = leg.times["Channel-Created"] // 10**6
    row = {
        "uuid": leg.uuid,
        "direction": leg.direction,
        "created": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(created)),
        "created_epoch": str(created),
        "name": leg.name,
        "state": leg.state,
        "cid_name": who.caller_name,
        "cid_num": who.caller_number,
        "ip_addr": who.network_address,
        "dest": who.destination,
        "application": leg.application[0],
        "application_data": leg.application[1],
        "dialplan": "XML" if leg.direction == "inbound" else "",
        "context": who.context,
    }
    for way in ("read", "write"):
        row[f"{way}_codec"] = codec.name
        row[f"{way}_rate"] = str(codec.rate or "")
        row[f"{way}_bit_rate"] = str(codec.bit_rate or "")
    # An inbound leg that was never bridged has no call_uuid in FreeSWITCH's channel table.
    alone = leg.other is None and leg.direction == "inbound"
    return row | {
        "secure": "",
        "hostname": HOSTNAME,
        "presence_id": "",
        "presence_data": "",
        "accountcode": "",
        "callstate": leg.call_state,
        "callee_name": who.callee_name,
        "callee_num": who.callee_number,
        "callee_direction": "",
        "call_uuid": "" if alone else leg.call_uuid,
        "sent_callee_name": "",
        "sent_callee_num": "",
        "initial_cid_name": who.caller_name,
        "initial_cid_num": who.caller_number,
        "initial_ip_addr": who.network_address,
        "initial_dest": who.destination,
        "initial_dialplan": "XML" if leg.direction == "inbound" else "",
        "initial_context": who.context,
    }


def _separated(line: str, most: int = 100) -> list[str]:
    """switch_separate_string in switch_utils.c at blanks: not within single quotes, nor behind a
    backslash; `most`: the last word is all the rest. `^^X` in front makes X the separator."""
    separator = " "
    if re.match(r"\^\^..", line):
        separator, line = line[2], line[3:]
    words, quoted, at = [""], False, 0
    while at < len(line):
        letter = line[at]
        if letter == separator and not quoted and len(words) < most:
            words.append("")
        elif letter == "\\" and at + 1 < len(line):
            at += 1
            known = {"n": "\n", "r": "\r", "t": "\t", "s": " ", "'": "'", '"': '"', "\\": "\\"}
            words[-1] += known.get(line[at], letter + line[at])
        elif letter == "'" and (quoted or "'" in line[at + 1 :]):
            quoted = not quoted
        else:
            words[-1] += letter
        at += 1
    return [word for word in words if word or separator != " "]
