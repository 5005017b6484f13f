"""How the records of one file's transcript are written down."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TextIO

from fsbot.log import printable
from fsbot.transcribe.sound import SoundFile
from fsbot.transcript.exports import Exporter, Form, StartOrder
from fsbot.transcript.records import Record, SideName, Transcription
from fsbot.transcript.tables import as_csv, as_json

Say = Callable[[str], object]


class Paper(Protocol):
    """Where the records of one transcript are written down."""

    def put(self, record: Record) -> None:
        """Any record, as it comes."""

    def heard(self, side: SideName, seconds: float) -> None:
        """All utterances of `side` that begin before `seconds` have been put."""

    def end(self) -> None:
        """The transcript is over, perhaps too early."""


def make_paper(
    form: Literal["jsonl", "json", "csv"] | Form, output: TextIO, sound: SoundFile, *, heading: bool
) -> Paper:
    """heading: whether texts of several files follow one another in the output."""

    def say(text: str) -> None:
        if text:
            output.write(text)
            output.flush()

    if form == "jsonl":
        return Lines(say)
    if form == "json":
        return Table(say, as_json)
    if form == "csv":
        return Table(say, as_csv)
    if heading:
        say(f"==> {printable(sound.name)} <==\n")
    return FinalTexts(say, form, sound.sides)


class Lines:
    """Every record as a line of JSON, at once."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def put(self, record: Record) -> None:
        self._say(record.model_dump_json() + "\n")

    def heard(self, side: SideName, seconds: float) -> None:
        pass

    def end(self) -> None:
        pass


class Table:
    """All final texts together, when the transcript is over."""

    def __init__(self, say: Say, table: Callable[[Sequence[Record]], str]) -> None:
        self._say = say
        self._table = table
        self._records: list[Record] = []

    def put(self, record: Record) -> None:
        if isinstance(record, Transcription) and record.is_final:
            self._records.append(record)

    def heard(self, side: SideName, seconds: float) -> None:
        pass

    def end(self) -> None:
        self._say(self._table(self._records))


class FinalTexts:
    """The final texts of all sides by their start, each as soon as no earlier one can come."""

    def __init__(self, say: Say, form: Form, sides: Sequence[SideName]) -> None:
        self._say = say
        self._exporter = Exporter(form, name_sides=len(sides) > 1)
        self._order = StartOrder(sides)
        self._say(self._exporter.head)

    def put(self, record: Record) -> None:
        self._order.note(record)
        self._write(self._order.release())

    def heard(self, side: SideName, seconds: float) -> None:
        self._order.heard(side, seconds)
        self._write(self._order.release())

    def end(self) -> None:
        self._write(self._order.release_all())
        self._say(self._exporter.end())

    def _write(self, finals: Sequence[Transcription]) -> None:
        for final in finals:
            self._say(self._exporter.add(final))
