"""Updates hear more at a time while the machine can't keep up, and less again afterwards."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsbot.engine.cadence import MOST_CHUNKS, PATIENCE_SECONDS, QUIET_SECONDS, Cadence

CHUNK = 0.5
EVERY = 0.1
"""Seconds between two updates of all streams together."""


class Machine:
    """A clock, and updates that wait as long as they are told."""

    def __init__(self) -> None:
        self.cadence = Cadence(CHUNK)
        self.now = 1000.0

    def wait(self, waited: float, seconds: float) -> list[float]:
        """The chunks in force during so many seconds of updates that wait so long."""
        chunks = []
        for _ in range(round(seconds / EVERY)):
            self.now += EVERY
            self.cadence.observe(waited, self.now)
            chunks.append(self.cadence.chunk)
        return chunks


def test_updates_that_are_on_time_stay_as_they_are() -> None:
    machine = Machine()
    assert set(machine.wait(CHUNK / 2, 60)) == {CHUNK}
    assert machine.cadence.enlarged == 0


def test_one_late_update_is_no_load() -> None:
    machine = Machine()
    machine.wait(0.0, 5)
    assert machine.wait(4 * CHUNK, EVERY) == [CHUNK]
    assert set(machine.wait(0.0, 20)) == {CHUNK}
    assert machine.cadence.enlarged == 0


def test_lasting_lateness_makes_them_larger_a_chunk_at_a_time_up_to_a_limit(
    log_lines: list[dict[str, object]],
) -> None:
    machine = Machine()
    chunks = machine.wait(2 * CHUNK, 30)
    sizes = [CHUNK * count for count in range(1, MOST_CHUNKS + 1)]
    assert sorted(set(chunks)) == sizes
    assert chunks == sorted(chunks)
    assert machine.cadence.enlarged == MOST_CHUNKS - 1
    for size in sizes[1:-1]:
        assert chunks.count(size) * EVERY == pytest.approx(PATIENCE_SECONDS, abs=2 * EVERY)
    assert [line["event"] for line in log_lines] == ["updates get larger"] * (MOST_CHUNKS - 1)
    assert [line["log_level"] for line in log_lines] == ["warning"] * (MOST_CHUNKS - 1)
    assert [line["seconds"] for line in log_lines] == sizes[1:]


def test_they_get_smaller_again_when_it_is_quiet(log_lines: list[dict[str, object]]) -> None:
    machine = Machine()
    machine.wait(2 * CHUNK, 30)
    enlarged = machine.cadence.enlarged
    log_lines.clear()
    chunks = machine.wait(0.0, MOST_CHUNKS * (QUIET_SECONDS + 2))
    assert chunks == sorted(chunks, reverse=True)
    assert chunks[0] == MOST_CHUNKS * CHUNK
    assert chunks[-1] == CHUNK
    # The mean of the waits needs a moment to come down.
    assert chunks.count(MOST_CHUNKS * CHUNK) * EVERY > QUIET_SECONDS
    for count in range(2, MOST_CHUNKS):
        assert chunks.count(count * CHUNK) * EVERY == pytest.approx(QUIET_SECONDS, abs=2 * EVERY)
    assert machine.cadence.enlarged == enlarged
    assert {line["event"] for line in log_lines} == {"updates get smaller"}
    assert {line["log_level"] for line in log_lines} == {"info"}


def test_lateness_in_between_begins_the_quiet_anew() -> None:
    machine = Machine()
    while machine.cadence.enlarged == 0:
        machine.wait(2 * CHUNK, EVERY)
    assert set(machine.wait(0.0, QUIET_SECONDS - 1)) == {2 * CHUNK}
    while machine.cadence.enlarged == 1:
        machine.wait(2 * CHUNK, EVERY)
    assert set(machine.wait(0.0, QUIET_SECONDS - 1)) == {3 * CHUNK}
    assert machine.wait(0.0, 3)[-1] == 2 * CHUNK


def test_the_clock_is_read_if_no_time_is_given() -> None:
    cadence = Cadence(CHUNK)
    for _ in range(100):
        cadence.observe(2 * CHUNK)
    assert (cadence.chunk, cadence.enlarged) == (2 * CHUNK, 1)


waits = st.lists(st.tuples(st.floats(0, 10), st.floats(0.001, 20)), max_size=60)


@given(waits, st.sampled_from([0.3, 0.5, 1.0]))
def test_chunks_are_whole_numbers_of_the_smallest_and_change_one_at_a_time(
    waited: Iterable[tuple[float, float]], chunk: float
) -> None:
    cadence = Cadence(chunk)
    now, before, larger = 1000.0, 1, 0
    for seconds, later in waited:
        now += later
        cadence.observe(seconds, now)
        count = round(cadence.chunk / chunk)
        assert cadence.chunk == pytest.approx(count * chunk)
        assert 1 <= count <= MOST_CHUNKS
        assert abs(count - before) <= 1
        larger += count > before
        assert cadence.enlarged == larger
        before = count
