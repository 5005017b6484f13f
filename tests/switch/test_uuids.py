"""Channel UUIDs that dialplans and telephones choose: in commands, and as file names."""

import re
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsbot.switch.recording import RecordingDirectory, start_command, stop_command
from fsbot.switch.uuids import UnsafeUuid, check_uuid, file_stem, stem_begins, uuid_of

DIRECTORY = RecordingDirectory(Path("/srv/bot"), PurePosixPath("/srv/fs"))
CALL_ID_CHARACTERS = '-.!%*_+`~()<>:"/[]?{}@'
LONG = "0123456789@" * 23

uuids = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="'\\"),
    min_size=1,
    max_size=256,
).filter(lambda uuid: not re.search("^\\^\\^|%[0-9A-Fa-f]{2}", uuid))


@pytest.mark.parametrize(
    "uuid",
    [
        "e9ed1ed3-6c28-4404-b2d4-24c7434ed3e0",
        "a",
        "A" * 256,
        "-",
        "a84b4c76e66710@pc33.example.com",
        "../../etc/passwd",
        ".",
        "..",
        *CALL_ID_CHARACTERS,
        CALL_ID_CHARACTERS,
        LONG,
    ],
)
def test_what_may_stand_in_a_command(uuid):
    assert check_uuid(uuid) == uuid
    assert start_command(uuid, "/x.raw").startswith(f"uuid_record {uuid} start /x.raw 0 {{")


@pytest.mark.parametrize(
    "uuid",
    [
        "",
        "A" * 257,
        "a b",
        " a",
        "a\n",
        "a\r",
        "a\t",
        "é",
        "a'b",
        "a\\b",
        "a\0",
        "^^:a",
        "a%41",
        "\x7f",
    ],
)
def test_what_must_not_reach_a_command(uuid):
    for use in (
        lambda: check_uuid(uuid),
        lambda: file_stem(uuid),
        lambda: DIRECTORY.path(uuid, 1),
        lambda: DIRECTORY.switch_path(uuid, 1),
        lambda: start_command(uuid, "/x.raw"),
        lambda: stop_command(uuid, "/x.raw"),
    ):
        with pytest.raises(UnsafeUuid):
            use()


def test_the_name_shows_the_uuid():
    plain = "e9ed1ed3-6c28-4404-b2d4-24c7434ed3e0"
    assert file_stem(plain) == plain
    assert file_stem("a_b@Pc.example") == "a_5Fb_40Pc_2Eexample"
    assert uuid_of("a_5Fb_40Pc_2Eexample") == "a_5Fb@Pc.example".replace("_5F", "_")


@pytest.mark.parametrize("stem", ["", "a_", "a_4", "a_4g", "a_5f", "_41", "a.b", "a__b", "a_0A"])
def test_names_that_no_uuid_has(stem):
    assert uuid_of(stem) is None


@given(uuids)
def test_from_uuid_to_name_and_back(uuid):
    stem = file_stem(uuid)
    assert len(stem) <= 200
    assert set(stem) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    assert uuid_of(stem) == (None if "__" in stem else uuid)
    assert stem_begins(stem, uuid)
    assert stem_begins(stem, uuid[:5])


@given(st.lists(uuids, min_size=2, max_size=2, unique=True))
def test_no_two_have_the_same_name(pair):
    assert file_stem(pair[0]) != file_stem(pair[1])


def test_long_ones_that_begin_alike_have_names_of_their_own():
    names = {file_stem(LONG), file_stem(LONG[:-1]), file_stem(LONG[:-1] + "x")}
    assert len(names) == 3
    assert {len(name) for name in names} <= set(range(150, 201))
    assert stem_begins(file_stem(LONG), LONG[:30])
    assert not stem_begins(file_stem(LONG), "x")


@given(st.text(max_size=20) | uuids, st.integers(1, 999_999_999))
def test_no_text_leaves_the_directory(uuid, number):
    try:
        path = DIRECTORY.path(uuid, number)
    except UnsafeUuid:
        return
    assert path.parent == DIRECTORY.local
    assert len(path.name.encode()) <= 255
    assert DIRECTORY.identify(DIRECTORY.switch_path(uuid, number)) == (file_stem(uuid), number)
