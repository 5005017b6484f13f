"""`fsbot show`, `export` and `grep`, over journals as the bot writes them."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsbot.errors import UserError
from fsbot.transcript.journal import Journal, journal_path, line_of
from fsbot.transcript.library import find, records_of
from fsbot.transcript.records import (
    Alternative,
    EndOfTranscript,
    Failure,
    Mark,
    Record,
    SpokenWord,
    StartOfTranscript,
    Transcription,
)
from fsbot.transcript.redaction import Redaction
from fsbot.transcript.tables import as_csv

ONE = "1ad22dfd-de6d-4de5-8f94-483111e7e880"
TWO = "1ad99999-de6d-4de5-8f94-483111e7e880"
ANSWERED = 1_795_400_825.0  # 2026-11-23
AT = {"emission_time": 1.0, "emitted_at": ANSWERED + 1}


def said(
    uuid: str, sequence: int, side: str, start: float, text: str, *, final: bool = True
) -> Transcription:
    return Transcription(  # type: ignore[arg-type]
        **AT,
        call_uuid=uuid,
        sequence=sequence,
        side=side,
        channel_tag=1 if side == "caller" else 2,
        utterance=1,
        is_final=final,
        speech_final=final,
        revised=False,
        text=text,
        start=start,
        end=start + 1.5,
        audio_start=max(0.0, start),
        audio_end=start + 1.5,
        tentative="",
        language_code="fr",
        alternatives=(),
        latency_ms=100.0,
    )


def beginning(uuid: str) -> StartOfTranscript:
    return StartOfTranscript(  # type: ignore[arg-type]
        **AT,
        call_uuid=uuid,
        sequence=1,
        channel_call_uuid=uuid,
        recording=1,
        path="/a-1.raw",
        switch_path="/a-1.raw",
        rate=16000,
        channels=2,
        sides=("caller", "callee"),
        answered_at=ANSWERED,
        codec_rate=8000,
        leg_uuid=uuid,
        direction="inbound",
        caller="06\x1b[31m12",
        destination="9196",
        language_code="fr",
    )


@pytest.fixture
def transcripts(tmp_path: Path) -> Path:
    whole: list[Record] = [
        beginning(ONE),
        said(ONE, 2, "callee", 4.0, 'Un conseiller, =SOMME(A1), "oui"\x1b[2J'),
        said(ONE, 3, "caller", 0.5, "Bonjour,", final=False),
        said(ONE, 4, "caller", 0.5, "Bonjour, mon numéro est le 12."),
        Mark(
            **AT,
            call_uuid=ONE,
            sequence=5,
            mark="transfer",
            start=6.0,
            party="2000",
            leg_uuid="",
            sides=(),
        ),
        Failure(
            **AT, call_uuid=ONE, sequence=6, error="lagging", message="10 s behind", over=False
        ),
        EndOfTranscript(
            **AT,
            call_uuid=ONE,
            sequence=7,
            reason="hangup",
            duration=65.0,
            words={"caller": 6, "callee": 4},
        ),
    ]
    growing: list[Record] = [beginning(TWO), said(TWO, 2, "caller", 0.5, "allô", final=False)]
    for uuid, records in ((ONE, whole), (TWO, growing)):
        journal = Journal(journal_path(tmp_path, uuid, ANSWERED))
        for record in records:
            journal.append(line_of(record))
        journal.close()
    return tmp_path


def fsbot(transcripts: Path, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "fsbot", *arguments]
    command += ["--transcripts-directory", str(transcripts)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_a_transcript_is_shown_in_order_of_time(transcripts: Path) -> None:
    status, out, _ = fsbot(transcripts, "show", ONE[:6])
    assert status == 0
    title, *lines, end = out.splitlines()
    assert title.endswith(f"06\\x1b[31m12 → 9196  {ONE}")
    assert lines == [
        " 0:00.5  caller  Bonjour, mon numéro est le 12.",
        " 0:01.0  lagging: 10 s behind",
        ' 0:04.0  callee  Un conseiller, =SOMME(A1), "oui"\\x1b[2J',
        " 0:06.0  transfer 2000",
    ]
    assert end == "hangup after 1:05.0; caller 6 words, callee 4 words"
    assert "\x1b" not in out


def test_one_that_goes_on_shows_its_live_text(transcripts: Path) -> None:
    _, out, _ = fsbot(transcripts, "show", TWO)
    assert out.splitlines()[1:] == [" 0:00.5  caller  allô …", "goes on"]


def test_several_are_shown_one_after_the_other(transcripts: Path) -> None:
    _, out, _ = fsbot(transcripts, "show", ONE, TWO)
    assert out.count(" → 9196  ") == 2


@pytest.mark.parametrize("form", ["txt", "srt", "vtt", "json", "csv"])
def test_exports_hold_the_final_texts_in_order(transcripts: Path, form: str) -> None:
    file = transcripts / f"call.{form}"
    status, out, err = fsbot(transcripts, "export", ONE, "--output", str(file))
    assert (status, out, err) == (0, "", "")
    text = file.read_text(encoding="utf-8")
    assert text.index("Bonjour, mon numéro") < text.index("Un conseiller")
    assert text.count("Bonjour") == 1
    assert fsbot(transcripts, "export", ONE, "--format", form)[1] == text
    if form == "json":
        first, second = json.loads(text)
        assert (first["side"], first["start"], first["end"]) == ("caller", 0.5, 2.0)
        assert second["text"].endswith("\x1b[2J")
    if form == "csv":
        assert text.startswith("\ufeff"), "Excel would take it for an old code page"
        header, first, second = csv.reader(io.StringIO(text[1:], newline=""))
        assert header == ["call_uuid", "side", "start", "end", "language", "text"]
        assert first == [ONE, "caller", "0.5", "2.0", "fr", "Bonjour, mon numéro est le 12."]
        assert second[5].startswith('Un conseiller, =SOMME(A1), "oui"')


def test_what_was_said_is_found(transcripts: Path) -> None:
    status, out, _ = fsbot(transcripts, "grep", "CONSEILLER|numéro")
    assert status == 0
    assert out.splitlines() == [
        f'2026-11-23 {ONE} 0:04.0  callee  Un conseiller, =SOMME(A1), "oui"\\x1b[2J',
        f"2026-11-23 {ONE} 0:00.5  caller  Bonjour, mon numéro est le 12.",
    ]
    assert fsbot(transcripts, "grep", "conseiller", "--side", "caller")[:2] == (1, "")
    assert fsbot(transcripts, "grep", "conseiller", "--since", "2026-11-24")[:2] == (1, "")
    assert fsbot(transcripts, "grep", "conseiller", "--since", "2026-11-23")[0] == 0


def test_what_is_to_be_taken_out_is_taken_out_of_older_journals(tmp_path: Path) -> None:
    texts = ("Ma", "carte", "est", "4970", "1000", "0000", "0006.")
    words = tuple(
        SpokenWord(word=text, start_time=n, end_time=n + 0.5, confidence=0.5)
        for n, text in enumerate(texts)
    )
    spoken = Alternative(transcript=" ".join(texts), confidence=0.5, words=words)
    final = said(ONE, 2, "caller", 0.0, " ".join(texts))
    live = said(ONE, 3, "callee", 9.0, "le 4970 1000", final=False)
    journal = Journal(journal_path(tmp_path, ONE, ANSWERED))
    for record in (
        beginning(ONE),
        final.model_copy(update={"alternatives": (spoken,)}),
        live.model_copy(update={"alternatives": (spoken,), "tentative": "0000 0006"}),
    ):
        journal.append(line_of(record))
    journal.close()
    assert "4970" in fsbot(tmp_path, "show", ONE)[1]
    _, out, _ = fsbot(tmp_path, "show", ONE, "--redact", "card")
    assert "Ma carte est [card]." in out
    assert "le [number] [number] …" in out
    (exported,) = json.loads(
        fsbot(tmp_path, "export", ONE, "--format", "json", "--redact", "card")[1]
    )
    assert exported["text"] == "Ma carte est [card]."
    assert exported["words"][-1] == {
        "word": "[card].",
        "start_time": 3.0,
        "end_time": 6.5,
        "confidence": 0.5,
    }
    assert fsbot(tmp_path, "grep", "4970")[0] == 0
    assert fsbot(tmp_path, "grep", "4970", "--redact", "card")[0] == 1
    for record in records_of(journal.path, Redaction(["card"])):
        assert not any(digits in record.model_dump_json() for digits in ("4970", "1000", "0006."))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "nothing"), "there is no transcript 'nothing'"),
        (("show", "1ad"), "2 transcripts begin with '1ad'"),
        (("show", "../*"), "there is no transcript '../*'"),
        (("show", __file__), "holds no records of fsbot"),
        (("export", ONE, "--output", "/nowhere/call.srt"), "/nowhere/call.srt cannot be written"),
        (("export", ONE, "--output", "call.doc"), "--output call.doc says no format"),
        (
            ("export", ONE, "--output", "call.srt", "--format", "vtt"),
            "--format vtt does not fit --output call.srt",
        ),
        (("grep", "("), "no regular expression"),
    ],
)
def test_mistakes_are_told(transcripts: Path, arguments: tuple[str, ...], said: str) -> None:
    status, _, err = fsbot(transcripts, *arguments)
    assert status == 2
    assert said in err
    assert "Traceback" not in err


COMMANDS = [
    ("show", ONE),
    ("grep", "."),
    ("export", ONE, "--format", "txt"),
    ("export", ONE, "--format", "srt"),
    ("config",),
    ("models", "list"),
    ("transcribe", "--help"),
]


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[::2]))
def test_any_terminal_gets_what_it_knows_and_escapes_for_the_rest(
    transcripts: Path, encoding: str, command: tuple[str, ...]
) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    environment |= {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    if command[0] in ("show", "grep", "export"):
        command = (*command, "--transcripts-directory", str(transcripts))
    done = subprocess.run(
        [sys.executable, "-m", "fsbot", *command], capture_output=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    if command[0] == "export":  # into a pipe, which is no terminal
        assert "mon numéro est" in done.stdout.decode("utf-8")
    elif command[0] in ("show", "grep"):
        known = encoding == "latin-1"
        numero = "numéro" if known else "num\\xe9ro"
        assert f"mon {numero} est" in done.stdout.decode(encoding)


def shell(transcripts: Path, line: str) -> subprocess.CompletedProcess[bytes]:
    """A line of sh, in which $F is fsbot and $ONE a transcript's UUID."""
    environment = {
        **os.environ,
        "F": f"{sys.executable} -m fsbot",
        "ONE": ONE,
        "FSBOT_TRANSCRIPTS_DIRECTORY": str(transcripts),
    }
    return subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, env=environment, timeout=60, cwd=transcripts
    )


@pytest.mark.parametrize("command", ["show $ONE", "export $ONE", "--help"])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_mistake(
    transcripts: Path, command: str, closed: str
) -> None:
    done = shell(transcripts, f"$F {command} {closed}")
    assert done.returncode == 0
    assert done.stderr == b""


def test_no_room_for_the_output_is_told(transcripts: Path) -> None:
    for command in ("show $ONE", "export $ONE"):
        done = shell(transcripts, f"$F {command} >/dev/full")
        assert done.returncode == 1
        assert done.stderr.startswith(b"fsbot: the output cannot be written: No space left")
        assert b"Traceback" not in done.stderr


def test_a_reader_who_has_gone_is_no_mistake(transcripts: Path) -> None:
    for command in ("show $ONE", "export $ONE", "grep .", "config"):
        done = shell(transcripts, f"{{ $F {command}; echo $? >&2; }} | true")
        assert done.stderr.decode().strip() in ("0", "141"), done.stderr


@pytest.mark.parametrize(
    "text", ["=1+1", "+33612345678", "-5", "@SUM(A1)", "\t=1", " =1", "＝1", "=cmd|' /C calc'!A0"]
)
def test_no_cell_is_a_formula(text: str) -> None:
    final = said(ONE, 2, "caller", -0.5, text)
    _, row = csv.reader(io.StringIO(as_csv([final])))
    assert row[5] == f"'{text}"
    assert row[2] == "-0.5"


def test_a_whole_uuid_is_found_although_another_begins_with_it(transcripts: Path) -> None:
    longer = journal_path(transcripts, f"{ONE}-b", ANSWERED)
    longer.write_bytes(b"")
    assert find(transcripts, ONE).stem == ONE
    with pytest.raises(UserError, match="2 transcripts"):
        find(transcripts, ONE[:-1])


def test_a_number_in_two_texts_goes_from_the_second(tmp_path: Path) -> None:
    def final(sequence: int, side: str, start: float, text: str) -> Record:
        words = tuple(
            SpokenWord(word=word, start_time=start + n, end_time=start + n + 0.5, confidence=0.5)
            for n, word in enumerate(text.split())
        )
        spoken = Alternative(transcript=text, confidence=0.5, words=words)
        record = said(ONE, sequence, side, start, text)
        return record.model_copy(update={"alternatives": (spoken,)})

    journal = Journal(journal_path(tmp_path, ONE, ANSWERED))
    for record in (
        beginning(ONE),
        final(2, "caller", 1.0, "le 06 12 34"),
        final(3, "callee", 4.0, "56 78"),
        final(4, "caller", 6.0, "56 78"),
    ):
        journal.append(line_of(record))
    journal.close()
    told = [
        record.text
        for record in records_of(journal.path, Redaction(["phone"]))
        if isinstance(record, Transcription)
    ]
    assert told == ["le 06 12 34", "56 78", "[phone]"]
