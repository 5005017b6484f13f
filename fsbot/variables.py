"""What the dialplan, a CDR or a hang-up hook finds on the channel of a transcribed call."""

from pathlib import Path

import gevent
import structlog

from fsbot.switch.errors import EslError
from fsbot.switch.link import Link
from fsbot.switch.uuids import UnsafeUuid, check_uuid
from fsbot.transcript.records import Record, StartOfTranscript, Transcription

log = structlog.get_logger("fsbot.call")

FIRST_SECONDS = 1.0
"""How long after the journal's first record: the recording is started before."""

_UNSAFE = frozenset(";'\\$")
"""What uuid_setvar_multi would cut a value at or take away (switch_separate_string), and what may
begin a variable, with which it takes no value at all (switch_string_var_check)."""


class ChannelVariables:
    """Keeps variables of the recorded leg up to date, in the background: nothing waits for them.

    fsbot_transcript_path: the journal; fsbot_language; fsbot_words: words of the final texts so
    far, of both sides. When the leg is gone they stay as they were: the words of the last seconds
    are final text only then, and from its hang-up on FreeSWITCH finds no leg for a variable
    (switch_core_session_read_lock).
    """

    def __init__(self, link: Link, leg: str, journal: Path, words: int = 0) -> None:
        """leg: its UUID. words: of the final texts of a former run."""
        self._link = link
        self._leg = leg
        self._journal = journal
        self._words = words
        self._wanted: dict[str, str] = {}
        self._sending = False

    def hear(self, record: Record) -> None:
        """Take in a record of the transcript. Never blocks."""
        match record:
            case StartOfTranscript():
                self._leg = record.leg_uuid
                path, words = str(self._journal.absolute()), str(self._words)
                self._set(fsbot_transcript_path=path, fsbot_words=words)
            case Transcription(is_final=True):
                self._words += sum(len(each.words) for each in record.alternatives)
                self._set(fsbot_words=str(self._words), fsbot_language=record.language_code)

    def _set(self, **values: str) -> None:
        """What was set a moment ago, and is not there yet, is overtaken. A value that FreeSWITCH
        would not take as it is, is left out."""
        self._wanted |= {
            name: value
            for name, value in values.items()
            if value.isprintable() and not _UNSAFE & set(value)
        }
        if not self._sending:
            self._sending = True
            gevent.spawn_later(0.0 if self._words else FIRST_SECONDS, self._send)

    def _send(self) -> None:
        sent: dict[str, str] = {}
        try:
            while self._wanted:
                sent, self._wanted = self._wanted, {}
                pairs = ";".join(f"{name}={value}" for name, value in sent.items())
                command = f"uuid_setvar_multi {check_uuid(self._leg)} {pairs}"
                if self._link.connection.api(command).startswith("-ERR"):
                    return  # the leg is no more
        except EslError as error:
            # With the next final text once more.
            self._wanted = sent | self._wanted
            log.debug("channel variables not set", call_uuid=self._leg, reason=str(error))
        except UnsafeUuid as error:
            log.debug("channel variables not set", reason=str(error))
        finally:
            self._sending = False
