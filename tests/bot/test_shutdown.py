"""A bot that is stopped at any moment: nothing goes on recording, every transcript has its end."""

import gevent
import pytest
from bench import PATIENCE, Bench, Listener, errors, of_kind, silence

import fsbot.bot
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


def test_what_takes_too_long_is_given_up(
    bench: Bench,
    switch: RehearsalSwitch,
    listener: Listener,
    utterance: Sound,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fsbot.bot, "FINISHING_SECONDS", 0.5)
    # An engine far behind: what it has been given is never heard.
    monkeypatch.setattr(Stream, "wants_to_listen", False)
    bench.start(recordings={"retention": "on_close"})
    call = switch.place(CallScript(utterance))
    bench.wait(lambda: bench.recorded(call.uuid))
    gevent.sleep(1.0)
    bench.stop()
    records = bench.journal(call.uuid)
    assert end_of(records).reason == "shutdown"
    assert errors(records) == ["unfinished"]
    assert len(of_kind(records, StartOfTranscript)) == 1
    bench.wait(lambda: len(listener.of(call.uuid)) == len(records))
    bench.wait(lambda: not list(bench.transcripts.glob("*/*.pending")))
    gevent.sleep(0.5)
    assert bench.recorded(call.uuid)[0].stat().st_size


def test_stopped_while_freeswitch_is_out_of_reach(
    bench: Bench, switch: RehearsalSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsbot.bot, "DELIVERING_SECONDS", 1.0)
    bench.start()
    call = switch.place(CallScript(silence(30)))
    bench.wait(lambda: bench.recorded(call.uuid))
    switch.kill()
    gevent.sleep(0.5)
    bench.stop()
    assert end_of(bench.journal(call.uuid)).reason == "shutdown"


def test_stopped_before_it_runs(bench: Bench) -> None:
    bot = bench.make()
    bot.stop()
    with gevent.Timeout(PATIENCE):
        bot.run()
