"""The bot is killed in mid-word and comes back: every word is in the journal, once."""

import json
import signal
from itertools import pairwise
from pathlib import Path

import gevent
import pytest
from bench import PATIENCE, Listener, joined, likeness, of_kind, silence
from processes import Process, Start

from fsbot.rehearsal.call import Call
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.transcript.journal import read_journal
from fsbot.transcript.records import (
    EndOfTranscript,
    EndOfUtterance,
    Record,
    StartOfSpeech,
    StartOfTranscript,
    Transcription,
    parse,
)

REPEAT = 3
SAID = "le numéro composé n'est pas en service veuillez vérifier le numéro et essayer de nouveau"


def spoken(utterance: Sound) -> CallScript:
    """The utterance three times over, with pauses."""
    return CallScript(utterance, repeat=REPEAT, tail=2.0)


def journal(folder: Path, call: Call) -> list[Record]:
    paths = list((folder / "transcripts").glob(f"*/{call.uuid}.jsonl"))
    return list(read_journal(paths[0])) if paths else []


def complete(folder: Path, call: Call) -> bool:
    return bool(of_kind(journal(folder, call), EndOfTranscript))


def kill(process: Process, switch: RehearsalSwitch) -> None:
    process.send(signal.SIGKILL)
    process.wait(switch)
    assert switch.wait(lambda: not switch.sessions or len(switch.sessions) == 1, PATIENCE)


def check_each_word_once(records: list[Record], said: str) -> None:
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    assert len(of_kind(records, StartOfTranscript)) == 1
    spoken = [r for r in of_kind(records, Transcription) if r.side == "caller"]
    finals = [record for record in spoken if record.is_final]
    numbers = [record.utterance for record in finals]
    assert numbers == list(range(1, len(numbers) + 1))
    for kind in (StartOfSpeech, EndOfUtterance):
        told = [record for record in of_kind(records, kind) if record.side == "caller"]
        assert [r.utterance for r in told if not getattr(r, "confirmed", False)] == numbers
    live = [record for record in spoken if not record.is_final and record.text]
    for text in (joined(finals), joined(live)):
        assert likeness(text, " ".join([said] * REPEAT)) > 0.7, text
    # An utterance's live text is what its last live record shows, whoever wrote which part.
    for number in numbers:
        own = [record for record in live if record.utterance == number]
        whole = " ".join(word.word for word in own[-1].alternatives[0].words)
        assert whole.startswith(" ".join(record.text for record in own))
    for before, after in pairwise(finals):
        assert before.end <= after.start + 0.3
    for before, after in pairwise(live):
        assert before.start <= after.start + 0.05


@pytest.mark.parametrize("killed_at", [2.5, 6.5, 9.0], ids=["a word", "a pause", "a later word"])
def test_killed_in_mid_call(
    switch: RehearsalSwitch,
    start: Start,
    utterance: Sound,
    listener: Listener,
    tmp_path: Path,
    killed_at: float,
) -> None:
    first = start(switch.port)
    assert switch.wait(lambda: len(switch.sessions) == 2, PATIENCE)
    gevent.sleep(1.0)
    calls = [switch.place(spoken(utterance)) for _ in range(2)]
    assert switch.wait(lambda: all(call.legs[0].recordings for call in calls), PATIENCE)
    gevent.sleep(killed_at)
    kill(first, switch)
    assert not any(complete(tmp_path, call) for call in calls)

    second = start(switch.port)
    assert switch.wait(lambda: all(complete(tmp_path, call) for call in calls), PATIENCE)
    second.send(signal.SIGTERM)
    assert second.wait(switch) == 0
    for call in calls:
        records = journal(tmp_path, call)
        check_each_word_once(records, SAID)
        (end,) = of_kind(records, EndOfTranscript)
        # On a busy machine the call may be over before the bot is back.
        assert end.reason in ("hangup", "recovered")
        check_events(listener, call, records)
    assert not list((tmp_path / "transcripts").glob("*/*.pending"))


def check_events(listener: Listener, call: Call, records: list[Record]) -> None:
    """Each at least once, as the journal has it; what may be a repetition says so."""
    seen: set[int] = set()
    for event in listener.of(call.uuid):
        record = parse(event.body)
        if record.sequence in seen:
            assert event.headers.get("Fsbot-Resent") == "true"
        seen.add(record.sequence)
        assert record == records[record.sequence - 1]
    assert seen == {record.sequence for record in records}


def test_a_call_that_ended_meanwhile_is_transcribed_from_its_file(
    switch: RehearsalSwitch,
    start: Start,
    utterance: Sound,
    listener: Listener,
    tmp_path: Path,
) -> None:
    first = start(switch.port)
    assert switch.wait(lambda: len(switch.sessions) == 2, PATIENCE)
    gevent.sleep(1.0)
    call = switch.place(spoken(utterance))
    assert switch.wait(lambda: bool(call.legs[0].recordings), PATIENCE)
    gevent.sleep(4.0)
    kill(first, switch)
    assert switch.wait(lambda: not switch.live_calls, PATIENCE)

    second = start(switch.port)
    assert switch.wait(lambda: complete(tmp_path, call), PATIENCE)
    second.send(signal.SIGTERM)
    assert second.wait(switch) == 0
    records = journal(tmp_path, call)
    check_each_word_once(records, SAID)
    (end,) = of_kind(records, EndOfTranscript)
    assert end.reason == "recovered"
    check_events(listener, call, records)


def test_a_recording_that_goes_on_is_taken_over(
    switch: RehearsalSwitch, start: Start, tmp_path: Path
) -> None:
    first = start(switch.port)
    assert switch.wait_for_listener(timeout=PATIENCE)
    call = switch.place(CallScript(silence(60)))
    assert switch.wait(lambda: bool(call.legs[0].recordings), PATIENCE)
    others = tmp_path / "others.raw"
    assert "+OK" in switch.api.run(f"uuid_record {call.uuid} start {others}")
    first.send(signal.SIGKILL)
    first.wait(switch)
    assert switch.wait(lambda: not switch.sessions, PATIENCE)

    second = start(switch.port)
    second.says(switch, "recording taken over")
    ours = str(tmp_path / "recordings" / f"{call.uuid}-1.raw")
    assert set(call.legs[0].recordings) == {ours, str(others)}
    call.hang_up()
    second.says(switch, "transcript ended")
    second.send(signal.SIGTERM)
    assert second.wait(switch) == 0
    kinds = [record.kind for record in journal(tmp_path, call)]
    assert kinds == ["start_of_transcript", "end_of_transcript"]


def test_events_that_were_not_confirmed_are_fired_again(
    switch: RehearsalSwitch, start: Start, listener: Listener, tmp_path: Path
) -> None:
    """The transcript was complete; its last events had no answer when the bot was killed."""
    first = start(switch.port)
    assert switch.wait(lambda: len(switch.sessions) == 2, PATIENCE)
    gevent.sleep(1.0)
    call = switch.place(CallScript(silence(2)))
    assert switch.wait(lambda: complete(tmp_path, call), PATIENCE)
    gevent.sleep(0.5)
    kill(first, switch)
    # As if nothing had been confirmed.
    (path,) = (tmp_path / "transcripts").glob(f"*/{call.uuid}.jsonl")
    path.with_suffix(".pending").write_text("0\n")
    heard = len(listener.of(call.uuid))

    second = start(switch.port)
    assert switch.wait(lambda: len(listener.of(call.uuid)) == 2 * heard, PATIENCE)
    again = listener.of(call.uuid)[heard:]
    assert all(event.headers.get("Fsbot-Resent") == "true" for event in again)
    assert [json.loads(event.body)["sequence"] for event in again] == list(range(1, heard + 1))
    assert switch.wait(lambda: not path.with_suffix(".pending").exists(), PATIENCE)
    second.send(signal.SIGTERM)
    assert second.wait(switch) == 0
    assert len(journal(tmp_path, call)) == heard
