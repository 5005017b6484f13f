"""What is deleted, and above all what is not."""

import os
from pathlib import Path

import pytest

from fsbot.retention import DAY_SECONDS, Keep, Retention
from fsbot.switch.recording import RecordingDirectory
from fsbot.transcript.journal import line_of
from fsbot.transcript.records import EndOfTranscript, Failure, Record, StartOfTranscript

NOW = 1_795_478_399.0
DAY = "2026-11-23"


class Shelf:
    """A directory of recordings and one of transcripts, with things in them."""

    def __init__(self, folder: Path) -> None:
        self.recordings = folder / "recordings"
        self.transcripts = folder / "transcripts"
        (self.transcripts / DAY).mkdir(parents=True)
        self.recordings.mkdir()
        self.in_use: set[str] = set()

    def retention(self, recordings: Keep = "on_close", transcripts: Keep = "forever") -> Retention:
        directory = RecordingDirectory(self.recordings, self.recordings)
        return Retention(
            directory,
            self.transcripts,
            recordings,
            transcripts,
            in_use=lambda: self.in_use,
            now=lambda: NOW,
        )

    def recording(self, uuid: str, number: int = 1) -> Path:
        path = self.recordings / f"{uuid}-{number}.raw"
        path.write_bytes(b"\1\0")
        return path

    def journal(
        self,
        uuid: str,
        *paths: Path,
        days: float = 0.0,
        reason: str = "hangup",
        error: str = "",
        over: bool = True,
    ) -> Path:
        """Its transcript ended so many days ago."""
        at = NOW - days * DAY_SECONDS
        common = {"call_uuid": uuid, "emission_time": 1.0, "emitted_at": at}
        records: list[Record] = [
            StartOfTranscript(  # type: ignore[arg-type]
                **common,
                sequence=number,
                channel_call_uuid=uuid,
                recording=number,
                path=str(path),
                switch_path=str(path),
                rate=16000,
                channels=2,
                sides=("caller", "callee"),
                answered_at=at,
                codec_rate=8000,
                leg_uuid="u",
                direction="inbound",
                caller="1",
                destination="2",
                language_code="fr",
            )
            for number, path in enumerate(paths, start=1)
        ]
        if error:
            records.append(Failure(**common, sequence=8, error=error, message="", over=False))  # type: ignore[arg-type]
        if over:
            end = {"reason": reason, "duration": 1.0, "words": {"caller": 0, "callee": 0}}
            records.append(EndOfTranscript(**common, **end, sequence=9))  # type: ignore[arg-type]
        journal = self.transcripts / DAY / f"{uuid}.jsonl"
        journal.write_bytes(b"".join(map(line_of, records)))
        os.utime(journal, (at, at))
        return journal


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_recordings_go_with_the_end_of_their_transcript(shelf: Shelf) -> None:
    first, second = shelf.recording("a"), shelf.recording("a", 2)
    other, unknown = shelf.recording("b"), shelf.recording("a", 3)
    shelf.retention().settled(shelf.journal("a", first, second))
    assert not first.exists()
    assert not second.exists()
    assert other.exists()
    assert unknown.exists()


@pytest.mark.parametrize(
    "told",
    [{"over": False}, {"reason": "failed"}, {"error": "engine"}],
    ids=str,
)
def test_what_was_not_heard_to_its_end_stays(shelf: Shelf, told: dict[str, object]) -> None:
    recording = shelf.recording("a")
    journal = shelf.journal("a", recording, **told)  # type: ignore[arg-type]
    shelf.retention().settled(journal)
    shelf.retention().sweep()
    assert recording.exists()


@pytest.mark.parametrize("keep", ["on_close", 0.001])
def test_nothing_goes_while_there_is_work_left(shelf: Shelf, keep: Keep) -> None:
    pending, live = shelf.recording("pending"), shelf.recording("live")
    shelf.journal("pending", pending, days=1).with_suffix(".pending").touch()
    shelf.journal("live", live, days=1)
    shelf.in_use.add("live")
    shelf.retention(keep, 0.001).sweep()
    assert pending.exists()
    assert live.exists()
    assert len(list(shelf.transcripts.glob("*/*.jsonl"))) == 2


def test_a_sweep_deletes_what_a_crash_has_left(shelf: Shelf) -> None:
    recording = shelf.recording("a")
    shelf.journal("a", recording)
    shelf.retention("forever").sweep()
    assert recording.exists()
    shelf.retention("on_close").sweep()
    assert not recording.exists()


def test_recordings_go_after_some_days_whether_they_were_heard_or_not(shelf: Shelf) -> None:
    old, failed, young = (shelf.recording(uuid) for uuid in ("old", "failed", "young"))
    shelf.journal("old", old, days=7.1)
    shelf.journal("failed", failed, days=7.1, reason="failed")
    young_journal = shelf.journal("young", young, days=6.9)
    retention = shelf.retention(7.0)
    retention.settled(young_journal)
    retention.sweep()
    assert not old.exists()
    assert not failed.exists()
    assert young.exists()


def test_transcripts_go_after_some_days_and_take_their_recordings_along(shelf: Shelf) -> None:
    recording, other = shelf.recording("old"), shelf.recording("young")
    old = shelf.journal("old", recording, days=31)
    young = shelf.journal("young", other, days=29)
    shelf.retention("forever", 30.0).sweep()
    assert not old.exists()
    assert not recording.exists()
    assert young.exists()
    assert other.exists()
    os.utime(young, (0, 0))
    shelf.retention("forever", 30.0).sweep()
    assert not young.parent.exists()
    assert shelf.transcripts.exists()


def test_files_of_others_stay(shelf: Shelf, tmp_path: Path) -> None:
    """Whatever their names are, and whatever their age."""
    outside = tmp_path / "outside-1.raw"
    outside.write_bytes(b"\1\0")
    named_otherwise = shelf.recordings / "notes.txt"
    named_otherwise.write_text("mine")
    of_another_call = shelf.recording("b")
    below = shelf.recordings / "below"
    below.mkdir()
    (below / "a-1.raw").write_bytes(b"\1\0")
    through = Path(f"{shelf.recordings}/below/../a-2.raw")
    shelf.recording("a", 2)
    directory = shelf.recordings / "a-3.raw"
    directory.mkdir()
    paths = [outside, named_otherwise, of_another_call, below / "a-1.raw", through, directory]
    shelf.journal("a", *paths, days=99)
    day = shelf.transcripts / DAY
    for name, text in (
        ("foreign.jsonl", '{"kind": "something else"}\n'),
        ("empty.jsonl", ""),
        ("notes.txt", "mine"),
        ("moved.jsonl", (day / "a.jsonl").read_text()),
    ):
        (day / name).write_text(text)
        os.utime(day / name, (0, 0))
    os.mkfifo(day / "pipe.jsonl")
    os.utime(day / "pipe.jsonl", (0, 0))
    (shelf.transcripts / "elsewhere").mkdir()
    (shelf.transcripts / "elsewhere" / "a.jsonl").write_text((day / "a.jsonl").read_text())
    (shelf.transcripts / "2026-11-20").mkdir()
    shelf.retention(1.0, 1.0).sweep()
    assert not (day / "a.jsonl").exists()
    assert all(path.exists() for path in paths)
    names = {"foreign.jsonl", "empty.jsonl", "notes.txt", "moved.jsonl", "pipe.jsonl"}
    assert {path.name for path in day.iterdir()} == names
    assert (shelf.transcripts / "elsewhere" / "a.jsonl").exists()
    assert (shelf.transcripts / "2026-11-20").exists()


def test_one_file_that_cannot_be_deleted_does_not_keep_the_others(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, log_lines: list[dict[str, object]]
) -> None:
    recordings = [shelf.recording(uuid) for uuid in "abc"]
    for uuid, recording in zip("abc", recordings, strict=True):
        shelf.journal(uuid, recording)
    unlink = os.unlink

    def refuse_b(path: str, *, dir_fd: int) -> None:
        # As an immutable file does, which only root could make here.
        if path == "b-1.raw":
            raise PermissionError(1, "Operation not permitted", path)
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refuse_b)
    shelf.retention().sweep()
    monkeypatch.undo()
    assert [recording.exists() for recording in recordings] == [False, True, False]
    assert [line["journal"] for line in log_lines if line["event"] == "not deleted"] == ["b.jsonl"]


def test_no_symbolic_link_is_followed_or_deleted(shelf: Shelf, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    target = precious / "a-1.raw"
    target.write_bytes(b"\1\0")
    link = shelf.recordings / "a-1.raw"
    link.symlink_to(target)
    shelf.journal("a", link, days=99)

    real = shelf.journal("b", shelf.recording("b"), days=99)
    moved = precious / "b.jsonl"
    real.rename(moved)
    real.symlink_to(moved)
    linked_day = shelf.transcripts / "2026-11-22"
    linked_day.symlink_to(precious)
    shelf.retention(1.0, 1.0).sweep()
    assert target.exists()
    assert link.is_symlink()
    assert real.is_symlink()
    assert moved.exists()
    assert linked_day.is_symlink()
    assert (shelf.recordings / "b-1.raw").exists()


def test_the_configured_directories_may_be_links_themselves(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    shelf = Shelf(tmp_path / "link")
    recording = shelf.recording("a")
    shelf.journal("a", recording)
    shelf.retention().sweep()
    assert not recording.exists()
