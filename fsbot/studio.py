"""What recorders share, and what they say of recordings."""

from dataclasses import dataclass
from pathlib import Path

from fsbot.audio.follower import Follower
from fsbot.switch.link import Link
from fsbot.switch.recording import RecordingDirectory


class LegGone(Exception):
    """The leg ended, or the bot is being stopped, before there was a recording."""


@dataclass(frozen=True, slots=True)
class Studio:
    """What the recorders of all calls share.

    sample_rate: Hz that FreeSWITCH is asked to record at; each_leg: one voice per leg and file,
    instead of both in stereo.
    """

    link: Link
    follower: Follower
    directory: RecordingDirectory
    sample_rate: int
    each_leg: bool

    @property
    def channels(self) -> int:
        return 1 if self.each_leg else 2


@dataclass(frozen=True, slots=True)
class Plan:
    """A recording that is about to be asked for. codec_rate: of the leg's audio, in Hz; leg: UUID
    of the leg that is recorded; party: whom that leg was transferred to, empty if it was not. only:
    the channel, from 0, whose voice alone the file holds, twice, as its codec is stereo."""

    number: int
    path: Path
    switch_path: str
    codec_rate: int
    leg: str
    party: str = ""
    only: int | None = None


@dataclass(frozen=True, slots=True)
class Adopted:
    """A recording of a leg that a former run of the bot has asked for, at Unix time `at`; only: as
    of a Plan."""

    number: int
    path: Path
    switch_path: str
    at: float
    leg: str
    only: int | None = None
