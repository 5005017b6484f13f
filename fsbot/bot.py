"""`fsbot run`: everything wired up, and taken down again."""

import signal
import sys

import gevent
import structlog

from fsbot.audio.follower import Follower
from fsbot.call import Call, House, publish_failure
from fsbot.engine.scheduler import Engine
from fsbot.engine.setup import make_engine
from fsbot.hub import HubBridge, HubWatchdog
from fsbot.settings import Settings, known_language
from fsbot.switch.codec import Event
from fsbot.switch.connection import Connection
from fsbot.switch.errors import EslError
from fsbot.switch.legs import Leg, LegFilter, LegRoles, Role
from fsbot.switch.link import Endpoint, Link
from fsbot.switch.recording import UnsafeUuid, check_uuid, prepare_directory
from fsbot.switch.resync import active_recordings, live_legs
from fsbot.transcript.esl_events import EventPublisher

log = structlog.get_logger("fsbot.bot")

EVENTS = (
    "CHANNEL_CREATE",
    "CHANNEL_ANSWER",
    "CHANNEL_HANGUP",
    "CHANNEL_DESTROY",
    "CODEC",
    "RECORD_STOP",
)

FINISHING_SECONDS = 10.0
"""How long a shutdown waits for what has been spoken to become text."""


class Bot:
    """One FreeSWITCH, all its calls."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        """Checks the recording directory; raises UserError. The engine is started by `run`."""
        self._settings = settings
        self._engine = engine
        self._calls: dict[str, Call] = {}
        self._roles = LegRoles()
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
        self.stopping = False

    def run(self) -> None:
        """Serve until `stop` or a signal. Raises UserError if the first login is hopeless."""
        settings = self._settings
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
            on_event=self._on_event,
            on_connect=self._resync,
        )
        follower, bridge, watchdog = Follower(), HubBridge(), HubWatchdog()
        publisher = EventPublisher(
            lambda subclass, headers, body: self._link.connection.send_event(
                subclass, headers, body
            )
        )
        self._house = House(
            link=self._link,
            follower=follower,
            engine=self._engine,
            bridge=bridge,
            publisher=publisher,
            recordings=self._recordings,
            transcripts=settings.transcripts.directory,
            sample_rate=settings.recordings.sample_rate,
            each_leg=settings.recordings.each_leg,
            language=settings.engine.language,
            static_prompt=settings.engine.static_prompt,
            known_language=known_language,
        )
        self._engine.start()
        try:
            self._link.run()
        finally:
            publisher.close()
            self._engine.stop()
            bridge.close()
            follower.close()
            _report_hub(watchdog)
            watchdog.close()

    def stop(self) -> None:
        """Take no more calls, let those that are up finish what has been said, end `run`."""
        if self.stopping:
            return
        self.stopping = True
        gevent.spawn(self._finish)

    def _finish(self) -> None:
        calls = list(self._calls.values())
        log.info("stopping", calls=len(calls))
        for call in calls:
            call.stop()
        gevent.wait([call.ended for call in calls], timeout=FINISHING_SECONDS)
        if self._calls:
            log.warning("calls not finished in time", calls=len(self._calls))
        if not self._house.publisher.drain(FINISHING_SECONDS / 2):
            log.warning("events not delivered", events=self._house.publisher.waiting)
        self._link.stop()

    # What FreeSWITCH says

    def _on_event(self, event: Event) -> None:
        role = self._roles.observe(event)
        uuid = event.headers.get("Unique-ID")
        if event.name == "CHANNEL_ANSWER" and role is not None:
            self._answered(Leg.from_event(event), role)
        call = self._calls.get(uuid)
        if call is None:
            return
        match event.name:
            case "CHANNEL_HANGUP":
                call.hung_up()
            case "CHANNEL_DESTROY":
                call.gone()
            case "RECORD_STOP":
                call.recording_stopped(event.headers.get("Record-File-Path"))
            case "CODEC":
                leg = Leg.from_event(event)
                call.codec_changed(leg.codec_rate, _event_time(event))

    def _answered(self, leg: Leg, role: Role) -> None:
        objection = self._filter.objection(leg, role)
        if objection:
            log.debug("leg not recorded", call_uuid=leg.uuid, reason=objection)
        elif leg.uuid not in self._calls and not self.stopping:
            self._take(leg)

    def _take(self, leg: Leg) -> None:
        try:
            check_uuid(leg.uuid)
        except UnsafeUuid as error:
            log.warning("leg not recorded", reason=str(error))
            publish_failure(self._house.publisher, leg.uuid, "unsafe_uuid", str(error))
            return
        call = self._calls[leg.uuid] = Call(leg, self._house, self._ended)
        log.info(
            "call answered",
            call_uuid=leg.uuid,
            direction=leg.direction,
            caller=leg.caller_number,
            destination=leg.destination,
        )
        call.start()

    def _ended(self, call: Call) -> None:
        del self._calls[call.uuid]

    def _resync(self, connection: Connection) -> None:
        """What was missed: calls that were answered, and calls that ended, without us."""
        try:
            alive = {live.leg.uuid: live for live in live_legs(connection)}
        except EslError as error:
            log.warning("cannot list the calls that are up", reason=str(error))
            return
        self._roles.keep_only(alive)
        for uuid, call in list(self._calls.items()):
            if uuid in alive:
                call.resynced(active_recordings(connection, uuid))
            else:
                call.gone()
        for uuid, live in alive.items():
            role = self._roles.settle(uuid, live.role)
            if live.leg.answered_at is not None:
                self._answered(live.leg, role)


def run(settings: Settings) -> int:
    """`fsbot run`: transcribe until SIGINT or SIGTERM; a second signal ends at once."""
    bot = Bot(settings, make_engine(settings))
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, _on_signal, bot)
    bot.run()
    return 0


def _on_signal(bot: Bot) -> None:
    if bot.stopping:
        sys.exit(130)
    bot.stop()


def _event_time(event: Event) -> float:
    """Unix seconds at which FreeSWITCH made the event."""
    text = event.headers.get("Event-Date-Timestamp")
    return int(text) / 1_000_000 if text.isdigit() else 0.0


def _report_hub(watchdog: HubWatchdog) -> None:
    report = watchdog.report()
    log.info(
        "hub",
        p99_ms=round(report.hub.p99 * 1000, 1),
        control_p99_ms=round(report.control.p99 * 1000, 1),
        holds=len(report.holds),
    )
