"""Sound files in, 20 ms frames of a recording out."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from raw_client import speech

from fsbot.errors import UserError
from fsbot.rehearsal.command import DEMO
from fsbot.rehearsal.sound import Layout, Sound, frame, load_sound, ringback

SOUNDS = DEMO.parent


def test_left_is_the_caller_right_the_callee(tmp_path: Path) -> None:
    track = np.stack([np.arange(800), -np.arange(800)], axis=1).astype(np.int16)
    soundfile.write(tmp_path / "two.flac", track, 8000)
    sound = load_sound(tmp_path / "two.flac")
    assert sound.callee is not None
    assert (sound.caller == track[:, 0]).all()
    assert (sound.callee == track[:, 1]).all()
    assert sound.seconds == 0.1


def test_a_file_of_floats_is_as_loud_as_one_of_integers(tmp_path: Path) -> None:
    wave = np.sin(np.arange(800) / 5) / 2
    for subtype in ("PCM_16", "FLOAT"):
        soundfile.write(tmp_path / f"{subtype}.wav", wave, 8000, subtype=subtype)
    integers, floats = (load_sound(tmp_path / f"{name}.wav") for name in ("PCM_16", "FLOAT"))
    assert np.abs(integers.caller).max() > 16000
    assert np.abs(integers.caller.astype(int) - floats.caller).max() <= 1


def test_raw_files_are_what_they_are_said_to_be(tmp_path: Path) -> None:
    track = np.arange(640, dtype=np.int16)
    (tmp_path / "x.raw").write_bytes(track.tobytes() + b"\0")  # a last byte cut off
    mono = load_sound(tmp_path / "x.raw", rate=16000)
    assert (mono.rate, mono.callee) == (16000, None)
    assert (mono.caller == track).all()
    stereo = load_sound(tmp_path / "x.raw", channels=2)
    assert (stereo.caller == track[::2]).all()


@pytest.mark.parametrize("content", [b"", b"RIFF----WAVEfmt "])
def test_files_that_hold_no_sound_are_named(tmp_path: Path, content: bytes) -> None:
    for name in ("bad.wav", "bad.raw") if not content else ("bad.wav",):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            load_sound(tmp_path / name)


def test_more_than_two_channels_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "three.wav", np.zeros((80, 3), np.int16), 8000)
    with pytest.raises(UserError, match="3 channels"):
        load_sound(tmp_path / "three.wav")


def test_layouts() -> None:
    sound = speech(0.1, stereo=True)
    spoken, heard = sound.caller, sound.callee
    assert heard is not None

    def rendered(layout: Layout) -> np.ndarray:
        return sound.render("caller", layout, 8000, 8000)

    assert (rendered(Layout.READ)[:, 0] == spoken).all()
    assert (rendered(Layout.WRITE)[:, 0] == heard).all()
    assert (rendered(Layout.MIX)[:, 0] == spoken + heard).all()
    assert (rendered(Layout.STEREO) == np.stack([spoken, heard], axis=1)).all()
    assert (rendered(Layout.STEREO_SWAPPED) == np.stack([heard, spoken], axis=1)).all()
    b_leg = sound.render("callee", Layout.STEREO, 8000, 8000)
    assert (b_leg == np.stack([heard, spoken], axis=1)).all()


def test_a_mix_does_not_wrap_around() -> None:
    loud = np.full(160, 30000, np.int16)
    mixed = Sound("loud", 8000, loud, loud).render("caller", Layout.MIX, 8000, 8000)
    assert (mixed == 32767).all()


def test_an_idle_party_is_minus_one() -> None:
    """FACTS.md, section 1: one side absent -1, both -2 in the mix."""
    nobody = Sound("x", 8000, np.full(160, -1, np.int16), None)
    assert (nobody.render("caller", Layout.MIX, 8000, 8000) == -2).all()
    assert (speech(0.1).render("caller", Layout.STEREO, 8000, 8000)[:, 1] == -1).all()


def test_a_higher_rate_in_the_file_adds_no_band() -> None:
    noise = np.random.default_rng(1).integers(-8000, 8000, 48000).astype(np.int16)
    sound = Sound("noise", 16000, noise, None)
    track = sound.render("caller", Layout.READ, 8000, 16000)[:, 0]
    assert len(track) == 48000
    spectrum = np.abs(np.fft.rfft(track.astype(float)))
    assert spectrum[: len(spectrum) // 2].mean() > 50 * spectrum[len(spectrum) * 6 // 10 :].mean()


def test_frames_end_in_silence() -> None:
    track = speech(0.03, stereo=True).render("caller", Layout.STEREO, 8000, 8000)
    assert frame(track, 0, 8000) == track[:160].tobytes()
    assert frame(track, 1, 8000) == track[160:].tobytes() + b"\xff\xff" * 2 * 80
    assert frame(track, 2, 8000) == b"\xff\xff" * 2 * 160
    assert speech(0.03).frames == 2


def test_ringback_is_heard_and_not_said() -> None:
    tone = ringback()
    assert tone.callee is not None
    assert np.abs(tone.callee).max() > 5000
    assert (tone.caller == -1).all()


@pytest.mark.parametrize(
    ("name", "sides", "seconds"), [("demo-fr", 2, (35, 45)), ("utterance-fr", 1, (5, 8))]
)
def test_sounds_that_come_with_fsbot(name: str, sides: int, seconds: tuple[int, int]) -> None:
    sound = load_sound(SOUNDS / f"{name}.flac")
    told = json.loads((SOUNDS / f"{name}.json").read_text(encoding="utf-8"))
    assert seconds[0] <= sound.seconds <= seconds[1]
    assert told["duration"] == sound.seconds
    assert (sound.callee is not None) == (sides == 2)
    voices = {"caller": sound.caller, "callee": sound.callee}
    for turn in told["turns"]:
        first, last = (int(turn[key] * 8000) for key in ("speech_start", "speech_end"))
        for side, voice in voices.items():
            if voice is not None:
                assert np.abs(voice[first:last].astype(int)).max() > 3000 or side != turn["side"]
                assert np.abs(voice[first:last]).max() == 0 or side == turn["side"]
    assert sum(file.stat().st_size for file in SOUNDS.iterdir()) < 1 << 20
