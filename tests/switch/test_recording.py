"""Recording commands against what FreeSWITCH answered, and the directory against real files."""

import grp
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path, PurePosixPath

import pytest
from esl_peer import decode_commands

from fsbot.errors import UserError
from fsbot.switch.recording import (
    RecordingDirectory,
    RecordingRefused,
    check_reply,
    prepare_directory,
    start_command,
    stop_command,
)

UUID = "e9ed1ed3-6c28-4404-b2d4-24c7434ed3e0"
DIRECTORY = RecordingDirectory(Path("/srv/bot"), PurePosixPath("/srv/fs"))


def recorded_replies(captures, name):
    """(command, reply) of every uuid_record in a capture."""
    commands = [command.line for command in decode_commands(captures.sent(name))]
    replies = [
        message.text or message.reply_text
        for message in captures.messages(name)
        if message.content_type in ("api/response", "command/reply")
    ]
    assert len(commands) == len(replies)
    return [
        pair
        for pair in zip(commands, replies, strict=True)
        if pair[0].startswith("api uuid_record")
    ]


class TestPaths:
    def test_both_names_of_one_file(self):
        assert DIRECTORY.path(UUID, 2) == Path(f"/srv/bot/{UUID}-2.raw")
        assert DIRECTORY.switch_path(UUID, 2) == f"/srv/fs/{UUID}-2.raw"
        assert DIRECTORY.identify(f"/srv/fs/{UUID}-2.raw") == (UUID, 2)

    @pytest.mark.parametrize(
        "path",
        [
            "",
            f"/srv/bot/{UUID}-1.raw",
            f"/srv/fs/sub/{UUID}-1.raw",
            f"/srv/fs/../fs/{UUID}-1.raw",
            f"/srv/fs/{UUID}.raw",
            f"/srv/fs/{UUID}-0.raw",
            f"/srv/fs/{UUID}-1.wav",
            f"/srv/fs/{UUID}-1.raw\n",
            f"/srv/fs/{UUID}-{'9' * 5000}.raw",
        ],
    )
    def test_recordings_of_others_are_not_ours(self, path):
        assert DIRECTORY.identify(path) is None


class TestCommands:
    NEUTRAL = (
        "RECORD_PRE_BUFFER_FRAMES=0,RECORD_USE_THREAD=true,RECORD_APPEND=false,"
        "RECORD_ANSWER_REQ=false,RECORD_BRIDGE_REQ=false,RECORD_MIN_SEC=0,"
        "RECORD_INITIAL_TIMEOUT_MS=-1,RECORD_FINAL_TIMEOUT_MS=-1,RECORD_SILENCE_THRESHOLD=0,"
        "RECORD_TOGGLE_ON_REPEAT=false,RECORD_CHECK_BRIDGE=false,RECORD_HANGUP_ON_ERROR=false"
    )

    def test_both_sides(self):
        assert start_command("u", "/d/u-1.raw") == (
            "uuid_record u start /d/u-1.raw 0 {RECORD_STEREO=true,RECORD_STEREO_SWAP=false,"
            "RECORD_READ_ONLY=false,RECORD_WRITE_ONLY=false,record_sample_rate=16000,"
            f"enable_file_write_buffering=false,{self.NEUTRAL}}}"
        )

    def test_one_leg_alone_at_another_rate(self):
        assert start_command("u", "/d/u-1.raw", sample_rate=8000, each_leg=True) == (
            "uuid_record u start /d/u-1.raw 0 {RECORD_STEREO=false,RECORD_STEREO_SWAP=false,"
            "RECORD_READ_ONLY=true,RECORD_WRITE_ONLY=false,record_sample_rate=8000,"
            f"enable_file_write_buffering=false,{self.NEUTRAL}}}"
        )

    def test_without_a_thread_of_its_own(self):
        command = start_command("u", "/d/u-1.raw", threaded=False)
        assert ",RECORD_USE_THREAD=false," in command

    def test_stop(self):
        assert stop_command("u", "/d/u-1.raw") == "uuid_record u stop /d/u-1.raw"


class TestReplies:
    @pytest.mark.parametrize("name", ["errors", "unwritable_dir"])
    def test_real_ones(self, captures, name):
        refused = set()
        for command, reply in recorded_replies(captures, name):
            if reply == "+OK Success\n":
                check_reply(command, reply)
                continue
            with pytest.raises(RecordingRefused) as raised:
                check_reply(command, reply)
            assert raised.value.reply == reply
            refused.add(reply.split("\n")[0].split(":")[0])
        expected = {"-ERR Cannot record session!"}
        if name == "errors":
            expected |= {
                "-ERR Cannot locate session!",
                "-ERR Cannot stop record session!",
                "-ERR Cannot mask recording session!",
                "-ERR Cannot pause recording session!",
                "-USAGE",
            }
        assert refused == expected

    @pytest.mark.parametrize("reply", ["", "OK", "-ERR\n", "garbage +OK"])
    def test_anything_else_is_a_refusal(self, reply):
        with pytest.raises(RecordingRefused):
            check_reply("uuid_record", reply)

    def test_a_reply_is_one_log_line(self):
        with pytest.raises(RecordingRefused) as raised:
            check_reply("uuid_record", "-ERR x\nforged log line")
        assert "\n" not in str(raised.value)


@pytest.fixture
def open_place():
    """A directory that every user may enter and write to, unlike pytest's own."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o777)
    yield place
    shutil.rmtree(place)


def as_another_user(function):
    """The UserError that `function` raises for a user without rights; root forks and steps down."""
    if os.geteuid() != 0:
        with pytest.raises(UserError) as raised:
            function()
        return raised.value
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            function()
        except UserError as error:
            os.write(writer, json.dumps([error.message, error.remedy, error.exit_code]).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        return UserError(*json.load(pipe))


class TestDirectory:
    def test_made_for_the_group_and_nobody_else(self, tmp_path):
        old = os.umask(0o077)
        try:
            made = prepare_directory(tmp_path / "a" / "recordings")
        finally:
            os.umask(old)

        assert stat.S_IMODE(made.local.stat().st_mode) == 0o2770
        assert made == prepare_directory(made.local)  # and found again
        assert list(made.local.iterdir()) == []

    def test_given_to_the_shared_group(self, tmp_path):
        group = grp.getgrgid(os.getgroups()[-1] if os.getgroups() else os.getegid())
        for number, name in enumerate([group.gr_name, str(group.gr_gid)]):
            made = prepare_directory(tmp_path / f"r{number}", shared_group=name)
            assert made.local.stat().st_gid == group.gr_gid
            assert stat.S_IMODE(made.local.stat().st_mode) == 0o2770

    def test_a_relative_path_becomes_absolute(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        made = prepare_directory(Path("recordings"))

        assert made.local == tmp_path / "recordings"
        assert made.on_switch == PurePosixPath(tmp_path / "recordings")

    def test_freeswitch_s_name_for_it(self, tmp_path):
        made = prepare_directory(tmp_path / "with a blank", "/var/lib/freeswitch/fsbot/")

        assert made.switch_path("u", 1) == "/var/lib/freeswitch/fsbot/u-1.raw"
        assert made.path("u", 1) == tmp_path / "with a blank" / "u-1.raw"

    @pytest.mark.parametrize(
        "path",
        ["/a b", "a/b", "/a\nb", "/a{b}", "/a'b", '/a"b', "/a\\b", "/${x}", "/a;b", "/a\tb", "./"],
    )
    def test_paths_that_freeswitch_misreads(self, tmp_path, path):
        with pytest.raises(UserError, match="cannot record into") as raised:
            prepare_directory(tmp_path / "r", path)
        assert "recordings.switch_directory" in raised.value.remedy
        assert not (tmp_path / "r").exists()

    def test_a_blank_in_the_shared_path(self, tmp_path):
        with pytest.raises(UserError, match="cannot record into") as raised:
            prepare_directory(tmp_path / "a b")
        assert "recordings.directory" in raised.value.remedy

    def test_a_subdirectory_named_like_a_rate(self, tmp_path):
        made = prepare_directory(tmp_path / "r")
        (made.local / "16000").mkdir()
        with pytest.raises(UserError, match="'16000'"):
            prepare_directory(made.local)

    def test_an_unknown_group(self, tmp_path):
        with pytest.raises(UserError, match="no group 'no-such-group'") as raised:
            prepare_directory(tmp_path / "r", shared_group="no-such-group")
        assert "recordings.shared_group" in raised.value.remedy
        assert not (tmp_path / "r").exists()

    def test_a_group_the_bot_is_not_in(self, open_place):
        directory = open_place / "r"
        error = as_another_user(lambda: prepare_directory(directory, shared_group="daemon"))

        assert "may not give" in error.message
        assert "usermod -aG daemon" in error.remedy
        assert not directory.exists()

    def test_a_directory_of_another_group(self, tmp_path):
        made = prepare_directory(tmp_path / "r")
        other = next(g for g in grp.getgrall() if g.gr_gid != made.local.stat().st_gid)
        with pytest.raises(UserError, match=f"does not belong to group '{other.gr_name}'"):
            prepare_directory(made.local, shared_group=other.gr_name)

    def test_a_directory_open_to_all_is_refused_and_left_alone(self, tmp_path):
        (tmp_path / "r").mkdir()
        (tmp_path / "r").chmod(0o755)
        with pytest.raises(UserError, match="everybody") as raised:
            prepare_directory(tmp_path / "r")
        assert f"chmod 2770 {tmp_path / 'r'}" in raised.value.remedy
        assert stat.S_IMODE((tmp_path / "r").stat().st_mode) == 0o755

    def test_no_right_to_make_it(self, open_place):
        open_place.chmod(0o755)
        error = as_another_user(lambda: prepare_directory(open_place / "r"))

        assert "Permission denied" in error.message
        assert "recordings.directory" in error.remedy

    def test_no_right_to_write_there(self, open_place):
        made = prepare_directory(open_place / "r")
        if os.geteuid() != 0:
            made.local.chmod(0o500)
        error = as_another_user(lambda: prepare_directory(made.local))

        assert "Permission denied" in error.message

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "file").touch()
        for path in (tmp_path / "file", tmp_path / "file" / "r"):
            with pytest.raises(UserError, match="cannot be used"):
                prepare_directory(path)
