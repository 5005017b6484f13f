"""What the dialplan, a CDR or a hang-up hook finds on the channel of a transcribed call."""

from pathlib import Path

import gevent
import structlog

from fsbot.switch.errors import EslError
from fsbot.switch.link import Link
from fsbot.transcript.records import Record, StartOfTranscript, Transcription

log = structlog.get_logger("fsbot.call")

FIRST_SECONDS = 1.0
"""How long after the journal's first record: the recording is started before."""

_UNSAFE = frozenset(";'\"\\^ \t\r\n")
"""What uuid_setvar_multi would cut a value at, or take away."""


class ChannelVariables:
    """Keeps variables of one leg up to date, in the background: nothing waits for them.

    fsbot_transcript_path: the journal; fsbot_language; fsbot_words: words of the final texts so
    far, of both sides. When the leg is gone they stay as they were: the words of the last seconds
    are final text only then.
    """

    def __init__(self, link: Link, leg: str, journal: Path) -> None:
        """leg: its UUID, which has passed check_uuid."""
        self._link = link
        self._leg = leg
        self._journal = journal
        self._words = 0
        self._wanted: dict[str, str] = {}
        self._sending = False

    def hear(self, record: Record) -> None:
        """Take in a record of the transcript. Never blocks."""
        match record:
            case StartOfTranscript(recording=1):
                self._set(fsbot_transcript_path=str(self._journal.absolute()), fsbot_words="0")
            case Transcription(is_final=True):
                self._words += sum(len(each.words) for each in record.alternatives)
                self._set(fsbot_words=str(self._words), fsbot_language=record.language_code)

    def _set(self, **values: str) -> None:
        """What was set a moment ago, and is not there yet, is overtaken. A value that FreeSWITCH
        would not take as it is, is left out."""
        self._wanted |= {name: value for name, value in values.items() if not _UNSAFE & set(value)}
        if not self._sending:
            self._sending = True
            gevent.spawn_later(0.0 if self._words else FIRST_SECONDS, self._send)

    def _send(self) -> None:
        try:
            while self._wanted:
                pairs = ";".join(f"{name}={value}" for name, value in self._wanted.items())
                self._wanted = {}
                answer = self._link.connection.api(f"uuid_setvar_multi {self._leg} {pairs}")
                if answer.startswith("-ERR"):
                    return  # the leg is no more
        except EslError as error:
            log.debug("channel variables not set", call_uuid=self._leg, reason=str(error))
        finally:
            self._sending = False
