#!/usr/bin/env python3
"""A French robot that takes appointments: it greets, asks for a name and a day, and confirms.

Who asks for « un conseiller » gets one at any time; who interrupts the robot is listened to; who
says nothing is asked once more, and then let go. There are two ways to run it.

In fsbot's own process, as extension 3729 of fsbot.xml hands calls over:

    fsbot run --robot dialplan/robot_freeswitch.py

As a program of its own, which knows fsbot by its events alone. It answers for extension 3730:

    python dialplan/robot_freeswitch.py --password-file /etc/freeswitch/esl-password

Try it without FreeSWITCH: `fsbot rehearse dialplan/robot_freeswitch.py caller.wav`.
"""

import argparse
import contextlib
import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gevent
from gevent.queue import Empty, Queue

from fsbot.robot import Robot, RobotCall, spoken
from fsbot.switch.connection import Connection
from fsbot.switch.errors import EslError

ADVISER = "1000"
"""The extension of a human being."""

PATIENCE = 6.0
"""Seconds that a caller may be silent."""

MOST_ATTEMPTS = 2
"""Questions in vain, one after the other, before the robot gives up."""


# What is said


@dataclass(frozen=True)
class Reply:
    """What the robot says next, and what it does then."""

    text: str
    then: Literal["listen", "transfer", "hangup"] = "listen"


GREETING = "Bonjour, vous êtes bien au cabinet Martin."
NAME = "Quel est votre nom, s'il vous plaît ?"
DAY = "Pour quel jour souhaitez-vous un rendez-vous ?"
GOODBYE = "Je ne vous entends pas. Au revoir."
HANDING_OVER = "Je vous passe un conseiller, ne quittez pas."

_DAY = r"lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche"
_MONTH = r"janvier|février|mars|avril|mai|juin|juillet|août|septembre|octobre|novembre|décembre"
_NUMBER = (
    r"\d{1,2}|premier|1er|deux|trois|quatre|cinq|six|sept|huit|neuf|dix(?:-(?:sept|huit|neuf))?"
    r"|onze|douze|treize|quatorze|quinze|seize|vingt(?:[- ](?:et[- ]une?|deux|trois|quatre|cinq"
    r"|six|sept|huit|neuf))?|trente(?:[- ]et[- ]un)?"
)
_WHEN = re.compile(
    rf"\b(?:après-demain|demain|aujourd'hui"
    rf"|(?:(?:{_DAY}),?\s+)?(?:le\s+)?(?:{_NUMBER}),?\s+(?:{_MONTH})"
    rf"|(?:{_DAY})(?:\s+(?:prochain|\d{{1,2}}))?)\b"
    rf"(?:\s+(?:matin|après-midi|soir)\b)?"
    rf"(?:,?\s+à\s+(?:midi|(?:{_NUMBER}|une)\s?h(?:eures?)?"
    rf"(?:\s?(?:\d{{2}}|et demie|et quart|quinze|trente))?)\b)?",
    re.IGNORECASE,
)
_INTRODUCTION = re.compile(
    r"\b(?:je m'appelle|mon nom(?: de famille)?(?: est|,? c'est)|je suis|c'est|ici)\s+", re.I
)
_POLITE = re.compile(
    r"^(?:(?:oui|non|allô|bonjour|bonsoir|merci|d'accord|euh|alors)\b[\s,.!?…]*)+", re.I
)
_CAPITALS = r"[A-ZÀ-Þ][\w'-]*"
_NAME = re.compile(
    r"(?:(?i:monsieur|madame|mademoiselle|m\.|mme)\s+)?"
    rf"({_CAPITALS}(?:\s+(?:(?:de|du|des|la|le|van|von)\s+)*{_CAPITALS}){{0,3}})"
)
_NAME_ALONE = re.compile(rf"{_NAME.pattern}(?=\s*(?:[,.!?…]|à l'appareil|$))")
_ADVISER = re.compile(r"\bconseill|\bun humain\b|\bquelqu'un\b|\b(?:standard|réception)\b", re.I)
_AGAIN = re.compile(
    r"\brépét|\bpardon\b|\bcomment\s*\?|pas (?:bien )?(?:compris|entendu)"
    r"|\bje suis (?:toujours )?là\b",
    re.IGNORECASE,
)
_YES = re.compile(r"\b(?:oui|ouais|exacte?(?:ment)?|d'accord|c'est (?:ça|bon)|tout à fait)\b", re.I)
_NO = re.compile(r"\b(?:non|pas (?:du tout|ça|exact|bon)|faux|erreur)\b", re.IGNORECASE)


def name_in(text: str) -> str:
    """A name, as callers give it: « Je m'appelle Jean Dupont. » Empty if there is none.

    Whisper writes names with capitals; but the first word of whatever is said, too.
    """
    told = text.strip().replace("’", "'")
    introduced = _INTRODUCTION.search(told)
    if introduced:
        found = _NAME.match(told, introduced.end())
    else:
        found = _NAME_ALONE.match(_POLITE.sub("", told))
    return " ".join(found[1].split()) if found else ""


def day_in(text: str) -> str:
    """A day, perhaps with an hour: « le 12 mars à 14 heures ». Empty if there is none."""
    found = _WHEN.search(text.replace("’", "'"))
    return found[0].strip().lower() if found else ""


class Dialogue:
    """The conversation without the telephone: texts in, replies out."""

    def __init__(self) -> None:
        self.name = self.day = ""
        self._misunderstood = self._silences = 0

    def open(self) -> Reply:
        return Reply(f"{GREETING} {self._question}")

    def hear(self, text: str) -> Reply:
        """The caller has said something."""
        self._silences = 0
        if _ADVISER.search(text):
            return Reply(HANDING_OVER, "transfer")
        if _AGAIN.search(text):
            return Reply(self._question)
        if not self.name:
            self.name = name_in(text)
            understood = bool(self.name)
        elif not self.day:
            self.day = day_in(text)
            understood = bool(self.day)
        elif _NO.search(text):
            self.name = self.day = ""
            return Reply(f"Excusez-moi, reprenons. {self._question}")
        elif _YES.search(text):
            return Reply(f"C'est noté, {self.name}. À bientôt !", "hangup")
        else:
            understood = False
        if understood:
            self._misunderstood = 0
            return Reply(self._question)
        self._misunderstood += 1
        if self._misunderstood >= MOST_ATTEMPTS:
            return Reply(HANDING_OVER, "transfer")
        return Reply(f"Excusez-moi, je n'ai pas compris. {self._question}")

    def silence(self) -> Reply:
        """The caller has said nothing."""
        self._silences += 1
        if self._silences >= MOST_ATTEMPTS:
            return Reply(GOODBYE, "hangup")
        return Reply(f"Êtes-vous toujours là ? {self._question}")

    @property
    def _question(self) -> str:
        if not self.name:
            return NAME
        if not self.day:
            return f"Merci, {self.name}. {DAY}"
        return f"Un rendez-vous {self.day}, au nom de {self.name}, est-ce bien cela ?"


# In fsbot's own process


class Appointments(Robot):
    """The robot that `fsbot run --robot` makes for each call."""

    def on_start(self, call: RobotCall) -> None:
        dialogue = Dialogue()
        reply = dialogue.open()
        while reply.then == "listen":
            answer = call.ask(reply.text, timeout=PATIENCE)
            reply = dialogue.hear(answer.text) if answer else dialogue.silence()
        call.say(reply.text).wait()
        if reply.then == "transfer":
            call.transfer(ADVISER)
        else:
            call.hangup()


# As a program of its own

EVENTS = ("start_of_transcript", "start_of_speech", "transcription", "end_of_transcript")
SPEAKING = 15.0
"""Letters that a voice says in a second: nothing tells this client when it has finished."""

LONGEST_UTTERANCE = 35.0
"""Seconds from the first sound of an utterance to its text, at most."""


class Conversation:
    """One call, by fsbot's events."""

    def __init__(self, connection: Connection, uuid: str, voice: str) -> None:
        self._connection = connection
        self._uuid = uuid
        self._voice = voice
        self._heard: Queue[str | None] = Queue()
        self._latest = 0
        """The utterance that the caller began last."""
        self._speaks_until = 0.0
        """time.monotonic() by which it must be text; 0 when it is."""
        self._echoes: set[int] = set()
        """Utterances that are the robot's own voice coming back."""
        self._let_go = False

    def take(self, record: dict[str, Any]) -> None:
        """An event of this call. Must not wait: all events come through here."""
        kind = record["kind"]
        if kind == "end_of_transcript":
            self._heard.put(None)
        elif record.get("side") == "caller" and not self._let_go:
            if kind == "start_of_speech":
                self._hear_start(record["utterance"], record["echo"], record["confirmed"])
            elif kind == "transcription" and record["is_final"]:
                self._hear_text(record["utterance"], record["text"])

    def run(self) -> None:
        """Talk to the caller until one of them has had enough."""
        self._ask(f"uuid_setvar {self._uuid} fsbot_robot true")  # the dialplan waits for that
        dialogue = Dialogue()
        reply = dialogue.open()
        while reply.then == "listen":
            self._say(reply.text)
            text = self._listen(len(reply.text) / SPEAKING + PATIENCE)
            if text is None:
                return  # the caller has hung up
            reply = dialogue.hear(text) if text else dialogue.silence()
        self._say(reply.text)
        gevent.sleep(len(reply.text) / SPEAKING)
        self._let_go = True
        if reply.then == "transfer":
            self._ask(f"uuid_transfer {self._uuid} {ADVISER}")
        else:
            self._ask(f"uuid_kill {self._uuid}")

    def _say(self, text: str) -> None:
        # mod_commands cuts its arguments at blanks, but not within quotes.
        quoted = spoken(text).replace("\\", "").replace("'", "\\'")
        self._ask(f"uuid_broadcast {self._uuid} 'speak::{self._voice}|{quoted}'")

    def _listen(self, seconds: float) -> str | None:
        """What a caller says who begins within so long; empty: nothing, None: the call is over."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < max(deadline, self._speaks_until):
            with contextlib.suppress(Empty):
                return self._heard.get(timeout=0.1)
        return ""

    def _hear_start(self, utterance: int, echo: bool, confirmed: bool) -> None:
        if echo:
            self._echoes.add(utterance)
            return
        if confirmed:
            self._echoes.discard(utterance)
        self._speaks_until = time.monotonic() + LONGEST_UTTERANCE
        if utterance != self._latest:
            self._latest = utterance
            gevent.spawn(self._ask, f"uuid_break {self._uuid} all")

    def _hear_text(self, utterance: int, text: str) -> None:
        if utterance == self._latest:
            self._speaks_until = 0.0
        if text and utterance not in self._echoes:
            self._heard.put(text)

    def _ask(self, command: str) -> None:
        try:
            answer = self._connection.api(command)
        except EslError as error:
            answer = f"-ERR {error}"
        if answer.startswith("-ERR"):
            print(f"{self._uuid}: {command.split()[0]}: {answer.strip()!r}", file=sys.stderr)


class Client:
    """Holds a conversation with every transcribed call to one extension."""

    def __init__(self, connection: Connection, extension: str, voice: str) -> None:
        self._connection = connection
        self._extension = extension
        self._voice = voice
        self._calls: dict[str, Conversation] = {}
        self._seen: dict[str, int] = {}

    def hear(self, event: Any) -> None:
        """An event of fsbot's; one that comes again, as is told of it, is dropped."""
        record = json.loads(event.body)
        uuid, sequence = record.get("call_uuid"), record["sequence"]
        if sequence <= self._seen.get(uuid, 0):
            return
        if record["kind"] == "start_of_transcript" and record["destination"] == self._extension:
            self._begin(uuid)
        if uuid in self._calls:
            self._seen[uuid] = sequence
            self._calls[uuid].take(record)
        if record["kind"] == "end_of_transcript":
            self._calls.pop(uuid, None)
            self._seen.pop(uuid, None)

    def _begin(self, uuid: str) -> None:
        if uuid not in self._calls:
            self._calls[uuid] = Conversation(self._connection, uuid, self._voice)
            gevent.spawn(self._calls[uuid].run)


def serve(connection: Connection, extension: str, voice: str) -> None:
    """Answer for an extension until the connection is closed."""
    client = Client(connection, extension, voice)
    connection.register_handle("*", client.hear)
    connection.connect()
    connection.subscribe((), [f"fsbot::{kind}" for kind in EVENTS])
    print(f"Answering for extension {extension}.", flush=True)
    connection.closed.wait()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8021, help="default: %(default)s")
    parser.add_argument("--password-file", type=Path, help="default: the password ClueCon")
    parser.add_argument("--extension", default="3730", help="default: %(default)s")
    parser.add_argument("--voice", default="flite|slt", help="default: %(default)s")
    options = parser.parse_args()
    try:
        secret = options.password_file
        password = secret.read_text().strip() if secret else "ClueCon"
        connection = Connection(options.host, options.port, password)
        serve(connection, options.extension, options.voice)
    except (OSError, EslError) as error:
        print(f"robot_freeswitch: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("robot_freeswitch: FreeSWITCH has closed the connection", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
