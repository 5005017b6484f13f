"""What can go wrong between fsbot and FreeSWITCH's event socket, each with its remedy."""

from fsbot.errors import UserError


class EslError(Exception):
    """The base of all event socket failures. `remedy` names the setting to look at, if any."""

    exit_code = 2
    remedy = ""

    def as_user_error(self) -> UserError:
        """The same failure as one that ends a command; for those that happen at start."""
        return UserError(str(self), self.remedy, self.exit_code)


class ConnectionRefused(EslError):
    """No event socket answered there: refused, unreachable, unknown name, or nobody in time."""

    remedy = (
        "Start FreeSWITCH with mod_event_socket loaded, or correct esl.host and esl.port "
        "(listen-ip and listen-port in its event_socket.conf.xml)."
    )


class AuthenticationFailed(EslError):
    """FreeSWITCH answered `-ERR invalid` to our password."""

    exit_code = 3
    remedy = "Set esl.password to the password in FreeSWITCH's event_socket.conf.xml."


class AccessDenied(EslError):
    """FreeSWITCH sent text/rude-rejection: its access control list refuses our address."""

    exit_code = 4
    remedy = (
        "Let this machine's address into the list that apply-inbound-acl names in FreeSWITCH's "
        "event_socket.conf.xml, then `reload mod_event_socket` there."
    )


class ConnectionLost(EslError):
    """The link is down: it broke, was closed, or is not up yet."""


class RequestTimeout(EslError):
    """No reply in time. The request may still be carried out; its late reply is dropped."""


class CommandRefused(EslError):
    """FreeSWITCH answered `-ERR …`, `-USAGE …` or something unexpected: `reply`, unchanged."""

    def __init__(self, command: str, reply: str) -> None:
        super().__init__(f"FreeSWITCH refuses `{command}`: {reply.strip()[:200]!r}")
        self.reply = reply
