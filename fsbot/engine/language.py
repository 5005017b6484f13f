"""Which language does a side speak?"""

import numpy as np
from numpy.typing import NDArray
from whisper.tokenizer import get_tokenizer

from fsbot.engine.decoding import DecodingTask
from fsbot.engine.inference import Job, Window
from fsbot.engine.model import SAMPLES_PER_FRAME, SpeechModel
from fsbot.engine.words import token_mask

DETECTION_SECONDS = 2.0
"""Audio from which a detected language is kept for the rest of the stream."""


def detect_language(model: SpeechModel, audio: NDArray[np.float32], padding: float) -> Job[str]:
    """Whisper's code of the likeliest language of 16 kHz audio of at most 30 s.

    "en" for an English-only model.
    """
    if not model.is_multilingual:
        return "en"
    tokenizer = get_tokenizer(True, num_languages=model.num_languages)
    nothing = token_mask([], model.dims.n_vocab)
    task = DecodingTask(
        prompt=(tokenizer.sot,),
        prefix=(),
        audio_frames=len(audio) // SAMPLES_PER_FRAME,
        max_tokens=0,
        start_token=tokenizer.sot,
        end_token=tokenizer.eot,
        watched=tuple(tokenizer.all_language_tokens),
        never=nothing,
        never_first=nothing,
    )
    decoded = yield Window(audio, padding, task)
    best = int(np.argmax(decoded.watched))
    return str(tokenizer.all_language_codes[best])
