"""Composed sound: tapes for load tests, tones for quiet lines."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from fsbot.bench.load import make_load
from fsbot.bench.speech import SIDES, Reference, Turn
from fsbot.bench.tapes import AIMED_SHARE, make_tape, shortened
from fsbot.bench.tones import RATE, TONES, write_music, write_tone
from fsbot.errors import UserError

LOUD = 8000
WINDOW = (5.0, 45.0)
"""Seconds after the start of a load."""


def call(folder: Path, name: str = "call", language: str = "fr") -> Reference:
    """20 s with 6 s of speech: where it is, the side's samples are LOUD."""
    spans = [("caller", 2.0, 4.0), ("callee", 8.0, 11.0), ("caller", 15.0, 16.0)]
    samples = np.zeros((20 * RATE, 2), np.int16)
    for side, start, end in spans:
        samples[round(start * RATE) : round(end * RATE), SIDES.index(side)] = LOUD
    path = folder / f"{name}.flac"
    soundfile.write(path, samples, RATE)
    turns = tuple(Turn(side, start - 0.5, end + 0.5, start, end, "x") for side, start, end in spans)
    return Reference(path, language, 20.0, turns)


def test_a_shortened_call_keeps_its_speech_and_knows_where_it_is(tmp_path: Path) -> None:
    piece = shortened(call(tmp_path))
    assert piece.seconds == pytest.approx(6.0 / (2 * AIMED_SHARE), rel=0.05)
    for column, side in enumerate(SIDES):
        marked = np.zeros(len(piece.samples), bool)
        for start, end in piece.speech[side]:
            marked[round(start * RATE) : round(end * RATE)] = True
        assert (marked == (piece.samples[:, column] == LOUD)).mean() > 0.999
    assert [len(piece.speech[side]) for side in SIDES] == [2, 1]


def test_both_sides_of_a_tape_speak_equally_much(tmp_path: Path) -> None:
    tape = make_tape([call(tmp_path, "a"), call(tmp_path, "b")], tmp_path / "tape.wav")
    spoken = {side: sum(end - start for start, end in tape.speech[side]) for side in SIDES}
    assert spoken["caller"] == pytest.approx(12.0)
    assert spoken["callee"] == pytest.approx(12.0)
    assert 12.0 / tape.seconds >= 0.37
    samples, rate = soundfile.read(tape.sound, dtype="int16")
    assert len(samples) / rate == pytest.approx(tape.seconds)
    for column, side in enumerate(SIDES):
        for start, end in tape.speech[side]:
            assert samples[round((start + end) / 2 * rate), column] == LOUD


def test_a_load_is_drawn_but_not_by_luck(tmp_path: Path) -> None:
    calls = [call(tmp_path, f"fr-{n}") for n in range(5)]
    calls += [call(tmp_path, f"en-{n}", "en") for n in range(2)]
    load = make_load(calls, 4, tmp_path, 1, WINDOW)
    assert sorted(planned.language for planned in load.planned) == ["en", "fr", "fr", "fr"]
    assert len({planned.offset for planned in load.planned}) == 4
    assert all(planned.repeat == 0 for planned in load.planned)
    assert make_load(calls, 4, tmp_path, 1, WINDOW).planned == load.planned
    assert make_load(calls, 4, tmp_path, 2, WINDOW).planned != load.planned


@pytest.mark.parametrize("name", TONES)
def test_a_tone_is_as_long_as_asked_and_no_louder_than_a_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    write_tone(name, 12.5, path, seed=0)
    samples, rate = soundfile.read(path)
    assert len(samples) == 12.5 * rate
    loudest = np.abs(samples).max()
    assert loudest < 0.02 if name == "silence" else 0.1 < loudest < 0.5


def test_ringback_rings_and_pauses(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    write_tone("ringback", 10.0, path, seed=0)
    samples, rate = soundfile.read(path)
    loud = np.abs(samples).reshape(-1, rate // 10).max(axis=1) > 0.05
    assert loud.tolist() == ([True] * 15 + [False] * 35) * 2


def test_music_goes_on_until_it_is_long_enough(tmp_path: Path) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    soundfile.write(folder / "a.wav", np.full(3 * 16000, 0.1), 16000)
    soundfile.write(folder / "b.flac", np.full((2 * 8000, 2), 0.1), 8000)
    assert write_music(folder, 11.0, tmp_path / "out.wav") == 2
    assert soundfile.info(tmp_path / "out.wav").duration == pytest.approx(11.0)


def test_no_music_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--music"):
        write_music(tmp_path, 1.0, tmp_path / "out.wav")
