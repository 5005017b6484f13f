"""What systemd and Prometheus are told by a running `fsbot run`."""

import os
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import gevent
import pytest
from bench import PATIENCE, Bench, silence
from gevent.socket import AF_UNIX, SOCK_DGRAM
from gevent.socket import socket as green_socket

from fsbot.engine.scheduler import Engine
from fsbot.errors import UserError
from fsbot.metrics import MetricsServer
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import Sound
from fsbot.settings import Metrics
from fsbot.systemd import ServiceManager


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[green_socket]:
    """The socket of a service manager that wants a sign of life every 0.4 s."""
    with green_socket(AF_UNIX, SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        yield listening


def words_until(manager: green_socket, last: str) -> list[str]:
    told = []
    while not told or told[-1] != last:
        told.append(manager.recv(1000).decode())
    return told


def test_the_service_manager_is_told(
    manager: green_socket, bench: Bench, switch: RehearsalSwitch
) -> None:
    bench.start()
    words_until(manager, "READY=1")
    words_until(manager, "WATCHDOG=1")
    call = switch.place(CallScript(silence(30)))
    words_until(manager, "STATUS=1 calls are being transcribed")
    call.hang_up()
    words_until(manager, "STATUS=0 calls are being transcribed")
    bench.bot.stop()
    words_until(manager, "STOPPING=1")


def test_an_engine_that_hangs_gives_no_sign_of_life(
    manager: green_socket,
    bench: Bench,
    switch: RehearsalSwitch,
    utterance: Sound,
    monkeypatch: pytest.MonkeyPatch,
    log_lines: list[dict[str, object]],
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(Engine, "_begin_jobs", lambda self: go_on.wait() and None)
    bench.start(service={"stop_timeout": 2.0})
    words_until(manager, "WATCHDOG=1")
    switch.place(CallScript(utterance))
    bench.wait(lambda: any("does not answer" in str(line["event"]) for line in log_lines))
    manager.settimeout(0.01)
    with suppress(TimeoutError):
        while True:
            manager.recv(1000)
    manager.settimeout(1.5)
    with pytest.raises(TimeoutError):
        words_until(manager, "WATCHDOG=1")
    go_on.set()


@pytest.mark.parametrize(
    "environment",
    [{}, {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "0"}],
)
def test_without_a_service_manager_nothing_is_told(environment: dict[str, str]) -> None:
    manager = ServiceManager(environment)
    manager.ready()
    manager.watch(lambda seconds: True)
    manager.stopping()
    manager.close()


def test_an_abstract_socket() -> None:
    name = f"fsbot-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert listening.recv(100) == b"READY=1"


def test_figures_for_prometheus(bench: Bench, switch: RehearsalSwitch, utterance: Sound) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bench.start(metrics={"port": port})

    def figures() -> dict[str, float]:
        page = gevent.get_hub().threadpool.apply(
            lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read()
        )
        lines = [line for line in page.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    call = switch.place(CallScript(utterance, uuid="caller-chosen"))
    bench.wait(lambda: call.position > 100)
    during = figures()
    assert during["fsbot_calls"] == during["fsbot_esl_up"] == 1
    assert 0 < during["fsbot_lag_seconds"] <= during["fsbot_lag_seconds_sum"] < 60
    bench.transcript(call.uuid)
    switch.drop_clients()
    bench.wait(lambda: bench.session is not None and not bench.bot._house.publisher.waiting)
    switch.faults.refuse_recording = "-ERR Cannot record session!\n"
    refused = switch.place(CallScript(silence(1)))
    bench.transcript(refused.uuid)
    bench.wait(lambda: not bench.bot._house.publisher.waiting)
    after = figures()
    assert after["fsbot_calls"] == 0
    assert after["fsbot_calls_started_total"] == 2
    assert after['fsbot_calls_ended_total{reason="hangup"}'] == 1
    assert after['fsbot_calls_ended_total{reason="refused"}'] == 1
    assert after['fsbot_errors_total{error="recording_refused"}'] == 1
    assert after['fsbot_events_fired_total{kind="end_of_transcript"}'] == 2
    assert after["fsbot_esl_reconnects_total"] == 1
    assert after["fsbot_events_waiting"] == 0
    assert after["fsbot_engine_updates_total"] >= 1
    assert after['fsbot_hub_delay_seconds{quantile="0.99"}'] >= 0
    assert after['fsbot_disk_free_bytes{what="recordings"}'] > 0
    assert after["process_resident_memory_bytes"] > 0
    assert not any("caller-chosen" in name for name in after)


def test_a_port_for_metrics_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Metrics(port=taken.getsockname()[1])
        with pytest.raises(UserError, match="metrics cannot be served"):
            MetricsServer(settings, list)
