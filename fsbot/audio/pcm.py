"""Bytes of a recording → one 16 kHz stream per side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

SAMPLE_RATE = 16_000
"""Samples per second of every stream (what Whisper and Silero take)."""

SAMPLE_BYTES = 2
FULL_SCALE = 32_768.0

# Measured with soxr 1.1.0, 20 ms feeds of a 3.4 kHz tone (the edge of the telephone band) at
# 8 kHz: LQ loses 7.9 dB of it, MQ and HQ 0.0 dB; what HQ adds to the signal lies 137 dB below it,
# MQ 123 dB; both keep back 10 to 118 ms of sound (mean 64; at 48 kHz 5 to 38, mean 21), because
# soxr works in blocks; HQ takes 0.3 to 0.8 ms of CPU per second of audio. QQ keeps nothing back
# but mirrors 3.5 kHz to 4.5 kHz at nearly full level. soxr's variable-rate mode keeps back 30 ms,
# but its output is shifted in time.
RESAMPLER_QUALITY = "HQ"


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """What a headerless recording holds: s16le, `channels` interleaved (FACTS.md 0.2, 0.3).

    `rate` is in samples per second and channel, 8,000 to 48,000; `channels` is 1 or 2.
    Raises ValueError outside these ranges.
    """

    rate: int
    channels: int

    def __post_init__(self) -> None:
        if not 8_000 <= self.rate <= 48_000:
            raise ValueError(f"sample rate {self.rate} is not between 8000 and 48000")
        if self.channels not in (1, 2):
            raise ValueError(f"{self.channels} channels: only 1 and 2 are known")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return SAMPLE_BYTES * self.channels

    @property
    def byte_rate(self) -> int:
        """Bytes per second."""
        return self.rate * self.frame_bytes


MOST_SAMPLE = 4.0
"""A sample that is larger is no sound at -1 to 1; what is above 1 by less is an overshoot."""


def checked_samples(audio: ArrayLike) -> NDArray[np.float32]:
    """One stream's samples from a caller of ours: a copy of shape (samples,), -1 to 1, 16 kHz.

    audio: floats of any precision and byte order, as a list, or an array of one dimension (or of
    shape (samples, 1) or (1, samples)) that may be read-only and need not be contiguous. What
    overshoots by less than MOST_SAMPLE is limited to -1 to 1.

    Raises TypeError for integers, whose scale is unknown, and anything that is no number, and
    ValueError for several channels, NaN, infinity, and samples beyond MOST_SAMPLE. Nothing of such
    an array may be used: one NaN makes a model hear nothing from there on.
    """
    samples = np.asarray(audio)
    if samples.dtype.kind in "iub" and samples.size:
        raise TypeError(
            f"samples of type {samples.dtype}: float32 from -1 to 1 is wanted (of int16 that is "
            "samples.astype(numpy.float32) / 32768)"
        )
    if samples.dtype.kind not in "fiub":
        raise TypeError(f"samples of type {samples.dtype}: float32 from -1 to 1 is wanted")
    if samples.ndim == 0 or samples.size != max(samples.shape):
        raise ValueError(
            f"samples of shape {samples.shape}: one channel, (samples,), is wanted; each side of a "
            "call is a stream"
        )
    mono = samples.reshape(-1)
    largest = float(np.abs(mono).max(initial=0.0))
    if not math.isfinite(largest):
        raise ValueError("samples with NaN or infinity among them")
    if largest > MOST_SAMPLE:
        raise ValueError(
            f"samples up to {largest:.6g}: -1 to 1 is wanted (divide those of 16 bits by 32768)"
        )
    limited: NDArray[np.float32] = np.clip(mono, -1.0, 1.0).astype(np.float32)
    return limited


class SideSplitter:
    """Turns the bytes of one generation of a recording into float32 streams at 16 kHz.

    Sample n of each output stream is the sound at n/16000 s of the recording: soxr aligns its
    output with its input and only hands it out late. A recording at 16 kHz is not resampled.
    Values lie in [-1, 1]; the resampler may overshoot full scale slightly.
    """

    def __init__(self, fmt: PcmFormat) -> None:
        self._fmt = fmt
        self._tail = b""
        self._resampler: soxr.ResampleStream | None = None
        if fmt.rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(
                fmt.rate, SAMPLE_RATE, fmt.channels, dtype="float32", quality=RESAMPLER_QUALITY
            )

    def feed(self, data: bytes) -> list[NDArray[np.float32]]:
        """The sound that is ready after `data`: one array of shape (samples,) per channel.

        All arrays have the same length, possibly 0. An incomplete frame at the end of `data`
        waits for the next call.
        """
        data = self._tail + data
        whole = len(data) - len(data) % self._fmt.frame_bytes
        self._tail = data[whole:]
        return self._convert(data[:whole], last=False)

    def flush(self) -> list[NDArray[np.float32]]:
        """What the resampler still holds, as from `feed`; drops an incomplete last frame.

        To be called once, at the end of the recording.
        """
        self._tail = b""
        return self._convert(b"", last=True)

    def _convert(self, data: bytes, *, last: bool) -> list[NDArray[np.float32]]:
        samples = np.frombuffer(data, dtype="<i2").astype(np.float32)
        samples /= FULL_SCALE
        frames = samples.reshape(-1, self._fmt.channels)
        if self._resampler is not None:
            frames = self._resampler.resample_chunk(frames, last=last)
        return [np.ascontiguousarray(frames[:, side]) for side in range(self._fmt.channels)]
