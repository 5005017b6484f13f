"""Several recordings as one tape, from real files that grow as FreeSWITCH's do."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import numpy as np
import pytest
from numpy.typing import NDArray

from fsbot.audio.follower import Follower
from fsbot.audio.reading import FollowError
from fsbot.audio.tape import Tape
from fsbot.audio.timeline import Timeline

FRAME = 0.02


class Playing:
    """A tape being played into two arrays by a greenlet of its own."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self._pieces: list[list[NDArray[np.float32]]] = []
        self._greenlet = gevent.spawn(self._play)

    def _play(self) -> None:
        for pieces in self.tape.play():
            assert len({len(side) for side in pieces}) == 1
            self._pieces.append(pieces)

    def side(self, number: int) -> NDArray[np.float32]:
        return np.concatenate([pieces[number] for pieces in self._pieces])

    @property
    def ended(self) -> bool:
        return bool(self._greenlet.ready())

    def finish(self) -> None:
        """Wait for the end; raises what ended it."""
        self._greenlet.get(timeout=30)

    def wait_for(self, seconds: float) -> None:
        with gevent.Timeout(30):
            while self.tape.seconds < seconds - 1e-9:
                gevent.sleep(0.01)


@pytest.fixture
def play() -> Iterator[Callable[[Tape], Playing]]:
    playing: list[Playing] = []

    def begin(tape: Tape) -> Playing:
        playing.append(Playing(tape))
        return playing[-1]

    yield begin
    for one in playing:
        one.tape.close()
        one.finish()


def stereo(left: int, right: int, seconds: float, rate: int = 16000) -> bytes:
    return np.tile(np.array([left, right], "<i2"), int(seconds * rate)).tobytes()


def grow(path: Path, data: bytes, frame: int, pause: float = FRAME) -> None:
    """In real time, frame by frame."""
    with path.open("ab", buffering=0) as file:
        for start in range(0, len(data), frame):
            file.write(data[start : start + frame])
            gevent.sleep(pause)


def test_both_sides_of_a_growing_recording(
    tmp_path: Path, follower: Follower, play: Callable[[Tape], Playing]
) -> None:
    tape = Tape(16000, 2)
    recording = tape.add("/switch/a.raw", tmp_path / "a.raw", follower)
    assert tape.running is recording
    playing = play(tape)
    grow(tmp_path / "a.raw", stereo(8192, -16384, 0.4), 1280)
    assert not playing.ended
    tape.complete("/switch/other.raw")
    assert tape.running is recording
    tape.complete("/switch/a.raw")
    assert tape.running is None
    playing.finish()
    assert tape.seconds == pytest.approx(0.4)
    assert np.all(playing.side(0) == 0.25)
    assert np.all(playing.side(1) == -0.5)


def test_a_recording_that_stops_in_mid_frame(
    tmp_path: Path, follower: Follower, play: Callable[[Tape], Playing]
) -> None:
    data = stereo(8192, -16384, 0.1)
    (tmp_path / "a.raw").write_bytes(data[:-3])
    tape = Tape(16000, 2)
    tape.add("a", tmp_path / "a.raw", follower)
    tape.complete("a")
    playing = play(tape)
    playing.finish()
    assert len(playing.side(0)) == len(data) // 4 - 1
    assert np.all(playing.side(1) == -0.5)


@pytest.mark.parametrize("content", [None, b"", b"\1"])
def test_a_recording_without_sound(
    content: bytes | None, tmp_path: Path, follower: Follower, play: Callable[[Tape], Playing]
) -> None:
    if content is not None:
        (tmp_path / "a.raw").write_bytes(content)
    tape = Tape(8000, 2)
    tape.add("a", tmp_path / "a.raw", follower)
    playing = play(tape)
    gevent.sleep(0.1)
    assert not playing.ended
    tape.complete("a")
    playing.finish()
    assert tape.seconds == 0


@pytest.mark.parametrize("rate", [8000, 48000])
def test_a_rate_that_is_resampled_loses_nothing_at_the_end(
    rate: int, tmp_path: Path, follower: Follower, play: Callable[[Tape], Playing]
) -> None:
    (tmp_path / "a.raw").write_bytes(stereo(8192, 8192, 1.0, rate))
    tape = Tape(rate, 2)
    tape.add("a", tmp_path / "a.raw", follower)
    tape.complete("a")
    playing = play(tape)
    playing.finish()
    assert tape.seconds == pytest.approx(1.0, abs=0.001)
    assert np.median(playing.side(1)) == pytest.approx(0.25, abs=0.01)


def test_the_next_recording_takes_over_where_the_first_is_cut(
    tmp_path: Path, follower: Follower, play: Callable[[Tape], Playing]
) -> None:
    tape = Tape(16000, 2)
    old = tape.add("a", tmp_path / "a.raw", follower)
    playing = play(tape)
    began = time.time()
    grow(tmp_path / "a.raw", stereo(8192, 8192, 0.5), 1280)
    cut = time.time()
    tape.cut(old, cut)
    tape.cut(old, cut + 100)  # only the first counts
    # What an undiscerning FreeSWITCH goes on writing at twice the rate.
    grow(tmp_path / "a.raw", stereo(-8192, -8192, 0.4), 2560)
    gevent.sleep(0.1)
    assert not playing.ended, "a tape that was cut goes on"
    tape.add("b", tmp_path / "b.raw", follower)
    resumed = time.time()
    grow(tmp_path / "b.raw", stereo(16384, 16384, 0.3), 1280)
    tape.complete("a")
    tape.complete("b")
    playing.finish()

    side = playing.side(0)
    first, second = side[side == 0.25], side[side == 0.5]
    assert np.array_equal(np.sort(side[side > 0]), np.concatenate((first, second)))
    # Up to a frame or two of the other rate may slip in: the event and the bytes race.
    assert np.sum(side == -0.25) <= 0.1 * 16000
    assert len(first) == 8000
    assert len(second) == 4800
    ended = len(side) / 16000
    assert tape.timeline.wall(0.02) == pytest.approx(began, abs=0.2)
    assert tape.timeline.wall(0.5) == pytest.approx(cut, abs=0.2)
    assert tape.timeline.wall(ended - 0.28) == pytest.approx(resumed, abs=0.2)


def test_a_cut_before_anything_was_heard(
    tmp_path: Path, follower: Follower, play: Callable[[Tape], Playing]
) -> None:
    tape = Tape(16000, 2)
    old = tape.add("a", tmp_path / "a.raw", follower)
    tape.cut(old, time.time() - 1)
    playing = play(tape)
    (tmp_path / "a.raw").write_bytes(stereo(1, 1, 0.2))
    tape.add("b", tmp_path / "b.raw", follower)
    (tmp_path / "b.raw").write_bytes(stereo(8192, 8192, 0.2))
    tape.complete("b")
    playing.finish()
    assert np.all(playing.side(0) == 0.25)
    assert tape.seconds == pytest.approx(0.2)


def test_a_tape_that_was_cut_ends_with_the_reason_why_nothing_follows(
    tmp_path: Path, follower: Follower, play: Callable[[Tape], Playing]
) -> None:
    tape = Tape(16000, 2)
    old = tape.add("a", tmp_path / "a.raw", follower)
    (tmp_path / "a.raw").write_bytes(stereo(8192, 8192, 0.2))
    playing = play(tape)
    playing.wait_for(0.2)
    tape.cut(old, time.time())
    tape.end(RuntimeError("refused"))
    assert not playing.ended
    tape.complete("a")
    with pytest.raises(RuntimeError, match="refused"):
        playing.finish()
    assert len(playing.side(0)) == 3200
    playing.finish = lambda: None  # type: ignore[method-assign]  # it has been


def test_a_recording_that_begins_anew_in_place(
    tmp_path: Path, follower: Follower, play: Callable[[Tape], Playing]
) -> None:
    tape = Tape(16000, 2)
    tape.add("a", tmp_path / "a.raw", follower)
    playing = play(tape)
    (tmp_path / "a.raw").write_bytes(stereo(8192, 8192, 0.2))
    playing.wait_for(0.2)
    (tmp_path / "a.raw").write_bytes(stereo(16384, 16384, 0.1))
    playing.wait_for(0.3)
    tape.complete("a")
    playing.finish()
    assert playing.side(0).tolist() == [0.25] * 3200 + [0.5] * 1600
    assert tape.timeline.wall(0.3) - tape.timeline.wall(0.2) >= 0


def test_a_recording_that_cannot_be_read_ends_the_tape(tmp_path: Path, follower: Follower) -> None:
    (tmp_path / "a.raw").symlink_to("/dev/null")
    tape = Tape(16000, 2)
    tape.add("a", tmp_path / "a.raw", follower)
    with gevent.Timeout(30), pytest.raises(FollowError, match="symbolic link"):
        list(tape.play())
    tape.close()


def test_closing_ends_a_tape_that_waits(
    tmp_path: Path, follower: Follower, play: Callable[[Tape], Playing]
) -> None:
    waits_for_sound = Tape(16000, 2)
    waits_for_sound.add("a", tmp_path / "a.raw", follower)
    waits_for_recording = Tape(16000, 2)
    for tape in (waits_for_sound, waits_for_recording):
        playing = play(tape)
        gevent.sleep(0.05)
        assert not playing.ended
        tape.close()
        playing.finish()
        assert tape.running is None


def test_a_timeline_has_no_times_before_the_first_sound() -> None:
    with pytest.raises(ValueError, match="no recording"):
        Timeline().wall(0.0)
