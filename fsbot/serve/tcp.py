"""SimulStreaming's TCP protocol for many clients: raw PCM in, lines of live text out.

A line goes out when its words are committed. When a client half-closes (as `nc -N` does), what has
been said is flushed, and then the connection is closed.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket as constants

import gevent
import structlog
from gevent import socket
from gevent.server import StreamServer

from fsbot.audio.pcm import SAMPLE_RATE, PcmFormat
from fsbot.engine.options import StreamOptions
from fsbot.engine.scheduler import Engine
from fsbot.errors import UserError
from fsbot.hub import HubBridge
from fsbot.serve.client import Client, Terms, turn_away
from fsbot.settings import Serve
from fsbot.transcript.redaction import NO_REDACTION, Redaction

log = structlog.get_logger("fsbot.serve")

WAITING_CONNECTIONS = 64


class TcpServer:
    """Listens on every address of serve.host, and serves whoever comes."""

    def __init__(
        self,
        settings: Serve,
        stream_options: StreamOptions,
        *,
        ends: bool = True,
        redaction: Redaction = NO_REDACTION,
    ) -> None:
        """`ends`: whether JSON tells ends of utterances. redaction: what is taken out of texts.
        Raises UserError if it cannot listen.

        Who connects waits until `start`.
        """
        rate, channels = settings.rate or SAMPLE_RATE, settings.channels or 1
        self.stream_options = stream_options
        self._settings = settings
        self._engine: Engine
        self._bridge: HubBridge
        self._terms = Terms(
            stream_options,
            settings.format,
            PcmFormat(rate, channels),
            check=settings.rate is None and settings.channels is None,
            ends=ends,
            backlog=settings.backlog,
            idle_timeout=settings.idle_timeout,
            send_timeout=settings.send_timeout,
            redaction=redaction,
        )
        self._clients: dict[gevent.Greenlet, Client] = {}
        self._number = 0
        listeners = _listen(settings)
        self.addresses = [listener.getsockname()[:2] for listener in listeners]
        """Addresses and ports that are listened on."""
        self._servers = [StreamServer(listener, self._serve) for listener in listeners]

    @property
    def clients(self) -> list[Client]:
        return list(self._clients.values())

    def start(self, engine: Engine, bridge: HubBridge) -> None:
        """Serve clients from now on."""
        self._engine, self._bridge = engine, bridge
        for server in self._servers:
            server.start()
        for host, port in self.addresses:
            log.info("serving", address=host, port=port, format=self._settings.format)
            if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
                log.warning("anybody who reaches this address may send sound", address=host)

    def finish(self, seconds: float) -> None:
        """Take no more clients and no more sound; give those that are there what was said."""
        self.close()
        serving = dict(self._clients)
        for client in serving.values():
            client.stop()
        gevent.joinall(list(serving), timeout=seconds)
        late = [greenlet for greenlet in serving if not greenlet.dead]
        if late:
            log.warning("clients not finished in time", clients=len(late))
        gevent.killall(late)

    def close(self) -> None:
        """Listen no more."""
        for server in self._servers:
            server.close()

    def _serve(self, sock: socket.socket, address: tuple[str, int]) -> None:
        most = self._settings.max_clients
        if len(self._clients) >= most:
            log.warning("client turned away", address=address[0], clients=most)
            turn_away(
                sock,
                self._terms.form,
                f"{most} clients are connected, as many as serve.max_clients allows",
                "Try again later, or raise serve.max_clients",
            )
            return
        self._number += 1
        log.info("client came", client=self._number, address=address[0], port=address[1])
        client = Client(sock, self._number, self._terms, self._engine, self._bridge)
        greenlet = gevent.getcurrent()
        greenlet.name = f"client {self._number}"
        self._clients[greenlet] = client
        try:
            client.run()
        finally:
            del self._clients[greenlet]


def _listen(settings: Serve) -> list[socket.socket]:
    """A socket for every address of serve.host. Raises UserError."""
    place = f"{settings.host}:{settings.port}"
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise UserError(
            f"serve.host {settings.host} is no address of this machine: {error.strerror}",
            "Set serve.host to an address, such as 127.0.0.1, or to a host name.",
        ) from error
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    public = [str(a[0]) for _, a in addresses if not _loopback(str(a[0]))]
    if public and not settings.allow_remote:
        raise UserError(
            f"serve.host {settings.host} can be reached from other machines ({public[0]})",
            "Whoever reaches it may send sound, and nothing is encrypted. Put a proxy with TLS in "
            "front of 127.0.0.1, or set serve.allow_remote (--allow-remote).",
        )
    listeners: list[socket.socket] = []
    try:
        for family, address in addresses:
            listeners.append(_listener(family, address))
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise UserError(f"cannot listen on {place}: {_why(error)}", _remedy(error, settings)) from (
            error
        )
    return listeners


def _listener(family: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(constants.SOL_SOCKET, constants.SO_REUSEADDR, 1)
        if family == constants.AF_INET6:
            # The IPv4 address of the same name has a socket of its own.
            listener.setsockopt(constants.IPPROTO_IPV6, constants.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(WAITING_CONNECTIONS)
    except OSError:
        listener.close()
        raise
    return listener


def _loopback(address: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    return False


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens there"
    return os.strerror(error.errno) if error.errno else str(error)


def _remedy(error: OSError, settings: Serve) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"Stop it (`ss -ltnp 'sport = :{settings.port}'` names it), or choose another "
                "serve.port (--port)."
            )
        case errno.EACCES:
            return "Ports below 1024 are root's: choose another serve.port (--port)."
        case _:
            return "Set serve.host to an address of this machine, such as 127.0.0.1."
