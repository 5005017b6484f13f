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
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal

from fsbot.api import (
    EndOfTranscript,
    EslError,
    Record,
    Robot,
    RobotCall,
    StartOfSpeech,
    StartOfTranscript,
    TranscriptClient,
    Transcription,
    UserError,
    spoken,
)

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

KINDS = (StartOfTranscript, StartOfSpeech, Transcription, EndOfTranscript)
SPEAKING = 15.0
"""Letters that a voice says in a second: nothing tells this client when it has finished."""

LONGEST_UTTERANCE = 35.0
"""Seconds from the first sound of an utterance to its text, at most."""


class Conversation:
    """One call, by fsbot's records."""

    def __init__(self, client: TranscriptClient, uuid: str, voice: str) -> None:
        self._client = client
        self._uuid = uuid
        self._voice = voice
        self._heard: SimpleQueue[str | None] = SimpleQueue()
        self._latest = 0
        """The utterance that the caller began last."""
        self._speaks_until = 0.0
        """time.monotonic() by which it must be text; 0 when it is."""
        self._echoes: set[int] = set()
        """Utterances that are the robot's own voice coming back."""
        self._let_go = False

    def take(self, record: Record) -> None:
        """A record of this call. Must not wait: all records come through here."""
        if isinstance(record, EndOfTranscript):
            self._heard.put(None)
        elif self._let_go:
            return
        elif isinstance(record, StartOfSpeech) and record.side == "caller":
            self._hear_start(record.utterance, record.echo, record.confirmed)
        elif isinstance(record, Transcription) and record.side == "caller" and record.is_final:
            self._hear_text(record.utterance, record.text)

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
        time.sleep(len(reply.text) / SPEAKING)
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
            in_background(self._ask, f"uuid_break {self._uuid} all")

    def _hear_text(self, utterance: int, text: str) -> None:
        if utterance == self._latest:
            self._speaks_until = 0.0
        if text and utterance not in self._echoes:
            self._heard.put(text)

    def _ask(self, command: str) -> None:
        try:
            answer = self._client.api(command)
        except EslError as error:
            answer = f"-ERR {error}"
        if answer.startswith("-ERR"):
            print(f"{self._uuid}: {command.split()[0]}: {answer.strip()!r}", file=sys.stderr)


def in_background(function: Callable[..., object], *args: object) -> None:
    threading.Thread(target=function, args=args, daemon=True).start()


def serve(client: TranscriptClient, extension: str, voice: str) -> None:
    """Hold a conversation with every transcribed call to one extension, until the client closes."""
    calls: dict[str, Conversation] = {}
    print(f"Answering for extension {extension}.", flush=True)
    for record in client:
        uuid = record.call_uuid
        begins = isinstance(record, StartOfTranscript) and record.destination == extension
        if begins and uuid not in calls:
            calls[uuid] = Conversation(client, uuid, voice)
            in_background(calls[uuid].run)
        if uuid in calls:
            calls[uuid].take(record)
        if isinstance(record, EndOfTranscript):
            calls.pop(uuid, None)


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
        where = options.host, options.port, password
        with TranscriptClient(*where, kinds=KINDS, wait=False) as client:
            serve(client, options.extension, options.voice)
    except (OSError, UserError) as error:
        print(f"robot_freeswitch: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
