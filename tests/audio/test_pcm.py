from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fsbot.audio.pcm import SAMPLE_RATE, PcmFormat, SideSplitter, checked_samples

RATES = [8_000, 16_000, 24_000, 32_000, 48_000]


def encode(*channels: NDArray[np.float64]) -> bytes:
    return (np.stack(channels, axis=1) * 32767).round().astype("<i2").tobytes()


def split(fmt: PcmFormat, data: bytes, step: int) -> list[NDArray[np.float32]]:
    """Everything that comes out when `data` arrives `step` bytes at a time."""
    splitter = SideSplitter(fmt)
    parts = [splitter.feed(data[i : i + step]) for i in range(0, len(data), step)]
    parts.append(splitter.flush())
    return [np.concatenate(side) for side in zip(*parts, strict=True)]


def tone(rate: int, hertz: float, seconds: float) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def test_format_sizes() -> None:
    assert PcmFormat(8_000, 1).byte_rate == 16_000
    assert PcmFormat(16_000, 2).byte_rate == 64_000
    assert PcmFormat(48_000, 2).frame_bytes == 4


@pytest.mark.parametrize(
    ("rate", "channels"), [(7_999, 1), (48_001, 1), (0, 1), (8_000, 0), (8_000, 3)]
)
def test_format_out_of_range(rate: int, channels: int) -> None:
    with pytest.raises(ValueError, match=str(rate) if channels == 1 else "channels"):
        PcmFormat(rate, channels)


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_keeps_its_time_and_level(rate: int) -> None:
    (out,) = split(PcmFormat(rate, 1), encode(tone(rate, 440, 2)), rate // 25)
    expected = tone(SAMPLE_RATE, 440, 2)
    assert out.dtype == np.float32
    assert len(out) == len(expected)
    # A shift of one sample at 16 kHz would differ by 0.09; the edges ring.
    assert np.abs(out - expected)[200:-200].max() < 1e-3


@pytest.mark.parametrize("rate", RATES)
def test_a_click_keeps_its_time(rate: int) -> None:
    sound = np.zeros(rate)
    sound[rate * 3 // 8] = 0.9
    (out,) = split(PcmFormat(rate, 1), encode(sound), 1_000)
    assert np.abs(out).argmax() == SAMPLE_RATE * 3 // 8


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("samples", [1, 7, 12_345])
def test_no_sample_lost(rate: int, samples: int) -> None:
    (out,) = split(PcmFormat(rate, 1), b"\0\0" * samples, 999)
    assert abs(len(out) - samples * SAMPLE_RATE / rate) <= 1


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_sides_stay_apart(rate: int) -> None:
    left, right = tone(rate, 300, 1), tone(rate, 1_100, 1)
    out_left, out_right = split(PcmFormat(rate, 2), encode(left, right), 641)
    assert np.abs(out_left - tone(SAMPLE_RATE, 300, 1))[200:-200].max() < 1e-3
    assert np.abs(out_right - tone(SAMPLE_RATE, 1_100, 1))[200:-200].max() < 1e-3


@pytest.mark.parametrize("fmt", [PcmFormat(16_000, 2), PcmFormat(8_000, 1), PcmFormat(48_000, 2)])
@pytest.mark.parametrize("step", [1, 3, 640, 65_536])
def test_chunking_does_not_matter(fmt: PcmFormat, step: int) -> None:
    noise = np.random.default_rng(1).integers(-20_000, 20_000, 1_200 * fmt.channels)
    data = noise.astype("<i2").tobytes()
    whole = split(fmt, data, len(data))
    for side, expected in zip(split(fmt, data, step), whole, strict=True):
        np.testing.assert_allclose(side, expected, atol=1e-6)


def test_16_khz_is_passed_through_at_once() -> None:
    (out,) = SideSplitter(PcmFormat(16_000, 1)).feed(encode(np.array([-1.0, 0.0, 0.5])))
    np.testing.assert_array_equal(out, np.array([-32767, 0, 16384], np.float32) / 32768)


def test_a_recording_that_stops_in_mid_frame() -> None:
    splitter = SideSplitter(PcmFormat(16_000, 2))
    assert [len(side) for side in splitter.feed(b"\1\0\2\0\3")] == [1, 1]
    assert [len(side) for side in splitter.flush()] == [0, 0]


def test_an_empty_recording() -> None:
    assert [len(side) for side in split(PcmFormat(8_000, 2), b"", 1)] == [0, 0]


def test_full_scale() -> None:
    (out,) = SideSplitter(PcmFormat(16_000, 1)).feed(b"\x00\x80\xff\x7f")
    assert out[0] == -1.0
    assert 0.9999 < out[1] < 1.0


HALF = np.full(8, 0.5, np.float32)


@pytest.mark.parametrize(
    "audio",
    [
        HALF,
        [0.5] * 8,
        tuple([0.5] * 8),
        HALF.astype(np.float64),
        HALF.astype(np.float16),
        HALF.astype(">f4"),
        np.repeat(HALF, 2)[::2],
        HALF[::-1],
        HALF.reshape(8, 1),
        HALF.reshape(1, 8),
        np.frombuffer(HALF.tobytes(), np.float32),
    ],
    ids=lambda audio: str(getattr(audio, "dtype", type(audio))),
)
def test_samples_of_any_float_are_taken(audio: object) -> None:
    taken = checked_samples(audio)  # type: ignore[arg-type]
    assert taken.dtype == np.float32
    assert taken.flags["C_CONTIGUOUS"]
    assert (taken == HALF).all()
    taken[:] = 0.0
    assert HALF[0] == 0.5


def test_no_samples_and_overshoots_are_taken() -> None:
    assert len(checked_samples([])) == 0
    assert len(checked_samples(np.zeros(0, np.int16))) == 0
    assert list(checked_samples([1.5, -1.01, 1.0])) == [1.0, -1.0, 1.0]


@pytest.mark.parametrize(
    ("audio", "error", "said"),
    [
        (np.zeros(8, np.int16), TypeError, "int16.*/ 32768"),
        (np.zeros(8, np.uint8), TypeError, "uint8"),
        ([0, 0, 0], TypeError, "int64"),
        (np.zeros(8, np.complex64), TypeError, "complex64"),
        (["a"], TypeError, "<U1"),
        (b"\0\0", TypeError, "S"),
        (None, TypeError, "object"),
        (np.zeros((8, 2), np.float32), ValueError, r"\(8, 2\).*one channel"),
        (np.zeros((2, 8), np.float32), ValueError, r"\(2, 8\)"),
        (0.5, ValueError, "shape"),
        ([0.0, float("nan")], ValueError, "NaN"),
        ([0.0, float("inf")], ValueError, "NaN or infinity"),
        ([0.0, -float("inf")], ValueError, "NaN or infinity"),
        ([0.0, 12000.0], ValueError, "12000.*32768"),
        ([0.0, -4.5], ValueError, "4.5"),
    ],
)
def test_samples_that_would_be_read_as_nonsense_are_refused(
    audio: object, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        checked_samples(audio)  # type: ignore[arg-type]
