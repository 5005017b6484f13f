"""Bytes from clients: cut anywhere, and not always raw PCM."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import UTTERANCE, pcm

from fsbot.audio.pcm import PcmFormat, SideSplitter
from fsbot.audio.vad import SileroModel
from fsbot.bench.tones import TONES, write_tone
from fsbot.serve.intake import Intake
from fsbot.serve.plausibility import NotRawPcm

MONO, STEREO = PcmFormat(16000, 1), PcmFormat(16000, 2)


def heard(intake: Intake, pieces: list[bytes]) -> list[np.ndarray]:
    """All sound of each side."""
    found = [got for piece in pieces if (got := intake.feed(piece)) is not None]
    return [np.concatenate(side) for side in zip(*found, *intake.finish(), strict=False)]


@given(
    cuts=st.lists(st.integers(0, 20_000), max_size=30),
    fmt=st.sampled_from([MONO, STEREO, PcmFormat(8000, 1)]),
)
@settings(max_examples=50, deadline=None)
def test_sound_does_not_depend_on_where_it_is_cut(cuts: list[int], fmt: PcmFormat) -> None:
    data = UTTERANCE[40_000:60_001]
    places = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(places)]
    splitter = SideSplitter(fmt)
    whole = zip(splitter.feed(data), splitter.flush(), strict=True)
    for side, expected in zip(heard(Intake(fmt), pieces), whole, strict=True):
        np.testing.assert_allclose(side, np.concatenate(expected), atol=1e-6)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"RIFF....WAVE", "WAV"),
        (b"OggS\0\2", "Ogg"),
        (b"fLaC\0", "FLAC"),
        (b"ID3\4\0", "MP3"),
        (b"\0\0\0\x20ftypM4A ", "MP4"),
        (b"\x1aE\xdf\xa3", "Matroska"),
        (b"GET / HTTP/1.1", "HTTP"),
        (b"\x16\x03\x01\2\0", "TLS"),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 4096])
def test_headers_of_other_formats(head: bytes, name: str, size: int) -> None:
    """However the bytes come, and however few there are."""
    for data in (head, head + bytes(500)):
        intake = Intake(MONO)
        with pytest.raises(NotRawPcm, match=name):
            heard(intake, [data[n : n + size] for n in range(0, len(data), size)])


@pytest.fixture(scope="module")
def silero() -> SileroModel:
    return SileroModel()


def verdict(silero: SileroModel, data: bytes) -> str:
    intake = Intake(MONO, silero)
    try:
        for start in range(0, len(data), 16_384):
            intake.feed(data[start : start + 16_384])
    except NotRawPcm as error:
        return str(error)
    return "listening" if intake.checking else "believed"


def test_what_sounds_right_is_believed(silero: SileroModel) -> None:
    call = pcm("demo-fr")
    for voice in (pcm("utterance-fr"), call[:, 0], call[:, 1]):
        assert verdict(silero, np.tile(voice.reshape(-1), 2).tobytes()) == "believed"


def test_what_sounds_wrong_is_found_out(silero: SileroModel) -> None:
    call = pcm("demo-fr", 8000)
    for voice in (pcm("utterance-fr", 8000), call[:, 0], call[:, 1]):
        assert "8 kHz" in verdict(silero, np.tile(voice.reshape(-1), 3).tobytes())
    voice = pcm("utterance-fr")
    assert "two" in verdict(silero, pcm("demo-fr").tobytes())
    assert "two" in verdict(silero, np.hstack([voice, voice]).tobytes())
    assert "two" in verdict(silero, np.hstack([voice, 0 * voice]).tobytes())


@pytest.mark.parametrize("name", TONES)
def test_a_line_without_speech_is_not_accused(
    silero: SileroModel, name: str, tmp_path: Path
) -> None:
    write_tone(name, 20.0, tmp_path / "tone.wav", seed=1)
    samples, rate = soundfile.read(tmp_path / "tone.wav", dtype="float32")
    wide = (soxr.resample(samples, rate, 16000) * 32767).astype("<i2")
    assert verdict(silero, wide.tobytes()) in ("listening", "believed")
