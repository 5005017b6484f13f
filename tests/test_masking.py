"""Masked stretches by the clock."""

import math
from pathlib import Path

import numpy as np
import pytest

from fsbot.audio.follower import Follower
from fsbot.audio.tape import Tape
from fsbot.masking import Masking, Withheld
from fsbot.switch.codec import Event, Headers
from fsbot.switch.masks import MaskChange, mask_change


def sound(seconds: float) -> list[np.ndarray]:
    return [np.ones(round(seconds * 16000), np.float32) for _ in range(2)]


def test_a_stretch_lasts_as_long_as_silence_is_wanted() -> None:
    masking = Masking()
    assert masking.want(True, 10.0)
    assert not masking.want(True, 11.0)
    assert masking.active
    assert masking.stretches == [(10.0, math.inf)]
    assert masking.want(False, 13.0)
    assert not masking.want(False, 13.5)
    assert not masking.active
    assert [masking.hides(at) for at in (10.0, 10.1, 12.9, 13.1)] == [False, True, True, False]


def test_sound_is_silent_exactly_where_it_is_wanted_silent() -> None:
    withheld = Withheld(("caller", "callee"))
    withheld.private.want(True, 100.25)
    left, right = withheld.silence(sound(1.0), 100.0)
    assert np.flatnonzero(left == 0)[0] == 4000
    assert not left[4000:].any()
    assert right[:4000].all()
    withheld.private.want(False, 100.75)
    left, _ = withheld.silence(sound(1.0), 100.0)
    assert (left[4000:12000] == 0).all()
    assert left[12000:].all()
    before = sound(0.25)
    assert withheld.silence(before, 100.0)[0] is before[0]


def test_one_side_may_be_silent_alone() -> None:
    withheld = Withheld(("callee", "caller"))
    withheld.elsewhere["caller"].want(True, 100.0)
    left, right = withheld.silence(sound(0.5), 100.0)
    assert left.all()
    assert not right.any()
    assert withheld.hides("caller", 99.9, 100.1)
    assert not withheld.hides("callee", 99.9, 100.1)


def test_no_part_of_a_word_is_private() -> None:
    withheld = Withheld(("caller",))
    withheld.private.want(True, 10.0)
    withheld.private.want(False, 12.0)
    times = ((9.0, 10.0), (9.5, 10.1), (10.5, 11.0), (11.9, 12.5), (9.0, 13.0), (12.0, 12.5))
    assert [withheld.hides("caller", *word) for word in times] == [False, *[True] * 4, False]
    withheld.elsewhere["caller"].want(True, 20.0)
    withheld.elsewhere["caller"].want(False, 22.0)
    assert [withheld.hides("caller", *word) for word in ((19.5, 20.1), (21.9, 22.5))] == [
        True,
        False,
    ]


def test_a_stretch_that_a_former_run_has_not_ended_goes_on_until_nobody_wants_it() -> None:
    masking = Masking([(1.0, 2.0), (5.0, math.inf)])
    assert masking.active
    assert masking.hides(1.5)
    assert not masking.hides(3.0)
    assert masking.hides(1e9)
    assert masking.want(False, 8.0)
    assert not masking.hides(9.0)


@pytest.mark.parametrize(
    ("headers", "change"),
    [
        (
            {"API-Command": "uuid_record", "API-Command-Argument": "u mask /tmp/x.wav"},
            ("u", "/tmp/x.wav", True, "mask"),
        ),
        (
            {"API-Command": "UUID_RECORD", "API-Command-Argument": " u UNMASK /tmp/x.wav "},
            ("u", "/tmp/x.wav", False, "mask"),
        ),
        (
            {"API-Command": "uuid_record", "API-Command-Argument": "u  mask '/tmp/my x.wav'"},
            ("u", "/tmp/my x.wav", True, "mask"),
        ),
        (
            {"API-Command": "uuid_record", "API-Command-Argument": "u pause /tmp/x.wav"},
            ("u", "/tmp/x.wav", True, "pause"),
        ),
        (
            {"API-Command": "uuid_record", "API-Command-Argument": "u resume /tmp/x.wav"},
            ("u", "/tmp/x.wav", False, "pause"),
        ),
        ({"API-Command": "uuid_record", "API-Command-Argument": "u start /tmp/x.wav"}, None),
        ({"API-Command": "uuid_record", "API-Command-Argument": "u mask /x.raw fsbot"}, None),
        ({"API-Command": "uuid_record", "API-Command-Argument": "u mask"}, None),
        ({"API-Command": "uuid_record"}, None),
        ({"API-Command": "status", "API-Command-Argument": "u mask /x"}, None),
    ],
)
def test_what_the_api_event_says(
    headers: dict[str, str], change: tuple[str, str, bool, str] | None
) -> None:
    stamp = {"Event-Name": "API", "Event-Date-Timestamp": "1500000"}
    found = mask_change(Event(Headers([*(stamp | headers).items()])))
    if change is None:
        assert found is None
    else:
        uuid, who, masked, mark = change
        assert found == MaskChange(uuid, who, masked, 1.5, mark)


def test_a_tape_tells_its_own_recordings_from_others() -> None:
    """The end of an own one, at a codec change, unmasks nothing."""
    tape = Tape(16000, 2)
    follower = Follower()
    tape.add("/on/switch/u-1.raw", Path("/nowhere/u-1.raw"), follower)
    assert tape.holds("/on/switch/u-1.raw")
    assert not tape.holds("/on/switch/theirs.wav")
    tape.close()
    follower.close()
