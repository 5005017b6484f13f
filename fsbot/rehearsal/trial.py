"""`fsbot rehearse robot.py caller.wav`: a robot and a recorded caller, without FreeSWITCH.

Everything but FreeSWITCH and the robot's voice is real: the outbound socket, the growing file, the
engine. The voice takes its time and makes no sound.
"""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
import numpy as np
from gevent import socket
from gevent.queue import Queue

from fsbot.client import TranscriptClient
from fsbot.log import printable
from fsbot.rehearsal.private import HOST, private_settings
from fsbot.rehearsal.script import CallScript
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.sound import IDLE_SAMPLE, Sound, load_sound
from fsbot.settings import RobotSection, Settings
from fsbot.transcript.records import (
    EndOfTranscript,
    EndOfUtterance,
    Record,
    StartOfSpeech,
    StartOfTranscript,
    Transcription,
)

if TYPE_CHECKING:
    from fsbot.switch.codec import Event

CHANNEL_EVENTS = ("CHANNEL_EXECUTE", "CHANNEL_EXECUTE_COMPLETE", "CHANNEL_HANGUP")
SAID = ("speak", "playback")

TICK_SECONDS = 0.05
ORDER_SECONDS = 0.3
"""The robot hears of a text before its event, which is in the journal first, has come round."""

RATE = 8000
LONGEST_SECONDS = 3600.0

SILENCE_SECONDS = 20.0
"""A caller who has nothing left to say hangs up when the robot has been quiet for so long."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """How long the robot's answer took, by stage, in seconds: the silence that ended the caller's
    utterance, its final text, and the robot itself, to the first byte of what it says."""

    silence: float
    text: float
    robot: float

    @property
    def total(self) -> float:
        return self.silence + self.text + self.robot

    def __str__(self) -> str:
        return (
            f"{self.total:.2f} s after the caller: silence {self.silence:.2f}, "
            f"text {self.text:.2f}, robot {self.robot:.2f}"
        )


class Dialogue:
    """What is said and done in one call, and when, as another client of the switch sees it."""

    def __init__(self, say: Say) -> None:
        self.answers: list[Answer] = []
        self.let_go = self.over = False
        self.talking: set[str] = set()
        """What the robot is saying."""
        self.quiet_since = time.time()
        self._say = say
        self.said = 0
        """How often the robot has said something."""
        self._zero = time.time()
        self._decided: dict[int, tuple[EndOfUtterance, float]] = {}
        self._heard: Transcription | None = None

    def begin(self, at: float) -> None:
        """Times count from here, a Unix time, until the transcript has a zero of its own."""
        self._zero = self.quiet_since = at

    def take(self, record: Record) -> None:
        """A record of the transcript, once."""
        if isinstance(record, StartOfTranscript):
            self._zero = record.answered_at
        elif isinstance(record, EndOfTranscript):
            self.over = True
        elif getattr(record, "side", "") != "caller":
            return
        elif isinstance(record, EndOfUtterance):
            self._decided[record.utterance] = record, record.emitted_at
        elif isinstance(record, StartOfSpeech) and not record.confirmed and self.talking:
            what = "the caller's line echoes" if record.echo else "the caller interrupts"
            self._tell(record.emitted_at, f"({what})")
        elif isinstance(record, Transcription) and record.is_final and record.text:
            self._tell(record.emitted_at, f"caller  {printable(record.text)}")
            self._heard = record

    def act(self, event: Event, at: float) -> None:
        """Something that the channel does, `at` a Unix time."""
        application = event.headers.get("Application")
        identity = event.headers.get("Application-UUID")
        argument = printable(event.headers.get("Application-Data"))
        if event.name == "CHANNEL_HANGUP":
            self._tell(at, "the call is over")
        elif event.name == "CHANNEL_EXECUTE_COMPLETE":
            self.talking.discard(identity)
            self.quiet_since = at
        elif application in SAID:
            self.talking.add(identity)
            self.said += 1
            said = argument.split("|", 2)[-1] if application == "speak" else argument
            self._tell(at, f"robot   {said}{self._timing(at)}")
        elif application not in ("socket", "answer", "park"):
            self._tell(at, f"robot   [{application} {argument}]")
            self.let_go = self.let_go or application == "transfer"

    def _timing(self, at: float) -> str:
        heard, self._heard = self._heard, None
        if heard is None or heard.utterance not in self._decided:
            return ""
        end, decided_at = self._decided[heard.utterance]
        answer = Answer(
            silence=decided_at - self._zero - end.end,
            text=heard.emitted_at - decided_at,
            robot=at - heard.emitted_at,
        )
        self.answers.append(answer)
        return f"\n                  {answer}"

    def _tell(self, at: float, what: str) -> None:
        self._say(f"{max(0.0, at - self._zero):8.2f}  {what}")


def try_robot(
    robot: Path, files: Sequence[Path], settings: Settings, say: Say, pause: float = 0.5
) -> list[Answer]:
    """Let the caller of the files talk to the robot; how long its answers took.

    One file is played from the answer to its end. Several are what the caller says in turn, each
    `pause` seconds after the robot has fallen silent. Raises UserError.
    """
    from fsbot.robot.loading import load_robot

    load_robot(robot)
    sounds = [load_sound(file) for file in files]
    with tempfile.TemporaryDirectory(prefix="fsbot-robot-") as folder:
        trial = _Trial(robot, settings, Path(folder), Dialogue(say))
        with trial.running():
            trial.play(sounds, pause)
    return trial.dialogue.answers


class _Trial:
    """Switch, bot, robot and a listener around one call."""

    def __init__(self, robot: Path, settings: Settings, folder: Path, dialogue: Dialogue) -> None:
        from fsbot.bot import Bot
        from fsbot.engine.setup import make_engine

        self.dialogue = dialogue
        self._password = secrets.token_urlsafe()
        self._switch = RehearsalSwitch(HOST, 0, self._password)
        self._switch.start()
        self._port = _free_port()
        section = RobotSection(file=robot, host=HOST, port=self._port, voice=settings.robot.voice)
        own = private_settings(settings, self._switch.port, self._password, folder, section)
        self._bot = Bot(own, make_engine(own))
        self._client = TranscriptClient(HOST, self._switch.port, self._password)
        self._actions: Queue[tuple[Event, float]] = Queue()
        self._happened: list[tuple[float, Callable[[], object]]] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        from fsbot.switch.connection import Connection

        bot = self._running = gevent.spawn(self._bot.run)
        channels = Connection(HOST, self._switch.port, self._password)
        try:
            channels.register_handle("*", lambda event: self._actions.put((event, time.time())))
            channels.connect()
            channels.subscribe(CHANNEL_EVENTS)
            self._client.open()
            self._switch.wait_for_listener()
            yield
            self._bot.stop()
            bot.join()
        finally:
            self._client.close()
            channels.stop()
            bot.kill()
            self._switch.stop()

    def play(self, sounds: Sequence[Sound], pause: float) -> None:
        """The call, until its transcript has ended."""
        in_turn = list(sounds) if len(sounds) > 1 else []
        where = f"{HOST}:{self._port}"
        if in_turn:
            call = self._switch.place(CallScript(_silence(), socket=where, repeat=0))
        else:
            call = self._switch.place(CallScript(sounds[0], socket=where, tail=LONGEST_SECONDS))
        self.dialogue.begin(time.time())
        speaks_until = time.time() + (0.0 if in_turn else sounds[0].seconds)
        answered = 0
        while not self.dialogue.over:
            self._listen()
            if self._running.ready():
                self._running.get()  # raises what ended the bot
                return
            quiet = time.time() - max(speaks_until, self.dialogue.quiet_since)
            if self.dialogue.talking or call.finished:
                continue
            if self.dialogue.let_go:
                call.hang_up()
            elif in_turn and self.dialogue.said > answered and quiet > pause:
                answered = self.dialogue.said
                sound = in_turn.pop(0)
                call.say(sound)
                speaks_until = time.time() + sound.seconds
            elif quiet > SILENCE_SECONDS:
                call.hang_up()

    def _listen(self) -> None:
        """Take in what has happened, in the order in which it happened."""
        arrival = self._client.receive(TICK_SECONDS)
        while arrival is not None:
            record = arrival.record
            self._happened.append((record.emitted_at, partial(self.dialogue.take, record)))
            arrival = self._client.receive(0)
        while not self._actions.empty():
            event, at = self._actions.get()
            self._happened.append((at, partial(self.dialogue.act, event, at)))
        self._happened.sort(key=lambda each: each[0])
        while self._happened and self._happened[0][0] < time.time() - ORDER_SECONDS:
            self._happened.pop(0)[1]()


def _silence() -> Sound:
    return Sound("a silent caller", RATE, np.full(RATE, IDLE_SAMPLE, np.int16), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
