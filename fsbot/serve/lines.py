"""What goes out: events of one stream → lines of SimulStreaming's protocol. Sans-IO."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal, Protocol

from fsbot.engine.events import StreamEvent, StreamFailed, UtteranceFinal, WordsCommitted
from fsbot.engine.online import spaced_text, words_record

Form = Literal["text", "jsonl"]


class Lines(Protocol):
    """How one client's lines are written; each ends with a line feed."""

    def of(self, event: StreamEvent, emission_time: float) -> Iterator[str]:
        """The lines that an event makes. emission_time: seconds since the client came."""

    def error(self, message: str, remedy: str) -> str:
        """Why the client is about to be cut off."""


def make_lines(form: Form, side: str = "", *, ends: bool = True) -> Lines:
    """side: named in every line, if not empty. ends: whether ends of utterances are told."""
    return JsonLines(side, ends) if form == "jsonl" else TextLines(side)


class TextLines:
    """`start_ms end_ms text`. The text begins with a blank where a word does, as SimulStreaming's:
    put one behind the other, the texts make a whole."""

    def __init__(self, side: str = "") -> None:
        self._side = f"{side}:" if side else ""

    def of(self, event: StreamEvent, emission_time: float) -> Iterator[str]:
        if isinstance(event, WordsCommitted) and event.words:
            start, end = event.words[0].start * 1000, event.words[-1].end * 1000
            text = one_line(spaced_text(event.words, event.language))
            yield f"{start:.0f} {end:.0f} {self._side}{text}\n"
        elif isinstance(event, StreamFailed):
            yield self.error(event.reason, "the server's log tells more")

    def error(self, message: str, remedy: str) -> str:
        return f"fsbot: error: {one_line(message)}. {one_line(remedy)}\n"


class JsonLines:
    """SimulStreaming's JSON, key by key; `is_final` is the end of an utterance.

    start and end are seconds of the sound, `tokens` Whisper's.
    """

    def __init__(self, side: str = "", ends: bool = True) -> None:
        self._side = side
        self._ends = ends
        self._told_end = 0

    def of(self, event: StreamEvent, emission_time: float) -> Iterator[str]:
        if isinstance(event, WordsCommitted) and event.words:
            if event.speech_final:
                self._told_end = event.utterance
            record = words_record(event.words, event.language)
            yield self._line(record, event.speech_final, emission_time)
        elif isinstance(event, UtteranceFinal) and self._ends and event.utterance > self._told_end:
            self._told_end = event.utterance
            yield self._line({}, True, emission_time)
        elif isinstance(event, StreamFailed):
            yield self.error(event.reason, "the server's log tells more")

    def error(self, message: str, remedy: str) -> str:
        return _json({"error": message, "remedy": remedy})

    def _line(self, content: dict[str, object], is_final: bool, emission_time: float) -> str:
        if self._ends:
            content["is_final"] = is_final
        content["emission_time"] = round(emission_time, 6)
        if self._side:
            content["side"] = self._side
        return _json(content)


def one_line(text: str) -> str:
    """Without line breaks and other control characters: nothing said may forge a line."""
    return "".join(character if character.isprintable() else " " for character in text)


def _json(content: dict[str, object]) -> str:
    return json.dumps(content, ensure_ascii=False) + "\n"
