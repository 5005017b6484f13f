"""Which faults are drawn."""

from itertools import pairwise

from fsbot.bench.chaos import LENGTHS, drawn_faults


def test_a_seed_is_a_run() -> None:
    assert drawn_faults(3, 600.0) == drawn_faults(3, 600.0)
    assert drawn_faults(3, 600.0) != drawn_faults(4, 600.0)


def test_every_kind_comes_one_at_a_time_and_in_time() -> None:
    faults = drawn_faults(1, 600.0)
    assert {fault.kind for fault in faults} == set(LENGTHS)
    for fault in faults:
        shortest, longest = LENGTHS[fault.kind]
        assert shortest <= fault.seconds <= longest
        assert fault.at + fault.seconds <= 600.0
    for before, after in pairwise(faults):
        assert after.at > before.at + before.seconds
    assert drawn_faults(1, 5.0) == []
