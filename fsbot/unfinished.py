"""Transcripts that a bot which was killed has left without their end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from fsbot.audio.pcm import PcmFormat
from fsbot.studio import Adopted
from fsbot.switch.conversations import Wish
from fsbot.switch.legs import Leg
from fsbot.switch.uuids import UnsafeUuid, file_stem, uuid_of
from fsbot.transcript.delivery import pending_journals
from fsbot.transcript.journal import read_what_is_sound
from fsbot.transcript.position import TranscriptPosition
from fsbot.transcript.records import Record, SideName

log = structlog.get_logger("fsbot.bot")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A transcript as its journal tells it: how far it has come, and what it needs to go on.

    records: all of them, for the events that may not have been delivered.
    """

    uuid: str
    journal: Path
    position: TranscriptPosition
    records: tuple[Record, ...]

    @property
    def over(self) -> bool:
        """Only events are missing, or there is nothing that could be transcribed."""
        return self.position.over or not self.position.recordings

    @property
    def leg(self) -> Leg:
        """The leg as it was when its first recording was asked for."""
        first = self.position.recordings[0]
        return Leg(
            uuid=self.uuid,
            call_uuid=first.channel_call_uuid,
            direction=first.direction,
            channel_name="",
            caller_number=first.caller,
            destination=first.destination,
            context="",
            codec_rate=self.position.recordings[-1].codec_rate,
            answered_at=first.answered_at,
            language="",
            prompt="",
            declined=False,
        )

    @property
    def recorded_leg(self) -> str:
        """UUID of the leg that was recorded last."""
        return self.position.recordings[-1].leg_uuid if self.position.recordings else self.uuid

    @property
    def format(self) -> PcmFormat:
        return PcmFormat(self.position.recordings[0].rate, len(self.sides))

    @property
    def sides(self) -> tuple[SideName, ...]:
        """Whose voice each channel of the recordings holds; one that a recording of a stereo codec
        holds twice is one."""
        return max((tuple(dict.fromkeys(each.sides)) for each in self.position.recordings), key=len)

    @property
    def wishes(self) -> frozenset[Wish]:
        """Who wanted silence when the transcript was written last."""
        return frozenset(
            Wish(
                each.leg_uuid or self.recorded_leg,
                each.reason,
                "mask" if each.mark == "mask" else "pause",
            )
            for each in self.position.hiding
        )

    @property
    def recordings(self) -> list[Adopted]:
        return [
            Adopted(
                each.recording,
                Path(each.path),
                each.switch_path,
                each.emitted_at,
                each.leg_uuid,
                self.sides.index(each.sides[0]) if len(set(each.sides)) < each.channels else None,
            )
            for each in self.position.recordings
        ]


def read_unfinished(directory: Path) -> Iterator[Unfinished]:
    """All of them under a transcripts directory. Blocks on the disk."""
    for journal in pending_journals(directory):
        try:
            records = read_what_is_sound(journal)
            uuid = _uuid_of(journal, records)
        except (OSError, UnsafeUuid) as error:
            log.warning("journal of a former run not read", path=str(journal), reason=str(error))
            continue
        yield Unfinished(uuid, journal, TranscriptPosition.of(records), tuple(records))


def _uuid_of(journal: Path, records: Sequence[Record]) -> str:
    """Of the call whose journal it is. Raises UnsafeUuid for one under another's name."""
    uuid = records[0].call_uuid if records else uuid_of(journal.stem)
    if uuid is None or file_stem(uuid) != journal.stem:
        raise UnsafeUuid(f"it is not the journal of {uuid!r}")
    return uuid
