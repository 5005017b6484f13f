"""Is this raw PCM, 16 kHz, mono? What other formats look like, and sound like. Sans-IO.

Figures of the 28 sides of our recorded calls, each sent as it should be and in every wrong way.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from fsbot.audio.pcm import FULL_SCALE, SAMPLE_RATE
from fsbot.audio.vad import WINDOW_SECONDS, SileroModel, SpeechProbability

HEADER_BYTES = 12
"""As many tell every known header."""

SPEECH_SECONDS = 2.0
"""Speech after which the sample rate is judged."""

STEREO_SECONDS = 1.0
"""Sound that is not silent after which two interleaved channels are judged."""

_FRAME = 512

MOST_SECONDS = 60.0
"""Who has not been found out in this much sound is believed."""

_HEADERS = (
    (0, b"RIFF", "a RIFF (WAV) file"),
    (0, b"RIFX", "a RIFX (WAV) file"),
    (0, b"RF64", "an RF64 (WAV) file"),
    (0, b"OggS", "an Ogg (Opus, Vorbis) stream"),
    (0, b"fLaC", "a FLAC file"),
    (0, b"ID3", "an MP3 file (ID3 header)"),
    (0, b"FORM", "an AIFF file"),
    (0, b".snd", "an AU file"),
    (0, b"#!AMR", "an AMR file"),
    (0, b"\x1aE\xdf\xa3", "a Matroska (WebM) file"),
    (4, b"ftyp", "an MP4 (M4A) file"),
    (0, b"GET ", "an HTTP request"),
    (0, b"POST ", "an HTTP request"),
    (0, b"\x16\x03\x01", "a TLS handshake"),
)


class NotRawPcm(Exception):
    """What came is plainly something else; the message says what."""


def known_header(head: bytes) -> str | None:
    """The format that a stream's first bytes announce, None if none that is known."""
    for place, magic, name in _HEADERS:
        if head[place : place + len(magic)] == magic:
            return name
    return None


class Listener:
    """Listens to what is said to be 16 kHz mono, until it is sure or has heard enough."""

    def __init__(self, silero: SileroModel) -> None:
        self._stereo: _Stereo | None = _Stereo()
        self._rate: _Rate | None = _Rate(silero)
        self._of_pairs: _Rate | None = None
        """Judges every second sample, where the others have nothing of their own."""
        self._silero = silero
        self._samples = 0

    @property
    def listening(self) -> bool:
        return any(each is not None for each in (self._stereo, self._rate, self._of_pairs))

    def hear(self, data: bytes) -> None:
        """More s16le, in whole frames of two samples as far as it goes. Raises NotRawPcm."""
        samples = np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) / FULL_SCALE
        self._samples += len(samples)
        if self._stereo is not None and (pairs := self._stereo.hear(samples)) is not None:
            if pairs is _Pairs.TWO_VOICES:
                raise NotRawPcm("this sounds like two interleaved channels")
            if pairs is _Pairs.ONE_VOICE:
                self._of_pairs, self._rate = _Rate(self._silero), None
            self._stereo = None
        if self._of_pairs is not None:
            # The louder of the two: the other one may be silent.
            left, right = samples[: len(samples) // 2 * 2].reshape(-1, 2).T
            louder = left if left @ left >= right @ right else right
            if (verdict := self._of_pairs.hear(louder)) is not None:
                if not verdict:
                    raise NotRawPcm(
                        "of this every second sample is the same as the one before it, or 0: that "
                        "is two interleaved channels with one voice, or a poor way to make 16 kHz "
                        "of 8 kHz"
                    )
                self._of_pairs = None
        if self._rate is not None and (verdict := self._rate.hear(samples)) is not None:
            if verdict:
                raise NotRawPcm("this sounds like 8 kHz")
            self._rate = None
        if self._samples > MOST_SECONDS * SAMPLE_RATE:
            self._stereo = self._rate = self._of_pairs = None


class _Pairs(Enum):
    """What the two samples of a pair have to do with each other."""

    NEIGHBOURS = "neighbours"
    TWO_VOICES = "two voices"
    ONE_VOICE = "one voice"
    """They are equal, or one of them is always 0. So are two channels with one voice; and 8 kHz
    sound made 16 kHz by repetition or by zeros, which is heard rightly as it is."""


class _Stereo:
    """Of one voice neighbouring samples are alike, of two interleaved ones every second sample is.

    Correlation one sample and two samples apart: 0.80 to 0.98 and 0.47 to 0.95 in mono, 0.00 and
    0.91 to 0.98 in stereo. Equal channels, and one that is silent, are told by their pairs.
    """

    def __init__(self) -> None:
        self._energy = self._one = self._two = 0.0
        self._loud = self._lefts = self._rights = self._equal = 0
        self._odd = np.zeros(0, np.float32)

    def hear(self, samples: NDArray[np.float32]) -> _Pairs | None:
        """None while it is not known."""
        samples = np.concatenate((self._odd, samples))
        whole = len(samples) // 2 * 2
        samples, self._odd = samples[:whole], samples[whole:]
        loud = int(np.count_nonzero(np.abs(samples) > 0.01))
        if not loud:
            return None
        self._energy += float(samples @ samples)
        self._one += float(samples[:-1] @ samples[1:])
        self._two += float(samples[:-2] @ samples[2:])
        left, right = samples[0::2], samples[1::2]
        self._lefts += int(np.count_nonzero(left))
        self._rights += int(np.count_nonzero(right))
        self._equal += int(np.count_nonzero((left == right) & (left != 0)))
        self._loud += loud
        if self._loud < STEREO_SECONDS * SAMPLE_RATE / 2:
            return None
        one, two = self._one / self._energy, self._two / self._energy
        if self._equal > 0.98 * max(self._lefts, self._rights) or not (
            self._lefts and self._rights
        ):
            return _Pairs.ONE_VOICE
        return _Pairs.TWO_VOICES if two > 0.6 and two - one > 0.3 else _Pairs.NEIGHBOURS


class _Rate:
    """8 kHz taken for 16 kHz is twice as fast and an octave higher.

    Three signs together: it has sound above 4 kHz (of telephone sound that was made 16 kHz rightly
    less than -80 dB is there, in 8 kHz streams -6 to -26 dB); little below 250 Hz (less than -8 dB,
    rightly only one of 7 voices); and Silero hears as much speech in it when it is taken for 8 kHz
    (0.85 to 1.2 of what it hears at 16 kHz; rightly 0 to 0.87, with sound above 4 kHz to 0.70). Of
    35 voices sent wrongly this finds 31, and blames none of them sent rightly.
    """

    def __init__(self, silero: SileroModel) -> None:
        self._silero = silero
        self._as_8_khz = SpeechProbability()
        self._as_16_khz = SpeechProbability()
        self._speech_8 = self._speech_16 = 0.0
        self._spectrum = _Spectrum()

    def hear(self, samples: NDArray[np.float32]) -> bool | None:
        """Whether it is 8 kHz; None while that is not known."""
        self._spectrum.hear(samples)
        self._speech_8 += self._speech(self._as_8_khz, np.repeat(samples, 2)) / 2
        self._speech_16 += self._speech(self._as_16_khz, samples)
        if max(self._speech_8, self._speech_16) < SPEECH_SECONDS:
            return None
        wide = self._spectrum.decibels(4000, 8000) > -40
        thin = self._spectrum.decibels(0, 250) < -8
        return wide and thin and self._speech_8 > 0.8 * self._speech_16

    def _speech(self, stream: SpeechProbability, samples: NDArray[np.float32]) -> float:
        """Seconds of speech, of the sound taken for 16 kHz."""
        stream.feed(samples)
        found = 0
        while stream.ready:
            found += self._silero.judge([stream])[0] > 0.5
        return found * WINDOW_SECONDS


class _Spectrum:
    """Power by frequency, over all that is not silent."""

    def __init__(self) -> None:
        self._window = np.hanning(_FRAME).astype(np.float32)
        self._power = np.zeros(_FRAME // 2 + 1)
        self._loudest = 0.0
        self._rest = np.zeros(0, np.float32)

    def hear(self, samples: NDArray[np.float32]) -> None:
        samples = np.concatenate((self._rest, samples))
        whole = len(samples) // _FRAME * _FRAME
        frames, self._rest = samples[:whole].reshape(-1, _FRAME), samples[whole:]
        if not len(frames):
            return
        energy = np.mean(frames**2, axis=1)
        self._loudest = max(self._loudest, float(energy.max()))
        loud = frames[energy > 0.01 * self._loudest]
        self._power += np.sum(np.abs(np.fft.rfft(loud * self._window, axis=1)) ** 2, axis=0)

    def decibels(self, lowest: float, highest: float) -> float:
        """The share of a band, in Hz, in all power: 0 or less."""
        hertz = np.fft.rfftfreq(_FRAME, 1 / SAMPLE_RATE)
        band = self._power[(hertz >= lowest) & (hertz < highest)].sum()
        return float(10 * np.log10(band / max(self._power.sum(), 1e-12) + 1e-12))
