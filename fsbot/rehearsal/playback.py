"""What is played to a leg: it takes its time, and makes no sound."""

import math
import re
from pathlib import Path

import gevent
import soundfile
from gevent.event import Event as Flag

from fsbot.rehearsal.leg import Leg

SPOKEN_CHARACTERS = 15.0
"""Characters that a synthetic voice says in a second."""


class Playback:
    """`uuid_broadcast`: applications that run on a leg, whatever it is at."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._broken_off = Flag()

    def start(self, application: str, argument: str) -> None:
        """`speak` or `playback`."""
        gevent.spawn(self._play, application, argument)

    def break_off(self) -> None:
        """`uuid_break`."""
        self._broken_off.set()

    def _play(self, application: str, argument: str) -> None:
        self._broken_off.clear()
        running = self._leg.execute(application, argument)
        seconds = (spoken_seconds if application == "speak" else file_seconds)(argument)
        broken = self._broken_off.wait(0.0 if math.isnan(seconds) else seconds)
        if application == "speak" and not broken:
            self._leg.text_ended()
        if self._leg.answer_state != "hangup":
            self._leg.executed(running, "FILE PLAYED")


def spoken_seconds(argument: str) -> float:
    """How long `speak` takes for its `engine|voice|text`, roughly."""
    return len(argument.split("|", 2)[-1]) / SPOKEN_CHARACTERS


def file_seconds(path: str) -> float:
    """How long `playback` takes for a file, a silence or a tone; NaN if there is no such file."""
    if found := re.match(r"silence_stream://(\d+)", path):
        return int(found[1]) / 1000
    if found := re.match(r"tone_stream://%\((\d+),", path):
        return int(found[1]) / 1000
    try:
        return float(soundfile.info(Path(path)).duration)
    except (OSError, soundfile.SoundFileError):
        return math.nan
