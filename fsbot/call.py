"""One call's life: its recordings become audio, its audio words, its words records."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import gevent
import structlog
from gevent.event import Event as Flag

from fsbot.audio.reading import FollowError
from fsbot.audio.tape import Tape
from fsbot.engine.events import (
    AudioCovered,
    LanguageDoubted,
    StreamEnded,
    StreamEvent,
    StreamFailed,
)
from fsbot.engine.options import StreamOptions
from fsbot.engine.orders import StreamHandle
from fsbot.engine.position import START, StreamPosition
from fsbot.house import House, OpenedJournal
from fsbot.listening import LagAlarm, Listening, channels_of
from fsbot.marks import Marks
from fsbot.masking import Withheld
from fsbot.recorder import Recorder
from fsbot.studio import LegGone, Plan
from fsbot.switch.conversations import Wish
from fsbot.switch.legs import Leg
from fsbot.switch.recording import RecordingRefused
from fsbot.switch.resync import exists, is_listed
from fsbot.transcript.ledger import Ledger
from fsbot.transcript.position import TranscriptPosition
from fsbot.transcript.records import (
    EndOfTranscript,
    EndReason,
    Failure,
    MarkName,
    Record,
    SideName,
    StartOfTranscript,
)
from fsbot.transcript.writer import Channel, TranscriptWriter
from fsbot.unfinished import Unfinished
from fsbot.variables import ChannelVariables

log = structlog.get_logger("fsbot.call")

_ENDS: dict[str, MarkName] = {
    "mask": "unmask",
    "pause": "resume",
    "joined": "parted",
    "mute": "unmute",
}
"""The mark that ends what another one began."""

_KEPT = (
    "FreeSWITCH has hung up, but lists the channel still, and its recording has not ended: an "
    "application of the dialplan does not return, or the channel keeps its ports until FreeSWITCH "
    "is restarted"
)
_NEVER_TOLD = "FreeSWITCH has hung up, and never told that the recording and the channel ended"


class Call:
    """One recorded leg, from its answer to the last record of its transcript.

    Every method returns at once; the work is done in greenlets of the call's own.
    """

    def __init__(
        self,
        leg: Leg,
        house: House,
        on_end: Callable[["Call"], None],
        after: "Call | None" = None,
        unfinished: Unfinished | None = None,
        active_paths: Sequence[str] = (),
    ) -> None:
        """The leg's UUID must have passed check_uuid. `on_end` is called when all is written.

        after: an earlier call of the same UUID, whose journal this one continues. unfinished: what
        a former run of the bot has left of this call, which goes on; active_paths: what FreeSWITCH
        records of it at the moment.
        """
        self.leg = leg
        self.uuid = leg.uuid
        self.leg_gone = False
        self.marks = Marks()
        self.ended = Flag()
        self.audience: list[Callable[[Record], object]] = []
        """Told of each record, too; they must neither block nor raise."""
        self._house = house
        self._on_end = on_end
        self._after = after
        self._unfinished = unfinished
        self._active_paths = active_paths
        self._positions: dict[SideName, StreamPosition] = (
            dict(unfinished.position.positions) if unfinished is not None else {}
        )
        self._log = log.bind(call_uuid=leg.uuid)
        self._zero = leg.answered_at or time.time()
        self._recorder = Recorder(
            leg.uuid,
            leg.codec_rate if unfinished is None else unfinished.leg.codec_rate,
            house.studio,
            self._announce,
            self._complain,
            unfinished.format if unfinished is not None else None,
            unfinished.recordings if unfinished is not None else (),
        )
        self._language = house.stream_options.language
        self._channels = (
            channels_of(leg, self._recorder.tape.format.channels)
            if unfinished is None
            else [Channel(side, tag) for tag, side in enumerate(unfinished.sides, 1)]
        )
        self._reason: EndReason | None = None
        self._given_up = False
        self._withheld = self._what_is_withheld()
        self.wishes = unfinished.wishes if unfinished is not None else frozenset[Wish]()
        """Who of those that are heard wants silence."""
        self._covered = dict(unfinished.position.covered) if unfinished is not None else {}
        self._listening: Listening | None = None
        self._ledger: Ledger
        self._transcript: TranscriptWriter
        self._greenlet = gevent.Greenlet(self._live)
        self._greenlet.name = f"call {leg.uuid}"

    def start(self) -> None:
        """Begin: journal, recording, transcript."""
        self._greenlet.start()

    # What the switch says

    def hung_up(self, at: float, *, may_go_on: bool) -> None:
        """The leg hangs up since Unix time `at`, and `may_go_on` with the leg it leaves behind."""
        self._because("hangup")
        self._recorder.hung_up(at, may_go_on=may_go_on)

    def go_on_with(self, leg: str, at: float) -> None:
        """The leg is no more since Unix time `at`; the one that it leaves behind is recorded."""
        self._recorder.go_on_with(leg, at)

    def gone(self) -> None:
        """The leg is no more."""
        self.leg_gone = True
        self._because("hangup")
        self._recorder.gone()

    def lost(self) -> None:
        """The leg is no more, and nobody saw it go."""
        self._because("lost")
        self.gone()

    def recovered(self) -> None:
        """The leg was gone already when the bot came back."""
        self._because("recovered")
        self.gone()

    def recording_stopped(self, switch_path: str, at: float) -> None:
        """RECORD_STOP at Unix time `at`: the file is complete."""
        self._recorder.stopped(switch_path, at)

    def has_recorded(self, switch_path: str) -> bool:
        """Whether that file of FreeSWITCH's is one of this call's."""
        return self._tape.holds(switch_path)

    def codec_changed(self, rate: int, at: float) -> None:
        """CODEC: since Unix time `at` the leg's audio has this rate."""
        self._recorder.codec_changed(rate, at)

    def resynced(self, active_paths: list[str]) -> None:
        """After a lost link: the files that FreeSWITCH is writing for this leg at the moment."""
        self._recorder.resynced(active_paths)

    def withhold(self, wishes: frozenset[Wish], at: float) -> None:
        """These want silence since Unix time `at`, and nobody else of those who are heard."""
        before, self.wishes = self.wishes, wishes
        if self._withheld.private.want(bool(wishes), at):
            self._recorder.mask(bool(wishes))
        for wish in sorted(wishes - before):
            self.marks.put(wish.mark, at, leg=wish.leg, reason=wish.who)
        for wish in sorted(before - wishes):
            self.marks.put(_ENDS[wish.mark], at, leg=wish.leg, reason=wish.who)

    def cover(self, covered: Mapping[SideName, str], at: float) -> None:
        """The words of these sides are in other transcripts since Unix time `at`, whose call UUIDs
        these are, or nobody hears them, and those of the other sides are not."""
        changed: dict[tuple[MarkName, str], list[SideName]] = {}
        for side, masking in self._withheld.elsewhere.items():
            before, now = self._covered.get(side), covered.get(side)
            if before == now:
                continue
            masking.want(now is not None, at)
            began: MarkName = "joined" if now or (now is None and before) else "mute"
            changed.setdefault((began if now is not None else _ENDS[began], now or ""), []).append(
                side
            )
        self._covered = {
            side: by for side, by in covered.items() if side in self._withheld.elsewhere
        }
        for (mark, party), sides in changed.items():
            self.marks.put(mark, at, party=party, sides=sides)

    @property
    def sides(self) -> list[SideName]:
        """Whose voice the recorded leg says, and of two also whose it hears."""
        return [channel.side for channel in self._channels]

    @property
    def began_at(self) -> float:
        """Unix time at which its leg came into being."""
        return self.leg.created_at or self._zero

    @property
    def covered(self) -> Collection[SideName]:
        """The sides whose words are in another transcript, or heard by nobody."""
        return self._covered

    def outlives_hang_up(self) -> bool:
        """Whether the leg, whose CHANNEL_HANGUP came a while ago, lives; complains if FreeSWITCH
        has neither ended its recording nor destroyed it. Waits for FreeSWITCH; raises EslError."""
        leg, connection = self._recorder.leg, self._house.studio.link.connection
        if exists(connection, leg):
            return True
        listed = is_listed(connection, leg)
        if self._recorder.is_recording:
            self._complain("hangup_incomplete", _KEPT if listed else _NEVER_TOLD)
        return False

    def check_growth(self, now: float, disk_is_full: Callable[[], bool]) -> None:
        """FreeSWITCH does not tell that it cannot write: the recording just stops growing."""
        self._recorder.check_growth(now, disk_is_full)

    # What the bot wants

    def stop(self) -> None:
        """The bot ends: stop the recording, and finish what has been spoken."""
        self._because("shutdown")
        self._recorder.stop()

    def stop_recording(self) -> None:
        """Another call records the same: finish what has been spoken."""
        self._recorder.stop()

    @property
    def recorded_leg(self) -> str:
        """UUID of the leg that is recorded: after a transfer perhaps not the call's own."""
        return self._recorder.leg

    @property
    def answered_at(self) -> float:
        """Unix time; zero of all times of the transcript."""
        return self._zero

    def give_up(self) -> None:
        """Leave the transcript without an end: the next run of the bot goes on with it."""
        self._given_up = True
        self._greenlet.kill(block=False)

    @property
    def lag(self) -> float:
        """Seconds of recorded sound that are not text yet."""
        return self._listening.lag if self._listening is not None else 0.0

    @property
    def reason(self) -> EndReason:
        """Why it ended."""
        return self._reason or "stopped"

    def _because(self, reason: EndReason) -> None:
        """The first reason is the one that counts."""
        self._reason = self._reason or reason

    # The call's life

    def _live(self) -> None:
        try:
            if self._after is not None:
                self._after.ended.wait()
            opened = self._house.open_journal(self.uuid, self._zero, self._unfinished)
            if self._unfinished is None:
                self._positions = opened.numbered_on
            self._transcribe(opened)
        finally:
            self._recorder.close()
            self.ended.set()
            self._on_end(self)

    def _transcribe(self, opened: OpenedJournal) -> None:
        self._ledger = Ledger(
            self.uuid,
            self.leg.call_uuid,
            opened.journal,
            self._house.publisher,
            self._house.backlog,
            self._complain,
            self._house.settled,
        )
        if self._house.channel_variables:
            known = opened.before.words.values() if self._unfinished is not None else ()
            link, path = self._house.studio.link, self._ledger.path
            variables = ChannelVariables(link, self.uuid, path, sum(known))
            self.audience.append(variables.hear)
        self._transcript = TranscriptWriter(
            self.uuid,
            self._zero,
            self._wall,
            self._put,
            opened.first_sequence,
            hides=self._withheld.hides,
            redaction=self._house.redaction,
        )
        if self._unfinished is not None:
            self._transcript.words = dict(self._unfinished.position.words)
            self._ledger.fire_again(self._unfinished.records)
        try:
            self._listen(opened.before)
        except RecordingRefused as error:
            self._because("hangup" if error.leg_is_gone else "refused")
            self._complain("recording_refused", str(error))
        except (FollowError, OSError) as error:
            self._because("failed")
            self._complain("recording_unreadable", str(error))
        except LegGone as reason:
            self._log.info("call not recorded", reason=str(reason))
        except Exception:
            # A mistake of ours may cost this call, but no other, and it has to be told.
            self._because("failed")
            self._log.exception("call failed")
            self._complain("internal", "the bot's log tells what went wrong")
        finally:
            if self._listening is not None:
                self._listening.cancel()
            self._end_transcript()

    def _put(self, record: Record) -> None:
        self._ledger.put(record)
        for hear in list(self.audience):
            hear(record)

    def _listen(self, before: TranscriptPosition) -> None:
        """From the first recording to the last word."""
        self._choose_language(before)
        if self._unfinished is None:
            self._recorder.start()
        else:
            self._log.info("transcript taken up again", recordings=len(self._unfinished.recordings))
            self._recorder.adopt(self._active_paths, masked=self._withheld.private.active)
            # It may have changed while nobody was there; when, is not known.
            self._recorder.codec_changed(self.leg.codec_rate, time.time())
        options = self._house.stream_options_for(self.leg, self._language)
        streams: dict[Channel, StreamHandle] = {}
        for channel in self._channels:
            own, beside = self._continued(options, channel), next(iter(streams.values()), None)
            streams[channel] = self._house.engine.open(own, self._listener(channel), beside)
        alarm = LagAlarm(self._house.lag_warning, self._complain)
        self._listening = Listening(self._tape, streams, self._withheld, alarm.watch)
        self.marks.begin(self._transcript)
        self._listening.run()
        alarm.watch(0.0)

    def _continued(self, options: StreamOptions, channel: Channel) -> StreamOptions:
        """The same for one side, which may go on from where a former run has left it."""
        own = replace(
            options.named(f"{self.uuid}-{channel.side}"),
            position=self._positions.get(channel.side, START),
        )
        if own.language == "auto" and self._unfinished is not None:
            known = self._unfinished.position.languages[channel.side]
            own = replace(own, heard_language=known or "")
        return own

    def _end_transcript(self) -> None:
        self.marks.end()
        self._recorder.close()  # which has nothing to complain about after this
        if not self._given_up:
            self._transcript.write(
                EndOfTranscript,
                reason=self.reason,
                duration=round(self._tape.seconds, 3),
                words=self._transcript.words,
            )
        self._ledger.close(whole=not self._given_up)

    def _what_is_withheld(self) -> Withheld:
        if self._unfinished is None:
            return Withheld(self.sides)
        noted = self._unfinished.position
        zero = self._zero
        return Withheld(
            self.sides,
            [(start + zero, end + zero) for start, end in noted.hidden],
            {
                side: [(start + zero, end + zero) for start, end in stretches]
                for side, stretches in noted.elsewhere.items()
            },
        )

    def _choose_language(self, before: TranscriptPosition) -> None:
        wish = self.leg.language
        # The variable may hold what fsbot has set itself: the language of the latest final text.
        own = wish in before.languages.values() if wish else self._unfinished is not None
        named = "channel variable fsbot_language"
        if own and before.recordings:
            wish, named = before.recordings[-1].language_code, "language of the transcript so far"
        if wish:
            try:
                self._language = self._house.known_language(wish)
            except ValueError as error:
                self._complain("unknown_language", f"{named}={wish[:40]!r} {error}")

    def _wall(self, seconds: float) -> float:
        """Unix time of a second of the audio; counted from the answer if no audio was heard."""
        try:
            return self._tape.timeline.wall(seconds)
        except ValueError:  # taken up again, and the file is gone
            return self._zero + seconds

    @property
    def _tape(self) -> Tape:
        return self._recorder.tape

    # What the recorder says

    def _announce(self, plan: Plan) -> None:
        """The journal knows of a recording before it is asked for."""
        if plan.party:
            self.marks.transferred(time.time(), plan.party)
        sides = [channel.side for channel in self._channels]
        self._transcript.write(
            StartOfTranscript,
            channel_call_uuid=self.leg.call_uuid,
            recording=plan.number,
            path=str(plan.path),
            switch_path=plan.switch_path,
            rate=self._tape.format.rate,
            channels=self._tape.format.channels if plan.only is None else 2,
            sides=tuple(sides if plan.only is None else [sides[plan.only]] * 2),
            answered_at=self._zero,
            codec_rate=plan.codec_rate,
            leg_uuid=plan.leg,
            direction=self.leg.direction,
            caller=self.leg.caller_number,
            destination=self.leg.destination,
            language_code=self._language,
        )
        self._ledger.flush()

    def _complain(self, error: str, message: str, over: bool = False) -> None:
        tell = self._log.info if over else self._log.warning
        tell("call out of trouble" if over else "call in trouble", error=error, reason=message)
        self._transcript.write(Failure, error=error, message=message, over=over)

    # What the engine says

    def _listener(self, channel: Channel) -> Callable[[StreamEvent], None]:
        """What the engine calls on its own thread."""
        return lambda event: self._house.bridge.post(self._heard, channel, event, time.time())

    def _heard(self, channel: Channel, event: StreamEvent, at: float) -> None:
        """at: Unix time at which the engine said so; the hub may have been busy since."""
        if isinstance(event, AudioCovered):
            self._trace(channel, event, at)
        elif isinstance(event, LanguageDoubted):
            self._complain("language_doubted", f"{channel.side} {event}")
        elif isinstance(event, StreamEnded | StreamFailed):
            if isinstance(event, StreamFailed):
                self._complain("engine", f"{channel.side}: {event.reason}")
            if self._listening is not None:
                self._listening.ended(channel)
        else:
            self._transcript.write_event(channel, event)

    def _trace(self, channel: Channel, event: AudioCovered, at: float) -> None:
        if self._house.trace is not None:
            heard_until = self._tape.timeline.wall(event.until) - self._zero
            self._house.trace.covered(at, self.uuid, channel.side, event.utterance, heard_until)
