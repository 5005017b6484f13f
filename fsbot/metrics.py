"""Figures of a running bot for Prometheus (`--metrics PORT`).

Labels are fixed names of ours, never anything that callers can choose.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from gevent.pywsgi import WSGIServer
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from fsbot.errors import UserError
from fsbot.settings import Metrics

Value = float | Mapping[str, float]
"""One number, or one for each value of the label."""


def gauge(name: str, text: str, value: Value, label: str = "") -> Metric:
    """What goes up and down."""
    return _filled(GaugeMetricFamily(f"fsbot_{name}", text, labels=[label][: bool(label)]), value)


def counter(name: str, text: str, value: Value, label: str = "") -> Metric:
    """What only grows; its name gets `_total`."""
    return _filled(CounterMetricFamily(f"fsbot_{name}", text, labels=[label][: bool(label)]), value)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, value: Value) -> Metric:
    if isinstance(value, Mapping):
        for key, number in value.items():
            family.add_metric([key], number)
    else:
        family.add_metric([], value)
    return family


class MetricsServer:
    """Answers every request with the figures of the moment, from the hub."""

    def __init__(self, settings: Metrics, figures: Callable[[], Iterable[Metric]]) -> None:
        """Listen. Raises UserError if the address cannot be had."""
        registry = CollectorRegistry()
        registry.register(_Collected(figures))
        ProcessCollector(registry=registry)
        where = (settings.host, settings.port)
        self._server = WSGIServer(where, make_wsgi_app(registry), log=None, error_log=None)
        try:
            self._server.start()
        except OSError as error:
            raise UserError(
                f"metrics cannot be served on {settings.host}:{settings.port}: {error.strerror}",
                "Set metrics.port to a free port and metrics.host to an address of this machine.",
            ) from error

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def close(self) -> None:
        """Listen no longer. May be repeated."""
        self._server.stop(timeout=1)


class _Collected(Collector):
    def __init__(self, figures: Callable[[], Iterable[Metric]]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        yield from self._figures()
