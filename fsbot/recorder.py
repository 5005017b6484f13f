"""Has FreeSWITCH record one leg, and keeps the tape that the recordings make."""

import time
from collections.abc import Callable, Collection, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

import gevent
import structlog
from gevent.event import Event as Flag
from gevent.lock import Semaphore

from fsbot.audio.pcm import PcmFormat
from fsbot.audio.tape import Tape, TapeRecording
from fsbot.hub import in_thread
from fsbot.studio import Adopted, LegGone, Plan, Studio
from fsbot.switch.errors import ConnectionLost, EslError, RequestTimeout
from fsbot.switch.hangup_delay import delay_hangup, end_delay
from fsbot.switch.recording import (
    RecordingRefused,
    check_reply,
    mask_command,
    start_command,
    stop_command,
)
from fsbot.switch.resync import look_up

log = structlog.get_logger("fsbot.call")

T = TypeVar("T")

NO_AUDIO_SECONDS = 5.0
"""A recording that FreeSWITCH has confirmed and that holds nothing after this is reported."""

SETTLED_SECONDS = 2.0
"""A leg that is gone without a RECORD_STOP counts as recorded once its file has not grown for."""

STALLED_SECONDS = 3.0
"""A recording that has not grown for this long may have a full disk; more often it is on hold."""

RETRY_SECONDS = 1.0

BEYOND_SECONDS = 5.0
"""Well behind the last sound of a leg that is hanging up."""


class Recorder:
    """The recordings of one leg, from its answer to its end, or to the end of the leg that it
    leaves behind.

    Only `start` and `adopt` wait. FreeSWITCH is asked one thing after the other: a stop never
    overtakes the start that it is for.
    """

    def __init__(
        self,
        uuid: str,
        codec_rate: int,
        studio: Studio,
        announce: Callable[[Plan], object],
        complain: Callable[[str, str], object],
        fmt: PcmFormat | None = None,
        adopted: Sequence[Adopted] = (),
    ) -> None:
        """`announce(plan)` is called before each recording is asked for and returns when it may
        be. `complain(error, message)`: a recording is no good, though FreeSWITCH says it is. fmt,
        adopted: of recordings that are taken over, in the order of their numbers.
        """
        fmt = fmt or PcmFormat(studio.sample_rate, studio.channels)
        self.tape = Tape(fmt.rate, fmt.channels)
        self._uuid = uuid
        self.leg = uuid
        """The leg that is recorded at present."""
        self._swapped = False
        self._adopted = adopted
        for recording in adopted:
            # The leg left behind says what its forerunner heard.
            self._swapped ^= recording.leg != self.leg
            self.leg = recording.leg
        self._may_go_on = False
        self._codec_rate = codec_rate
        self._studio = studio
        self._announce = announce
        self._complain = complain
        self._log = log.bind(call_uuid=uuid)
        self._number = 0
        self._asking = Semaphore()
        self._masked = False
        self._running: str | None = None
        """FreeSWITCH's path of the recording that it has confirmed and that we have not stopped."""
        self._stalled = False
        self._gone = Flag()
        self._over = Flag()
        self._watch: gevent.Greenlet | None = None

    def adopt(self, active_paths: Collection[str], *, masked: bool) -> None:
        """Take over what a former run has had recorded.

        active_paths: what FreeSWITCH is writing for this leg at the moment. If it does not
        write the last of them and the leg lives, another one goes on: raises what `start` does.
        masked: they were, as far as is known.
        """
        self._masked = masked
        for recording, following in zip_longest(self._adopted, self._adopted[1:]):
            self._number = recording.number
            switch_path = recording.switch_path
            taped = self.tape.add(switch_path, recording.path, self._studio.follower)
            if following is not None:
                self.tape.cut(taped, following.at)
                self.tape.complete(switch_path)
                if switch_path in active_paths:
                    self._spawn(self._end_file, switch_path)
            elif switch_path in active_paths:
                self._running = switch_path
                self._log.info("recording taken over", path=str(recording.path))
            else:
                self.tape.complete(switch_path)
                if not self._over.is_set():
                    # Stopped while nobody was there, or never begun: the call goes on.
                    self.tape.cut(taped, time.time())
                    with self._asking:
                        self._record()
        self._watch = self._spawn(self._watch_over)

    def start(self) -> None:
        """Begin to record. Raises LegGone, RecordingRefused, or OSError (the directory)."""
        with self._asking:
            self._record()
        self._watch = self._spawn(self._watch_over)

    # What the switch says

    def hung_up(self, at: float, *, may_go_on: bool) -> None:
        """The leg began to end at Unix time `at`. may_go_on: it may leave another one behind."""
        latest = self.tape.latest
        if may_go_on and latest is not None and latest.cut_at is None:
            self._may_go_on = True
            self.tape.cut(latest, at + BEYOND_SECONDS)

    def gone(self) -> None:
        """The leg is no more. If its RECORD_STOP was missed, the file says when it is complete."""
        if self._may_go_on:
            self.tape.end()
        self._gone.set()
        self._over.set()

    def go_on_with(self, leg: str, at: float) -> None:
        """The leg is gone since Unix time `at`; the one that it leaves behind is recorded instead,
        its voice on the channel on which it was heard before."""
        self.leg = leg
        self._may_go_on = False
        self._swapped = not self._swapped
        self._log.info("going on with the leg left behind", leg=leg)
        self._spawn(self._go_on_with, at)

    def stopped(self, switch_path: str) -> None:
        """RECORD_STOP: the file is complete."""
        self.tape.complete(switch_path)

    def codec_changed(self, rate: int, at: float) -> None:
        """CODEC: since Unix time `at` the leg's audio has this rate (Hz, 0: unknown).

        FreeSWITCH tells it twice before every answer too. A recording that was started at another
        rate is useless from there on (FACTS.md 7): the next one takes over.
        """
        if not rate or rate == self._codec_rate:
            return
        self._codec_rate = rate
        if self.tape.running is not None:
            self._log.info("codec rate changed, going on in the next file", rate=rate)
            self._spawn(self._go_on, at)

    def resynced(self, active_paths: list[str]) -> None:
        """After a lost link: the files that FreeSWITCH is writing for this leg at the moment."""
        running = self._running
        if running is not None and running not in active_paths:
            self.tape.complete(running)

    # What the bot wants

    def mask(self, masked: bool) -> None:
        """Have FreeSWITCH write zeros instead of sound from now on, or sound again."""
        self._masked = masked
        self._spawn(self._follow_mask, masked)

    def stop(self) -> None:
        """End the recording now; nothing is recorded after it."""
        self._over.set()
        self._spawn(self._stop)

    def close(self) -> None:
        """Let go of the files, and have FreeSWITCH do so too. May be repeated."""
        if self._watch is not None:
            self._watch.kill()
        unfinished = self.tape.running is not None
        self.tape.close()
        if unfinished and not self._gone.is_set():
            self.stop()
        self._over.set()

    def _spawn(self, function: Callable[..., None], *args: object) -> gevent.Greenlet:
        greenlet = gevent.spawn(self._guarded, function, *args)
        greenlet.name = f"recorder {self._uuid}"
        return greenlet

    def _guarded(self, function: Callable[..., None], *args: object) -> None:
        try:
            function(*args)
        except Exception as error:
            # A mistake of ours: the call must not wait for ever for what this would have done.
            self._log.exception("recorder failed")
            self.tape.end(error)

    # Asking

    def _record(self, party: str = "") -> None:
        number, path = in_thread(self._next_number)
        self._number = number
        switch_path = self._studio.directory.switch_path(self._uuid, number)
        self._announce(Plan(number, path, switch_path, self._codec_rate, self.leg, party))
        if self._over.is_set():
            raise LegGone("the leg ended before it was recorded")
        recording = self.tape.add(switch_path, path, self._studio.follower)
        try:
            self._start_file(switch_path)
        except BaseException as error:
            # Sound without an answer was recorded all the same. Anything else ends the file, also
            # when the call is given up: nobody would ever say that it is complete.
            if not (isinstance(error, LegGone) and recording.file.size):
                recording.complete = True
                recording.file.close()
                raise
        self._running = switch_path
        self._log.info("recording", path=str(path))
        if self._masked:
            self._mask_file(switch_path, True)

    def _start_file(self, switch_path: str) -> None:
        """Ask for a recording so that a hang-up cannot overtake its start."""
        leg = self.leg
        hook = self._insist(lambda: delay_hangup(self._studio.link.connection, leg))
        command = start_command(
            leg,
            switch_path,
            sample_rate=self.tape.format.rate,
            each_leg=self.tape.format.channels == 1,
            swapped=self._swapped,
            # A hang-up can overtake the start of a thread only.
            threaded=bool(hook),
        )
        try:
            self._ask(command)
        finally:
            if hook:
                self._end_hangup_delay(leg, hook)

    def _end_hangup_delay(self, leg: str, hook: str) -> None:
        try:
            end_delay(self._studio.link.connection, leg, hook)
        except EslError as error:
            # The end of this channel takes a second longer. Nothing else follows from it.
            self._log.info("hang-up hook left on the channel", hook=hook, reason=str(error))

    def _follow_mask(self, masked: bool) -> None:
        with self._asking:
            if self._running is not None and masked == self._masked:
                self._mask_file(self._running, masked)

    def _mask_file(self, switch_path: str, masked: bool) -> None:
        command = mask_command(self.leg, switch_path, masked=masked)
        try:
            self._ask(command)
        except (LegGone, RecordingRefused) as error:
            # One that stays masked, or has just been stopped, holds nothing that nobody wants.
            if masked and not self._over.is_set():
                self._complain("mask_refused", f"{error}: the recording holds what is said")

    def _ask(self, command: str) -> None:
        """Send a command as `_insist` does; raises RecordingRefused, too."""
        self._insist(lambda: check_reply(command, self._studio.link.connection.api(command)))

    def _insist(self, request: Callable[[], T]) -> T:
        """Ask FreeSWITCH, again after every lost link, until it answers or all is over.

        Raises LegGone and what `request` does. Asking twice is harmless: a start for a file that
        is being written is `+OK`.
        """
        while True:
            try:
                return request()
            except (ConnectionLost, RequestTimeout) as error:
                self._log.warning("FreeSWITCH does not answer", reason=str(error))
                if self._over.wait(RETRY_SECONDS):
                    raise LegGone("the leg ended while FreeSWITCH did not answer") from error

    def _next_number(self) -> tuple[int, Path]:
        """One more than the last; files of a former run of the bot are not written again."""
        self._studio.directory.make_again()
        number = self._number + 1
        while (path := self._studio.directory.path(self._uuid, number)).exists():
            number += 1
        return number, path

    def _go_on(self, at: float) -> None:
        with self._asking:
            old = self.tape.running
            if old is None:
                self.tape.end()
                return
            self.tape.cut(old, at)
            try:
                self._record()
            except (LegGone, RecordingRefused, OSError) as error:
                self.tape.end(error)
            self._end_file(old.switch_path)

    def _go_on_with(self, at: float) -> None:
        with self._asking:
            latest = self.tape.latest
            if latest is not None and not latest.complete:
                # With recording_follow_transfer FreeSWITCH goes on in the same file, sides swapped.
                self.tape.cut(latest, at)
                self._end_file(latest.switch_path)
            try:
                live = look_up(self._studio.link.connection, self.leg)
                if live is None:
                    raise LegGone("it has ended, too")
                self._codec_rate = live.leg.codec_rate
                self._record(live.leg.transferred_to)
            except (LegGone, RecordingRefused, EslError) as reason:
                self._log.info("the leg left behind is not recorded", reason=str(reason))
                self.tape.end()
            except OSError as error:
                self.tape.end(error)

    def _stop(self) -> None:
        with self._asking:
            running, self._running = self._running, None
            if running is not None:
                self._end_file(running)
            self.tape.end()

    def _end_file(self, switch_path: str) -> None:
        try:
            self._ask(stop_command(self.leg, switch_path))
        except (LegGone, RecordingRefused) as error:
            self._log.info("recording not stopped", reason=str(error))
        # Also without a RECORD_STOP: the file is complete before the reply.
        self.tape.complete(switch_path)

    # Watching

    def _watch_over(self) -> None:
        """Complain about a recording without audio, and end one whose RECORD_STOP was missed."""
        first = self.tape.running
        if first is not None and not self._gone.wait(NO_AUDIO_SECONDS):
            self._expect_audio(first)
        self._gone.wait()
        while (last := self.tape.running) is not None:
            quiet = time.time() - last.file.last_growth
            if quiet >= SETTLED_SECONDS:
                self.tape.complete(last.switch_path)
            else:
                gevent.sleep(SETTLED_SECONDS - quiet)

    def check_growth(self, now: float, disk_is_full: Callable[[], bool]) -> None:
        """Complain, once, about a running recording that stands still because its disk is full."""
        running = self.tape.running
        if running is None or now - running.file.last_growth < STALLED_SECONDS:
            if self._stalled and running is not None:
                self._stalled = False
                self._log.info("recording grows again", path=str(running.file.path))
        elif not self._stalled and disk_is_full():
            self._stalled = True
            self._complain(
                "disk_full",
                f"{running.file.path} does not grow, its disk is full: what is said is lost until "
                "there is room again",
            )

    def _expect_audio(self, recording: TapeRecording) -> None:
        if recording is self.tape.running and not recording.file.size:
            self._complain(
                "no_audio",
                f"FreeSWITCH says that it records to {recording.switch_path}, but nothing arrives "
                f"in {recording.file.path}: check recordings.switch_directory, and that both "
                "users share recordings.shared_group",
            )
