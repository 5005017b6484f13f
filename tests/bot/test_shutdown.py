"""A bot that is stopped at any moment: nothing goes on recording, every transcript has its end."""

import threading
from typing import Any

import gevent
import pytest
from bench import (
    PATIENCE,
    Bench,
    Listener,
    finals,
    joined,
    likeness,
    live,
    of_kind,
    silence,
    words,
)

from fsbot.engine.scheduler import Engine
from fsbot.engine.stream import Stream
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.transcript.records import EndOfTranscript, Record, StartOfTranscript


def end_of(records: list[Record]) -> EndOfTranscript:
    (end,) = of_kind(records, EndOfTranscript)
    assert end is records[-1]
    return end


@pytest.mark.parametrize("pause", [0.0, 0.06, 0.3, 0.8])
def test_stopped_while_a_recording_is_being_asked_for(
    pause: float, bench: Bench, switch: RehearsalSwitch, log_lines: list[dict[str, object]]
) -> None:
    bench.start()
    switch.faults.reply_delay = 0.2
    call = switch.place(CallScript(silence(30)))
    bench.wait(lambda: bench.bot._calls)
    gevent.sleep(pause)
    bench.stop()
    assert switch.live_calls == [call]
    assert not call.legs[0].recordings
    assert end_of(bench.journal(call.uuid)).reason == "shutdown"
    assert "calls not finished in time" not in [line["event"] for line in log_lines]


def test_no_call_is_taken_any_more(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start()
    first = switch.place(CallScript(silence(30)))
    bench.wait(lambda: first.legs[0].recordings)
    switch.faults.reply_delay = 0.3
    bench.bot.stop()
    second = switch.place(CallScript(silence(30)))
    bench.stop()
    assert bench.journal(second.uuid) == []
    assert end_of(bench.journal(first.uuid)).reason == "shutdown"


def test_what_takes_too_long_is_left_for_the_next_start(
    bench: Bench,
    switch: RehearsalSwitch,
    listener: Listener,
    utterance: Sound,
    turn: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    log_lines: list[dict[str, object]],
) -> None:
    """An engine far behind: what it was given is never heard, and yet not lost."""
    with monkeypatch.context() as slow:
        slow.setattr(Stream, "wants_to_listen", False)
        bench.start(service={"stop_timeout": 3.0})
        call = switch.place(CallScript(utterance))
        bench.wait(lambda: bench.recorded(call.uuid))
        gevent.sleep(2.0)
        bench.stop()
    assert "calls not finished in time, the next start goes on with them" in [
        line["event"] for line in log_lines
    ]
    assert not call.legs[0].recordings
    assert not of_kind(bench.journal(call.uuid), EndOfTranscript)
    assert len(of_kind(bench.journal(call.uuid), StartOfTranscript)) == 1

    bench.start(recordings={"retention": "forever"})
    records = bench.transcript(call.uuid)
    assert end_of(records).reason == "hangup"
    # Half a second is missing while the bot was away; all else is there, each word once.
    assert likeness(joined(finals(records)), turn["text"]) >= 0.6
    assert words(joined(finals(records))).count("compose") == 1
    assert words(joined(live(records))).count("compose") == 1
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    bench.wait(lambda: len(listener.of(call.uuid)) >= len(records))


def test_stopped_while_freeswitch_is_out_of_reach(bench: Bench, switch: RehearsalSwitch) -> None:
    bench.start(service={"stop_timeout": 3.0})
    call = switch.place(CallScript(silence(30)))
    bench.wait(lambda: bench.recorded(call.uuid))
    switch.kill()
    gevent.sleep(0.5)
    bench.stop()
    assert end_of(bench.journal(call.uuid)).reason == "shutdown"


def test_the_engine_is_not_waited_for_for_ever(
    bench: Bench, switch: RehearsalSwitch, utterance: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reading that takes minutes, as a large model's may on a small machine."""
    go_on = threading.Event()
    monkeypatch.setattr(Engine, "_infer", lambda self, windows: go_on.wait() and [])
    bench.start(service={"stop_timeout": 3.0})
    call = switch.place(CallScript(utterance))
    bench.wait(lambda: call.position > 100)
    bench.stop()
    assert bench.bot.left_behind
    assert not of_kind(bench.journal(call.uuid), EndOfTranscript)
    go_on.set()


def test_stopped_before_it_runs(bench: Bench) -> None:
    bot = bench.make()
    bot.stop()
    with gevent.Timeout(PATIENCE):
        bot.run()
