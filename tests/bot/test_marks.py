"""Marks of holds and transfers, by what FreeSWITCH told, in order."""

from fsbot.marks import Marks
from fsbot.transcript.records import Mark, Record
from fsbot.transcript.writer import TranscriptWriter


class Told:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.marks = Marks()
        self.marks.begin(TranscriptWriter("u", 0.0, lambda at: at, self.records.append))

    @property
    def all(self) -> list[tuple[str, float, str]]:
        return [(m.mark, m.start, m.party) for m in self.records if isinstance(m, Mark)]


def test_the_first_party_is_no_transfer_and_the_next_one_is() -> None:
    told = Told()
    told.marks.bridged(10.0, "b", "1000")
    told.marks.bridged(20.0, "c", "1003")
    assert told.all == [("transfer", 20.0, "1003")]


def test_media_that_come_back_are_no_transfer() -> None:
    told = Told()
    told.marks.bridged(10.0, "b", "1000")
    told.marks.bridged(20.0, "b", "1000")
    assert told.all == []


def test_a_party_that_was_heard_through_others_is_not_new() -> None:
    """Loopback channels bow out: the leg behind them is bridged straight to the first."""
    told = Told()
    told.marks.bridged(10.0, "near", "1000")
    told.marks.heard(10.0, ("a", "near", "far", "b"))
    told.marks.heard(12.2, ("a",))
    told.marks.bridged(12.3, "b", "1000")
    told.marks.bridged(20.0, "far", "1000")
    assert told.all == [("transfer", 20.0, "1000")]


def test_a_blind_transfer_is_told_once() -> None:
    told = Told()
    told.marks.bridged(10.0, "b", "1000")
    told.marks.transferred(20.0, "1003")
    told.marks.bridged(20.1, "c", "1003")
    assert told.all == [("transfer", 20.0, "1003")]


def test_where_a_leg_left_behind_goes_is_told_once() -> None:
    """Its bridge comes first, and the answer to where it goes after it."""
    told = Told()
    told.marks.bridged(10.0, "b", "1000")
    told.marks.bridged(20.0, "c", "1003")
    told.marks.transferred(20.1, "1003")
    told.marks.bridged(30.0, "d", "1004")
    assert told.all == [("transfer", 20.0, "1003"), ("transfer", 30.0, "1004")]


def test_back_from_a_party_that_was_asked() -> None:
    told = Told()
    told.marks.bridged(10.0, "b", "1000")
    told.marks.bridged(20.0, "c", "1003")
    told.marks.back_to(30.0, "b")
    assert told.all == [("transfer", 20.0, "1003"), ("transfer", 30.0, "1000")]


def test_a_hold_is_told_once_and_ends_once() -> None:
    told = Told()
    told.marks.hold(1.0, "b", "callee")
    told.marks.hold(1.1, "b", "callee")
    told.marks.hold(2.0, "a", "caller")
    told.marks.unhold(3.0, "b")
    told.marks.unhold(3.1, "b")
    assert told.all == [("hold", 1.0, ""), ("hold", 2.0, ""), ("unhold", 3.0, "")]
    assert told.marks.holding == ["a"]
