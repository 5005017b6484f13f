"""`fsbot transcribe` in SimulStreaming's formats: live streaming of a file, simulated."""

import json
import time
from pathlib import Path

import pytest
import soundfile
from jiwer import wer

import fsbot.rehearsal
from fsbot import cli

SOUNDS = Path(fsbot.rehearsal.__file__).parent / "sounds"
UTTERANCE = str(SOUNDS / "utterance-fr.flac")
DURATION = soundfile.info(UTTERANCE).duration
SAID = "le numéro composé n'est pas en service veuillez vérifier le numéro et essayer de nouveau"


@pytest.fixture(scope="module", autouse=True)
def _weights() -> None:
    assert cli.main(["models", "pull", "base"]) == 0


def plain(text: str) -> str:
    kept = "".join(c if c.isalnum() or c in "' " else " " for c in text.lower())
    return " ".join(kept.split())


def transcribe(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    assert cli.main(["transcribe", UTTERANCE, *argv]) == 0
    return capsys.readouterr().out.splitlines()


def test_without_the_time_that_computing_takes(capsys: pytest.CaptureFixture[str]) -> None:
    lines = transcribe(capsys, "--comp_unaware", "--vac", "--language", "fr")
    records = [json.loads(line) for line in lines]
    *spoken, last = records
    assert all(record["is_final"] is False for record in spoken)
    assert last["is_final"] is True
    assert wer(SAID, plain("".join(record.get("text", "") for record in records))) < 0.3
    for record in records:
        assert list(record)[-2:] == ["is_final", "emission_time"]
        # On the sound's clock, in steps of 0.04 s: no word before it was said.
        steps = record["emission_time"] / 0.04
        assert record is last or steps == pytest.approx(round(steps), abs=1e-3)
        assert record["emission_time"] <= DURATION
        assert all(
            word["end"] <= record["emission_time"] + 0.02 for word in record.get("words", [])
        )


def test_text_lines_with_emission_times(capsys: pytest.CaptureFixture[str]) -> None:
    """As ufal/asr_latency reads them: three numbers, a blank, and text that may begin with one."""
    lines = transcribe(capsys, "--comp_unaware", "--out-txt", "--min-chunk-size", "1.0")
    texts, before = "", 0.0
    for line in lines:
        emission, start, end, text = line.split(" ", 3)
        assert text.startswith(" ")
        assert before <= float(emission) <= DURATION * 1000
        assert int(start) <= int(end) <= float(emission) + 20
        texts, before = texts + text, float(emission)
    assert wer(SAID, plain(texts)) < 0.3


def test_in_real_time(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    records = [json.loads(line) for line in transcribe(capsys, "--simulstreaming", "--lan", "fr")]
    assert time.monotonic() - began >= DURATION
    assert all("is_final" not in record for record in records)  # no --vac
    assert wer(SAID, plain("".join(record["text"] for record in records))) < 0.3
    for record in records:
        assert record["emission_time"] >= min(record["end"], DURATION - 0.01)
    assert records[-1]["emission_time"] >= DURATION


def test_a_start_in_the_middle(capsys: pytest.CaptureFixture[str]) -> None:
    first, *_ = transcribe(capsys, "--comp_unaware", "--start_at", "4")
    assert json.loads(first)["emission_time"] == 4.0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--start_at", "100"], "behind the end"),
        (["--comp_unaware", "--format", "srt"], "no emission times"),
        ([UTTERANCE, "--comp_unaware"], "2 files: a simulation is of one"),
    ],
)
def test_what_cannot_be_simulated(
    capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert cli.main(["transcribe", UTTERANCE, *argv]) == 2
    assert message in capsys.readouterr().err


def test_a_call_has_two_voices(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["transcribe", str(SOUNDS / "demo-fr.flac"), "--comp_unaware"]) == 2
    assert "two channels" in capsys.readouterr().err


def test_what_the_model_read_is_written_down(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    transcribe(capsys, "--comp_unaware", "--logdir", str(tmp_path), "--init_prompt", "Bonjour.")
    texts = sorted(tmp_path.glob("seg_*/iter_*_hypothesis.txt"))
    assert texts
    for text in texts:
        context, hypothesis = text.read_text().splitlines()
        assert context.startswith("CONTEXT+FORCED:\t<|startofprev|> Bonjour.<|startoftranscript|>")
        assert hypothesis.startswith("HYPOTHESIS:\t")
        sound = text.with_name(text.name.replace("hypothesis.txt", "audio.wav"))
        assert soundfile.info(sound).samplerate == 16000
