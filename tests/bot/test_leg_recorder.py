"""What the recorder does when it is told to stop before it has begun, and when it breaks."""

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from bench import silence

from fsbot.audio.follower import Follower
from fsbot.recorder import Recorder
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.studio import LegGone, Plan, Studio
from fsbot.switch.link import Endpoint, Link
from fsbot.switch.recording import prepare_directory


@pytest.fixture
def studio(switch: RehearsalSwitch, tmp_path: Path) -> Iterator[Studio]:
    link = Link(
        Endpoint("127.0.0.1", switch.port, "ClueCon"), ("CODEC",), on_event=lambda event: None
    )
    serving = gevent.spawn(link.run)
    assert switch.wait_for_listener("CODEC")
    follower = Follower()
    yield Studio(link, follower, prepare_directory(tmp_path / "recordings"), 16000, False)
    follower.close()
    link.stop()
    serving.join()


def silent(error: str, message: str, over: bool) -> None:
    raise AssertionError(f"{error}: {message}")


@pytest.mark.parametrize("how", ["stop", "gone"])
def test_nothing_is_asked_for_after_the_end(
    how: str, studio: Studio, switch: RehearsalSwitch
) -> None:
    announced: list[Plan] = []
    recorder = Recorder("a", 8000, studio, announced.append, silent)
    getattr(recorder, how)()
    gevent.sleep(0.1)
    with pytest.raises(LegGone):
        recorder.start()
    assert not switch.commands
    recorder.close()


def test_a_mistake_in_going_on_ends_the_tape(
    studio: Studio, switch: RehearsalSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = switch.place(CallScript(silence(30)))
    assert switch.wait(lambda: call.legs[0].answered, 10)
    announced: list[Plan] = []

    def announce(plan: Plan) -> None:
        if announced:
            raise ZeroDivisionError("a mistake of ours")
        announced.append(plan)

    recorder = Recorder(call.uuid, 8000, studio, announce, silent)
    recorder.start()
    gevent.sleep(0.3)
    recorder.codec_changed(16000, 0.0)
    with gevent.Timeout(10), pytest.raises(ZeroDivisionError):
        list(recorder.tape.play())
    recorder.close()
    assert switch.wait(lambda: not call.legs[0].recordings, 10)
