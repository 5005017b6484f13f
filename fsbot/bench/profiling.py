"""Where the CPU time of the engine goes: the program behind the case profile.
`python -m fsbot.bench.profiling SOUND LANGUAGE SETTINGS` prints it as JSON; SETTINGS is JSON, too.

The sides of a call are heard one after the other, as fast as it goes, all updates included.
"""

import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile
import soxr
import torch

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.engine.events import StreamEnded, StreamEvent, StreamFailed
from fsbot.engine.options import StreamOptions
from fsbot.engine.scheduler import Engine
from fsbot.engine.setup import engine_options, load_speech_model
from fsbot.sources import load


class Profile:
    """CPU seconds of one thread in some callables."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def watch(self, owner: object, name: str) -> None:
        """Count what a callable attribute takes from now on."""
        call: Callable[..., Any] = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            began = time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                self.seconds[name] += time.thread_time() - began

        setattr(owner, name, counted)


def main() -> int:
    sound, language, values = sys.argv[1:]
    settings = load(json.loads(values)).settings
    torch.set_num_threads(1)
    model, profile = load_speech_model(settings), Profile()
    for name in ("mel", "encoder"):
        profile.watch(model, name)
    for name in ("start", "prefill", "step", "logits"):
        profile.watch(model.decoder, name)
    engine = Engine(model, engine_options(settings))
    engine.start()
    samples, rate = soundfile.read(Path(sound), dtype="float32", always_2d=True)
    began = time.process_time()
    for side in samples.T:
        _hear(engine, soxr.resample(side, rate, SAMPLE_RATE), language)
    total = time.process_time() - began
    engine.stop()
    times = engine.times
    parts = profile.seconds | {"listening": times.listening}
    told = {"seconds": times.audio, "updates": times.updates, "total": total, "parts": parts}
    print(json.dumps(told))
    return 0


def _hear(engine: Engine, samples: Any, language: str) -> None:
    over = threading.Event()

    def take(event: StreamEvent) -> None:
        if isinstance(event, StreamEnded | StreamFailed):
            over.set()

    stream = engine.open(StreamOptions(language, skip_late_updates=False), take)
    stream.feed(samples)
    stream.finish()
    over.wait()


if __name__ == "__main__":
    sys.exit(main())
