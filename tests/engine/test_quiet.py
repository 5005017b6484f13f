"""A minute of what a telephone line carries when nobody speaks has no words."""

from pathlib import Path

import pytest
import soundfile
import soxr
from hearing import EVERY_SECOND, Samples, check_contract, transcribe

from fsbot.bench.tones import RATE, TONES, write_music, write_tone
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions

SECONDS = 60.0

MUSIC = Path("/usr/share/asterisk/moh")
"""Where Debian's asterisk-moh-opsound-wav puts its music on hold."""

LIVE = EngineOptions(chunk=0.3, frame_threshold=15)
"""As often and as sure as the fast preset."""


def heard_at_16_khz(path: Path) -> Samples:
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    wide: Samples = soxr.resample(samples, rate, 16000)
    return wide


def check_quiet(model: SpeechModel, samples: Samples, options: EngineOptions) -> None:
    assert len(samples) == SECONDS * 16000
    quiet = transcribe(model, samples, options)
    check_contract(quiet)
    assert quiet.live_text == ""
    assert quiet.final_text == ""


@pytest.mark.parametrize("name", TONES)
def test_a_line_on_which_nobody_speaks_has_no_words(
    int8_model: SpeechModel, name: str, tmp_path: Path
) -> None:
    write_tone(name, SECONDS, tmp_path / "tone.wav", seed=1)
    samples = heard_at_16_khz(tmp_path / "tone.wav")
    for options in (EVERY_SECOND, LIVE):
        check_quiet(int8_model, samples, options)


@pytest.mark.skipif(not MUSIC.is_dir(), reason=f"no music in {MUSIC}")
def test_music_on_hold_has_no_words(int8_model: SpeechModel, tmp_path: Path) -> None:
    write_music(MUSIC, SECONDS, tmp_path / "music.wav")
    check_quiet(int8_model, heard_at_16_khz(tmp_path / "music.wav"), EVERY_SECOND)
