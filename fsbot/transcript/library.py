"""The journals that are there: found by a call's UUID, or gone through one by one."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from fsbot.engine.events import Word, joined
from fsbot.errors import UserError
from fsbot.switch.uuids import UnsafeUuid, file_stem, stem_begins
from fsbot.transcript.journal import read_what_is_sound
from fsbot.transcript.records import Alternative, Record, SpokenWord, Transcription
from fsbot.transcript.redaction import NO_REDACTION, Redaction

_MOST_NAMED = 5


def find(transcripts: Path, name: str) -> Path:
    """The journal of a file's name, of a call's UUID, or of the beginning of one.

    Raises UserError where there is none, or more than one.
    """
    if os.path.isfile(name):
        return Path(name)
    # Compared as text, never as a pattern or a path: it may hold anything.
    found = [path for path in journals(transcripts) if stem_begins(path.stem, name)]
    with suppress(UnsafeUuid):
        stems = (name, file_stem(name))
        found = [path for path in found if path.stem in stems] or found
    if not found:
        raise UserError(
            f"there is no transcript {name!r} in {transcripts}",
            "Name a file, or a call's UUID or its beginning, below transcripts.directory.",
        )
    if len(found) > 1:
        some = ", ".join(str(path) for path in found[:_MOST_NAMED])
        raise UserError(
            f"{len(found)} transcripts begin with {name!r}: {some}"
            + (", …" if len(found) > _MOST_NAMED else ""),
            "Give more of the UUID, or the file.",
        )
    return found[0]


def journals(transcripts: Path) -> Iterator[Path]:
    """All journals, the oldest day first."""
    yield from sorted(transcripts.glob("????-??-??/*.jsonl"))


def records_of(path: Path, redaction: Redaction = NO_REDACTION) -> list[Record]:
    """A journal's records. redaction: what is taken out of them. Raises UserError."""
    try:
        records = read_what_is_sound(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if not records:
        raise UserError(
            f"{path} holds no records of fsbot", "A journal ends in .jsonl, a record in each line."
        )
    return list(all_redacted(records, redaction))


def all_redacted(records: Iterable[Record], redaction: Redaction) -> Iterator[Record]:
    """The records of a transcript as `redacted` gives them, a number that goes on from one final
    text into the next taken out there, too."""
    latest: dict[str, tuple[Word, ...]] = {}
    for record in records:
        if isinstance(record, Transcription) and record.is_final:
            yield redacted(record, redaction, latest.get(record.side, ()))
            latest[record.side] = _words(record)
        else:
            yield redacted(record, redaction)


def _words(record: Transcription) -> tuple[Word, ...]:
    spoken = record.alternatives[0].words if record.alternatives else ()
    return tuple(
        Word(each.word, each.start_time, each.end_time, each.confidence) for each in spoken
    )


def redacted(record: Record, redaction: Redaction, before: Sequence[Word] = ()) -> Record:
    """A record that may have been written before `transcripts.redact` was set, as it would be
    written now. Of live text each record is judged by itself.

    before: of a final text, the words of the one before of the same side."""
    if not isinstance(record, Transcription) or not redaction.categories:
        return record
    take_out = partial(redaction.final, before=before) if record.is_final else redaction.live

    def left_of(text: str, words: Sequence[SpokenWord] = ()) -> tuple[Word, ...]:
        known = [Word(each.word, each.start_time, each.end_time, each.confidence) for each in words]
        if joined(known, record.language_code) != text:
            known = [Word(word, 0.0, 0.0, 0.0) for word in text.split()]
        return take_out(known)

    def text_of(text: str, words: Sequence[SpokenWord] = ()) -> str:
        return joined(left_of(text, words), record.language_code)

    said = record.alternatives[0].words if record.is_final and record.alternatives else ()
    alternatives = tuple(
        Alternative(
            transcript=text_of(each.transcript, each.words),
            confidence=each.confidence,
            words=tuple(
                SpokenWord(
                    word=word.text,
                    start_time=word.start,
                    end_time=word.end,
                    confidence=round(word.probability, 4),
                )
                for word in left_of(each.transcript, each.words)
            ),
        )
        for each in record.alternatives
    )
    return record.model_copy(
        update={
            "text": text_of(record.text, said),
            "tentative": text_of(record.tentative),
            "alternatives": alternatives,
        }
    )
