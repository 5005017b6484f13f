"""An engine as the settings want it, with its weights loaded."""

import structlog
import torch

from fsbot.audio.vad import EndpointerOptions
from fsbot.engine.layers import Precision
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions
from fsbot.engine.scheduler import Engine
from fsbot.errors import UserError
from fsbot.settings import Settings
from fsbot.weights import load_model

log = structlog.get_logger("fsbot.engine")


def engine_options(settings: Settings, *, skip_late_updates: bool = True) -> EngineOptions:
    """What the settings say about the engine."""
    pace, min_silence = settings.engine.pace, settings.vad.min_silence
    return EngineOptions(
        chunk=pace.chunk,
        frame_threshold=pace.frame_threshold,
        beams=pace.beams,
        lead_in=settings.vad.lead_in,
        max_context_tokens=settings.engine.max_context_tokens,
        skip_late_updates=skip_late_updates,
        endpointer=EndpointerOptions(
            threshold=settings.vad.threshold,
            min_silence=pace.min_silence if min_silence is None else min_silence,
        ),
    )


def make_engine(settings: Settings, *, skip_late_updates: bool = True) -> Engine:
    """Load the weights and make the engine. Raises UserError."""
    log.info("loading weights", model=settings.engine.model)
    whisper = load_model(settings.engine.model, settings.engine.models_dir)
    options = engine_options(settings, skip_late_updates=skip_late_updates)
    model = SpeechModel(whisper, precision(settings, whisper.device))
    engine = settings.engine
    return Engine(model, options, threads=engine.threads, workers=engine.workers)


def precision(settings: Settings, device: torch.device) -> Precision:
    """The number format in force for a model on that device."""
    wanted = settings.engine.precision
    if wanted == "auto":
        return "int8" if device.type == "cpu" else "float16"
    if wanted == "int8" and device.type != "cpu":
        raise UserError(f"engine.precision int8 is for CPUs, not for {device}: use auto")
    return wanted
