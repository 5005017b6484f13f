"""Two bots at a time: never on one directory, and on one FreeSWITCH without harm to each other."""

import signal
from pathlib import Path

from bench import PATIENCE, Bench, of_kind, silence
from processes import Start

from fsbot.engine.model import SpeechModel
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.switch.connection import Connection
from fsbot.transcript.records import EndOfTranscript, Mark


def test_a_second_one_on_the_same_directories_is_refused(
    switch: RehearsalSwitch, start: Start, tmp_path: Path
) -> None:
    first = start(switch.port)
    assert switch.wait_for_listener(timeout=PATIENCE)
    call = switch.place(CallScript(silence(60)))
    assert switch.wait(lambda: bool(call.legs[0].recordings), PATIENCE)
    # Another directory of transcripts does not help: the recordings' names are the same.
    second = start(switch.port, "--transcripts-directory", str(tmp_path / "others"))
    assert second.wait(switch) == 2
    (line,) = (line for line in second.lines if line.startswith("fsbot: "))
    assert f"process {first.pid} on " in line
    assert "fsbot run" in line or "__main__.py run" in line
    assert f"keeps its recordings in {tmp_path / 'recordings'}" in line
    assert any("recordings.directory" in line for line in second.lines)
    assert call.legs[0].recordings, "the first one's recording was stopped"

    first.send(signal.SIGKILL)
    first.wait(switch)
    third = start(switch.port)
    third.says(switch, "transcript taken up again")


def test_two_on_one_freeswitch_follow_a_users_mask_and_not_each_others(
    switch: RehearsalSwitch, speech_model: SpeechModel, tmp_path: Path
) -> None:
    bots = [Bench(switch, speech_model, tmp_path / name) for name in ("one", "two")]
    client = Connection("127.0.0.1", switch.port, "ClueCon")
    client.connect()
    try:
        for number, bot in enumerate(bots, start=1):
            bot.start()
            bot.wait(
                lambda number=number: (
                    number == sum(each.subscription.listens_to("CODEC") for each in switch.sessions)
                )
            )
        call = switch.place(CallScript(silence(60)))
        for bot in bots:
            bot.wait(lambda bot=bot: bot.recorded(call.uuid))
        theirs = str(tmp_path / "theirs.wav.raw")
        assert client.api(f"uuid_record {call.uuid} start {theirs}").startswith("+OK")
        recordings = call.legs[0].recordings

        def are_all(masked: bool) -> bool:
            return {each.file.masked for each in recordings.values()} == {masked}

        assert len(recordings) == 3
        assert client.api(f"uuid_record {call.uuid} mask {theirs}").startswith("+OK")
        bots[0].wait(lambda: are_all(True))
        assert client.api(f"uuid_record {call.uuid} unmask {theirs}").startswith("+OK")
        bots[0].wait(lambda: are_all(False))
        # One that comes back leaves what is not its own.
        bots[0].stop()
        assert theirs in call.legs[0].recordings
        assert len(call.legs[0].recordings) == 2
        bots[0].start()
        call.hang_up()
        for bot in bots:
            bot.wait(lambda bot=bot: of_kind(bot.journal(call.uuid), EndOfTranscript))
            marks = [mark.mark for mark in of_kind(bot.journal(call.uuid), Mark)]
            assert marks == ["mask", "unmask"]
    finally:
        client.stop()
        for bot in bots:
            bot.stop()
