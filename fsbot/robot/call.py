"""A call as a robot sees it: what it hears, and what it can do."""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from gevent.queue import Empty, Queue

from fsbot.switch.errors import CommandRefused, EslError
from fsbot.switch.outbound import Execution, OutboundSession
from fsbot.transcript.records import Record, StartOfSpeech, Transcription

log = structlog.get_logger("fsbot.robot")

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_DIGITS = re.compile(r"[0-9*#A-Dw]{1,64}")
_EXTENSION = re.compile(r"[A-Za-z0-9_.+*#@-]{1,128}")

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
    """The call that a robot has in its hands."""

    def __init__(self, session: OutboundSession, voice: str, certain: bool = False) -> None:
        """voice: FreeSWITCH's engine and voice for `speak`, `flite|slt`. certain: whether
        `on_speech` waits for certainty."""
        leg = session.leg
        self.uuid = leg.uuid
        self.caller_number = leg.caller_number
        self.destination = leg.destination
        self.transcript: list[Line] = []
        """Final texts of both sides so far, as they came."""
        self._session = session
        self._voice = voice
        self._certain = certain
        self._interrupted_by = 0
        self._echoes: set[int] = set()
        """Utterances that are, so far, only the robot's own voice coming back."""
        self._latest = 0
        """The utterance that the caller began last."""
        self._speaks_until = 0.0
        """time.monotonic() by which it must be text; 0 when it is."""
        self._heard_side = str(leg.read_side)
        self._utterances: Queue[Utterance | None] = Queue()
        self._playing: Execution | None = None
        self._left = False
        self.on_speech: Callable[[], object] = lambda: None
        self.on_words: Callable[[str], object] = lambda words: None

    # What is done

    def answer(self) -> None:
        """Answer the call; no harm if it is answered. Raises Hangup."""
        self._do("answer").wait()
        self._require()

    def say(self, what: str | Path) -> Execution:
        """Say a text with FreeSWITCH's `speak`, or play a file: a Path, or an address with `://`.

        Returns at once; `.wait()` waits for the end. What was asked for before is said before.
        Raises Hangup.
        """
        if isinstance(what, Path) or "://" in what:
            self._playing = self._do("playback", _argument(str(what)))
        else:
            self._playing = self._do("speak", f"{self._voice}|{spoken(what)}")
        return self._playing

    def stop(self) -> None:
        """Be quiet at once, and forget what was still to be said. No harm if nothing is."""
        if self._playing is None or self._playing.is_over or not self.is_up:
            return
        try:
            self._session.stop_playing()
        except EslError as error:
            log.warning("playback not stopped", call_uuid=self.uuid, reason=str(error))

    def ask(self, prompt: str | Path, timeout: float = 10.0) -> Utterance | None:
        """Say something, and wait for the answer; None if the caller says nothing.

        timeout: seconds of silence behind the prompt; who has begun to speak by then is heard to
        the end. What was said before is forgotten: the answer is what comes after. Raises Hangup.
        """
        while self._next(0.0) is not None:
            pass
        prompting = self.say(prompt)
        while not prompting.is_over:
            if (utterance := self._next(0.1)) is not None:
                return utterance
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
        """Send key presses: 0 to 9, *, #, A to D, w for a pause. Raises Hangup, ValueError."""
        if not _DIGITS.fullmatch(digits):
            raise ValueError(f"no keys: {digits[:40]!r}")
        self._do("send_dtmf", digits).wait()

    def transfer(self, extension: str, context: str = "default") -> None:
        """Send the call to an extension of the dialplan, and let go of it. Raises Hangup,
        ValueError."""
        if not _EXTENSION.fullmatch(extension) or not _EXTENSION.fullmatch(context):
            raise ValueError(f"no extension: {extension[:40]!r} in {context[:40]!r}")
        self._left = True
        self._do("transfer", f"{extension} XML {context}").wait(5.0)

    def leave(self) -> None:
        """Let go of the call: it goes on in the dialplan, behind `socket`."""
        self._left = True

    def hangup(self, cause: str = "NORMAL_CLEARING") -> None:
        """End the call, whatever is being said: wait for that before. No harm if it is over."""
        if not re.fullmatch(r"[A-Z_]{1,64}", cause):
            raise ValueError(f"no cause: {cause[:40]!r}")
        try:
            self._session.hang_up(cause)
        except CommandRefused:
            return  # it is over
        except EslError as error:
            raise Hangup(str(error)) from error

    def get(self, variable: str) -> str:
        """A channel variable; empty if it is not set. Raises Hangup, ValueError."""
        if not _NAME.fullmatch(variable):
            raise ValueError(f"no variable: {variable[:40]!r}")
        try:
            value = self._session.api(f"uuid_getvar {self.uuid} {variable}")
        except EslError as error:
            raise Hangup(str(error)) from error
        if value.startswith("-ERR"):
            raise Hangup(value.strip())
        return "" if value.strip() == "_undef_" else value

    def set(self, variable: str, value: str) -> None:
        """Set a channel variable. Raises Hangup, ValueError."""
        if not _NAME.fullmatch(variable):
            raise ValueError(f"no variable: {variable[:40]!r}")
        self._do("set", f"{variable}={spoken(value)}").wait()

    @property
    def is_up(self) -> bool:
        """Nobody has hung up."""
        return not self._session.hung_up.is_set()

    @property
    def has_left(self) -> bool:
        """The robot has let go of the call."""
        return self._left

    def _do(self, application: str, argument: str = "") -> Execution:
        try:
            return self._session.execute(application, argument)
        except EslError as error:
            raise Hangup(str(error)) from error

    def _require(self) -> None:
        if self._session.hung_up.is_set():
            raise Hangup("the call is over")

    def _next(self, timeout: float) -> Utterance | None:
        try:
            utterance: Utterance | None = self._utterances.get(timeout=timeout)
        except Empty:
            return None
        return utterance

    # What is heard; nothing here waits

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
        heeded = record.confirmed or not (self._certain or record.echo)
        if heeded and record.utterance != self._interrupted_by:
            self._interrupted_by = record.utterance
            self.on_speech()

    def hung_up(self) -> None:
        """Wake whoever waits for an utterance."""
        self._utterances.put(None)


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
