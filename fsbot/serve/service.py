"""The process of `fsbot serve`."""

from __future__ import annotations

import gc
import itertools
import threading
from pathlib import Path

from gevent.event import Event as Flag

import fsbot.rehearsal
from fsbot.engine.events import StreamEnded, StreamEvent, StreamFailed
from fsbot.engine.scheduler import Engine
from fsbot.engine.setup import make_engine, stream_options
from fsbot.hub import HubBridge, in_thread
from fsbot.memory import limit_memory, return_free_memory
from fsbot.serve.tcp import TcpServer
from fsbot.settings import Settings
from fsbot.signals import on_stop_signal
from fsbot.transcribe.sound import SoundFile
from fsbot.transcript.redaction import Redaction

WARM_UP_SOUND = Path(fsbot.rehearsal.__file__).parent / "sounds" / "utterance-fr.flac"
WARM_UP_SECONDS = 3


def serve(settings: Settings, *, ends: bool, warm_up: Path | None = None) -> int:
    """Serve until SIGINT or SIGTERM; a second signal ends at once. Raises UserError.

    ends: whether JSON tells ends of utterances. warm_up: a sound to begin with.
    """
    limit_memory()
    sound = SoundFile(warm_up or WARM_UP_SOUND)
    options = stream_options(settings, skip_late_updates=False)
    # Before the weights: what is wrong with the address is told at once.
    redaction = Redaction(settings.transcripts.redact)
    server = TcpServer(settings.serve, options, ends=ends, redaction=redaction)
    engine = make_engine(settings)
    gc.collect()
    gc.freeze()
    return_free_memory()
    bridge, stop = HubBridge(), Flag()
    on_stop_signal(stop.set)
    engine.start()
    try:
        in_thread(_warm_up, engine, settings, sound)
        server.start(engine, bridge)
        stop.wait()
        server.finish(settings.service.stop_timeout)
    finally:
        server.close()
        engine.stop()
        bridge.close()
    return 0


def _warm_up(engine: Engine, settings: Settings, sound: SoundFile) -> None:
    """What is slow the first time shall not be so for the first client."""
    over = threading.Event()

    def take(event: StreamEvent) -> None:
        if isinstance(event, StreamEnded | StreamFailed):
            over.set()

    stream = engine.open(stream_options(settings), take)
    for samples, *_ in itertools.islice(sound.play(1.0), WARM_UP_SECONDS):
        stream.feed(samples)
    stream.finish()
    over.wait()
