"""A robot with a call in its hands, from the handing over to the last word.

Each conversation has a thread for its constructor, `on_start`, `on_utterance` and `on_hangup`, and,
once there is something for it, a second one for `on_speech`, `on_words` and `on_digit`: a robot
that blocks, in whatever library, holds up nobody else, and is interrupted all the same.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import gevent
import structlog
from gevent.event import Event as Flag

from fsbot.call import Call
from fsbot.robot.call import Hangup, RobotCall
from fsbot.robot.hooks import HookWatch
from fsbot.robot.robot import Robot
from fsbot.switch.outbound import ARRIVAL_SECONDS, OutboundSession
from fsbot.threads import EventLoop, LoopClosed, Mailbox, leave_loop

log = structlog.get_logger("fsbot.robot")

T = TypeVar("T")

LAST_WORDS_SECONDS = 8.0
"""How long `on_hangup` waits for the transcript to be complete."""


class Conversations:
    """All conversations of one robot's class; belongs to the event loop."""

    def __init__(
        self,
        robot: type[Robot],
        file: Path,
        join: Callable[[OutboundSession], Call | None],
        voice: str,
        loop: EventLoop,
    ) -> None:
        """join(session): the call's transcript, which begins with the answer at the latest; None if
        it is not to be transcribed. voice: FreeSWITCH's engine and voice, `flite|slt`."""
        self._robot = robot
        self._join = join
        self._voice = voice
        self._loop = loop
        self._watch = HookWatch(file)
        self._held: set[Conversation] = set()

    def hold(self, session: OutboundSession) -> None:
        """Let a robot handle a call; returns when its threads have ended. The call goes on in its
        dialplan before that, as soon as the robot lets go of it, or fails."""
        conversation = Conversation(
            self._robot, session, self._join, self._voice, self._loop, self._watch
        )
        self._held.add(conversation)
        try:
            conversation.run()
        finally:
            if not conversation.is_running:
                self._held.discard(conversation)

    def close(self, timeout: float = 1.0) -> bool:
        """Wait for the threads; whether all have ended. Their calls have been given back before."""
        deadline = time.monotonic() + timeout
        while any(each.is_running for each in self._held) and time.monotonic() < deadline:
            gevent.sleep(0.02)
        self._watch.close()
        left = [each for each in self._held if each.is_running]
        for conversation in left:
            log.warning("robot still blocks at the end", call_uuid=conversation.call.uuid)
        return not left


class Conversation:
    """One robot and one caller."""

    def __init__(
        self,
        robot: type[Robot],
        session: OutboundSession,
        join: Callable[[OutboundSession], Call | None],
        voice: str,
        loop: EventLoop,
        watch: HookWatch,
    ) -> None:
        self._make = robot
        self._session = session
        self._join = join
        self._loop = loop
        self._watch = watch
        self._robot: Robot
        self._transcribed: Call | None = None
        self.call = call = RobotCall(session, voice, loop)
        self._interruptions = Interruptions(
            self._interrupt, lambda: loop.post(gevent.spawn, call.stop)
        )
        call.on_speech = lambda: self._interruptions.put("on_speech")
        call.on_words = lambda words: self._interruptions.put("on_words", words)
        session.on_digit = lambda digit: self._interruptions.put("on_digit", digit)
        session.hung_up.rawlink(lambda flag: call.look_again())
        self._ended = Flag()
        self._thread = threading.Thread(
            target=self._main, name=f"robot {call.uuid[:8]}", daemon=True
        )

    @property
    def is_running(self) -> bool:
        """One of its threads has not ended."""
        return self._thread.is_alive() or self._interruptions.is_running

    def run(self) -> None:
        """Until the threads have ended."""
        self._thread.start()
        self._ended.wait()
        self._thread.join()
        self._interruptions.join()

    # In the conversation's thread

    def _main(self) -> None:
        try:
            self._converse()
        except _Failed:
            pass
        except Exception:
            log.exception("conversation failed", call_uuid=self.call.uuid)
        finally:
            self._interruptions.end()
            leave_loop()
            self._loop.post(gevent.spawn, self._clear_up)

    def _clear_up(self) -> None:
        """In the event loop: the interruptions' thread may take longer than the conversation's."""
        self._let_go()
        while self.is_running:
            gevent.sleep(0.05)
        if self.call.has_left:
            self._session.closed.wait(ARRIVAL_SECONDS)
        self._ended.set()

    def _converse(self) -> None:
        call = self.call
        try:
            self._robot = self._hook("__init__", self._make)
            call.certain = self._robot.certain
            self._interruptions.begin(self._robot)
            if self._robot.answers and self._session.leg.answered_at is None:
                call.answer()
            self._loop.call(self._listen)
            self._hook("on_start", self._robot.on_start, call)
            while call.is_up and not call.has_left:
                if (utterance := call.listen(None)) is not None:
                    self._hook("on_utterance", self._robot.on_utterance, call, utterance)
        except Hangup:
            log.debug("call over", call_uuid=call.uuid)
        except LoopClosed:
            return
        if call.is_up or call.has_left:
            return
        if self._transcribed is not None:
            self._loop.call(self._transcribed.ended.wait, LAST_WORDS_SECONDS)
        self._hook("on_hangup", self._robot.on_hangup, call)

    def _hook(self, name: str, function: Callable[..., T], *args: object) -> T:
        try:
            with self._watch.running(self.call.uuid, name):
                return function(*args)
        except (Hangup, LoopClosed):
            raise
        except BaseException as error:
            # Whatever it is, SystemExit too, ends this conversation and nothing else.
            self._failed(name)
            raise _Failed from error

    def _failed(self, name: str) -> None:
        log.exception("robot failed", call_uuid=self.call.uuid, hook=name)
        self._loop.post(gevent.spawn, self._let_go)

    # In the thread of the interruptions

    def _interrupt(self, name: str, *args: object) -> None:
        try:
            with self._watch.running(self.call.uuid, name):
                getattr(self._robot, name)(self.call, *args)
        except (Hangup, LoopClosed):
            pass
        except Exception:
            # It costs neither the conversation nor the transcript.
            log.exception("robot failed", call_uuid=self.call.uuid, hook=name)
        except BaseException:
            self._failed(name)

    # In the event loop

    def _listen(self) -> None:
        transcribed = self._transcribed = self._join(self._session)
        if transcribed is None:
            log.warning(
                "robot hears nothing, the call is not transcribed", call_uuid=self.call.uuid
            )
        else:
            transcribed.audience.append(self.call.hear)

    def _let_go(self) -> None:
        """Of a call that is up: it goes on in its dialplan at once."""
        if self.call.is_up or self.call.has_left:
            if self._transcribed is not None and self.call.hear in self._transcribed.audience:
                self._transcribed.audience.remove(self.call.hear)
            self.call.leave()


class _Failed(Exception):
    """A hook has failed, which is logged."""


class Interruptions:
    """What happens while the conversation waits for something else: one hook after the other, in
    order, in a thread that begins with the first one that the robot's author has written."""

    def __init__(self, run: Callable[..., object], stop: Callable[[], object]) -> None:
        """run(name, *args): run a hook of the robot's. stop(): have the robot be quiet, without
        waiting."""
        self._run_hook = run
        self._stop = stop
        self._waiting: Mailbox[tuple[str, tuple[object, ...]] | None] = Mailbox()
        self._early: list[tuple[str, tuple[object, ...]]] = []
        self._robot: Robot | None = None
        self._lock = threading.Lock()
        self._ended = False
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def begin(self, robot: Robot) -> None:
        """The robot is there; what came before is handed to it now."""
        with self._lock:
            self._robot = robot
            for name, args in self._early:
                self._hand_over(robot, name, args)
            self._early.clear()

    def put(self, name: str, *args: object) -> None:
        """Something has happened. From any thread; never blocks."""
        with self._lock:
            if self._ended:
                return
            if self._robot is None:
                self._early.append((name, args))
            else:
                self._hand_over(self._robot, name, args)

    def end(self) -> None:
        """The conversation is over: what has happened is still handed over, and no more."""
        with self._lock:
            self._ended = True
        self._waiting.put(None)

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _hand_over(self, robot: Robot, name: str, args: tuple[object, ...]) -> None:
        if getattr(type(robot), name) is Robot.on_speech:
            # What fsbot does itself needs no thread, and waits for no other hook.
            self._stop()
            return
        if getattr(type(robot), name) is getattr(Robot, name):
            return
        self._waiting.put((name, args))
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._main, name="robot interrupted", daemon=True
            )
            self._thread.start()

    def _main(self) -> None:
        try:
            while (item := self._waiting.get()) is not None:
                name, args = item
                self._run_hook(name, *args)
        finally:
            leave_loop()
