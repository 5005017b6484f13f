"""Growth of recordings on a simulated clock against the captured growth of real ones."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
from inotify_simple import INotify, flags
from raw_client import CAPTURES

from fsbot.rehearsal.recorder import CannotRecord, RecordingFile, RecordingOptions

UNBUFFERED = {"enable_file_write_buffering": "false"}
RECOMMENDED = {
    "RECORD_STEREO": "true",
    "record_sample_rate": "16000",
    "enable_file_write_buffering": "false",
    "RECORD_PRE_BUFFER_FRAMES": "0",
}


def read_growth(name: str) -> tuple[list[tuple[float, int]], float]:
    """(ms, size) at each growth, and the ms of the stop command."""
    growth, stop = [], 0.0
    for line in (CAPTURES / f"{name}.csv").read_text().splitlines()[1:]:
        time, size = line.split(",")
        if size == "STOP":
            stop = float(time)
        elif int(size) > 0:
            growth.append((float(time), int(size)))
    return growth, stop or growth[-1][0]


def simulate(
    path: Path, variables: dict[str, str], rate: int, idle: bool, first_ms: float, stop_ms: float
) -> list[tuple[float, int]]:
    """(ms, size) at each growth of a recording whose first frame comes at `first_ms`."""
    options = RecordingOptions.from_variables(variables)
    file = RecordingFile(path, options, rate, write_side_idle=idle)
    frame = bytes(rate // 50 * 2 * options.layout.channels)
    growth: list[tuple[float, int]] = []
    now = first_ms
    while now < stop_ms:
        file.push(frame)
        if path.stat().st_size != (growth[-1][1] if growth else 0):
            growth.append((now, path.stat().st_size))
        now += 20
    before = growth[-1][1] if growth else 0
    file.stop(hung_up=False)
    if path.stat().st_size != before:
        growth.append((stop_ms, path.stat().st_size))
    return growth


@pytest.mark.parametrize(
    ("name", "variables", "rate", "idle"),
    [
        ("timeline_8k_default", {}, 8000, True),
        ("timeline_16k_default", {}, 16000, True),
        ("timeline_8k_unbuffered", UNBUFFERED, 8000, True),
        ("timeline_16k_unbuffered", UNBUFFERED, 16000, True),
        ("growth_48k_opus", UNBUFFERED, 48000, True),
        ("growth_8k_ro_default", {"RECORD_READ_ONLY": "true"}, 8000, True),
        (
            "growth_8k_ro_unbuf_pre0",
            {**UNBUFFERED, "RECORD_READ_ONLY": "true", "RECORD_PRE_BUFFER_FRAMES": "0"},
            8000,
            True,
        ),
        (
            "timeline_recommended_8k_call_stereo_rsr16k_unbuf_pre0",
            RECOMMENDED,
            16000,
            False,
        ),
        ("growth_bridged_call_0", {}, 8000, False),
        ("growth_bridged_call_1", {}, 8000, False),
    ],
)
def test_growth_is_that_of_the_capture(
    tmp_path: Path, name: str, variables: dict[str, str], rate: int, idle: bool
) -> None:
    captured, stop = read_growth(name)
    frame = rate // 50 * 2 * RecordingOptions.from_variables(variables).layout.channels
    # A buffered file shows nothing of its first frame; real ones came 20 to 32 ms after start.
    first = captured[0][0] if captured[0][1] == frame else 25.0
    ours = simulate(tmp_path / "x.raw", variables, rate, idle, first, stop)

    assert abs(ours[-1][1] - captured[-1][1]) <= 3 * frame  # stalls of the captured machine
    steps = {later - earlier for (_, earlier), (_, later) in pairwise(ours[:-1])}
    if len(captured) > 100:
        assert steps <= {frame, 26 * frame}
    else:
        assert steps <= {65536}
        assert [size for _, size in ours[:-1]] == [size for _, size in captured[:-1]]
    when = {size: ms for ms, size in ours}
    for ms, size in captured[:-1]:
        if size % frame == 0 or size % 65536 == 0:
            assert abs(when[size] - ms) < 90, f"{size} bytes at {ms} ms, ours at {when[size]}"


def test_the_pre_buffer_keeps_half_a_second_for_good_when_nobody_speaks_to_the_leg(
    tmp_path: Path,
) -> None:
    captured, stop = read_growth("timeline_8k_unbuffered")
    ours = simulate(tmp_path / "x.raw", UNBUFFERED, 8000, True, 27.1, stop)
    assert ours[0] == (27.1, 320)
    assert ours[1] == (pytest.approx(captured[1][0], abs=5), 640)
    assert stop - ours[-1][1] / 16 == pytest.approx(25 * 20, abs=25)  # lost, even at the stop


def test_the_pre_buffer_catches_up_when_both_speak(tmp_path: Path) -> None:
    ours = simulate(tmp_path / "x.raw", UNBUFFERED, 8000, False, 20, 1000)
    assert ours[0] == (20, 320)
    assert ours[1] == (20 + 26 * 20, 27 * 320)
    assert ours[-1] == (980, 49 * 320)


def test_write_only_has_no_gap(tmp_path: Path) -> None:
    variables = {**UNBUFFERED, "RECORD_WRITE_ONLY": "true"}
    ours = simulate(tmp_path / "x.raw", variables, 8000, True, 20, 200)
    assert ours == [(20 + 20 * n, 320 * (n + 1)) for n in range(9)]


def test_buffers_of_a_number_of_bytes(tmp_path: Path) -> None:
    variables = {"enable_file_write_buffering": "3200", "RECORD_PRE_BUFFER_FRAMES": "0"}
    ours = simulate(tmp_path / "x.raw", variables, 8000, False, 20, 1000)
    assert ours[:2] == [(200, 3200), (400, 6400)]


def test_a_buffer_smaller_than_what_comes_never_catches_up(tmp_path: Path) -> None:
    path = tmp_path / "x.raw"
    options = RecordingOptions.from_variables({"enable_file_write_buffering": "320"})
    file = RecordingFile(path, options, 8000, write_side_idle=False)
    for _ in range(100):
        file.push(bytes(320))
    assert 100 * 320 - path.stat().st_size == 7680  # FACTS.md, section 1
    file.stop(hung_up=True)
    assert path.stat().st_size == 100 * 320


def test_a_buffer_of_one_byte_writes_nothing(tmp_path: Path) -> None:
    options = RecordingOptions.from_variables({"enable_file_write_buffering": "1"})
    file = RecordingFile(tmp_path / "x.raw", options, 8000, write_side_idle=False)
    for _ in range(50):
        file.push(bytes(320))
    file.stop(hung_up=True)
    assert (tmp_path / "x.raw").stat().st_size == 0


def test_mask_keeps_time_and_pause_loses_it(tmp_path: Path) -> None:
    options = RecordingOptions.from_variables(RECOMMENDED)
    file = RecordingFile(tmp_path / "x.raw", options, 16000, write_side_idle=False)
    file.push(b"\1" * 1280)
    file.masked = True
    file.push(b"\2" * 1280)
    file.masked, file.paused = False, True
    file.push(b"\3" * 1280)
    file.paused = False
    file.push(b"\4" * 1280)
    assert file.stop(hung_up=False) == "success-maxtime"
    content = (tmp_path / "x.raw").read_bytes()
    assert content == b"\1" * 1280 + bytes(1280) + b"\4" * 1280


def test_short_and_empty_files_are_deleted(tmp_path: Path) -> None:
    short = RecordingOptions.from_variables({**RECOMMENDED, "RECORD_MIN_SEC": "5"})
    file = RecordingFile(tmp_path / "short.raw", short, 16000, write_side_idle=False)
    file.push(bytes(1280))
    assert file.stop(hung_up=False) == "input-too-short"
    empty = RecordingFile(tmp_path / "empty.raw", RecordingOptions(), 8000, write_side_idle=False)
    assert empty.stop(hung_up=True) == "empty-file"
    assert list(tmp_path.iterdir()) == []


def test_a_second_recording_truncates_in_place_and_append_appends(tmp_path: Path) -> None:
    path = tmp_path / "x.raw"
    path.write_bytes(b"old" * 1000)
    inode = path.stat().st_ino
    options = RecordingOptions.from_variables(RECOMMENDED)
    file = RecordingFile(path, options, 16000, write_side_idle=False)
    assert (path.stat().st_size, path.stat().st_ino) == (0, inode)
    file.push(b"\1" * 1280)
    assert file.stop(hung_up=True) == "success-silence"

    append = RecordingOptions.from_variables({**RECOMMENDED, "RECORD_APPEND": "true"})
    file = RecordingFile(path, append, 16000, write_side_idle=False)
    file.push(b"\2" * 1280)
    file.stop(hung_up=True)
    assert path.read_bytes() == b"\1" * 1280 + b"\2" * 1280


def test_modes_of_files_and_of_directories_made_on_the_way(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        path = tmp_path / "new" / "deeper" / "x.raw"
        RecordingFile(path, RecordingOptions(), 8000, write_side_idle=False).abandon()
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.parent.stat().st_mode & 0o777 == 0o750
    assert path.parent.parent.stat().st_mode & 0o777 == 0o750


def test_paths_that_cannot_be_recorded_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "trap" / "8000").mkdir(parents=True)
    for path in ("x.unknown", "file/x.raw", "trap/x.raw"):
        with pytest.raises(CannotRecord):
            RecordingFile(tmp_path / path, RecordingOptions(), 8000, write_side_idle=False)
    assert (tmp_path / "trap" / "x.raw").stat().st_size == 0  # the stray file stays


def test_a_path_without_extension_makes_two_other_files(tmp_path: Path) -> None:
    file = RecordingFile(tmp_path / "with", RecordingOptions(), 8000, write_side_idle=False)
    file.push(bytes(320))
    assert file.stop(hung_up=True) == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["with-in.PCMU", "with-out.PCMU"]


def test_a_full_disk_gives_no_cause(tmp_path: Path) -> None:
    (tmp_path / "full.raw").symlink_to("/dev/full")
    file = RecordingFile(tmp_path / "full.raw", RecordingOptions(), 8000, write_side_idle=False)
    file.push(bytes(320))
    assert file.stop(hung_up=True) == ""


def test_a_killed_switch_loses_its_buffer(tmp_path: Path) -> None:
    path = tmp_path / "x.raw"
    options = RecordingOptions.from_variables({"RECORD_PRE_BUFFER_FRAMES": "0"})
    file = RecordingFile(path, options, 8000, write_side_idle=False)
    for _ in range(300):
        file.push(bytes(320))
    file.abandon()
    assert path.stat().st_size == 65536


def test_a_deleted_file_is_recorded_to_without_error(tmp_path: Path) -> None:
    options = RecordingOptions.from_variables(RECOMMENDED)
    file = RecordingFile(tmp_path / "x.raw", options, 16000, write_side_idle=False)
    (tmp_path / "x.raw").unlink()
    file.push(bytes(1280))
    assert file.stop(hung_up=False) == "success-maxtime"


def test_watchers_see_a_close_long_before_the_end(tmp_path: Path) -> None:
    """FACTS.md, section 2: the order of inotify's events."""
    watch = INotify()
    watch.add_watch(
        tmp_path,
        flags.CREATE | flags.OPEN | flags.MODIFY | flags.CLOSE_WRITE | flags.CLOSE_NOWRITE,
    )
    options = RecordingOptions.from_variables(RECOMMENDED)
    file = RecordingFile(tmp_path / "x.raw", options, 16000, write_side_idle=False)
    file.push(bytes(1280))
    file.push(bytes(1280))
    file.stop(hung_up=True)
    seen = [flags.from_mask(event.mask)[0].name for event in watch.read(timeout=0)]
    watch.close()
    # inotify folds the truncation and the writes into one MODIFY when nobody reads between.
    assert seen == [
        *("CREATE", "OPEN", "CLOSE_WRITE"),
        *("OPEN", "MODIFY"),
        *("OPEN", "CLOSE_NOWRITE", "CLOSE_WRITE"),
    ]
