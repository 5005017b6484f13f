"""An engine as the settings want it, with its weights loaded."""

import os

import structlog
import torch
from whisper.model import Whisper

from fsbot.audio.endpointer import EndpointerOptions
from fsbot.engine.layers import Precision, lacks_int8
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions, StreamOptions
from fsbot.engine.scheduler import Engine
from fsbot.engine.voice import Voice
from fsbot.errors import UserError
from fsbot.languages import wrong_language
from fsbot.settings import Settings
from fsbot.weights import load_model

SEARCH_BEAMS = 5
PATIENT_SILENCE = 0.4
"""Seconds of vad.min_silence from which final texts are read with care, a search, the utterances
before them and seconds of padding: whoever waits for less wants to answer sooner than that is over.
Without it 4 calls at a time on a CPU without VNNI have their final texts 0.14 s earlier at the
median, and 1 to 2 points more of their words wrong."""

CAREFUL_WINDOW = 15.0
CAREFUL_PADDING = 4.0
HASTY_PADDING = 1.0

MOST_WORKERS = 8
"""More contend for memory, and for the scheduler's lock."""

log = structlog.get_logger("fsbot.engine")


def engine_options(settings: Settings) -> EngineOptions:
    """What the settings say about the engine."""
    pace = settings.engine.pace
    min_silence, max_silence = settings.vad.silences(pace)
    careful = min_silence >= PATIENT_SILENCE
    return EngineOptions(
        chunk=pace.chunk,
        frame_threshold=pace.frame_threshold,
        beams=pace.beams,
        search_beams=SEARCH_BEAMS if careful else 1,
        final_window=CAREFUL_WINDOW if careful else 0.0,
        padding=CAREFUL_PADDING if careful else HASTY_PADDING,
        lead_in=settings.vad.lead_in,
        max_utterance=settings.vad.max_utterance,
        min_audio=settings.engine.min_audio,
        max_context_tokens=settings.engine.max_context_tokens,
        newest_first=settings.engine.backlog == "newest",
        endpointer=EndpointerOptions(
            threshold=settings.vad.threshold,
            min_silence=min_silence,
            max_silence=max_silence,
        ),
    )


def stream_options(settings: Settings, *, skip_late_updates: bool = True) -> StreamOptions:
    """What the settings say about every stream."""
    engine = settings.engine
    return StreamOptions(
        engine.language,
        engine.static_prompt,
        engine.task,
        engine.auto_languages,
        skip_late_updates,
        engine.init_prompt,
        engine.logdir,
    )


def make_engine(settings: Settings) -> Engine:
    """Load the weights and make the engine. Raises UserError."""
    model = load_speech_model(settings)
    options = engine_options(settings)
    threads = settings.engine.threads
    if settings.engine.language != "auto":
        # Masks over the vocabulary take 0.4 s to make: no caller is to wait for them.
        Voice.of(model, options, settings.engine.language, settings.engine.task)
    return Engine(model, options, threads, settings.engine.workers or _workers(model, threads))


def _workers(model: SpeechModel, threads: int) -> int:
    """As many as keep all CPU cores busy that this process may use; a GPU wants one."""
    if model.device.type != "cpu":
        return 1
    return max(1, min(MOST_WORKERS, len(os.sched_getaffinity(0)) // threads))


def load_speech_model(settings: Settings) -> SpeechModel:
    """The model, as precise as it is wanted on the device. Raises UserError."""
    log.info("loading weights", model=settings.engine.model)
    try:
        model = _load(settings)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _out_of_memory(error):
            raise
        raise UserError(
            f"there is not enough memory for engine.model {settings.engine.model}",
            "Set engine.model to a smaller one (`fsbot models list` shows their sizes), or free "
            "some memory.",
        ) from error
    return model


def _load(settings: Settings) -> SpeechModel:
    whisper = load_model(settings.engine.model, settings.engine.models_dir)
    if settings.engine.task == "translate":
        _require_translation(settings.engine.model, whisper)
    refusal = wrong_language(settings.engine.model, settings.engine.language, whisper.dims.n_vocab)
    if refusal is not None:
        raise refusal
    return SpeechModel(whisper, precision(settings, whisper.device))


def _out_of_memory(error: RuntimeError) -> bool:
    """torch.OutOfMemoryError is a GPU's; the CPU's allocator says it in words."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _require_translation(model: str, whisper: Whisper) -> None:
    # The turbo model's short decoder was trained on transcriptions alone.
    turbo = whisper.dims.n_text_layer < whisper.dims.n_audio_layer
    if turbo or not whisper.is_multilingual:
        raise UserError(
            f"engine.task is translate, which {model} was not trained for",
            "Set engine.model to a multilingual one, such as small or large-v3, or engine.task to "
            "transcribe.",
        )


def precision(settings: Settings, device: torch.device) -> Precision:
    """The number format in force for a model on that device."""
    wanted = settings.engine.precision
    if wanted == "auto" and device.type != "cpu":
        return "float16"
    if wanted == "auto":
        return "float32" if lacks_int8() else "int8"
    if wanted == "int8" and device.type != "cpu":
        raise UserError(f"engine.precision int8 is for CPUs, not for {device}: use auto")
    if wanted == "int8" and lacks_int8():
        raise UserError("engine.precision int8 has no kernel for this CPU in PyTorch: use auto")
    return wanted
