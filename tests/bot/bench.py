"""What the bot's tests share: the bot on a bench, and readings of what it writes."""

import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import numpy as np
from pydantic import SecretStr

import fsbot.rehearsal
from fsbot.bench.scoring import align
from fsbot.bot import Bot
from fsbot.client import TranscriptClient
from fsbot.engine.model import SpeechModel
from fsbot.engine.options import EngineOptions
from fsbot.engine.scheduler import Engine
from fsbot.rehearsal.server import RehearsalSwitch
from fsbot.rehearsal.session import ClientSession
from fsbot.rehearsal.sound import Sound
from fsbot.settings import Settings
from fsbot.switch.codec import Event
from fsbot.switch.uuids import file_stem
from fsbot.transcript.journal import read_journal
from fsbot.transcript.records import EndOfTranscript, Failure, Record, Transcription

UTTERANCE = Path(fsbot.rehearsal.__file__).parent / "sounds" / "utterance-fr.flac"
PATIENCE = 120.0
"""Seconds: a limit for what will come, on a machine that does other work too."""


class Bench:
    """The bot under test, in this process, and what it leaves behind."""

    def __init__(self, switch: RehearsalSwitch, model: SpeechModel, folder: Path) -> None:
        self.switch = switch
        self.recordings = folder / "recordings"
        self.transcripts = folder / "transcripts"
        self.bot: Bot
        self.running: gevent.Greenlet | None = None
        self._model = model

    def make(self, **sections: dict[str, Any]) -> Bot:
        """A bot with these settings, not running."""
        esl = {"port": self.switch.port, "password": SecretStr("ClueCon")}
        settings = Settings(
            **{  # type: ignore[arg-type]
                **sections,
                "esl": esl | sections.get("esl", {}),
                "recordings": {"directory": self.recordings, "retention": "forever"}
                | sections.get("recordings", {}),
                "transcripts": {"directory": self.transcripts} | sections.get("transcripts", {}),
            }
        )
        self.bot = Bot(settings, Engine(self._model, EngineOptions()))
        return self.bot

    def start(self, **sections: dict[str, Any]) -> "Bench":
        """Start a bot with these settings, and wait until it listens."""
        self.running = gevent.spawn(self.make(**sections).run)
        self.wait(lambda: self.session is not None)
        return self

    def stop(self) -> None:
        if self.running is not None:
            self.bot.stop()
            assert self.running.join(PATIENCE) is None
            assert self.running.ready()
            self.running.get()
            self.running = None

    @property
    def session(self) -> ClientSession | None:
        """The bot's connection as the switch sees it."""
        listening = [s for s in self.switch.sessions if s.subscription.listens_to("CODEC")]
        return listening[0] if listening else None

    def wait(self, condition: Callable[[], object]) -> None:
        assert self.switch.wait(lambda: bool(condition()), PATIENCE)

    def journal_path(self, call_uuid: str) -> Path | None:
        return next(self.transcripts.glob(f"*/{file_stem(call_uuid)}.jsonl"), None)

    def journal(self, call_uuid: str) -> list[Record]:
        path = self.journal_path(call_uuid)
        return list(read_journal(path)) if path is not None else []

    def transcript(self, call_uuid: str) -> list[Record]:
        """The journal, once the bot has let go of the call."""
        self.wait(lambda: of_kind(self.journal(call_uuid), EndOfTranscript))
        self.wait(lambda: call_uuid not in self.bot._calls)
        return self.journal(call_uuid)

    def recorded(self, call_uuid: str) -> list[Path]:
        return sorted(self.recordings.glob(f"{file_stem(call_uuid)}-*.raw"))


class Listener:
    """A second client of the event socket: what it gets of fsbot's events, in order."""

    def __init__(self, port: int) -> None:
        self.events: list[Event] = []
        self._client = TranscriptClient("127.0.0.1", port, on_event=self.events.append)
        self._client.open()

    def of(self, call_uuid: str) -> list[Event]:
        return [event for event in self.events if event.headers.get("Call-UUID") == call_uuid]

    def close(self) -> None:
        self._client.close()


def of_kind(records: list[Record], kind: type[Record]) -> list[Any]:
    return [record for record in records if isinstance(record, kind)]


def errors(records: list[Record]) -> list[str]:
    return [record.error for record in of_kind(records, Failure)]


def finals(records: list[Record]) -> list[Transcription]:
    return [record for record in of_kind(records, Transcription) if record.is_final]


def live(records: list[Record]) -> list[Transcription]:
    return [record for record in of_kind(records, Transcription) if not record.is_final]


def words(text: str) -> list[str]:
    """Words without case, accents and punctuation."""
    plain = unicodedata.normalize("NFD", text.lower())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.findall(r"[a-z0-9]+", plain)


def likeness(heard: str, said: str) -> float:
    """1 for the same words in the same order, each as often; 0 for none in common."""
    return 1 - align(words(said), words(heard)).errors / max(len(words(said)), len(words(heard)), 1)


def joined(records: list[Transcription]) -> str:
    return " ".join(record.text for record in records if record.text)


def as_sent(record: Record) -> dict[str, Any]:
    """A record as its JSON says it."""
    return dict(json.loads(record.model_dump_json()))


def silence(seconds: float, stereo: bool = False) -> Sound:
    quiet = np.zeros(int(seconds * 8000), np.int16)
    return Sound("silence", 8000, quiet, quiet if stereo else None)
