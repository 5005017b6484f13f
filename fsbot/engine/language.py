"""Which language does a side speak?"""

import numpy as np
import torch
from numpy.typing import NDArray
from whisper.tokenizer import get_tokenizer

from fsbot.engine.model import SpeechModel

DETECTION_SECONDS = 2.0
"""Audio from which a detected language is kept for the rest of the stream."""


def detect_language(model: SpeechModel, audio: NDArray[np.float32], padding: float) -> str:
    """Whisper's code of the likeliest language of 16 kHz audio of at most 30 s.

    "en" for an English-only model.
    """
    if not model.whisper.is_multilingual:
        return "en"
    tokenizer = get_tokenizer(True, num_languages=model.whisper.num_languages)
    state = model.start(model.encode(audio, padding))
    start = torch.tensor([[tokenizer.sot]], device=model.device)
    log_probs, _ = model.step(state, start)
    languages = list(tokenizer.all_language_tokens)
    best = int(log_probs[0, languages].argmax())
    return str(tokenizer.all_language_codes[best])
