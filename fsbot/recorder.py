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
from fsbot.switch.bridges import PARTED_SECONDS
from fsbot.switch.codec import Headers
from fsbot.switch.errors import CommandRefused, ConnectionLost, EslError, RequestTimeout
from fsbot.switch.hangup_delay import delay_hangup, end_delay
from fsbot.switch.recording import (
    RecordingRefused,
    check_reply,
    mask_command,
    start_command,
    stop_command,
)
from fsbot.switch.resync import Media, active_recordings, exists, look_up
from fsbot.switch.titles import hooks_of, restore_titles, titles_of

log = structlog.get_logger("fsbot.call")

T = TypeVar("T")

NO_AUDIO_SECONDS = 5.0
"""A recording that FreeSWITCH has confirmed and that has not grown for this long is looked into."""

SETTLED_SECONDS = 2.0
"""A leg that is gone without a RECORD_STOP counts as recorded once its file has not grown for."""

STALLED_SECONDS = 3.0
"""A recording that has not grown for this long may have a full disk; more often it is on hold."""

RETRY_SECONDS = 1.0

DUMP_SECONDS = 1.0
"""An answer about the leg that takes longer is not waited for: the call is being spoken on."""

BEYOND_SECONDS = 5.0
"""Well behind the last sound of a leg that is hanging up, or of a recording that was stopped."""

HANG_UP_SECONDS = 2.0
"""CHANNEL_HANGUP comes at most this long after FreeSWITCH has said that there is no such leg."""

MOST_RESTARTS = 5
RESTART_SECONDS = 60.0
"""A recording that others stop is started again so many times within so many seconds."""

_UNHEARD = {
    Media.BYPASSED: "the sound of this call goes past FreeSWITCH (bypass_media, "
    "bypass_media_after_bridge or uuid_media off)",
    Media.PROXIED: "FreeSWITCH sends the sound of this call on without reading it (proxy_media)",
    Media.READ: "FreeSWITCH reads no sound of this leg: somebody has paused the recording, or an "
    "application of the dialplan does not read it",
}


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
        complain: Callable[[str, str, bool], object],
        fmt: PcmFormat | None = None,
        adopted: Sequence[Adopted] = (),
    ) -> None:
        """`announce(plan)` is called before each recording is asked for and returns when it may
        be. `complain(error, message, over)`: a recording is no good, though FreeSWITCH says it is,
        or that is over. fmt, adopted: of recordings that are taken over, in the order of their
        numbers.
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
        self._one_sided = any(each.only is not None for each in adopted[-1:])
        """The latest recording lacks a side, as the leg's codec is stereo."""
        self._asking = Semaphore()
        self._masked = False
        self._running: str | None = None
        """FreeSWITCH's path of the recording that it has confirmed and that we have not stopped."""
        self._stalled = False
        self._unheard = False
        self._looking = False
        self._stopping: set[str] = set()
        """FreeSWITCH's paths of recordings that we have asked it to stop."""
        self._restarts: list[float] = []
        """When a recording was started again that others had stopped, in monotonic seconds."""
        self._hung_up = Flag()
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
            follower, only = self._studio.follower, recording.only
            taped = self.tape.add(switch_path, recording.path, follower, only)
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

    @property
    def is_recording(self) -> bool:
        """Whether a recording runs, as far as FreeSWITCH has told."""
        return self.tape.running is not None

    # What the switch says

    def hung_up(self, at: float, *, may_go_on: bool) -> None:
        """The leg began to end at Unix time `at`. may_go_on: it may leave another one behind."""
        self._hung_up.set()
        latest = self.tape.latest
        if may_go_on and latest is not None and latest.cut_at is None:
            self._may_go_on = True
            self.tape.cut(latest, at + BEYOND_SECONDS)

    def gone(self) -> None:
        """The leg is no more. If its RECORD_STOP was missed, the file says when it is complete."""
        if self._may_go_on:
            self.tape.end()
        self._hung_up.set()
        self._gone.set()
        self._over.set()

    def go_on_with(self, leg: str, at: float) -> None:
        """The leg is gone since Unix time `at`; the one that it leaves behind is recorded instead,
        its voice on the channel on which it was heard before."""
        self.leg = leg
        self._hung_up.clear()
        self._may_go_on = False
        self._swapped = not self._swapped
        self._log.info("going on with the leg left behind", leg=leg)
        self._spawn(self._go_on_with, at)

    def stopped(self, switch_path: str, at: float) -> None:
        """RECORD_STOP at Unix time `at`: the file is complete. If neither the leg has hung up nor
        we have asked for it, somebody else has stopped the recording: it is started again."""
        latest = self.tape.latest
        ended = self._hung_up.is_set() or self._over.is_set() or switch_path in self._stopping
        by_others = (
            latest is not None
            and latest.switch_path == switch_path
            and not latest.complete
            and latest.cut_at is None
        )
        if latest is not None and by_others and not ended:
            self._spawn(self._start_again, latest, at)
        else:
            self.tape.complete(switch_path)

    def codec_changed(self, rate: int, at: float) -> None:
        """CODEC: since Unix time `at` the leg's audio has this rate (Hz, 0: unknown).

        FreeSWITCH tells it twice before every answer too. A recording that was started at another
        rate is useless from there on (FACTS.md 7): the next one takes over.
        """
        if not rate or rate == self._codec_rate:
            if self._running is not None:
                self._spawn(self._check_channels, at)
            return
        self._codec_rate = rate
        if self.tape.running is not None:
            self._log.info("codec rate changed, going on in the next file", rate=rate)
            self._spawn(self._go_on, at)

    def resynced(self, active_paths: list[str]) -> None:
        """After a lost link: the files that FreeSWITCH is writing for this leg at the moment."""
        running = self._running
        if running is not None and running not in active_paths:
            self.stopped(running, time.time())

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
        dump = self._dump()
        only = self._only_side(dump)
        self._announce(Plan(number, path, switch_path, self._codec_rate, self.leg, party, only))
        if self._over.is_set() or self._hung_up.is_set():
            raise LegGone("the leg ended before it was recorded")
        recording = self.tape.add(switch_path, path, self._studio.follower, only)
        try:
            self._start_file(switch_path, titles_of(dump), alone=only is not None)
        except BaseException as error:
            # Sound without an answer was recorded all the same. Anything else ends the file, also
            # when the call is given up: nobody would ever say that it is complete.
            if not (isinstance(error, LegGone) and recording.file.size):
                recording.complete = True
                recording.file.close()
                raise
        self._running = switch_path
        self._log.info("recording", path=str(path))
        if hooks := hooks_of(dump):
            self._log.warning("the dialplan's hooks run for this recording, too", variables=hooks)
        self._tell_channels(only is not None)
        if self._masked:
            self._mask_file(switch_path, True)

    def _tell_channels(self, stereo: bool) -> None:
        if stereo and not self._one_sided:
            self._complain(
                "stereo_codec",
                "this leg's codec has two channels, in which FreeSWITCH cannot tell the sides "
                "apart: only what the leg itself says is transcribed. Offer it a mono codec "
                "(Opus without stereo=1)",
                False,
            )
        elif self._one_sided and not stereo:
            self._complain("stereo_codec", "this leg's codec is mono again", True)
        self._one_sided = stereo

    def _dump(self) -> Headers:
        """What FreeSWITCH says of the leg; nothing if it is gone or there is no answer in time."""
        if self._over.is_set() or self._hung_up.is_set():
            return Headers()
        try:
            live = look_up(self._studio.link.connection, self.leg, timeout=DUMP_SECONDS)
        except EslError:
            live = None
        return live.dump if live is not None else Headers()

    def _only_side(self, dump: Headers) -> int | None:
        """The side that a recording of the leg can hold if its codec has two channels."""
        if dump.get("variable_rtp_use_codec_channels") != "2":
            return None
        return 1 if self._swapped and self.tape.format.channels == 2 else 0

    def _check_channels(self, at: float) -> None:
        """The leg has another codec of the same rate since Unix time `at`."""
        running = self.tape.running
        dump = self._dump()
        if running is not None and len(dump) and self._only_side(dump) != running.only:
            self._log.info("codec's channels changed, going on in the next file")
            self._go_on(at)

    def _start_file(self, switch_path: str, titles: dict[str, str], *, alone: bool) -> None:
        """Ask for a recording so that a hang-up cannot overtake its start.

        titles: the dialplan's, which FreeSWITCH unsets. alone: only of what the leg itself says.
        """
        leg = self.leg
        try:
            hook = self._insist(lambda: delay_hangup(self._studio.link.connection, leg))
        except CommandRefused:
            hook = ""
        command = start_command(
            leg,
            switch_path,
            sample_rate=self.tape.format.rate,
            each_leg=alone or self.tape.format.channels == 1,
            swapped=self._swapped and not alone,
            # A hang-up can overtake the start of a thread only.
            threaded=bool(hook),
        )
        try:
            self._ask(command)
        except RecordingRefused as refused:
            if self._has_hung_up(leg):
                raise LegGone("the leg ended before it was recorded") from refused
            raise
        finally:
            if titles:
                self._restore_titles(leg, titles)
            if hook:
                self._end_hangup_delay(leg, hook)

    def _restore_titles(self, leg: str, titles: dict[str, str]) -> None:
        try:
            restore_titles(self._studio.link.connection, leg, titles)
        except EslError as error:
            self._log.info("titles of recordings lost", variables=list(titles), reason=str(error))

    def _has_hung_up(self, leg: str) -> bool:
        """Whether a leg that could not be recorded is over; its CHANNEL_HANGUP may come later."""
        try:
            alive = self._insist(lambda: exists(self._studio.link.connection, leg))
        except CommandRefused:
            return False
        return not alive and bool(self._hung_up.wait(HANG_UP_SECONDS))

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
                message = f"{error}: the recording holds what is said"
                self._complain("mask_refused", message, False)

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

    def _start_again(self, stopped: TapeRecording, at: float) -> None:
        """Go on in the next file, if the leg lives: somebody has stopped `stopped`."""
        with self._asking:
            try:
                alive = self._insist(lambda: exists(self._studio.link.connection, self.leg))
            except (LegGone, CommandRefused):
                alive = False
            ended = self._hung_up.is_set() or self._over.is_set()
            if not alive or ended or stopped.complete or stopped is not self.tape.latest:
                self.tape.complete(stopped.switch_path)
                return
            self._running = None
            now = time.monotonic()
            self._restarts = [each for each in self._restarts if each > now - RESTART_SECONDS]
            if len(self._restarts) >= MOST_RESTARTS:
                self._complain(
                    "recording_stopped",
                    f"somebody has stopped the recording of this call {len(self._restarts) + 1} "
                    f"times within {RESTART_SECONDS:.0f} s: it is not started again",
                    False,
                )
                self.tape.complete(stopped.switch_path)
                return
            self._restarts.append(now)
            message = "somebody has stopped the recording of this call: it is started again"
            self._complain("recording_stopped", message, False)
            self.tape.cut(stopped, at + BEYOND_SECONDS)
            self.tape.complete(stopped.switch_path)
            try:
                self._record()
            except (LegGone, RecordingRefused, OSError) as error:
                self.tape.end(error)
            else:
                self._complain("recording_stopped", "goes on in the next file", True)

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
                self._record(live.leg.transferred_since(at - PARTED_SECONDS))
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
        self._stopping.add(switch_path)
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
        gone = self._gone.wait(NO_AUDIO_SECONDS)
        if first is not None and first is self.tape.running and not first.file.size and not gone:
            self._look_into(first)
        self._gone.wait()
        while (last := self.tape.running) is not None:
            quiet = time.time() - last.file.last_growth
            if quiet >= SETTLED_SECONDS:
                self.tape.complete(last.switch_path)
            else:
                gevent.sleep(SETTLED_SECONDS - quiet)

    def check_growth(self, now: float, disk_is_full: Callable[[], bool]) -> None:
        """Complain, once, about a running recording that stands still at Unix time `now`."""
        running = self.tape.running
        if running is None or self._hung_up.is_set():
            return
        still = now - running.file.last_growth
        if still < STALLED_SECONDS:
            self._grows(running)
        elif not self._stalled and disk_is_full():
            self._stalled = True
            self._complain(
                "disk_full",
                f"{running.file.path} does not grow, its disk is full: what is said is lost until "
                "there is room again",
                False,
            )
        elif still >= NO_AUDIO_SECONDS and not self._stalled:
            self._look_into(running)

    def _grows(self, running: TapeRecording) -> None:
        if self._stalled:
            self._stalled = False
            self._log.info("recording grows again", path=str(running.file.path))
        if self._unheard:
            self._unheard = False
            self._complain("no_audio", f"{running.file.path} grows again", True)

    def _look_into(self, recording: TapeRecording) -> None:
        """Have somebody find out why a recording does not grow, and complain; once."""
        if not self._unheard and not self._looking and recording.switch_path == self._running:
            self._looking = True
            self._spawn(self._find_out, recording)

    def _find_out(self, recording: TapeRecording) -> None:
        size = recording.file.size
        try:
            connection = self._studio.link.connection
            live = look_up(connection, self.leg)
            active = active_recordings(connection, self.leg)
        except EslError as error:
            self._log.info("recording stands still", reason=str(error))
            return
        finally:
            self._looking = False
        grown = recording.file.size > size or recording is not self.tape.running
        # A leg on hold is not written; the end of one that is gone will be told.
        if live is None or grown or self._hung_up.is_set() or live.media is Media.HELD:
            return
        if recording.switch_path not in active:
            self.stopped(recording.switch_path, time.time())
            return
        self._unheard = True
        path = recording.file.path
        if live.media is Media.READ and not size:
            reason = (
                f"FreeSWITCH says that it records to {recording.switch_path}, but nothing arrives "
                f"in {path}: check recordings.switch_directory, and that both users share "
                "recordings.shared_group"
            )
        else:
            reason = f"{path} does not grow: {_UNHEARD[live.media]}. What is said is lost meanwhile"
        self._complain("no_audio", reason, False)
