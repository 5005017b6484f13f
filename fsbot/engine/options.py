"""What can be chosen about the engine, and about one stream."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from fsbot.audio.endpointer import EndpointerOptions
from fsbot.engine.position import START, StreamPosition

PREVIEW_LEAD = 0.15
"""Seconds that decoding an utterance once more may take, at ease."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """One engine's way of working.

    chunk: seconds of new audio between two updates of an open utterance; frame_threshold: frames
    of 0.02 s from the end of the audio within which a token has to wait; beams: 1 is greedy;
    search_beams: of a final text that the model is unsure of, 1 for no such search. final_window:
    seconds of the longest window in which a final text has earlier utterances before it; more than
    15 gain little and cost encoding.
    padding: seconds of digital silence behind the audio of a whole utterance: with less than 3 the
    model repeats its end. live_padding: the same while it goes on, where its end does not count.
    sure_probability: a word less probable than this, 0 to 1, is committed only when two updates
    running have heard it. lead_in, lead_out: seconds of audio kept before and after what
    the voice activity detection calls speech. max_utterance: seconds after which an utterance is
    closed at its quietest moment although speech goes on, at most 28 (the window is 30). min_audio:
    seconds of an utterance that the first update waits for, at least.
    max_context_tokens: text of earlier utterances put before the next as context; 0 is none: on
    hard audio loops feed on it. newest_first: of what has waited for seconds, the newest is read
    first, so that live calls stay live, instead of the oldest.
    """

    chunk: float = 0.7
    frame_threshold: int = 25
    beams: int = 1
    search_beams: int = 5
    final_window: float = 15.0
    padding: float = 4.0
    live_padding: float = 1.0
    sure_probability: float = 0.6
    lead_in: float = 0.5
    lead_out: float = 0.3
    max_utterance: float = 24.0
    min_audio: float = 0.0
    max_context_tokens: int = 0
    newest_first: bool = False
    endpointer: EndpointerOptions = field(default_factory=EndpointerOptions)

    @property
    def preview_silence(self) -> float:
        """Seconds of silence after which an utterance is decoded as if it were over.

        Then its final text is ready when the silence has become long enough to end it.
        """
        return min(self.lead_out, self.endpointer.min_silence - PREVIEW_LEAD)


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What is known about one side before it speaks.

    language: Whisper's code, or "auto" to find it out, and anew where the speaker changes it;
    auto_languages: the codes that "auto" chooses from, none for all of Whisper's;
    static_prompt: names and terms to expect, put before every window and never scrolled away;
    task: "transcribe", or "translate" to English. skip_late_updates: whether an update that is a
    chunk late may give way to the next one, and chunks may grow under load; whoever would rather
    wait has the same text on any machine. init_prompt: text put before the first utterance as if it
    had been said before. logdir: directory for the sound and text of every window, None for none.
    position: where a stream that was broken off goes on; its audio begins at `position.begin`.
    heard_language: what "auto" had found out by then.
    """

    language: str = "fr"
    static_prompt: str = ""
    task: str = "transcribe"
    auto_languages: tuple[str, ...] = ()
    skip_late_updates: bool = True
    init_prompt: str = ""
    logdir: Path | None = None
    position: StreamPosition = START
    heard_language: str = ""

    def named(self, name: str) -> "StreamOptions":
        """The same for a stream of that name, which must be safe in a path: its logdir is its
        own."""
        return self if self.logdir is None else replace(self, logdir=self.logdir / name)
