"""What a running bot tells Prometheus."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import Metric

from fsbot.call import Call
from fsbot.engine.scheduler import Engine
from fsbot.hub import HubReport
from fsbot.metrics import counter, gauge
from fsbot.serve.tcp import TcpServer
from fsbot.switch.link import Link
from fsbot.transcript.esl_events import EventPublisher


@dataclass(slots=True)
class Figures:
    """Where the figures come from. free: bytes on the disk, by what goes there; ended: transcripts
    by the reason of their end."""

    calls: Mapping[str, Call]
    link: Link
    publisher: EventPublisher
    engine: Engine
    hub: Callable[[], HubReport]
    free: Mapping[str, int]
    server: TcpServer | None
    started: int = 0
    ended: Counter[str] = field(default_factory=Counter)

    def collect(self) -> Iterator[Metric]:
        """All of them, at this moment."""
        lags = [call.lag for call in self.calls.values()]
        yield gauge("calls", "Calls being transcribed", len(lags))
        yield counter("calls_started", "Calls taken", self.started)
        yield counter("calls_ended", "Transcripts by the reason of their end", self.ended, "reason")
        yield gauge(
            "lag_seconds",
            "Sound recorded and not text yet, of the worst call",
            max(lags, default=0),
        )
        yield gauge("lag_seconds_sum", "The same of all calls together", sum(lags))
        yield from self._of_the_link()
        yield from self._of_the_engine()
        hub = self.hub().hub
        delays = {"0.5": hub.p50, "0.99": hub.p99, "1": hub.max}
        yield gauge("hub_delay_seconds", "How late the hub wakes, of a minute", delays, "quantile")
        yield gauge("disk_free_bytes", "Free space where they go", self.free, "what")
        if self.server is not None:
            yield gauge("tcp_clients", "TCP clients connected", len(self.server.clients))

    def _of_the_link(self) -> Iterator[Metric]:
        connections = self.link.connections
        yield gauge("esl_up", "1 while logged in at FreeSWITCH's event socket", self.link.is_up)
        yield counter("esl_connections", "Logins at the event socket", connections)
        yield counter("esl_reconnects", "Logins after the first", max(0, connections - 1))
        publisher = self.publisher
        yield gauge("events_waiting", "Events without their +OK", publisher.waiting)
        yield counter("events_fired", "Events confirmed, by kind", publisher.confirmed, "kind")
        yield counter("events_resent", "Events fired once more", publisher.resent)
        yield counter("errors", "fsbot::error events, by name", publisher.errors, "error")

    def _of_the_engine(self) -> Iterator[Metric]:
        times, cadence = self.engine.times, self.engine.cadence
        yield counter("engine_updates", "Readings of utterances that go on", times.updates)
        yield counter("engine_audio_seconds", "Sound heard, of all sides together", times.audio)
        worked = times.listening + times.updating + times.closing
        yield counter("engine_busy_seconds", "Time that its workers have worked", worked)
        yield gauge("engine_chunk_seconds", "New sound per reading; more under load", cadence.chunk)
        yield counter("engine_degradations", "How often readings were enlarged", cadence.enlarged)
        searches = self.engine.searches
        yield counter("engine_searches", "Unsure final texts searched with beams", searches.begun)
        yield counter(
            "engine_searches_left_out",
            "Unsure final texts not searched because the machine was too slow",
            searches.left_out,
        )
