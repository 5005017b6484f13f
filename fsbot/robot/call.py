"""A call as a robot sees it: what it hears, and what it can do."""

import math
import re
import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog

from fsbot.switch.errors import CommandRefused, EslError
from fsbot.switch.outbound import Execution, OutboundSession
from fsbot.threads import EventLoop, LoopClosed, Mailbox
from fsbot.transcript.records import Record, StartOfSpeech, Transcription

log = structlog.get_logger("fsbot.robot")

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_DIGITS = re.compile(r"[0-9*#A-Dw]{1,64}")
_EXTENSION = re.compile(r"[A-Za-z0-9_.+*#@][A-Za-z0-9_.+*#@-]{0,127}")

P = ParamSpec("P")
R = TypeVar("R")

LONGEST_UTTERANCE = 35.0
"""Seconds from the first sound of an utterance to its text; vad.max_utterance is 28 at most."""


class Hangup(Exception):
    """The call is over: raised by what cannot be done any more, caught by whoever runs the robot.

    A robot need not catch it: `on_hangup` follows.
    """


@dataclass(frozen=True, slots=True)
class Utterance:
    """What the caller has said between two silences.

    text: the final text; start, end: seconds since the answer.
    """

    text: str
    start: float
    end: float
    language: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the transcript; side: caller or callee. Seconds since the answer."""

    side: str
    start: float
    end: float
    text: str


class RobotCall:
    """The call that a robot has in its hands.

    Any thread may use it: each method has the event loop do what is to be done, and waits in the
    thread that called it. `hangup`, `transfer`, `leave`, `stop` and `set` act at once, whatever is
    being said; `dtmf` comes behind what was to be said before.
    """

    def __init__(self, session: OutboundSession, voice: str, loop: EventLoop) -> None:
        """voice: FreeSWITCH's engine and voice for `speak`, `flite|slt`."""
        leg = session.leg
        self.uuid = leg.uuid
        self.caller_number = leg.caller_number
        self.destination = leg.destination
        self.transcript: list[Line] = []
        """Final texts of both sides so far, as they came."""
        self.certain = False
        """Whether `on_speech` waits for certainty."""
        self.has_left = False
        """The robot has let go of the call."""
        self._session = session
        self._voice = voice
        self._loop = loop
        self._interrupted_by = 0
        self._echoes: set[int] = set()
        """Utterances that are, so far, only the robot's own voice coming back."""
        self._latest = 0
        """The utterance that the caller began last."""
        self._speaks_until = 0.0
        """time.monotonic() by which it must be text; 0 when it is."""
        self._heard_side = str(leg.read_side)
        self._utterances: Mailbox[Utterance | None] = Mailbox()
        """None: something else has happened, look again."""
        self.on_speech: Callable[[], object] = lambda: None
        self.on_words: Callable[[str], object] = lambda words: None

    # What is done

    def answer(self) -> None:
        """Answer the call; no harm if it is answered. Raises Hangup."""
        self._ask(self._session.execute, "answer").wait()
        self._require()

    def say(self, what: str | Path) -> Execution:
        """Say a text with FreeSWITCH's `speak`, or play a file: a Path, or an address with `://`.

        Returns at once; `.wait(timeout)` waits for the end, in any thread. What was asked for
        before is said before. Of a text in which nothing can be spoken, nothing is said. Raises
        Hangup.
        """
        self._require()
        if isinstance(what, Path) or "://" in what:
            return self._ask(self._session.execute, "playback", _argument(str(what)))
        text = spoken(what)
        if not any(_is_spoken(character) for character in text):
            # FreeSWITCH ends a call for which `speak` has no text.
            nothing = Execution()
            nothing.end()
            return nothing
        return self._ask(self._session.execute, "speak", f"{self._voice}|{text}")

    def stop(self) -> None:
        """Be quiet at once, and forget what was still to be said. No harm if nothing is."""
        try:
            self._loop.call(self._session.stop_playing)
        except (EslError, LoopClosed) as error:
            log.warning("playback not stopped", call_uuid=self.uuid, reason=str(error))

    def ask(self, prompt: str | Path, timeout: float = 10.0) -> Utterance | None:
        """Say something, and wait for the answer; None if the caller says nothing.

        timeout: seconds of silence behind the prompt; who has begun to speak by then is heard to
        the end. What was said before is forgotten: the answer is what comes after. Raises Hangup.
        """
        self._utterances.clear()
        prompting = self.say(prompt)
        prompting.on_end(self.look_again)
        while not prompting.is_over:
            if (utterance := self._next(1.0)) is not None:
                return utterance
            self._require()
        return self.listen(timeout)

    def listen(self, timeout: float | None = None) -> Utterance | None:
        """The next utterance; None if the caller is silent for `timeout` seconds. Raises Hangup."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while (left := max(deadline, self._speaks_until) - time.monotonic()) > 0:
            if (utterance := self._next(min(left, 1.0))) is not None:
                return utterance
            self._require()
        return None

    def dtmf(self, digits: str) -> None:
        """Send key presses: 0 to 9, *, #, A to D, w for a pause; returns when they are sent.
        Raises Hangup, ValueError."""
        if not _DIGITS.fullmatch(digits):
            raise ValueError(f"no keys: {digits[:40]!r}")
        self._ask(self._session.execute, "send_dtmf", digits).wait()

    def transfer(self, extension: str, context: str = "default") -> None:
        """Send the call to an extension of the dialplan, and let go of it. Raises Hangup,
        ValueError. An extension that there is not ends the call; that is told in the log."""
        for what, name in (("extension", extension), ("context", context)):
            if not isinstance(name, str) or not _EXTENSION.fullmatch(name):
                raise ValueError(
                    f"no {what} to transfer to: {str(name)[:40]!r} (one word of letters, digits "
                    "and _ . + * # @ -, that does not begin with -)"
                )
        self._require()
        self.has_left = True
        try:
            self._loop.call(self._session.transfer, extension, context)
        except (EslError, LoopClosed) as error:
            self.has_left = False
            raise Hangup(str(error)) from error
        self.look_again()

    def leave(self) -> None:
        """Let go of the call: it goes on in the dialplan, behind `socket`. No harm if it is
        over."""
        if self.is_up and not self.has_left:
            self.has_left = True
            self.look_again()
            with suppress(EslError, LoopClosed):
                self._loop.call(self._session.let_go)

    def hangup(self, cause: str = "NORMAL_CLEARING") -> None:
        """End the call, whatever is being said: wait for that before. No harm if it is over, or
        left. Raises Hangup, ValueError."""
        if not re.fullmatch(r"[A-Z_]{1,64}", cause):
            raise ValueError(f"no cause: {cause[:40]!r}")
        if self.has_left:
            return
        try:
            self._loop.call(self._session.hang_up, cause)
        except CommandRefused:
            return  # it is over
        except (EslError, LoopClosed) as error:
            raise Hangup(str(error)) from error

    def get(self, variable: str) -> str:
        """A channel variable; empty if it is not set. Raises Hangup, ValueError."""
        if not _NAME.fullmatch(variable):
            raise ValueError(f"no variable: {variable[:40]!r}")
        value = self._ask(self._session.api, f"uuid_getvar {self.uuid} {variable}")
        if value.startswith("-ERR"):
            raise Hangup(value.strip())
        return "" if value.strip() == "_undef_" else value

    def set(self, variable: str, value: str) -> None:
        """Set a channel variable. Raises Hangup, ValueError."""
        if not _NAME.fullmatch(variable):
            raise ValueError(f"no variable: {variable[:40]!r}")
        self._ask(self._session.set_variable, variable, spoken(value))

    @property
    def is_up(self) -> bool:
        """Nobody has hung up."""
        return not self._session.hung_up.is_set()

    def _ask(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if self.has_left:
            raise Hangup("the robot has let go of the call")
        try:
            return self._loop.call(function, *args, **kwargs)
        except EslError as error:
            raise Hangup(str(error)) from error
        except LoopClosed as error:
            raise Hangup("fsbot is ending") from error

    def _require(self) -> None:
        if self._session.hung_up.is_set():
            raise Hangup("the call is over")
        if self.has_left:
            raise Hangup("the robot has let go of the call")

    def _next(self, timeout: float) -> Utterance | None:
        try:
            return self._utterances.get(timeout)
        except TimeoutError:
            return None

    # What is heard, in the event loop; nothing here waits

    def hear(self, record: Record) -> None:
        """Take in a record of the call's transcript."""
        if isinstance(record, Transcription):
            if record.is_final and record.text:
                line = Line(record.side, record.start, record.end, record.text)
                self.transcript.append(line)
            if record.side == self._heard_side and record.utterance not in self._echoes:
                self._hear_text(record)
        elif isinstance(record, StartOfSpeech) and record.side == self._heard_side:
            self._hear_start(record)

    def _hear_text(self, record: Transcription) -> None:
        if record.is_final and record.utterance == self._latest:
            self._speaks_until = 0.0
        if not record.text:
            return
        if record.is_final:
            said = Utterance(record.text, record.start, record.end, record.language_code)
            self._utterances.put(said)
        else:
            self.on_words(record.text)

    def _hear_start(self, record: StartOfSpeech) -> None:
        if record.echo:
            self._echoes.add(record.utterance)
        elif record.confirmed:
            self._echoes.discard(record.utterance)
        if not record.echo:
            self._latest = record.utterance
            self._speaks_until = time.monotonic() + LONGEST_UTTERANCE
        heeded = record.confirmed or not (self.certain or record.echo)
        if heeded and record.utterance != self._interrupted_by:
            self._interrupted_by = record.utterance
            self.on_speech()

    def look_again(self) -> None:
        """Wake whoever waits for an utterance; from any thread."""
        self._utterances.put(None)


def _is_spoken(character: str) -> bool:
    """Whether a voice may have a sound for it: a letter, digit or sign, no dash or stop."""
    return character in "%&@#*/\\" or unicodedata.category(character)[0] not in "CPZ"


def _argument(text: str) -> str:
    """An application's argument. FreeSWITCH replaces `${…}` in it, and runs what stands there: so
    what callers say or are called must not hold it. Raises ValueError."""
    if not text.isprintable() or "$" in text:
        raise ValueError(f"not to be played: {text[:80]!r}")
    return text


def spoken(text: str) -> str:
    """A text that callers may have a share in, as an argument of `speak`: one line, without what
    FreeSWITCH would replace."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split()).replace("$", "")
