from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbot.audio.clock import RecordingClock

CAPTURES = Path(__file__).parents[1] / "fixtures" / "captures"
RATE = 64_000
FRAME = RATE // 50
START = 1_795_359_558.6


def frames(
    seconds: float, *, start: float = START, size: int = 0, seed: int = 1
) -> list[tuple[int, float]]:
    """A writer that adds a frame every 20 ms, each up to 30 ms late."""
    jitter = random.Random(seed)
    return [
        (size + i * FRAME, start + i * 0.02 + jitter.random() * 0.03)
        for i in range(1, round(seconds * 50) + 1)
    ]


def clock_after(observations: list[tuple[int, float]]) -> RecordingClock:
    clock = RecordingClock(RATE)
    for size, mtime in observations:
        clock.observe(size, mtime)
    return clock


def held_call(hold: float) -> list[tuple[int, float]]:
    """5 s of talk, a hold, 5 s of talk (the shape of FACTS.md 0.7)."""
    return frames(5) + frames(5, start=START + 5 + hold, size=5 * RATE, seed=2)


def buffered(
    observations: list[tuple[int, float]], burst: int = 65_536
) -> Iterator[tuple[int, float]]:
    """What reaches the file through a write buffer, with the rest at the end."""
    written = 0
    for size, mtime in observations:
        if size - written >= burst:
            written += burst
            yield written, mtime
    if size > written:
        yield size, mtime


@pytest.mark.parametrize(
    ("capture", "byte_rate", "segments"),
    [
        ("timeline_8k_default", 16_000, 1),
        ("timeline_16k_default", 32_000, 1),
        ("growth_8k_ro_default", 16_000, 1),
        ("growth_bridged_call_0", 16_000, 1),
        ("growth_bridged_call_1", 16_000, 1),
        ("growth_8k_ro_unbuf_pre0", 16_000, 1),
        ("timeline_recommended_8k_call_stereo_rsr16k_unbuf_pre0", 64_000, 1),
        # One frame, then the pre-buffer's permanent half second (FACTS.md 0.4): a hole.
        ("timeline_8k_unbuffered", 16_000, 2),
        ("timeline_16k_unbuffered", 32_000, 2),
        ("growth_48k_opus", 96_000, 2),
    ],
)
def test_captures(capture: str, byte_rate: int, segments: int) -> None:
    rows = [line.split(",") for line in (CAPTURES / f"{capture}.csv").read_text().splitlines()]
    seen = [(int(size), float(t) / 1000) for t, size in rows if size.isdigit() and size != "0"]
    clock = RecordingClock(byte_rate)
    for size, t in seen:
        clock.observe(size, t)
    assert clock.segments == segments
    for size, t in seen:
        assert clock.wall(size / byte_rate) == pytest.approx(t, abs=0.1)


def test_a_hold_is_a_hole() -> None:
    observations = held_call(5.52)
    clock = clock_after(observations[:250])
    before = [clock.wall(i / 10) for i in range(51)]
    for number, (size, mtime) in enumerate(observations[250:], start=1):
        clock.observe(size, mtime)
        assert [clock.wall(i / 10) for i in range(51)] == before
        assert clock.wall(5 + number * 0.02) == pytest.approx(mtime, abs=0.1)
    assert clock.segments == 2
    assert before == pytest.approx([START + i / 10 for i in range(51)], abs=0.1)
    assert clock.wall(5.01) == pytest.approx(START + 10.53, abs=0.1)
    assert clock.wall(9) == pytest.approx(START + 14.52, abs=0.1)


def test_a_hold_in_a_buffered_recording() -> None:
    clock = clock_after(list(buffered(held_call(5.52))))
    # 65536 bytes are 1.02 s here: the hole is somewhere in the burst from 4.10 to 5.12 s.
    assert clock.wall(4.0) == pytest.approx(START + 4.0, abs=0.1)
    assert clock.wall(5.2) == pytest.approx(START + 10.72, abs=0.1)
    assert clock.wall(10) == pytest.approx(START + 15.52, abs=0.1)


def test_holds_in_quick_succession() -> None:
    observations, start, size = [], START, 0
    for hold in (0.5, 1.0, 2.0):
        observations += frames(0.4, start=start, size=size)
        start, size = start + 0.4 + hold, size + round(0.4 * RATE)
    clock = clock_after(observations + frames(3, start=start, size=size))
    for seconds, wall in [(0.2, 0.2), (0.6, 1.1), (1.0, 2.5), (2.0, 5.5), (4.0, 7.5)]:
        assert clock.wall(seconds) == pytest.approx(START + wall, abs=0.1)


def test_bursts_are_not_holes() -> None:
    clock = clock_after(list(buffered(frames(30))))
    assert clock.segments == 1
    assert clock.wall(17) == pytest.approx(START + 17, abs=0.1)


def test_a_bot_that_stalls_sees_no_hole() -> None:
    observations = frames(20)
    clock = clock_after(observations[:300] + observations[600:])
    assert clock.segments == 1
    assert clock.wall(10) == pytest.approx(START + 10, abs=0.1)


def test_a_late_writer_that_catches_up_leaves_no_hole() -> None:
    late = [(size, max(t, START + 10.6)) if 10 < t - START < 10.6 else (size, t)
            for size, t in frames(20)]  # fmt: skip
    clock = clock_after(late)
    assert clock.segments == 1
    assert clock.wall(10.3) == pytest.approx(START + 10.3, abs=0.1)


def test_audio_lost_by_a_stall_of_the_machine() -> None:
    clock = clock_after(frames(10) + frames(10, start=START + 10.2, size=10 * RATE))
    assert clock.wall(9) == pytest.approx(START + 9, abs=0.1)
    assert clock.wall(12) == pytest.approx(START + 12.2, abs=0.1)
    assert clock.wall(20) == pytest.approx(START + 20.2, abs=0.1)


@pytest.mark.parametrize("drift", [-0.0005, 0.0005])
def test_eight_hours_of_drift(drift: float) -> None:
    clock = RecordingClock(RATE)
    jitter = random.Random(3)
    hours = 8 * 3600
    for tenth in range(1, hours * 10 + 1):
        audio = round(tenth / 10 * (1 + drift) * RATE)
        clock.observe(audio, START + tenth / 10 + jitter.random() * 0.03)
        if tenth % 100 == 0:
            assert clock.wall(audio / RATE) == pytest.approx(START + tenth / 10, abs=0.2)
    for tenth in range(0, hours * 10, 1_000):
        assert clock.wall(tenth / 10 * (1 + drift)) == pytest.approx(START + tenth / 10, abs=0.2)
    assert clock.segments < 500


def test_a_bot_that_starts_in_mid_call() -> None:
    clock = clock_after(frames(10)[400:])
    assert clock.segments == 1
    assert clock.wall(9) == pytest.approx(START + 9, abs=0.1)


def test_a_write_seen_before_its_size() -> None:
    """A new mtime with the old size of a buffered file: late by a burst, put right by the next."""
    observations = list(buffered(frames(20)))
    size, mtime = observations[8]
    observations[8] = (size - 60_000, mtime)
    observations.insert(9, (size, mtime + 0.01))
    clock = clock_after(observations)
    assert clock.wall(size / RATE) == pytest.approx(mtime, abs=0.1)
    assert clock.segments == 1


def test_the_same_size_again_is_no_news() -> None:
    clock = clock_after([*frames(1), (RATE, START + 99)])
    assert clock.wall(1) == pytest.approx(START + 1, abs=0.1)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="not positive"):
        RecordingClock(0)
    clock = RecordingClock(RATE)
    with pytest.raises(ValueError, match="nothing"):
        clock.wall(0)
    clock.observe(1_000, START)
    with pytest.raises(ValueError, match="shrank from 1000 to 999"):
        clock.observe(999, START)
