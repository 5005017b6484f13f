"""Which checks there are, in which order, and which depend on which."""

from collections.abc import Generator, Iterator

from fsbot.doctor.findings import Finding, Status
from fsbot.doctor.growth import CHECK as GROWTH_CHECK
from fsbot.doctor.host import (
    check_disk,
    check_inotify,
    check_settings,
    check_transcripts,
    check_weights,
    open_recordings,
)
from fsbot.doctor.listening import addresses, check_reach
from fsbot.doctor.rights import CHECK as GROUP_CHECK
from fsbot.doctor.switch import (
    PATH_CHECK,
    check_group,
    check_path,
    check_switch,
    logged_in,
    socket_failed,
)
from fsbot.doctor.trial import RECORDING_CHECK, check_call, check_placed_call
from fsbot.settings import Settings
from fsbot.switch.connection import Connection
from fsbot.switch.errors import EslError
from fsbot.switch.recording import RecordingDirectory

ON_A_CALL = (RECORDING_CHECK, GROWTH_CHECK)


class Examination:
    """The checks that these settings, and perhaps a call, allow."""

    def __init__(
        self, settings: Settings, call: str | None = None, dial_string: str | None = None
    ) -> None:
        """call: UUID of a live one; dial_string: of one to be placed; not both."""
        self._settings = settings
        self._call = call
        self._dial_string = dial_string

    def short(self) -> Generator[Finding, None, None]:
        """The event socket alone."""
        try:
            with logged_in(self._settings) as connection:
                yield from check_switch(connection)
        except EslError as error:
            yield socket_failed(error, self._settings.esl)

    def whole(self) -> Generator[Finding, None, None]:
        """Everything."""
        settings = self._settings
        yield from check_settings(settings)
        directory, finding = open_recordings(settings)
        yield finding
        yield from self._switch(directory)
        # From here on FreeSWITCH is let go: a client that is busy elsewhere would stall it.
        if directory is not None:
            yield from check_inotify(directory.local)
        yield from check_transcripts(settings)
        yield from check_disk(settings)
        yield from check_weights(settings)

    def _switch(self, directory: RecordingDirectory | None) -> Iterator[Finding]:
        remaining = [PATH_CHECK, GROUP_CHECK, *ON_A_CALL]
        reason = "no event socket" if directory else "no directory for recordings"
        try:
            with logged_in(self._settings) as connection:
                yield from check_switch(connection)
                esl = self._settings.esl
                if (reach := check_reach(esl, addresses(esl.port))) is not None:
                    yield reach
                if directory is not None:
                    for finding in self._recordings(connection, directory):
                        if finding.check in remaining:
                            remaining.remove(finding.check)
                        yield finding
                    reason = "nothing was recorded"
                    if not self._call and not self._dial_string:
                        reason = "no call (--call UUID or --originate DIALSTRING)"
        except EslError as error:
            yield socket_failed(error, self._settings.esl)
        for check in remaining:
            yield Finding(check, Status.NOT_TESTED, reason)

    def _recordings(
        self, connection: Connection, directory: RecordingDirectory
    ) -> Iterator[Finding]:
        yield from check_path(connection, directory)
        if self._call:
            yield from check_call(connection, self._call, directory, self._settings)
        elif self._dial_string:
            yield from check_placed_call(connection, self._dial_string, directory, self._settings)
        else:
            yield from check_group(connection, directory)
