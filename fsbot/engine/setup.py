"""An engine as the settings want it, with its weights loaded."""

import structlog

from fsbot.audio.vad import EndpointerOptions
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions
from fsbot.engine.scheduler import Engine
from fsbot.settings import Settings
from fsbot.weights import load_model

log = structlog.get_logger("fsbot.engine")


def engine_options(settings: Settings, *, skip_late_updates: bool = True) -> EngineOptions:
    """What the settings say about the engine."""
    pace = settings.engine.pace
    return EngineOptions(
        chunk=pace.chunk,
        frame_threshold=pace.frame_threshold,
        beams=pace.beams,
        lead_in=settings.vad.lead_in,
        max_context_tokens=settings.engine.max_context_tokens,
        skip_late_updates=skip_late_updates,
        endpointer=EndpointerOptions(
            threshold=settings.vad.threshold, min_silence=settings.vad.min_silence
        ),
    )


def make_engine(settings: Settings, *, skip_late_updates: bool = True) -> Engine:
    """Load the weights and make the engine. Raises UserError."""
    log.info("loading weights", model=settings.engine.model)
    whisper = load_model(settings.engine.model, settings.engine.models_dir)
    options = engine_options(settings, skip_late_updates=skip_late_updates)
    return Engine(SpeechModel(whisper), options, threads=settings.engine.threads)
