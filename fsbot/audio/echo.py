"""Is a voice the other side's, coming back? Echo of a telephone line or of a loudspeaker."""

import numpy as np
from numpy.typing import NDArray

LONGEST_DELAY = 0.4
"""Seconds that an echo may take: a jitter buffer in each direction, and the line."""

LIKENESS = 0.5
"""Normalised correlation from which the one is an echo of the other. Over 0.2 s two different
voices of recorded calls reach it in 1.5 % of all cases, being periodic both (0.3 s: 0.3 %); an echo
through a reverberating room stays below it in 8 %, one of a line in 1 %."""

QUIETER = 2.0
"""An echo has at most this fraction of the amplitude: 6 dB, what G.168 expects of a line."""


def is_echo(voice: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether `voice` is a quieter, delayed copy of what the other side has said.

    Samples in -1 to 1 of one rate that end at the same moment; `other` is longer by the longest
    delay. What a codec of low bit rate (AMR, GSM) has rebuilt is not recognised: its waveform is
    another one.
    """
    delays = len(other) - len(voice)
    if not len(voice) or delays < 0:
        return False
    voice = voice.astype(np.float64) - voice.mean()
    size = 1 << (len(other) + len(voice)).bit_length()
    spectrum = np.fft.rfft(other, size) * np.conj(np.fft.rfft(voice, size))
    products = np.fft.irfft(spectrum, size)[: delays + 1]
    energies = np.concatenate(([0.0], np.cumsum(np.square(other, dtype=np.float64))))
    theirs = energies[len(voice) :] - energies[: delays + 1]
    ours = float(np.square(voice).sum())
    louder = theirs > QUIETER**2 * ours
    return bool(np.any(louder & (np.square(products) > LIKENESS**2 * theirs * ours)))
