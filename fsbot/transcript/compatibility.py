"""The same transcript in the shapes that other ecosystems already listen for.

google_transcribe: the events of mod_google_transcribe (drachtio-freeswitch-modules), with the
channel's Unique-ID, by which its clients know the channel. `sendevent` would hand such an event to
the channel itself, where nobody sees it (mod_event_socket.c), so FreeSWITCH's mod_lua fires it.
No media-bugname: jambonz drops events with another one than its own (lib/tasks/task.js), and takes
those without.

detected_speech: FreeSWITCH's own DETECTED_SPEECH, handed to the channel on purpose: the input
callback of a script that runs on it gets the event (switch_ivr_play_say.c), as if `detect_speech`
had heard the caller.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape

from fsbot.switch.uuids import UnsafeUuid, check_uuid
from fsbot.transcript.records import (
    EndOfTranscript,
    EndOfUtterance,
    Record,
    StartOfSpeech,
    StartOfTranscript,
    Transcription,
)

Mode = Literal["google_transcribe", "detected_speech"]


@dataclass(frozen=True, slots=True)
class Order:
    """A command of the event socket. mode: what it is sent for."""

    mode: Mode
    line: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def orders_of(record: Record, modes: Collection[Mode]) -> list[Order]:
    """What is to be sent behind the record's own event. Nothing for a call_uuid that is none: it
    becomes Lua, and in a journal that is read again it is whatever stands there."""
    try:
        check_uuid(record.call_uuid)
    except UnsafeUuid:
        return []
    orders = [_google(record)] if "google_transcribe" in modes else []
    orders += [_detected(record)] if "detected_speech" in modes else []
    return [order for order in orders if order is not None]


def _google(record: Record) -> Order | None:
    match record:
        case StartOfTranscript(recording=1) | EndOfTranscript():
            return _fired_by_lua(record, record.kind, {})
        # These have no body that could tell the side: the module means the channel's own.
        case EndOfUtterance(channel_tag=1):
            return _fired_by_lua(record, record.kind, {})
        case StartOfSpeech(channel_tag=1, confirmed=False, echo=False):
            return _fired_by_lua(record, "vad_detected", {})
        case Transcription() if record.alternatives and record.alternatives[0].transcript:
            body = {
                "stability": 0,
                "is_final": record.is_final,
                "language_code": record.language_code,
                "channel_tag": record.channel_tag,
                "result_end_time": round(record.end * 1000),
                "alternatives": [each.model_dump() for each in record.alternatives],
            }
            return _fired_by_lua(record, "transcription", body)
    return None


def _fired_by_lua(record: Record, name: str, body: dict[str, object]) -> Order:
    """The texts of strangers stand in it in hexadecimal: nothing of them is Lua."""
    finished = "true" if isinstance(record, EndOfTranscript) else "false"
    headers = {
        "Unique-ID": record.call_uuid.replace('"', '\\"'),  # it has no backslash: check_uuid
        "transcription-vendor": "google",
        "transcription-session-finished": finished,
    }
    script = [f'local e=freeswitch.Event("CUSTOM","google_transcribe::{name}")']
    script += [f'e:addHeader("{key}","{value}")' for key, value in headers.items()]
    if body:
        text = json.dumps(body, ensure_ascii=False).encode().hex()
        decoded = f'(("{text}"):gsub("%x%x",function(h) return string.char(tonumber(h,16)) end))'
        script.append(f"e:addBody({decoded})")
    script.append("e:fire()")
    return Order("google_transcribe", f"api lua ~{' '.join(script)}")


def _detected(record: Record) -> Order | None:
    match record:
        case StartOfSpeech(channel_tag=1, confirmed=False, echo=False):
            return _to_channel(record, "begin-speaking")
        case Transcription(channel_tag=1, is_final=True) if record.text:
            text = "".join(filter(str.isprintable, record.text))
            confidence = round(100 * record.alternatives[0].confidence)
            result = (
                '<?xml version="1.0"?>\n<result grammar="fsbot">\n'
                f'  <interpretation grammar="fsbot" confidence="{confidence}">\n'
                f'    <input mode="speech">{escape(text)}</input>\n'
                "  </interpretation>\n</result>\n"
            )
            return _to_channel(record, "detected-speech", result)
    return None


def _to_channel(record: Record, speech_type: str, body: str = "") -> Order:
    headers = (("Unique-ID", record.call_uuid), ("Speech-Type", speech_type))
    return Order("detected_speech", "sendevent DETECTED_SPEECH", headers, body.encode())
