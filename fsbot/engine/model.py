"""Whisper's forward pass as AlignAtt needs it: short windows in batches, alignment heads only.

openai-whisper's modules bring the weights; its own `forward` insists on 30 s windows, decodes one
window at a time and either fuses attention (hiding the weights) or materialises it for every head
of every layer.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from whisper.audio import HOP_LENGTH, N_FRAMES, N_SAMPLES, SAMPLE_RATE, log_mel_spectrogram
from whisper.model import Whisper

from fsbot.engine.decoder import Decoder
from fsbot.engine.encoder import Encoder
from fsbot.engine.layers import Precision

FRAME_SECONDS = 2 * HOP_LENGTH / SAMPLE_RATE
"""One encoder frame: two mel frames, 0.02 s."""

WINDOW_SECONDS = N_SAMPLES / SAMPLE_RATE
"""The longest audio one pass can hear: 30 s."""

SAMPLES_PER_FRAME = 2 * HOP_LENGTH


class SpeechModel:
    """Encoder and decoder of one Whisper model. It holds no state: any thread may use it."""

    def __init__(self, whisper: Whisper, precision: Precision = "float32") -> None:
        """`whisper` on its device; at int8 it is not needed any more afterwards, and may go."""
        if precision in ("float16", "bfloat16"):
            whisper = whisper.to(getattr(torch, precision))
        self.dims = whisper.dims
        self.device = whisper.device
        self.is_multilingual = whisper.is_multilingual
        self.num_languages = whisper.num_languages
        self.precision = precision
        heads = [(layer, head) for layer, head in whisper.alignment_heads.indices().T.tolist()]
        whisper.requires_grad_(False)
        self.encoder = Encoder(whisper.encoder, precision)
        self.decoder = Decoder(whisper.decoder, heads, precision)
        self._dtype = whisper.encoder.conv1.weight.dtype

    def mel(self, samples: NDArray[np.float32], padding: float) -> Tensor:
        """Log-mel spectrogram of one window, (bands, 2 * frames).

        samples: 16 kHz mono, at most 30 s; padding: seconds of digital silence after them, as far
        as the 30 s allow.
        """
        if len(samples) > N_SAMPLES:
            raise ValueError(f"window of {len(samples) / SAMPLE_RATE:.2f} s exceeds 30 s")
        wanted = len(samples) + round(padding * SAMPLE_RATE)
        # A whole number of encoder frames, so that frame k always starts at k * 0.02 s.
        wanted = min(N_SAMPLES, -(-wanted // SAMPLES_PER_FRAME) * SAMPLES_PER_FRAME)
        mel: Tensor = log_mel_spectrogram(
            torch.from_numpy(samples),
            n_mels=self.dims.n_mels,
            padding=wanted - len(samples),
            device=self.device,
        )
        return mel[:, :N_FRAMES].to(self._dtype)

    def encode(self, windows: Sequence[NDArray[np.float32]], padding: float) -> list[Tensor]:
        """Encode windows as `mel` takes them; (frames, width) of each, padding included."""
        return self.encoder([self.mel(samples, padding) for samples in windows])
