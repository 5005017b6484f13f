from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

import gevent
import pytest
from gevent.event import Event
from structlog.testing import capture_logs

from fsbot.hub import Delays, Hold, HubBridge, HubWatchdog


@pytest.fixture
def bridge() -> Iterator[HubBridge]:
    bridge = HubBridge()
    yield bridge
    bridge.close()


@pytest.fixture
def watchdog() -> Iterator[HubWatchdog]:
    watchdog = HubWatchdog()
    gevent.sleep(0.1)
    watchdog.reset()
    yield watchdog
    watchdog.close()


def test_posts_run_in_the_hub_in_order(bridge: HubBridge) -> None:
    seen: list[tuple[int, int]] = []
    threads_seen = set()
    done = Event()

    def note(thread: int, number: int) -> None:
        seen.append((thread, number))
        threads_seen.add(threading.get_ident())
        if len(seen) == 4_000:
            done.set()

    def post(thread: int) -> None:
        for number in range(1_000):
            bridge.post(note, thread, number)

    threads = [threading.Thread(target=post, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    assert done.wait(30)
    assert threads_seen == {threading.get_ident()}
    for n in range(4):
        assert [number for thread, number in seen if thread == n] == list(range(1_000))


def test_a_sleeping_hub_is_woken(bridge: HubBridge) -> None:
    """Nothing else would wake it: no timer, no socket."""
    done = Event()
    threading.Timer(0.05, bridge.post, (done.set,)).start()
    done.wait()


def test_a_failing_callback_is_logged_and_the_next_one_runs(bridge: HubBridge) -> None:
    done = Event()
    with capture_logs() as logs:
        bridge.post(int, "no number")
        bridge.post(gevent.sleep, 1)  # blocks, which the hub must not
        bridge.post(done.set)
        assert done.wait(30)
    assert [(entry["event"], entry["callback"]) for entry in logs] == [
        ("posted callback failed", "int"),
        ("posted callback failed", "sleep"),
    ]


def test_a_flood_of_posts_does_not_shut_others_out(bridge: HubBridge) -> None:
    posts_left = 100
    left_at_turns = []

    def slow() -> None:
        nonlocal posts_left
        time.sleep(0.005)
        posts_left -= 1

    for _ in range(posts_left):
        bridge.post(slow)
    while posts_left:
        gevent.sleep(0)
        left_at_turns.append(posts_left)
    assert len(set(left_at_turns)) > 10


def test_close_runs_what_was_posted_and_takes_no_more() -> None:
    bridge = HubBridge()
    seen: list[int] = []
    bridge.post(seen.append, 1)
    bridge.post(bridge.post, seen.append, 3)
    bridge.post(seen.append, 2)
    bridge.close()
    bridge.post(seen.append, 4)
    bridge.close()
    gevent.sleep(0.01)
    assert seen == [1, 2]


def test_delays() -> None:
    assert Delays.of([]) == Delays(0, 0, 0)
    assert Delays.of([i / 1000 for i in range(1001)]) == Delays(0.5, 0.99, 1.0)


def wait_for_hold(watchdog: HubWatchdog, culprit: str) -> Hold:
    for _ in range(200):
        gevent.sleep(0.02)
        for hold in watchdog.report().holds:
            if any(culprit in line for line in hold.stack):
                return hold
    raise AssertionError(f"{culprit} not among {watchdog.report().holds}")


def sleep_for_long() -> None:
    time.sleep(0.2)


def spin_for_long() -> None:
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        pass


def hold_the_gil_for_long() -> None:
    """Ends with one call into C of at least 0.15 s that never lets go of the GIL."""
    text, took = "a" * 22, 0.0
    while took < 0.15:
        text += "a"
        began = time.monotonic()
        re.match("(a|aa)+$", text + "b")
        took = time.monotonic() - began


@pytest.mark.parametrize("culprit", [sleep_for_long, spin_for_long, hold_the_gil_for_long])
def test_who_holds_the_hub_is_named(watchdog: HubWatchdog, culprit: object) -> None:
    assert callable(culprit)
    name = culprit.__name__
    with capture_logs() as logs:
        offender = gevent.spawn(culprit)
        offender.name = "offender"
        hold = wait_for_hold(watchdog, name)
    assert hold.greenlet == "offender"
    assert hold.held > 0.05
    assert name in hold.stack[0] or name in hold.stack[1]
    assert hold.ended_at == pytest.approx(time.time(), abs=60)
    entry = next(entry for entry in logs if entry["greenlet"] == "offender")
    assert entry["event"] == "hub held"
    assert entry["held_ms"] > 50
    assert watchdog.report().held.max > 0.05


def test_a_hub_callback_is_named(watchdog: HubWatchdog, bridge: HubBridge) -> None:
    bridge.post(sleep_for_long)
    assert wait_for_hold(watchdog, "sleep_for_long").greenlet == "hub callback"


def test_a_stall_of_everybody_is_not_the_hubs(watchdog: HubWatchdog) -> None:
    """Another thread keeps the GIL: hub and control are late together, as in a machine's stall."""
    thread = threading.Thread(target=hold_the_gil_for_long)
    thread.start()
    while thread.is_alive():
        gevent.sleep(0.02)
    gevent.sleep(0.1)
    report = watchdog.report()
    assert report.hub.max > 0.1
    assert report.control.max > 0.1
    assert report.held.max < report.hub.max / 2


def test_a_quiet_hub_has_ticks_and_no_holds(watchdog: HubWatchdog) -> None:
    gevent.sleep(0.5)
    report = watchdog.report()
    assert report.ticks > 3
    assert report.hub.p50 <= report.hub.p99 <= report.hub.max
    watchdog.reset()
    assert watchdog.report().ticks == 0


def test_close_keeps_the_report_and_ends_the_thread() -> None:
    watchdog = HubWatchdog()
    gevent.sleep(0.2)
    watchdog.close()
    watchdog.close()
    assert watchdog.report().ticks > 0
    assert "hub control" not in {thread.name for thread in threading.enumerate()}
