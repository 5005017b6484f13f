"""A call's tape as the engine hears it: one stream per side, fed, rested, watched for its lag."""

import time
from collections.abc import Callable, Mapping

import gevent
from gevent.event import Event as Flag

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.audio.tape import Tape
from fsbot.engine.orders import StreamHandle
from fsbot.masking import Withheld
from fsbot.switch.legs import Leg
from fsbot.transcript.writer import Channel

MOST_PENDING_SECONDS = 10.0
"""Audio handed to the engine and not yet listened to; the rest waits in the file."""

STILL_SECONDS = 1.5
"""A recording that has not grown for so long is on hold, or paused: nobody goes on speaking in it.
FreeSWITCH writes every 20 ms; stalls of a virtual machine last 0.2 s."""

LOOK_SECONDS = 0.25


def channels_of(leg: Leg, count: int) -> list[Channel]:
    """The sides of a leg's recordings, in the order of their channels: what it says, and of two
    also what it hears."""
    read = Channel(leg.read_side.value, 1)
    return [read] if count == 1 else [read, Channel(leg.write_side.value, 2)]


class LagAlarm:
    """Complains when a call has fallen behind, and says when it has caught up."""

    def __init__(self, limit: float, complain: Callable[[str, str, bool], object]) -> None:
        """limit: seconds behind. complain(error, message, over)."""
        self._limit = limit
        self._complain = complain
        self._lagging = False

    def watch(self, lag: float) -> None:
        """The call is so many seconds behind now."""
        if not self._lagging and lag > self._limit:
            self._lagging = True
            self._complain("lagging", f"{lag:.0f} s of sound are not text yet", False)
        elif self._lagging and lag < self._limit / 2:
            self._lagging = False
            self._complain("lagging", "caught up", True)


class Listening:
    """Feeds one tape to its streams until all of it is transcribed. Belongs to the hub."""

    def __init__(
        self,
        tape: Tape,
        streams: Mapping[Channel, StreamHandle],
        withheld: Withheld,
        watch_lag: Callable[[float], object],
    ) -> None:
        """streams: in the order of the tape's channels. `watch_lag(seconds)` is called four times
        a second.
        """
        self._watch_lag = watch_lag
        self._tape = tape
        self._streams = dict(streams)
        self._begins = {channel: stream.begin for channel, stream in streams.items()}
        self._withheld = withheld
        self._heard = 0
        self._rested_at: int | None = None
        self._all_ended = Flag()

    def run(self) -> None:
        """Until the tape has ended and every stream with it. Raises what `Tape.play` does."""
        looking = gevent.spawn(self._look)
        looking.name = "listening for silence"
        try:
            self._feed()
            for stream in self._streams.values():
                stream.finish()
            if self._streams:
                self._all_ended.wait()
        finally:
            looking.kill()

    def ended(self, channel: Channel) -> None:
        """The engine is done with this side."""
        self._streams.pop(channel, None)
        if not self._streams:
            self._all_ended.set()

    def cancel(self) -> None:
        """Have the engine forget what is not transcribed yet."""
        for stream in self._streams.values():
            stream.cancel()

    @property
    def lag(self) -> float:
        """Seconds of recorded sound that are not text yet, on the side that is further behind."""
        heard = self._heard / SAMPLE_RATE
        transcribed = min((each.transcribed for each in self._streams.values()), default=heard)
        return max(0.0, heard - transcribed) + self._tape.unread_seconds

    def _feed(self) -> None:
        channels = list(self._begins)
        for pieces in self._tape.play():
            if len(pieces[0]):
                begins = self._tape.timeline.wall(self._heard / SAMPLE_RATE)
                pieces = self._withheld.silence(pieces, begins)
            for channel, samples in zip(channels, pieces, strict=True):
                fresh = samples[max(0, self._begins[channel] - self._heard) :]
                if channel in self._streams and len(fresh):
                    self._streams[channel].feed(fresh)
            self._heard += len(pieces[0])
            while self._pending_seconds > MOST_PENDING_SECONDS:
                gevent.sleep(0.2)

    @property
    def _pending_seconds(self) -> float:
        return max((stream.pending_seconds for stream in self._streams.values()), default=0.0)

    def _look(self) -> None:
        """Rest the streams when the recording stands still, and have the lag watched."""
        awake_since = looked = time.monotonic()
        while True:
            gevent.sleep(LOOK_SECONDS)
            now = time.monotonic()
            if now - looked > 4 * LOOK_SECONDS:
                awake_since = now  # It was this process that stood still.
            looked = now
            self._watch_lag(self.lag)
            awake = now - awake_since > STILL_SECONDS
            if awake and self._heard != self._rested_at and self._stands_still():
                self._rested_at = self._heard
                for stream in self._streams.values():
                    stream.rest()

    def _stands_still(self) -> bool:
        running = self._tape.running
        return (
            running is not None
            and bool(self._heard)
            and self._tape.unread_seconds == 0
            and time.time() - running.file.last_growth > STILL_SECONDS
        )
