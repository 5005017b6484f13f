"""The presets: how quick, and how sure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the engine looks at a stream, and how sure it wants to be.

    `chunk`: seconds of new audio per update. `frame_threshold`: how near (in frames of 20 ms) to
    the end of the audio a token may listen and still be committed. `beams`: hypotheses kept while
    decoding. `min_silence`: seconds of silence that end an utterance that sounds finished;
    `max_silence`: that end any.
    """

    chunk: float
    frame_threshold: int
    beams: int
    min_silence: float
    max_silence: float


PRESETS = {
    "fast": Pace(chunk=0.3, frame_threshold=15, beams=1, min_silence=0.2, max_silence=0.6),
    "balanced": Pace(chunk=0.7, frame_threshold=25, beams=1, min_silence=0.5, max_silence=0.8),
    "accurate": Pace(chunk=1.0, frame_threshold=50, beams=5, min_silence=0.9, max_silence=1.2),
}
