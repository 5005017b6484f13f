"""From what the engine says to the records of one transcript."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from fsbot.engine.events import (
    SpeechCertain,
    SpeechStarted,
    StreamEvent,
    UtteranceEnded,
    UtteranceFinal,
    Word,
    WordsCommitted,
    joined,
)
from fsbot.transcript.records import (
    Alternative,
    EndOfUtterance,
    Mark,
    MarkName,
    Record,
    SideName,
    SpokenWord,
    StartOfSpeech,
    Transcription,
)
from fsbot.transcript.redaction import NO_REDACTION, Redaction

LEAST_SECONDS = 0.001
"""Of a word in a record, whose times are rounded to as much."""

BEHIND = 0.1
"""Seconds by which speech may begin later than is said (EndpointerOptions.onset): where a hole
begins within them, it is behind the hole that somebody spoke."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One side of a transcript. tag: 1 for what the recorded leg says, 2 for what it hears."""

    side: SideName
    tag: int


class TranscriptWriter:
    """Numbers and dates the records of one transcript; what happens to them is up to `put`."""

    def __init__(
        self,
        call_uuid: str,
        zero: float,
        wall: Callable[[float], float],
        put: Callable[[Record], None],
        first_sequence: int = 1,
        now: Callable[[], float] = time.time,
        hides: Callable[[SideName, float, float], bool] = lambda side, begins, ends: False,
        redaction: Redaction = NO_REDACTION,
    ) -> None:
        """zero: Unix time of the answer. wall: Unix time at which audio was in its file, by second
        of the side's audio. hides: whether a word of a side is to be withheld, by the Unix times
        of its start and end.
        redaction: what is taken out of the words that are left.
        """
        self.call_uuid = call_uuid
        self.words: dict[SideName, int] = {"caller": 0, "callee": 0}
        self._zero = zero
        self._wall = wall
        self._put = put
        self._next = first_sequence
        self._now = now
        self._hides = hides
        self._redaction = redaction
        self._latest: dict[SideName, tuple[Word, ...]] = {}
        """Of each side, what its latest final text was before anything was taken out."""

    def write(self, kind: type[Record], **fields: Any) -> None:
        """A record of any kind; call, sequence and times are filled in."""
        now = self._now()
        record = kind(
            call_uuid=self.call_uuid,
            sequence=self._next,
            emission_time=round(now - self._zero, 3),
            emitted_at=round(now, 6),
            **fields,
        )
        self._next += 1
        self._put(record)

    def write_event(self, channel: Channel, event: StreamEvent) -> None:
        """The record of something the engine said; events about the stream itself have none."""
        match event:
            case SpeechStarted() | SpeechCertain():
                self._of_side(
                    StartOfSpeech,
                    channel,
                    event,
                    start=self._from(event.at, math.inf),
                    audio_start=round(event.at, 3),
                    confirmed=isinstance(event, SpeechCertain),
                    echo=isinstance(event, SpeechStarted) and event.echo,
                )
            case WordsCommitted(words=words, spoken=spoken, tentative=tentative):
                event = replace(
                    event,
                    words=self._shown(channel, words),
                    spoken=self._shown(channel, spoken),
                    tentative=self._shown(channel, tentative),
                )
                self._live(channel, self._redaction.committed(event))
            case UtteranceEnded():
                end = self._at(event.last_speech)
                silence = round(event.decided_at - event.last_speech, 3)
                self._of_side(
                    EndOfUtterance,
                    channel,
                    event,
                    end=end,
                    silence=silence,
                    probability=round(event.probability, 3),
                    audio_end=round(event.last_speech, 3),
                )
            case UtteranceFinal(words=words):
                event = replace(event, words=self._shown(channel, words))
                before = self._latest.get(channel.side, ())
                self._latest[channel.side] = event.words
                self._final(channel, self._redaction.closed(event, before))

    def mark(
        self,
        mark: MarkName,
        at: float,
        party: str = "",
        leg: str = "",
        sides: Sequence[SideName] = (),
        reason: str = "",
    ) -> None:
        """Something happened to the call at Unix time `at`; see `Mark`."""
        start = round(at - self._zero, 3)
        self.write(
            Mark,
            mark=mark,
            start=start,
            party=party,
            leg_uuid=leg,
            sides=tuple(sides),
            reason=reason,
        )

    def _shown(self, channel: Channel, words: tuple[Word, ...]) -> tuple[Word, ...]:
        side, wall = channel.side, self._wall
        return tuple(
            word for word in words if not self._hides(side, wall(word.start), wall(word.end))
        )

    def _live(self, channel: Channel, event: WordsCommitted) -> None:
        words = event.words or event.tentative
        self._transcription(
            channel,
            event,
            heard=(*event.spoken, *event.tentative),
            start=words[0].start if words else event.heard_until,
            end=words[-1].end if words else event.heard_until,
            spoken_until=words[-1].end if words else event.heard_until,
            is_final=False,
            speech_final=event.speech_final,
            revised=False,
            text=joined(event.words, event.language),
            tentative=joined(event.tentative, event.language),
        )

    def _final(self, channel: Channel, event: UtteranceFinal) -> None:
        self.words[channel.side] += len(event.words)
        self._transcription(
            channel,
            event,
            heard=event.words,
            start=event.start,
            end=event.end,
            spoken_until=event.words[-1].end if event.words else event.end,
            is_final=True,
            speech_final=True,
            revised=event.revised,
            text=joined(event.words, event.language),
            tentative="",
        )

    def _transcription(
        self,
        channel: Channel,
        event: WordsCommitted | UtteranceFinal,
        heard: tuple[Word, ...],
        start: float,
        end: float,
        spoken_until: float,
        **fields: Any,
    ) -> None:
        self._of_side(
            Transcription,
            channel,
            event,
            start=self._from(start, end),
            end=self._at(end),
            audio_start=round(start, 3),
            audio_end=round(end, 3),
            language_code=event.language,
            alternatives=(self._alternative(heard, event.language),),
            latency_ms=round((self._now() - self._wall(spoken_until)) * 1000, 1),
            **fields,
        )

    def _of_side(
        self,
        kind: type[Record],
        channel: Channel,
        event: SpeechStarted | SpeechCertain | WordsCommitted | UtteranceEnded | UtteranceFinal,
        **fields: Any,
    ) -> None:
        self.write(
            kind, side=channel.side, channel_tag=channel.tag, utterance=event.utterance, **fields
        )

    def _alternative(self, words: tuple[Word, ...], language: str) -> Alternative:
        spoken = []
        latest = -math.inf
        for word in words:
            # Where a hole lies near, the clock's times are not as far apart as the audio's.
            start = max(self._from(word.start, word.end), latest)
            latest = max(self._at(word.end), round(start + LEAST_SECONDS, 3))
            confidence = round(word.probability, 4)
            spoken.append(
                SpokenWord(word=word.text, start_time=start, end_time=latest, confidence=confidence)
            )
        return Alternative(
            transcript=joined(words, language),
            confidence=round(fmean(word.probability for word in words), 4) if words else 0.0,
            words=tuple(spoken),
        )

    def _at(self, seconds: float) -> float:
        return round(self._wall(seconds) - self._zero, 3)

    def _from(self, seconds: float, until: float) -> float:
        """When something begins that lasts until second `until` of the audio."""
        behind = self._wall(seconds + BEHIND) - BEHIND
        start = behind if behind <= self._wall(until) else self._wall(seconds)
        return round(start - self._zero, 3)
