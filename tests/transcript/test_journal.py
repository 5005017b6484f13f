import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from examples import one_of_each, start_of_transcript
from pydantic import ValidationError

from fsbot.switch.uuids import UnsafeUuid, file_stem
from fsbot.transcript.journal import Journal, journal_path, line_of, read_journal
from fsbot.unfinished import read_unfinished


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "transcripts" / "2026-11-23" / "a.jsonl"


def test_the_path_is_that_of_the_day_of_answer_in_utc(tmp_path: Path) -> None:
    # 2026-11-23 23:59:59 UTC, which is the 24th in Paris
    assert journal_path(tmp_path, "a-b", 1_795_478_399.0) == tmp_path / "2026-11-23" / "a-b.jsonl"
    assert journal_path(tmp_path, "a-b", 1_795_478_400.0).parent.name == "2026-11-24"


@pytest.mark.parametrize("uuid", ["../a", "a/b", "/a", ".", "..", "b@c", "x" * 256])
def test_a_uuid_never_leads_out_of_its_directory(uuid: str, tmp_path: Path) -> None:
    path = journal_path(tmp_path, uuid, 0.0)
    assert path.parent == tmp_path / "1970-01-01"
    assert path.name == f"{file_stem(uuid)}.jsonl"


@pytest.mark.parametrize("uuid", ["", "a b", "x" * 257])
def test_a_uuid_that_no_command_can_hold_has_no_journal(uuid: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafeUuid):
        journal_path(tmp_path, uuid, 0.0)


@pytest.mark.parametrize("uuid", ["a-b", "a84b@pc33.example.com", "0123456789@" * 23])
def test_what_a_crash_has_left_is_found_by_its_uuid(uuid: str, tmp_path: Path) -> None:
    path = journal_path(tmp_path, uuid, 0.0)
    journal = Journal(path)
    journal.append(line_of(one_of_each()[0].model_copy(update={"call_uuid": uuid})))
    journal.close()
    (left,) = read_unfinished(tmp_path)
    assert (left.uuid, left.journal) == (uuid, path)

    path.rename(path.with_stem("another"))
    path.with_suffix(".pending").rename(path.with_stem("another").with_suffix(".pending"))
    assert list(read_unfinished(tmp_path)) == []


def test_each_record_is_there_at_once(path: Path) -> None:
    journal = Journal(path)
    records = one_of_each()
    for count, record in enumerate(records, start=1):
        journal.append(line_of(record))
        assert list(read_journal(path)) == records[:count]
    journal.close()


def test_nobody_else_may_read_it(path: Path) -> None:
    before = os.umask(0o000)
    try:
        Journal(path).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o750


def test_a_journal_that_a_crash_has_cut_short_goes_on(path: Path) -> None:
    journal = Journal(path)
    journal.append(line_of(start_of_transcript(1)))
    journal.append(line_of(start_of_transcript(2)))
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"kind": "start_of_tr')
    journal = Journal(path)
    assert journal.next_sequence == 3
    journal.append(line_of(start_of_transcript(3)))
    journal.close()
    assert [record.sequence for record in read_journal(path)] == [1, 2, 3]


def test_numbers_go_on_behind_what_was_fired_and_never_written(path: Path) -> None:
    """The bot was killed while the disk was full: consumers would drop a number they have seen."""
    journal = Journal(path)
    journal.append(line_of(start_of_transcript(1)))
    journal.delivery.confirmed = 5
    journal.delivery.save()
    journal.close()
    journal = Journal(path)
    assert journal.next_sequence == 6
    journal.close()


def test_numbers_go_on_behind_the_last_record_even_after_a_gap(path: Path) -> None:
    journal = Journal(path)
    assert journal.next_sequence == 1
    journal.append(line_of(start_of_transcript(1)))
    journal.append(line_of(start_of_transcript(7)))
    journal.close()
    journal = Journal(path)
    assert journal.next_sequence == 8
    journal.close()


def test_lines_that_are_no_records_are_left_alone(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(start_of_transcript(4).model_dump_json() + "\n# a note\n")
    journal = Journal(path)
    assert journal.next_sequence == 5
    journal.close()
    assert path.read_text().endswith("# a note\n")
    with pytest.raises(ValidationError):
        list(read_journal(path))


def test_a_link_in_its_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(parents=True)
    (tmp_path / "precious").write_text("precious")
    path.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        Journal(path)
    assert (tmp_path / "precious").read_text() == "precious"


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from examples import start_of_transcript
from fsbot.transcript.journal import Journal, line_of

# A limit of this process alone, which does to a file what a full disk does.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
journal = Journal(path)
journal.append(line_of(start_of_transcript(1)))
room = path.stat().st_size + 100
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
try:
    journal.append(line_of(start_of_transcript(2)))
except OSError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
journal.append(line_of(start_of_transcript(3)))
"""


def test_a_full_disk_leaves_no_half_record(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(path) in done.stdout
    assert "only 100 of" in done.stdout
    assert [record.sequence for record in read_journal(path)] == [1, 3]
