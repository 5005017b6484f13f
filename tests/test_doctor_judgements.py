"""What `fsbot doctor` makes of what it has seen: growth, rights, file systems."""

import os
import socket
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from fsbot.doctor.findings import Status
from fsbot.doctor.growth import Change, Observation, judge
from fsbot.doctor.host import file_system
from fsbot.doctor.listening import addresses, advice_on_refusal, check_reach
from fsbot.doctor.rights import ProcessUser, check_process, check_recording, process_user
from fsbot.settings import Esl

# Where the event socket listens


def table(*rows: tuple[str, str]) -> str:
    head = "  sl  local_address rem_address   st tx_queue\n"
    return head + "".join(f"   0: {local} 00000000:0000 {state} 0\n" for local, state in rows)


NOWHERE = "00000000000000000000000000000000"
ONE = "00000000000000000000000001000000"


def test_the_kernels_tables_tell_who_listens(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(
        table(("0100007F:1F55", "0A"), ("0500000A:1F55", "01"), ("0200007F:1F56", "0A"))
    )
    assert addresses(8021, tmp_path) == ["127.0.0.1"]
    (tmp_path / "tcp6").write_text(table((f"{NOWHERE}:1F55", "0A"), (f"{ONE}:1F55", "0A")))
    assert addresses(8021, tmp_path) == ["127.0.0.1", "::", "::1"]
    with socket.socket(socket.AF_INET) as listening:
        listening.bind(("127.0.0.2", 0))
        listening.listen()
        assert addresses(listening.getsockname()[1]) == ["127.0.0.2"]


def test_a_socket_on_another_address_is_named() -> None:
    esl = Esl()
    assert "set esl.host to ::1" in advice_on_refusal(esl, ["::"])
    assert "set esl.host to 10.0.0.5" in advice_on_refusal(esl, ["10.0.0.5"])
    assert "Could not listen on :::8021" in advice_on_refusal(esl, [])
    assert advice_on_refusal(Esl(host="10.0.0.1"), ["::"]) == ""


def test_a_known_password_within_everybodys_reach() -> None:
    esl, own = Esl(), Esl(password=SecretStr("of our own"))
    reach = check_reach(esl, ["::"])
    assert reach is not None
    assert reach.status is Status.WARNING
    assert check_reach(esl, ["0.0.0.0"]) is not None
    assert check_reach(esl, ["127.0.0.1"]) is None
    assert check_reach(own, ["::"]) is None
    assert check_reach(Esl(host="10.0.0.1"), ["::"]) is None


# Growth


def observed(*times: float, size: int = 1280, ended_at: float = 2.0) -> Observation:
    changes = [Change(at, size * number) for number, at in enumerate(times, start=1)]
    return Observation(0.0, ended_at, True, changes)


def steady(first: float, skip: tuple[float, float] = (9, 9)) -> Observation:
    times = [first + 0.02 * step for step in range(int((2 - first) / 0.02))]
    return observed(*(at for at in times if not skip[0] < at < skip[1]))


def test_growth_as_it_should_be() -> None:
    assert judge(steady(-0.01), 64_000).status is Status.OK
    assert judge(steady(0.099), 64_000).status is Status.OK


@pytest.mark.parametrize("seen", [steady(0.11), steady(0.0, (1.0, 1.065)), observed(0.01)])
def test_growth_that_is_late_or_has_gaps(seen: Observation) -> None:
    finding = judge(seen, 64_000)
    assert finding.status is Status.FAILED
    assert finding.remedy


def test_a_gap_in_which_the_doctor_was_not_looking_either() -> None:
    seen = steady(0.0, (1.0, 1.2))
    seen.stalls[1.19] = 0.18
    assert judge(seen, 64_000).status is Status.WARNING
    seen.stalls = {0.5: 0.18}
    assert judge(seen, 64_000).status is Status.FAILED


def test_what_came_while_the_doctor_was_not_looking_was_not_buffered() -> None:
    times = [0.02 * step for step in range(100)]
    sizes = [Change(at, round(64_000 * at) + 1280) for at in times if not 0.5 < at < 0.9]
    seen = Observation(0.0, 2.0, True, sizes)
    assert "at once" in judge(seen, 64_000).message
    seen.stalls[sizes[25].at] = 0.1
    seen.stalls[sizes[26].at] = 0.28
    assert "at once" not in judge(seen, 64_000).message


def test_another_rate_than_was_asked_for() -> None:
    finding = judge(steady(0.0), 32_000)
    assert finding.status is Status.FAILED
    assert "instead of 32000" in finding.message


# Rights


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory of group 4242, as the bot makes it, that everybody may get to."""
    directory = tmp_path / "recordings"
    directory.mkdir()
    os.chown(directory, -1, 4242)
    directory.chmod(0o2770)
    for parent in tmp_path.parents:
        if not parent.stat().st_mode & stat.S_IXOTH:
            parent.chmod(0o711)
    tmp_path.chmod(0o711)
    return directory


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")


@as_root
def test_a_switch_in_the_group_may_write(shared: Path) -> None:
    (finding,) = check_process(ProcessUser(1234, frozenset({1234, 4242})), shared)
    assert finding.status is Status.OK


@as_root
def test_a_switch_outside_the_group_may_not(shared: Path) -> None:
    (finding,) = check_process(ProcessUser(1234, frozenset({1234})), shared)
    assert finding.status is Status.FAILED
    assert "usermod -aG 4242 1234" in finding.remedy
    shared.chmod(0o2750)
    (finding,) = check_process(ProcessUser(1234, frozenset({4242})), shared)
    assert f"chmod 2770 {shared}" in finding.remedy


@as_root
def test_a_directory_on_the_way_that_is_closed(shared: Path) -> None:
    shared.parent.chmod(0o700)
    (finding,) = check_process(ProcessUser(1234, frozenset({4242})), shared)
    assert finding.status is Status.FAILED
    assert f"may not enter {shared.parent}" in finding.message


@as_root
@pytest.mark.parametrize(
    ("owner", "group", "mode", "status"),
    [
        (1234, 4242, 0o644, Status.OK),
        (1234, 4242, 0o640, Status.OK),
        (1234, 4242, 0o600, Status.WARNING),
        (1234, 1234, 0o644, Status.WARNING),
        (0, 4242, 0o600, Status.OK),
    ],
)
def test_what_a_recordings_owner_and_mode_say(
    shared: Path, owner: int, group: int, mode: int, status: Status
) -> None:
    path = shared / "a.raw"
    path.touch()
    os.chown(path, owner, group)
    path.chmod(mode)
    (finding,) = check_recording(path, shared)
    assert finding.status is status


def test_a_recording_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "real").touch()
    (tmp_path / "a.raw").symlink_to(tmp_path / "real")
    (finding,) = check_recording(tmp_path / "a.raw", tmp_path)
    assert finding.status is Status.FAILED


def test_this_process_is_found_by_its_number_and_name() -> None:
    name = Path("/proc/self/comm").read_text().strip()
    found = process_user(os.getpid(), name)
    assert found == ProcessUser(os.geteuid(), frozenset({os.getegid(), *os.getgroups()}))
    assert process_user(os.getpid(), "freeswitch") is None
    assert process_user(2**22 + 1, "freeswitch") is None


def test_the_file_system_is_that_of_the_deepest_mount(tmp_path: Path) -> None:
    mounts = "\n".join(
        [
            "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw",
            "23 22 0:40 / /srv rw - nfs4 host:/srv rw",
            r"24 23 8:2 / /srv/two\040words rw shared:3 master:1 - xfs /dev/sdb1 rw",
        ]
    )
    assert file_system(Path("/var/lib"), mounts) == "ext4"
    assert file_system(Path("/srv/calls"), mounts) == "nfs4"
    assert file_system(Path("/srvice"), mounts) == "ext4"
    assert file_system(Path("/srv/two words/calls"), mounts) == "xfs"
