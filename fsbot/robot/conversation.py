"""A robot with a call in its hands, from the handing over to the last word."""

from collections.abc import Callable

import gevent
import structlog

from fsbot.call import Call
from fsbot.robot.call import Hangup, RobotCall
from fsbot.robot.robot import Robot
from fsbot.switch.outbound import OutboundSession

log = structlog.get_logger("fsbot.robot")

LAST_WORDS_SECONDS = 8.0
"""How long `on_hangup` waits for the transcript to be complete."""


def converse(
    robot: Robot,
    session: OutboundSession,
    join: Callable[[OutboundSession], Call | None],
    voice: str,
) -> None:
    """Let a robot handle a call; returns when the call is to go on in the dialplan, or is over.

    join(session): the call's transcript, which begins with the answer at the latest; None if it is
    not to be transcribed. Raises whatever the robot does wrong.
    """
    call = RobotCall(session, voice, robot.certain)
    call.on_speech = lambda: _reflex(robot.on_speech, call)
    call.on_words = lambda words: _reflex(robot.on_words, call, words)
    session.on_digit = lambda digit: _reflex(robot.on_digit, call, digit)
    session.hung_up.rawlink(lambda flag: call.hung_up())
    transcribed: Call | None = None
    try:
        if robot.answers and session.leg.answered_at is None:
            call.answer()
        transcribed = join(session)
        if transcribed is None:
            log.warning("robot hears nothing, the call is not transcribed", call_uuid=call.uuid)
        else:
            transcribed.audience.append(call.hear)
        robot.on_start(call)
        while call.is_up and not call.has_left:
            if (utterance := call.listen(None)) is not None:
                robot.on_utterance(call, utterance)
    except Hangup:
        log.debug("call over", call_uuid=call.uuid)
    finally:
        if transcribed is not None and call.is_up:
            transcribed.audience.remove(call.hear)
    if not call.is_up:
        if transcribed is not None:
            transcribed.ended.wait(LAST_WORDS_SECONDS)
        robot.on_hangup(call)


def _reflex(function: Callable[..., object], *args: object) -> None:
    """In a greenlet of its own: whoever tells it must not wait."""
    gevent.spawn(_guarded, function, *args)


def _guarded(function: Callable[..., object], *args: object) -> None:
    try:
        function(*args)
    except Hangup:
        pass
    except Exception:
        # It costs neither the conversation nor the transcript.
        log.exception("robot's reflex failed")
