"""More calls than the machine can hold: nothing is lost, and it is told who waits."""

import time
from collections.abc import Sequence
from typing import Any

import pytest
from bench import Bench, errors, finals, joined, likeness, of_kind, silence

from fsbot.engine.decoding import Decoded
from fsbot.engine.inference import Window
from fsbot.engine.scheduler import Engine
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.transcript.records import EndOfTranscript, Failure

CALLS = 8


@pytest.mark.parametrize("backlog", ["oldest", "newest"])
def test_calls_wait_for_a_machine_that_is_too_slow(
    backlog: str,
    bench: Bench,
    switch: RehearsalSwitch,
    utterance: Sound,
    turn: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    infer = Engine._infer

    def slowly(self: Engine, windows: Sequence[Window]) -> list[Decoded | Exception]:
        time.sleep(0.7 * len(windows))
        return infer(self, windows)

    monkeypatch.setattr(Engine, "_infer", slowly)
    bench.start(engine={"lag_warning": 3.0, "backlog": backlog})
    calls = [switch.place(CallScript(utterance, tail=0.0)) for _ in range(CALLS)]
    bench.wait(lambda: any("lagging" in errors(bench.journal(call.uuid)) for call in calls))
    late = switch.place(CallScript(silence(1)))
    bench.wait(lambda: bench.recorded(late.uuid))

    lagged = 0
    for call in calls:
        records = bench.transcript(call.uuid)
        assert likeness(joined(finals(records)), turn["text"]) >= 0.8
        assert of_kind(records, EndOfTranscript)[0].reason == "hangup"
        told = [failure.over for failure in of_kind(records, Failure) if failure.error == "lagging"]
        # It falls behind and catches up, in this order, as often as it does.
        assert told in ([], [False, True], [False, True] * 2)
        lagged += bool(told)
    assert lagged
    assert of_kind(bench.transcript(late.uuid), EndOfTranscript)[0].reason == "hangup"
