"""The recording of a simulated long call: its bytes, its mtimes, what is known of both."""

from pathlib import Path

import numpy as np
import pytest

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.bench.growing import Clip, GrowingRecording, Truth
from fsbot.rehearsal.sound import IDLE_SAMPLE

BEGAN = 1_700_000_000.0
HOURS = 1


@pytest.fixture
def recording(tmp_path: Path) -> GrowingRecording:
    clip = Clip(1, np.full(3 * SAMPLE_RATE, 5000, np.int16), speech=0.5)
    path = tmp_path / "call-1.raw"
    return GrowingRecording(path, BEGAN, [clip], np.random.default_rng(1))


def test_what_is_missing_moves_what_follows() -> None:
    truth = Truth(100.0)
    truth.missing(10.0, 0.5)
    truth.missing(20.0, 60.0)
    assert truth.wall(5.0) == 105.0
    assert truth.wall(10.0) == 110.0
    assert truth.wall(10.1) == pytest.approx(110.6)
    assert truth.wall(25.0) == pytest.approx(185.5)


def test_it_grows_as_a_real_one(recording: GrowingRecording, tmp_path: Path) -> None:
    path = tmp_path / "call-1.raw"
    held = 0
    for on_hold in recording.grow(BEGAN + HOURS * 3600):
        found = path.stat()
        assert found.st_size == round(recording.seconds * SAMPLE_RATE) * 4
        assert abs(found.st_mtime - recording.truth.wall(recording.seconds)) < 0.001
        held += on_hold
    recording.close()
    assert held == recording.holds >= 1
    assert recording.stalls > 25
    missing = HOURS * 3600 - recording.seconds
    # FACTS.md 2: 0.2 to 0.8 s in 240 s; and the holds.
    assert missing > recording.holds * 60 + HOURS * 15 * 0.2
    samples = np.memmap(path, "<i2", "r").reshape(-1, 2)
    assert (samples[:, 0] == IDLE_SAMPLE).all()
    for turn in recording.spoken[:-1]:
        first = round((turn.audio - 0.5) * SAMPLE_RATE)
        assert samples[first, 1] == 5000
        assert samples[first - 1, 1] == IDLE_SAMPLE
        assert abs(turn.wall - recording.truth.wall(turn.audio + 0.001)) < 0.25
