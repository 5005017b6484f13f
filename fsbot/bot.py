"""`fsbot run`: everything wired up, and taken down again."""

import gc
import os
import threading

import gevent
import structlog
from gevent.event import Event as Flag

from fsbot.audio.follower import Follower
from fsbot.call import Call
from fsbot.claims import Claims
from fsbot.disk import DiskWatch
from fsbot.dispatch import EVENTS, SUBCLASSES, Dispatcher
from fsbot.engine.scheduler import Engine
from fsbot.engine.setup import make_engine, stream_options
from fsbot.figures import Figures
from fsbot.house import House
from fsbot.hub import HubBridge, HubWatchdog, in_thread
from fsbot.log import flush
from fsbot.memory import limit_memory, return_free_memory
from fsbot.metrics import MetricsServer
from fsbot.retention import Retention
from fsbot.robot.conversation import Conversations
from fsbot.robot.loading import load_robot
from fsbot.serve.tcp import TcpServer
from fsbot.settings import Settings
from fsbot.shutdown import finish
from fsbot.signals import on_stop_signal
from fsbot.studio import Studio
from fsbot.switch.connection import Connection
from fsbot.switch.errors import CommandRefused
from fsbot.switch.legs import Leg, LegFilter, LegRoles, Role
from fsbot.switch.link import Endpoint, Link
from fsbot.switch.masks import CONTROL
from fsbot.switch.outbound import OutboundServer, OutboundSession
from fsbot.switch.recording import (
    prepare_directory,
    stop_command,
)
from fsbot.switch.resync import LiveLeg, active_recordings, exists, live_legs, look_up
from fsbot.switch.uuids import UnsafeUuid, check_uuid
from fsbot.systemd import ServiceManager
from fsbot.threads import EventLoop
from fsbot.trace import Trace
from fsbot.transcript.backlog import Backlog
from fsbot.transcript.esl_events import EventPublisher
from fsbot.transcript.redaction import Redaction
from fsbot.unfinished import Unfinished, read_unfinished

log = structlog.get_logger("fsbot.bot")

ENDING_SECONDS = 2.0
"""How long threads of a robot's author may keep the process when all else has ended."""

ENGINE_SECONDS = 1.0
"""How long the end of the bot waits for a reading that is under way."""


class Bot:
    """One FreeSWITCH, all its calls."""

    def __init__(self, settings: Settings, engine: Engine, claims: Claims | None = None) -> None:
        """Checks the recording directory; raises UserError. The engine is started by `run`.

        claims: on the directories, if they are taken already; `run` takes what is missing, and
        releases them.
        """
        self._settings = settings
        self._claims = claims or Claims.of(settings)
        self._engine = engine
        self._finished: set[str] = set()
        """Legs that are up and whose transcript has ended: they are not taken again."""
        self._roles = LegRoles()
        self._dispatcher = Dispatcher(
            self._roles,
            self._answered,
            self._finished.discard,
            # With each leg in a file of its own the other one is recorded anyway.
            follow_transfer=settings.recordings.follow_transfer
            and not settings.recordings.each_leg,
            follow_mask=settings.recordings.follow_mask,
            each_leg=settings.recordings.each_leg,
        )
        self._calls = self._dispatcher.calls
        self._filter = LegFilter(
            contexts=settings.filter.contexts,
            destinations=settings.filter.destinations,
            directions=settings.filter.directions,
            loopback=settings.recordings.loopback,
            each_leg=settings.recordings.each_leg,
        )
        self._recordings = prepare_directory(
            settings.recordings.directory,
            settings.recordings.switch_directory,
            settings.recordings.shared_group,
        )
        self._link = Link(
            Endpoint(
                settings.esl.host,
                settings.esl.port,
                settings.esl.password.get_secret_value(),
                settings.esl.connect_timeout,
                settings.esl.request_timeout,
                settings.esl.heartbeat_timeout,
            ),
            EVENTS,
            SUBCLASSES,
            on_event=self._dispatcher.on_event,
            on_connect=self._resync,
        )
        self._server: TcpServer | None = None
        if settings.serve.enabled:
            # A client that came late may wait; a call may not.
            options = stream_options(settings, skip_late_updates=False)
            redaction = Redaction(settings.transcripts.redact)
            self._server = TcpServer(settings.serve, options, redaction=redaction)
        self._robot = load_robot(settings.robot.file) if settings.robot.file else None
        self._retention = Retention(
            self._recordings,
            settings.transcripts.directory,
            settings.recordings.retention,
            settings.transcripts.retention,
            in_use=lambda: set(self._calls),
        )
        self._trace = Trace(settings.engine.trace) if settings.engine.trace else None
        self._house: House
        self._figures: Figures
        self._recovered = False
        self._taken_up: set[str] = set()
        self._stop_wanted = Flag()
        self._manager = ServiceManager()
        self.left_behind = False
        """After `run`: the engine's threads could not be ended."""

    def run(self) -> None:
        """Serve until `stop`. Raises UserError if the first login is hopeless, or another bot works
        in the same directories."""
        self._claims.take()
        try:
            self._run()
        finally:
            self._claims.release()

    def _run(self) -> None:
        settings = self._settings
        follower, bridge, watchdog = Follower(), HubBridge(), HubWatchdog()
        publisher = EventPublisher(lambda: self._link.connection, settings.events.compatibility)
        self._house = House(
            studio=Studio(
                self._link,
                follower,
                self._recordings,
                settings.recordings.sample_rate,
                settings.recordings.each_leg,
            ),
            engine=self._engine,
            bridge=bridge,
            publisher=publisher,
            transcripts=settings.transcripts.directory,
            stream_options=stream_options(settings),
            known_language=self._engine.known_language,
            lag_warning=settings.engine.lag_warning,
            backlog=Backlog(),
            settled=self._retention.settled,
            channel_variables=settings.events.channel_variables,
            redaction=Redaction(settings.transcripts.redact),
            trace=self._trace,
        )
        disk_watch = self._disk_watch()
        self._figures = Figures(
            self._calls,
            self._link,
            publisher,
            self._engine,
            watchdog.report,
            disk_watch.free,
            self._server,
        )
        metrics = None
        if settings.metrics.port:
            metrics = MetricsServer(settings.metrics, self._figures.collect)
        conversations = self._conversations(bridge)
        handed_over = self._listen_for_robot(conversations)
        self._engine.start()
        if self._server is not None:
            self._server.start(self._engine, bridge)
        self._manager.watch(lambda seconds: in_thread(self._engine.answers, seconds))
        background = [
            gevent.spawn(work) for work in (self._finish, disk_watch.run, self._claims.watch)
        ]
        if self._claims.whole:  # otherwise another bot may be at work on what looks left over
            background.append(gevent.spawn(self._retention.run))
        try:
            self._link.run()
        finally:
            gevent.killall(background)
            self._manager.close()
            if metrics is not None:
                metrics.close()
            if handed_over is not None:
                handed_over.close()
            if self._server is not None:
                self._server.close()
            publisher.close()
            self.left_behind = not self._engine.stop(ENGINE_SECONDS)
            if conversations is not None and not conversations.close():
                self.left_behind = True
            bridge.close()
            follower.close()
            if self._trace is not None:
                self._trace.close()
            _report_hub(watchdog)
            watchdog.close()

    def _disk_watch(self) -> DiskWatch:
        settings = self._settings
        studio = self._house.studio
        return DiskWatch(
            self._recordings.local,
            settings.transcripts.directory,
            settings.recordings.min_free * 10**6,
            studio.sample_rate * studio.channels * 2,
            calls=self._calls.values,
            tell=lambda error, message: self._house.publish_failure("", error, message),
        )

    @property
    def stopping(self) -> bool:
        return bool(self._stop_wanted.is_set())

    def stop(self) -> None:
        """Take no more calls, let those that are up finish what has been said, end `run`."""
        self._stop_wanted.set()

    def _finish(self) -> None:
        self._stop_wanted.wait()
        self._manager.stopping()
        try:
            seconds = self._settings.service.stop_timeout - ENGINE_SECONDS
            finish(list(self._calls.values()), self._server, self._house, seconds)
        finally:
            self._link.stop()

    # What the dialplan hands over

    def _conversations(self, bridge: HubBridge) -> Conversations | None:
        file, voice = self._settings.robot.file, self._settings.robot.voice
        if self._robot is None or file is None:
            return None
        return Conversations(self._robot, file, self._join, voice, EventLoop(bridge))

    def _listen_for_robot(self, conversations: Conversations | None) -> OutboundServer | None:
        if conversations is None:
            return None
        return OutboundServer(
            self._settings.robot.host,
            self._settings.robot.port,
            conversations.hold,
            most=self._settings.robot.max_calls,
            request_timeout=self._settings.esl.request_timeout,
        )

    def _join(self, session: OutboundSession) -> Call | None:
        """The transcript of an answered call that was handed over; it begins here if the events
        have not begun it. No filter applies, but for the channel's own fsbot=false."""
        uuid = session.leg.uuid
        call = self._dispatcher.recorded_on(uuid)
        if call is None and not self.stopping and uuid not in self._finished:
            live = look_up(self._link.connection, uuid)
            call = self._dispatcher.recorded_on(uuid)  # it was answered meanwhile
            if call is None and live is not None and not live.leg.declined:
                self._take(live.leg, None)
                call = self._dispatcher.recorded_on(uuid)
        return call

    # What FreeSWITCH says

    def _answered(self, leg: Leg, role: Role) -> None:
        known = self._dispatcher.recorded_on(leg.uuid)
        objection = self._filter.objection(leg, role)
        if objection:
            log.debug("leg not recorded", call_uuid=leg.uuid, reason=objection)
        elif self.stopping or leg.uuid in self._finished or (known and not known.leg_gone):
            return
        else:
            self._take(leg, known)

    def _take(self, leg: Leg, earlier: Call | None) -> None:
        """Transcribe a leg. `earlier`: a call of the same UUID that is still being written."""
        try:
            check_uuid(leg.uuid)
        except UnsafeUuid as error:
            log.warning("leg not recorded", reason=str(error))
            self._house.publish_failure(leg.uuid, "unsafe_uuid", str(error))
            return
        call = Call(leg, self._house, self._ended, after=earlier)
        self._dispatcher.take(call)
        self._figures.started += 1
        self._tell_status()
        log.info(
            "call answered",
            call_uuid=leg.uuid,
            direction=leg.direction,
            caller=leg.caller_number,
            destination=leg.destination,
        )
        call.start()

    def _tell_status(self) -> None:
        self._manager.status(f"{len(self._calls)} calls are being transcribed")

    def _ended(self, call: Call) -> None:
        self._figures.ended[call.reason] += 1
        if self._calls.get(call.uuid) is call and not call.leg_gone:
            self._finished.add(call.recorded_leg)
        self._dispatcher.forget(call)
        self._tell_status()

    def _resync(self, connection: Connection) -> None:
        """What was missed: calls that ended, and calls that were answered, without us.

        Events arrive meanwhile, so every question is asked afresh: an answer may be older than
        what the events have told since. Raises EslError; then the link is dropped and tried again.
        """
        self._dispatcher.survey()
        self._recover(connection)
        for call in list(self._calls.values()):
            if exists(connection, call.recorded_leg):
                call.resynced(active_recordings(connection, call.recorded_leg))
            else:
                call.lost()
        try:
            self._survey(connection)
        except CommandRefused as error:
            log.warning("cannot list the calls that are up", reason=str(error))
        self._dispatcher.surveyed()
        self._manager.ready()

    def _survey(self, connection: Connection) -> None:
        """The legs that are up, and who hears whom. Raises EslError."""
        conversations = self._dispatcher.conversations
        conversations.forget_bridges()
        alive = {}
        for live in live_legs(connection):
            alive[live.leg.uuid] = live
            self._dispatcher.describe(live.dump)
        self._finished.intersection_update(alive)
        self._roles.keep_only([*alive, *self._calls])
        conversations.keep_only([*alive, *self._calls])
        conversations.describe_conferences(connection.api("conference json_list"))
        for uuid in conversations.masking_legs:
            paths = active_recordings(connection, uuid) if uuid in alive else []
            own = [path for path in paths if self._recordings.identify(path) is not None]
            if paths == own:
                conversations.content_all(uuid, keep=(CONTROL, *own))
        for uuid, live in alive.items():
            role = self._roles.settle(live.leg, live.role)
            if live.leg.answered_at is not None:
                self._stop_leftovers(connection, uuid)
                self._answered(live.leg, role)

    def _recover(self, connection: Connection) -> None:
        """Take up the transcripts that a killed bot has left without their end. Raises EslError.

        Once per run: those of this run are its own.
        """
        if self._recovered or self.stopping:
            return
        left = in_thread(lambda: list(read_unfinished(self._house.transcripts)))
        for unfinished in left:
            if unfinished.uuid in self._calls or unfinished.uuid in self._taken_up:
                continue
            live = None if unfinished.over else look_up(connection, unfinished.recorded_leg)
            active = active_recordings(connection, live.leg.uuid) if live is not None else []
            self._take_up(unfinished, live, active)
        self._recovered = True

    def _take_up(self, unfinished: Unfinished, live: LiveLeg | None, active: list[str]) -> None:
        uuid = unfinished.uuid
        self._taken_up.add(uuid)
        if unfinished.over:
            self._house.fire_left_over_events(unfinished)
            return
        leg = live.leg if live is not None and live.leg.uuid == uuid else unfinished.leg
        call = Call(leg, self._house, self._ended, unfinished=unfinished, active_paths=active)
        self._dispatcher.take_up(call, unfinished.position)
        if live is None:
            call.recovered()
        call.start()

    def _stop_leftovers(self, connection: Connection, uuid: str) -> None:
        """A bot that was killed has left its recordings running; nobody reads them any more."""
        if self._dispatcher.recorded_on(uuid):
            return
        paths = active_recordings(connection, uuid)
        if self._dispatcher.recorded_on(uuid):
            return  # It was answered meanwhile: these may be its own.
        for path in filter(self._recordings.identify, paths):
            log.info("recording of a former run stopped", call_uuid=uuid, path=path)
            connection.api(stop_command(uuid, path))


def run(settings: Settings) -> int:
    """`fsbot run`: transcribe until SIGINT or SIGTERM; a second signal ends at once."""
    limit_memory()
    claims = Claims.of(settings)
    claims.take()  # before the weights are loaded: there may be no memory for them twice
    bot = Bot(settings, make_engine(settings), claims)
    # What torch has loaded is here to stay: looking through it for garbage would hold the hub for
    # 130 ms every now and then.
    gc.collect()
    gc.freeze()
    return_free_memory()
    on_stop_signal(bot.stop)
    bot.run()
    if bot.left_behind:
        # An interpreter that ends under a thread in the middle of a matrix crashes now and then.
        flush()
        os._exit(0)
    if settings.robot.file is not None:
        _end_soon()
    return 0


def _end_soon() -> None:
    """Python waits for the threads that a robot's author has begun, which may block for ever."""

    def end() -> None:
        flush()
        os._exit(0)

    waiting = threading.Timer(ENDING_SECONDS, end)
    waiting.daemon = True
    waiting.start()


def _report_hub(watchdog: HubWatchdog) -> None:
    report = watchdog.report()
    log.info(
        "hub",
        p99_ms=round(report.hub.p99 * 1000, 1),
        control_p99_ms=round(report.control.p99 * 1000, 1),
        holds=len(report.holds),
    )
