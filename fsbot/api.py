"""What programs may import of fsbot: these names stay, everything else may move.

    from fsbot.api import TranscriptClient

A name is loaded when it is first used. Those of the engine load torch, the others do not. In a
program that has not configured structlog, fsbot logs through Python's `logging`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbot.client import Arrival, TranscriptClient
    from fsbot.engine.events import (
        AudioCovered,
        LanguageDoubted,
        SpeechCertain,
        SpeechStarted,
        StreamEnded,
        StreamEvent,
        StreamFailed,
        UtteranceEnded,
        UtteranceFinal,
        Word,
        WordsCommitted,
        joined,
    )
    from fsbot.engine.online import EngineFailed, LiveStream, OnlineProcessor, Transcriber
    from fsbot.engine.options import EngineOptions, StreamOptions
    from fsbot.engine.orders import StreamHandle
    from fsbot.engine.scheduler import Engine
    from fsbot.errors import UserError
    from fsbot.robot.call import Hangup, Line, RobotCall, Utterance, spoken
    from fsbot.robot.robot import Robot
    from fsbot.settings import Settings
    from fsbot.switch.errors import EslError
    from fsbot.transcript.records import (
        Alternative,
        EndOfTranscript,
        EndOfUtterance,
        Failure,
        Mark,
        Record,
        SpokenWord,
        StartOfSpeech,
        StartOfTranscript,
        Transcription,
        parse,
    )

__all__ = [
    "Alternative",
    "Arrival",
    "AudioCovered",
    "EndOfTranscript",
    "EndOfUtterance",
    "Engine",
    "EngineFailed",
    "EngineOptions",
    "EslError",
    "Failure",
    "Hangup",
    "LanguageDoubted",
    "Line",
    "LiveStream",
    "Mark",
    "OnlineProcessor",
    "Record",
    "Robot",
    "RobotCall",
    "Settings",
    "SpeechCertain",
    "SpeechStarted",
    "SpokenWord",
    "StartOfSpeech",
    "StartOfTranscript",
    "StreamEnded",
    "StreamEvent",
    "StreamFailed",
    "StreamHandle",
    "StreamOptions",
    "Transcriber",
    "TranscriptClient",
    "Transcription",
    "UserError",
    "Utterance",
    "UtteranceEnded",
    "UtteranceFinal",
    "Word",
    "WordsCommitted",
    "joined",
    "parse",
    "spoken",
]

_MODULES = {
    "fsbot.client": ("Arrival", "TranscriptClient"),
    "fsbot.engine.events": (
        "AudioCovered",
        "LanguageDoubted",
        "SpeechCertain",
        "SpeechStarted",
        "StreamEnded",
        "StreamEvent",
        "StreamFailed",
        "UtteranceEnded",
        "UtteranceFinal",
        "Word",
        "WordsCommitted",
        "joined",
    ),
    "fsbot.engine.online": ("EngineFailed", "LiveStream", "OnlineProcessor", "Transcriber"),
    "fsbot.engine.options": ("EngineOptions", "StreamOptions"),
    "fsbot.engine.orders": ("StreamHandle",),
    "fsbot.engine.scheduler": ("Engine",),
    "fsbot.errors": ("UserError",),
    "fsbot.robot.call": ("Hangup", "Line", "RobotCall", "Utterance", "spoken"),
    "fsbot.robot.robot": ("Robot",),
    "fsbot.settings": ("Settings",),
    "fsbot.switch.errors": ("EslError",),
    "fsbot.transcript.records": (
        "Alternative",
        "EndOfTranscript",
        "EndOfUtterance",
        "Failure",
        "Mark",
        "Record",
        "SpokenWord",
        "StartOfSpeech",
        "StartOfTranscript",
        "Transcription",
        "parse",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fsbot.log import configure_as_library

    configure_as_library()
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value  # the next use finds it without this function
    return value


def __dir__() -> list[str]:
    return __all__
