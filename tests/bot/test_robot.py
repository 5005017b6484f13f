"""Robots: a call handed over by its dialplan, heard by the real engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import Bench, errors, finals, likeness, silence
from robots import HEADER, Told, of

from fsbot.errors import UserError
from fsbot.rehearsal.script import CallScript, Press
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.robot.loading import load_robot
from fsbot.transcript.records import StartOfSpeech, StartOfTranscript

LISTENER = """
class Listener(Robot):
    def on_start(self, call):
        told.append(("start", call.caller_number))
        call.set("fsbot_test", "1 ${hostname}")
        told.append(("variable", call.get("fsbot_test")))
        self.greeting = call.say("un texte ${global_getvar hostname} " * 60)

    def on_speech(self, call):
        super().on_speech(call)
        told.append(("speech", self.greeting.wait(5)))

    def on_words(self, call, words):
        told.append(("words", words))

    def on_digit(self, call, digit):
        told.append(("digit", digit))

    def on_utterance(self, call, utterance):
        told.append(("utterance", utterance.text))
        call.say("silence_stream://100").wait()
        call.hangup()

    def on_hangup(self, call):
        told.append(("hangup", [line.text for line in call.transcript]))
"""


def test_a_robot_is_interrupted_hears_and_hangs_up(
    hand_over: Callable[..., tuple[str, Told]],
    bench: Bench,
    switch: RehearsalSwitch,
    utterance: Sound,
    turn: dict[str, Any],
) -> None:
    where, told = hand_over(LISTENER)
    call = switch.place(CallScript(utterance, socket=where, tail=60.0, actions=(Press(0.5, "7"),)))
    records = bench.transcript(call.uuid)
    bench.wait(lambda: of(told, "hangup"))
    assert of(told, "start") == ["0612345678"]
    # What FreeSWITCH would replace, and run, never reaches it.
    assert of(told, "variable") == ["1 {hostname}"]
    spoken = [event for event in switch.fired if event.headers.get("Application") == "speak"]
    assert spoken
    assert "$" not in "".join(event.headers.get("Application-Data") for event in spoken)
    assert of(told, "digit") == ["7"]
    assert True in of(told, "speech")
    assert likeness(" ".join(of(told, "words")), turn["text"]) >= 0.7
    assert of(told, "utterance") == [finals(records)[0].text]
    assert likeness(of(told, "utterance")[0], turn["text"]) >= 0.8
    assert of(told, "hangup")[0] == [record.text for record in finals(records) if record.text]
    # Listener and socket both saw the answer: one recording, one transcript.
    assert sum(isinstance(record, StartOfTranscript) for record in records) == 1
    assert len(bench.recorded(call.uuid)) == 1
    assert errors(records) == []


def test_a_robots_own_echo_neither_stops_it_nor_answers_it(
    hand_over: Callable[..., tuple[str, Told]],
    bench: Bench,
    switch: RehearsalSwitch,
    utterance: Sound,
) -> None:
    where, told = hand_over(LISTENER)
    late = np.roll(utterance.caller, utterance.rate // 10)
    line = Sound("echo", utterance.rate, (late // 10).astype(np.int16), utterance.caller)
    call = switch.place(CallScript(line, socket=where, tail=2.0))
    records = bench.transcript(call.uuid)
    bench.wait(lambda: of(told, "hangup"))
    starts = [each for each in records if isinstance(each, StartOfSpeech)]
    assert [each.echo for each in starts if each.side == "caller"] == [True]
    assert {each.confirmed for each in starts if each.side == "callee"} == {False, True}
    assert of(told, "speech") == of(told, "words") == of(told, "utterance") == []


@pytest.mark.parametrize("certain", [True, False])
def test_a_cough_stops_a_robot_that_does_not_wait_for_certainty(
    certain: bool,
    hand_over: Callable[..., tuple[str, Told]],
    bench: Bench,
    switch: RehearsalSwitch,
    utterance: Sound,
    turn: dict[str, Any],
) -> None:
    where, told = hand_over(f"{LISTENER}\n    certain = {certain}\n")
    start = round(turn["speech_start"] * utterance.rate)
    short = utterance.caller.copy()
    short[start + round(0.2 * utterance.rate) :] = 0  # what there is of a syllable
    call = switch.place(
        CallScript(
            Sound("syllable", utterance.rate, short[: 3 * utterance.rate], None), socket=where
        )
    )
    records = bench.transcript(call.uuid)
    assert [each.confirmed for each in records if isinstance(each, StartOfSpeech)] == [False]
    assert len(of(told, "speech")) == (not certain)


def test_a_robot_that_fails_leaves_its_caller_in_the_dialplan_and_the_transcript_whole(
    hand_over: Callable[..., tuple[str, Told]],
    bench: Bench,
    switch: RehearsalSwitch,
    utterance: Sound,
    turn: dict[str, Any],
) -> None:
    where, told = hand_over(
        "class Faulty(Robot):\n"
        "    def on_start(self, call):\n"
        "        told.append(('start', call.uuid))\n"
        "        raise RuntimeError('a mistake')\n"
    )
    call = switch.place(CallScript(utterance, socket=where))
    bench.wait(lambda: not call.handed_over)
    assert of(told, "start") == [call.uuid]
    assert call.legs[0].application[0] == "park"
    records = bench.transcript(call.uuid)
    assert likeness("".join(record.text for record in finals(records)), turn["text"]) >= 0.8


def test_a_call_that_the_filter_leaves_out_is_transcribed_for_its_robot(
    hand_over: Callable[..., tuple[str, Told]],
    bench: Bench,
    switch: RehearsalSwitch,
    utterance: Sound,
) -> None:
    where, told = hand_over(LISTENER, filter={"contexts": ["elsewhere"]})
    call = switch.place(CallScript(utterance, socket=where, tail=60.0))
    records = bench.transcript(call.uuid)
    assert of(told, "utterance") == [finals(records)[0].text]


def test_a_robot_that_says_nothing_is_told(
    hand_over: Callable[..., tuple[str, Told]],
    switch: RehearsalSwitch,
    bench: Bench,
    log_lines: list[dict[str, object]],
) -> None:
    source = """
from pathlib import Path
class Mute(Robot):
    def on_start(self, call):
        call.say("silence_stream://200").wait()
        call.say(Path("/nowhere/bonjour.wav")).wait()
        call.say("Bonjour !").wait()
        call.hangup()
"""
    where, _ = hand_over(source)
    switch.faults.no_voice = True
    uuid = switch.place(CallScript(silence(20), socket=where)).uuid
    bench.transcript(uuid)
    silent = [line["asked_for"] for line in log_lines if line["event"] == "nothing said"]
    assert silent == ["/nowhere/bonjour.wav", "flite|slt|Bonjour !"]


def test_one_that_asks_gets_the_answer_or_none(
    hand_over: Callable[..., tuple[str, Told]],
    bench: Bench,
    switch: RehearsalSwitch,
    utterance: Sound,
    turn: dict[str, Any],
) -> None:
    where, told = hand_over(
        "class Asking(Robot):\n"
        "    def on_start(self, call):\n"
        # The caller, who speaks for longer than that, has begun by then.
        "        answer = call.ask('silence_stream://50', timeout=4)\n"
        "        told.append(('answer', answer.text))\n"
        "        told.append(('again', call.ask('silence_stream://50', timeout=0.5)))\n"
        "        call.leave()\n"
    )
    call = switch.place(CallScript(utterance, socket=where, tail=60.0))
    bench.wait(lambda: not call.handed_over)
    assert likeness(of(told, "answer")[0], turn["text"]) >= 0.8
    assert of(told, "again") == [None]
    assert not call.finished
    call.hang_up()
    bench.transcript(call.uuid)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "must define one subclass"),
        ("class A(Robot): pass\nclass B(Robot): pass\n", "A, B"),
        ("1 / 0\n", "line 3"),
        ("class A(Robot:\n", "SyntaxError"),
    ],
)
def test_a_robot_that_cannot_be_used_is_told(tmp_path: Path, source: str, said: str) -> None:
    file = tmp_path / "robot.py"
    file.write_text(HEADER + source)
    with pytest.raises(UserError) as told:
        load_robot(file)
    assert said in str(told.value)


def test_a_robot_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no robot"):
        load_robot(tmp_path / "robot.py")
