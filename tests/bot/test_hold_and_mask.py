"""Hold, masking and pauses: what is said meanwhile is nobody's business, or not there at all."""

import json
from typing import Any

import numpy as np
import pytest
from bench import Bench, Listener, errors, finals, joined, likeness, live, of_kind, words

from fsbot.audio.pcm import PcmFormat
from fsbot.rehearsal.call import Call
from fsbot.rehearsal.script import CallScript, Hold, Unhold
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.switch.connection import Connection
from fsbot.transcript.records import EndOfTranscript, EndOfUtterance, Mark, Record

STEREO = PcmFormat(16000, 2)


def marks(records: list[Record]) -> list[str]:
    return [mark.mark for mark in of_kind(records, Mark)]


def test_an_utterance_ends_when_its_call_is_held(
    bench: Bench,
    switch: RehearsalSwitch,
    listener: Listener,
    utterance: Sound,
    turn: dict[str, Any],
) -> None:
    """Somebody is put on hold in mid-sentence: what was said is text long before the hold ends."""
    bench.start()
    script = CallScript(utterance, actions=(Hold(3.0), Unhold(12.0)))
    call = switch.place(script)
    bench.wait(lambda: finals(bench.journal(call.uuid)))
    assert call.on_hold
    assert likeness(joined(finals(bench.journal(call.uuid))), turn["text"]) > 0.3

    records = bench.transcript(call.uuid)
    assert marks(records) == ["hold", "unhold"]
    hold, unhold = of_kind(records, Mark)
    assert (hold.start, unhold.start) == (
        pytest.approx(3.0, abs=0.3),
        pytest.approx(12.0, abs=0.3),
    )
    texts = finals(records)
    assert len(texts) >= 2
    assert texts[0].end < 4.0
    assert texts[1].start > 11.5
    assert len(of_kind(records, EndOfUtterance)) == len(texts)
    assert likeness(joined(texts), turn["text"]) >= 0.6
    fired = [json.loads(e.body)["mark"] for e in listener.events if e.subclass == "fsbot::mark"]
    assert fired == ["hold", "unhold"]


@pytest.mark.parametrize("way", ["api", "application", "application of the other leg", "control"])
def test_what_is_said_while_somebody_masks_is_withheld(
    way: str, bench: Bench, switch: RehearsalSwitch, utterance: Sound, turn: dict[str, Any]
) -> None:
    """From the first word on: nothing of it is in a record, or as sound in the file."""
    bench.start()
    client = Connection("127.0.0.1", switch.port, "ClueCon")
    client.connect()
    call = switch.place(CallScript(utterance, bridged=way.endswith("leg"), repeat=2, tail=1.0))
    bench.wait(lambda: bench.recorded(call.uuid))
    theirs = str(bench.recordings.parent / "theirs.wav.raw")
    begin(way, client, call, theirs)
    bench.wait(lambda: call.position > utterance.frames)
    end(way, client, call, theirs)
    records = bench.transcript(call.uuid)

    text = joined(finals(records))
    assert likeness(text, turn["text"]) >= 0.8  # once, not twice
    assert words(text).count("compose") == 1
    assert words(joined(live(records))).count("compose") == 1
    assert marks(records) == (["pause", "resume"] if way == "control" else ["mask", "unmask"])
    masked, unmasked = of_kind(records, Mark)
    spoken = [word for record in finals(records) for word in record.alternatives[0].words]
    assert all(not masked.start < word.end_time < unmasked.start for word in spoken)
    assert errors(records) == []
    assert of_kind(records, EndOfTranscript)[0].reason == "hangup"

    (path,) = bench.recorded(call.uuid)
    sound = np.frombuffer(path.read_bytes(), "<i2").reshape(-1, 2)
    first, last = (int(at * STEREO.rate) for at in (masked.start + 0.5, unmasked.start - 0.5))
    assert last > first
    assert not sound[first:last].any()
    assert sound[last + STEREO.rate :].any()
    client.stop()


def begin(way: str, client: Connection, call: Call, theirs: str) -> None:
    first, last = call.legs[0], call.legs[-1]
    if way == "api":
        assert client.api(f"uuid_record {call.uuid} start {theirs}").startswith("+OK")
        assert client.api(f"uuid_record {call.uuid} mask {theirs}").startswith("+OK")
    elif way == "control":
        control(client, call, "pause")
    else:
        leg = last if way.endswith("leg") else first
        leg.execute("record_session_mask", theirs)


def end(way: str, client: Connection, call: Call, theirs: str) -> None:
    if way == "api":
        # A recording that is over masks no longer.
        assert client.api(f"uuid_record {call.uuid} stop {theirs}").startswith("+OK")
    elif way == "control":
        control(client, call, "resume")
    else:
        leg = call.legs[-1] if way.endswith("leg") else call.legs[0]
        leg.execute("record_session_unmask", theirs)


def control(client: Connection, call: Call, command: str) -> None:
    client.send_event("fsbot::control", [("Call-UUID", call.uuid), ("Fsbot-Command", command)], b"")


def test_masks_are_not_followed_if_so_wished(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound, turn: dict[str, Any]
) -> None:
    bench.start(recordings={"follow_mask": False})
    call = switch.place(CallScript(utterance))
    bench.wait(lambda: bench.recorded(call.uuid))
    call.legs[0].execute("record_session_mask", "/nowhere/theirs.wav")
    records = bench.transcript(call.uuid)
    assert likeness(joined(finals(records)), turn["text"]) >= 0.8
    assert marks(records) == []
