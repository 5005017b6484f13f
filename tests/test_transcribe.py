"""`fsbot transcribe`, with real weights on real speech."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from jiwer import wer
from numpy.typing import NDArray

import fsbot.rehearsal
from fsbot import cli
from fsbot.audio.pcm import PcmFormat, SideSplitter
from fsbot.engine.scheduler import Engine
from fsbot.engine.setup import make_engine
from fsbot.errors import UserError
from fsbot.settings import Settings
from fsbot.transcribe import call_uuids
from fsbot.transcribe.paper import make_paper
from fsbot.transcribe.sound import SoundFile
from fsbot.transcribe.transcriber import BLOCK_SECONDS, MOST_PENDING_SECONDS, Transcriber
from fsbot.transcript.records import StartOfTranscript, parse

UTTERANCE = Path(fsbot.rehearsal.__file__).parent / "sounds" / "utterance-fr.flac"
SAID = "le numéro composé n'est pas en service veuillez vérifier le numéro et essayer de nouveau"
INTERRUPTED = 130


@pytest.fixture(scope="module", autouse=True)
def _weights() -> None:
    assert cli.main(["models", "pull", "base"]) == 0


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    running = make_engine(Settings())
    running.start()
    yield running
    running.stop()


def utterance() -> tuple[NDArray[np.int16], int]:
    samples, rate = soundfile.read(UTTERANCE, dtype="int16")
    return samples, rate


def words(text: str) -> str:
    return "".join(c if c.isalnum() or c in "' " else " " for c in text.lower())


def transcribe(engine: Engine, sound: SoundFile, form: str = "text") -> str:
    output = StringIO()
    paper = make_paper(form, output, sound, heading=False)  # type: ignore[arg-type]
    transcriber = Transcriber(engine, Settings(), sound, "a-call", paper)
    assert transcriber.run(realtime=False, advance=lambda seconds: None) == 0
    return output.getvalue()


# The command


def test_a_file_becomes_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["transcribe", str(UTTERANCE)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert wer(SAID, words(line)) < 0.2


def test_realtime_jsonl_holds_the_contracts_records(tmp_path: Path) -> None:
    output = tmp_path / "Réunion n° 1.jsonl"
    argv = ["transcribe", str(UTTERANCE), "--realtime", "--format", "jsonl"]
    assert cli.main([*argv, "--output", str(output)]) == 0
    records = [parse(line) for line in output.read_bytes().splitlines()]
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    assert {record.call_uuid for record in records} == {"utterance-fr"}
    assert (records[0].kind, records[-1].kind) == ("start_of_transcript", "end_of_transcript")
    spoken = [record for record in records if record.kind == "transcription"]
    live = " ".join(record.text for record in spoken if not record.is_final and record.text)
    assert wer(SAID, words(live)) < 0.3
    (final,) = [record for record in spoken if record.is_final]
    assert final.side == "caller"
    assert 0 <= final.start < 1.5
    assert 5 < final.end < 6.5
    # The pace of speech: no word is there before it has been said.
    assert min(record.latency_ms for record in spoken) > 0
    assert records[-1].emission_time >= 6.39


def test_ctrl_c_ends_cleanly_with_what_there_is() -> None:
    argv = ["transcribe", str(UTTERANCE), "--realtime", "--format", "jsonl"]
    with subprocess.Popen(
        [sys.executable, "-m", "fsbot", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = parse(process.stdout.readline())
        assert isinstance(first, StartOfTranscript)
        process.send_signal(signal.SIGINT)
        out, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == INTERRUPTED
    assert json.loads(out.splitlines()[-1])["reason"] == "shutdown"
    assert "Traceback" not in err


def test_several_files_one_after_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = tmp_path / "a.wav"
    soundfile.write(quiet, np.zeros(8000, np.int16), 8000)
    assert cli.main(["transcribe", str(quiet), str(quiet)]) == 0
    assert capsys.readouterr().out == f"==> {quiet} <==\n==> {quiet} <==\n"
    assert cli.main(["transcribe", str(quiet), str(quiet), "--format", "srt"]) == 2
    assert "--format text or jsonl" in capsys.readouterr().err


# The transcript


def test_two_channels_are_two_sides(engine: Engine, tmp_path: Path) -> None:
    speech, rate = utterance()
    pause = np.zeros(2 * rate, np.int16)
    stereo = np.stack([np.append(pause, speech), np.append(speech, pause)], axis=1)
    soundfile.write(tmp_path / "call.wav", stereo, rate)
    cues = transcribe(engine, SoundFile(tmp_path / "call.wav"), "vtt").split("\n\n")
    assert cues[0] == "WEBVTT"
    assert "<v callee>" in cues[1]
    for side in ("callee", "caller"):
        said = [cue.partition(f"<v {side}>")[2] for cue in cues[1:] if f"<v {side}>" in cue]
        assert wer(SAID, words(" ".join(said))) < 0.3


def samples(sound: SoundFile) -> list[NDArray[np.float32]]:
    return [np.concatenate(side) for side in zip(*sound.play(0.7), strict=True)]


def test_flac_raw_and_float_files_sound_like_a_recording(tmp_path: Path) -> None:
    speech, rate = utterance()
    raw, floats = tmp_path / "a.raw", tmp_path / "b.wav"
    raw.write_bytes(speech.astype("<i2").tobytes() + b"\x01")
    soundfile.write(floats, speech / 32768, rate, subtype="FLOAT")
    splitter = SideSplitter(PcmFormat(rate, 1))
    (fed,), (flushed,) = splitter.feed(raw.read_bytes()), splitter.flush()
    as_recorded = np.append(fed, flushed)
    for sound in (SoundFile(UTTERANCE), SoundFile(raw, rate=rate), SoundFile(floats)):
        (caller,) = samples(sound)
        np.testing.assert_allclose(caller, as_recorded, atol=1e-6)


def test_floats_beyond_full_scale_are_limited(tmp_path: Path) -> None:
    loud = np.array([2.0, -2.0, np.nan, np.inf, 0.5])
    soundfile.write(tmp_path / "a.wav", loud, 16000, subtype="FLOAT")
    (caller,) = samples(SoundFile(tmp_path / "a.wav"))
    np.testing.assert_allclose(caller, [1, -1, 0, 1, 0.5], atol=1e-4)


class CountingFile(SoundFile):
    """Tells how many seconds have been read of it."""

    read_seconds = 0.0

    def play(self, block_seconds):  # type: ignore[no-untyped-def]
        for pieces in super().play(block_seconds):
            self.read_seconds += len(pieces[0]) / 16000
            yield pieces


def test_a_long_file_is_read_as_it_is_heard(engine: Engine, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(60 * 8000, np.int16), 8000)
    sound = CountingFile(tmp_path / "a.wav")
    ahead = []
    paper = make_paper("jsonl", StringIO(), sound, heading=False)
    transcriber = Transcriber(engine, Settings(), sound, "a", paper)
    transcriber.run(realtime=False, advance=lambda heard: ahead.append(sound.read_seconds - heard))
    assert sound.read_seconds == pytest.approx(60, abs=0.1)
    assert max(ahead) <= MOST_PENDING_SECONDS + BLOCK_SECONDS
    assert ahead[-1] == pytest.approx(0, abs=0.01)


# Files


def test_call_uuids_are_safe_and_unlike_each_other() -> None:
    files = ["Réunion n° 1.wav", "x/../a b.flac", "a;b.wav", "a-b--2.wav", "…", "a" * 300]
    uuids = call_uuids([Path(file) for file in files])
    assert uuids == ["Reunion-n-1", "a-b", "a-b-2", "a-b-2-2", "file", "a" * 100]


def wav(path: Path, rate: int = 8000, channels: int = 1, samples: int = 100) -> None:
    soundfile.write(path, np.zeros((samples, channels), np.int16), rate)


def mp3(path: Path) -> None:
    soundfile.write(path, np.zeros(8000, np.int16), 8000, format="MP3")


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("missing.wav", lambda path: None, "there is no sound file"),
        ("folder.wav", Path.mkdir, "there is no sound file"),
        ("empty.wav", lambda path: path.write_bytes(b""), "cannot be read"),
        ("no-samples.wav", lambda path: wav(path, samples=0), "is empty"),
        ("empty.raw", lambda path: path.write_bytes(b""), "is empty"),
        ("half.raw", lambda path: path.write_bytes(b"\x00"), "is empty"),
        ("text.wav", lambda path: path.write_text("RIFF of course"), "cannot be read"),
        ("music.mp3", mp3, "is MP3, not wav, flac or raw"),
        ("disguised.wav", mp3, "is MP3, not wav, flac or raw"),
        ("surround.wav", lambda path: wav(path, channels=6), "has 6 channels"),
        ("slow.wav", lambda path: wav(path, rate=4000), "4000 is not between"),
        ("fast.wav", lambda path: wav(path, rate=96000), "96000 is not between"),
    ],
)
def test_what_cannot_be_transcribed_is_refused_with_a_remedy(
    tmp_path: Path, name: str, make, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / name)
    assert cli.main(["transcribe", str(tmp_path / name)]) == 2
    error, remedy = capsys.readouterr().err.splitlines()
    assert message in error
    assert name in error
    assert "Give" in remedy


def test_a_file_that_is_cut_short_is_transcribed_as_far_as_it_goes(tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", samples=8000)
    os.truncate(tmp_path / "a.wav", 44 + 2 * 4000 + 1)
    pieces = list(SoundFile(tmp_path / "a.wav").play(1.0))
    assert sum(len(sides[0]) for sides in pieces) == pytest.approx(8000, abs=2)


def test_a_damaged_file_is_the_users_to_mend(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(-9999, 9999, 80_000).astype(np.int16)
    path = tmp_path / "a.flac"
    soundfile.write(path, noise, 8000)
    content = bytearray(path.read_bytes())
    content[40_000:60_000] = bytes(20_000)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.flac is damaged"):
        list(SoundFile(path).play(1.0))


def test_output_never_overwrites_the_sound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = tmp_path / "a.wav"
    wav(sound)
    before = sound.read_bytes()
    os.link(sound, tmp_path / "b.wav")
    assert cli.main(["transcribe", str(sound), "--output", str(tmp_path / "b.wav")]) == 2
    assert "is the sound itself" in capsys.readouterr().err
    assert sound.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("a.txt", ""),
        ("a", ""),
        ("a.srt", "1\n00:00:00,"),
        ("a.SRT", "1\n00:00:00,"),
        ("a.vtt", "WEBVTT\n\n00:00:00."),
        ("a.json", '[\n {\n  "call_uuid": "utterance-fr",'),
        ("a.jsonl", '{"call_uuid":"utterance-fr","sequence":1,'),
        ("a.csv", "\ufeffcall_uuid,side,start,end,language,text\n"),
    ],
)
def test_the_name_of_the_output_says_its_format(tmp_path: Path, name: str, begins: str) -> None:
    output = tmp_path / name
    assert cli.main(["transcribe", str(UTTERANCE), "--output", str(output)]) == 0
    text = output.read_text(encoding="utf-8")
    assert text.startswith(begins)
    assert "numéro" in text
    if name == "a.json":
        (utterance,) = json.loads(text)
        assert wer(SAID, words(utterance["text"])) < 0.4
        assert [word["word"] for word in utterance["words"]] == utterance["text"].split()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "a.doc"], "--output a.doc says no format"),
        (["--output", "a.srt", "--format", "vtt"], "--format vtt does not fit --output a.srt"),
        (["--output", "a.json", "--format", "jsonl"], "--format jsonl does not fit"),
        (["--output", "a.srt", "--comp_unaware"], "--format srt has no emission times"),
        (["b.wav", "--output", "a.json"], "--format text or jsonl"),
        (["-", "-"], "standard input can be read once"),
    ],
)
def test_outputs_that_contradict_themselves(
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    wav(tmp_path / "a.wav")
    wav(tmp_path / "b.wav")
    assert cli.main(["transcribe", "a.wav", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"a.wav", "b.wav"}


def test_a_format_that_is_given_goes_with_any_other_name(tmp_path: Path) -> None:
    wav(tmp_path / "a.wav")
    output = tmp_path / "a.log"
    argv = ["transcribe", str(tmp_path / "a.wav"), "--output", str(output), "--format", "vtt"]
    assert cli.main(argv) == 0
    assert output.read_text() == "WEBVTT\n\n"


def test_a_pipe(tmp_path: Path) -> None:
    speech, rate = utterance()
    soundfile.write(tmp_path / "a.wav", speech, rate)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = content[40:44] = bytes(4)  # as a recorder writes that cannot seek
    done = subprocess.run(
        [sys.executable, "-m", "fsbot", "transcribe", "-"],
        input=bytes(content),
        capture_output=True,
        timeout=300,
    )
    assert wer(SAID, words(done.stdout.decode())) < 0.4


def test_what_comes_before_the_damage_is_transcribed(engine: Engine, tmp_path: Path) -> None:
    speech, rate = utterance()
    path = tmp_path / "a.flac"
    pause = np.random.default_rng(1).integers(-9, 9, 5 * rate).astype(np.int16)
    soundfile.write(path, np.concatenate([speech, pause]), rate)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 2000])
    output = StringIO()
    sound = SoundFile(path)
    paper = make_paper("text", output, sound, heading=False)
    transcriber = Transcriber(engine, Settings(), sound, "a-call", paper)
    with pytest.raises(UserError, match=r"a\.flac is damaged \d"):
        transcriber.run(realtime=False, advance=lambda seconds: None)
    assert wer(SAID, words(output.getvalue())) < 0.4


def test_output_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wav(tmp_path / "a.wav")
    argv = ["transcribe", str(tmp_path / "a.wav"), "--output", str(tmp_path / "no" / "such")]
    assert cli.main(argv) == 2
    assert "cannot be written: No such file or directory" in capsys.readouterr().err


def test_neither_torch_nor_gevent_for_help_and_never_the_event_socket(tmp_path: Path) -> None:
    script = (
        "import sys; from fsbot.cli import main; main(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr)"
    )

    def loaded(*argv: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", script, "transcribe", *argv],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return set(done.stderr.split())

    assert not loaded("--help") & {"torch", "numpy", "gevent"}
    wav(tmp_path / "a.wav")
    modules = loaded(str(tmp_path / "a.wav"))
    assert "torch" in modules
    assert not modules & {"gevent", "greenswitch", "fsbot.switch", "fsbot.bot"}
