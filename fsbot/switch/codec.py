"""FreeSWITCH's event socket protocol as bytes in, values out: no socket, no clock, no greenlet.

A frame is a block of `Name: value` lines, an empty line, and as many bytes of body as the
header `Content-Length` says. Events are frames whose body holds a second such block, this time
with every value percent-encoded (`text/event-plain`), or a JSON object (`text/event-json`).

Both ends are here: `Decoder`, `parse_event` and `encode_command` for a client; `CommandDecoder`,
`encode_message` and `encode_event_plain` for a switch. Source: mod_event_socket.c,
switch_event.c and switch_utils.c of FreeSWITCH 1.11, and the captures in tests/fixtures/captures.

Text is UTF-8 with `surrogateescape`: a byte that is not UTF-8 survives the way in and out.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

MAX_HEADER_BYTES = 1 << 20
MAX_MESSAGE_BODY = 64 << 20
MAX_COMMAND_BODY = 16 << 20  # FreeSWITCH hangs up on a client that announces more

_FRAMES_WITHOUT_BODY = frozenset({"auth/request", "command/reply"})
_UNSAFE_IN_COMMAND = re.compile(r"[\r\n\0]")
_LEFT_ALONE_OR_ENCODED = re.compile(rb"""(%[0-9A-F]{2})|[^!$'()*,\-./0-9A-Z_a-z~]""")


class ProtocolError(Exception):
    """The peer sent what cannot be a frame; the rest of its stream has no known borders."""


class Headers:
    """Header lines in the order they came, duplicates kept; names are found in any case.

    `headers["Name"]` is the first value of that name (KeyError without one).
    """

    __slots__ = ("_by_name", "_pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = tuple(pairs)
        self._by_name: dict[str, list[str]] = {}
        for name, value in self._pairs:
            self._by_name.setdefault(name.lower(), []).append(value)

    def __getitem__(self, name: str) -> str:
        return self._by_name[name.lower()][0]

    def get(self, name: str, default: str = "") -> str:
        values = self._by_name.get(name.lower())
        return values[0] if values else default

    def all(self, name: str) -> list[str]:
        return list(self._by_name.get(name.lower(), ()))

    def items(self) -> Sequence[tuple[str, str]]:
        return self._pairs

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._by_name

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._pairs == other._pairs

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        return f"Headers({list(self._pairs)!r})"


@dataclass(frozen=True, slots=True)
class Message:
    """One frame from the switch, its header values as they stood on the wire."""

    content_type: str
    headers: Headers
    body: bytes = b""

    @property
    def reply_text(self) -> str:
        """`Reply-Text`, e.g. `+OK accepted`; the outbound socket's percent-encoded one decoded."""
        text = self.headers.get("Reply-Text")
        return _percent_decode(_to_bytes(text)).strip() if text.startswith("%") else text

    @property
    def text(self) -> str:
        """The body as text."""
        return _to_text(self.body)


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded event. A value may hold any character, line ends included, and is one value."""

    headers: Headers
    body: bytes = b""

    @property
    def name(self) -> str:
        """`Event-Name`; empty for a CUSTOM event that a live channel has swallowed.

        The last one counts: a sender's own `Event-Name` goes out before FreeSWITCH's.
        """
        names = self.headers.all("Event-Name")
        return names[-1] if names else ""

    @property
    def subclass(self) -> str:
        """`Event-Subclass`, e.g. `fsbot::control`; empty but for CUSTOM events."""
        return self.headers.get("Event-Subclass")


@dataclass(frozen=True, slots=True)
class Command:
    """What a client sent: `line` is the command itself, e.g. `api uuid_exists <uuid>`."""

    line: str
    headers: Headers
    body: bytes = b""


class _FrameReader:
    """Cuts a byte stream into header blocks and bodies; every byte is looked at once.

    After a ProtocolError the bad frame stays where it is: every further call raises again.
    """

    def __init__(self, max_body: int, first_header: int) -> None:
        """first_header: the line of a block, from 0, with which its headers begin."""
        self._max_body = max_body
        self._first_header = first_header
        self._buffer = bytearray()
        self._searched = 0
        self._pending: tuple[list[str], int] | None = None

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_frame(self) -> tuple[list[str], bytes] | None:
        """The next frame's header lines and body, or None until it is complete."""
        if self._pending is None:
            self._pending = self._next_header_block()
        if self._pending is None:
            return None
        lines, length = self._pending
        if len(self._buffer) < length:
            return None
        self._pending = None
        return lines, self._take(length)

    def _next_header_block(self) -> tuple[list[str], int] | None:
        while self._buffer.startswith(b"\n"):
            del self._buffer[:1]
            self._searched = 0
        end = self._buffer.find(b"\n\n", self._searched)
        if max(end, 0) > MAX_HEADER_BYTES or (end < 0 and len(self._buffer) > MAX_HEADER_BYTES):
            raise ProtocolError(f"a header block of more than {MAX_HEADER_BYTES} bytes")
        if end < 0:
            self._searched = max(len(self._buffer) - 1, 0)
            return None
        lines = _to_text(bytes(self._buffer[:end])).split("\n")
        length = self._body_length(lines)
        del self._buffer[: end + 2]
        self._searched = 0
        return lines, length

    def _body_length(self, lines: list[str]) -> int:
        headers = Headers(_header_pairs(lines[self._first_header :]))
        declared = set(headers.all("Content-Length"))
        if not declared:
            return 0
        length = declared.pop()
        if declared:
            raise ProtocolError("two different Content-Length headers in one frame")
        if not (length.isascii() and length.isdigit()):
            raise ProtocolError(f"Content-Length is no number: {length[:40]!r}")
        # Digits are counted first: int() of a very long number is slow and then refused.
        if len(length) > 12 or int(length) > self._max_body:
            raise ProtocolError(f"a body of {length[:40]} bytes; the limit is {self._max_body}")
        return int(length)

    def _take(self, length: int) -> bytes:
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken


class Decoder:
    """Frames that a switch sends. Feed bytes as they come, then ask until None comes back."""

    def __init__(self) -> None:
        self._frames = _FrameReader(MAX_MESSAGE_BODY, first_header=0)
        self._failure = ""

    def feed(self, data: bytes) -> None:
        self._frames.feed(data)

    def next_message(self) -> Message | None:
        """The next whole message or None. Raises ProtocolError, then for ever."""
        if self._failure:
            raise ProtocolError(self._failure)
        frame = self._frames.next_frame()
        if frame is None:
            return None
        lines, body = frame
        headers = Headers(_header_pairs(lines))
        if "Content-Type" not in headers:
            self._failure = f"a frame without Content-Type: {lines[0][:80]!r}"
            raise ProtocolError(self._failure)
        return Message(headers["Content-Type"], headers, body)


class CommandDecoder:
    """Frames that a client sends: a command line, then headers, then a body if announced."""

    def __init__(self) -> None:
        self._frames = _FrameReader(MAX_COMMAND_BODY, first_header=1)

    def feed(self, data: bytes) -> None:
        self._frames.feed(data)

    def next_command(self) -> Command | None:
        """The next whole command or None. Raises ProtocolError, then for ever."""
        frame = self._frames.next_frame()
        if frame is None:
            return None
        lines, body = frame
        return Command(lines[0], Headers(_header_pairs(lines[1:])), body)


def parse_event(message: Message) -> Event:
    """The event inside a message.

    Takes text/event-plain, text/event-json, and the outbound socket's answer to `connect`,
    a command/reply whose own headers are the event. Raises ProtocolError for anything else, and
    for headers of more than MAX_HEADER_BYTES: to take 10 MB of them apart holds the hub for a
    second and takes 800 MB. The stream itself is still good then, for the frame had borders.
    """
    if message.content_type == "text/event-plain":
        return _parse_plain(message.body)
    if message.content_type == "text/event-json":
        return _parse_json(message.body)
    if message.content_type == "command/reply" and "Event-Name" in message.headers:
        return Event(
            Headers(
                (name, _percent_decode(_to_bytes(value))) for name, value in message.headers.items()
            )
        )
    raise ProtocolError(f"no event in a message of type {message.content_type[:80]!r}")


def parse_json_event(text: str) -> Event:
    """An event from a JSON object: `text/event-json`, or what `uuid_dump <uuid> json` prints.

    Raises ProtocolError.
    """
    _check_size(text)
    try:
        # Pairs, not a dict: FreeSWITCH writes some names twice. Tuples tell objects from lists.
        members = json.loads(text, object_pairs_hook=tuple, strict=False)
        if not isinstance(members, tuple):
            raise ProtocolError("a JSON event that is no object")
        pairs = [(name, _json_text(value)) for name, value in members]
        for name, value in pairs:
            _to_bytes(name + value)  # A lone surrogate could be written nowhere later on.
        body = "".join(value for name, value in pairs if name == "_body")
        return Event(Headers(pair for pair in pairs if pair[0] != "_body"), _to_bytes(body))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a JSON event that cannot be read: {error}") from error


def _parse_plain(content: bytes) -> Event:
    head, _, body = content.partition(b"\n\n")
    _check_size(head)
    # Borders first, decoding second: a caller's name with %0A in it must not make a header.
    pairs = []
    for line in head.split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon:
            pairs.append((_to_text(name), _percent_decode(value.lstrip(b" "))))
    return Event(Headers(pairs), body)


def _parse_json(content: bytes) -> Event:
    return parse_json_event(_to_text(content))


def _check_size(headers: bytes | str) -> None:
    if len(headers) > MAX_HEADER_BYTES:
        raise ProtocolError(f"an event with headers of {len(headers)} bytes")


def _json_text(value: object) -> str:
    if isinstance(value, list):
        return "ARRAY::" + "|:".join(_json_text(item) for item in value)
    return value if isinstance(value, str) else str(value)


def encode_command(line: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> bytes:
    """A client's command as bytes; `Content-Length` is added for a body.

    Raises ValueError if the line or a header holds CR, LF or NUL, each of which FreeSWITCH reads
    as the start of something else. The message never quotes the text: it may be a password.
    """
    if _UNSAFE_IN_COMMAND.search(line) or not line:
        raise ValueError("a command must be one line without CR, LF or NUL")
    for name, value in headers:
        if _UNSAFE_IN_COMMAND.search(name + value) or ":" in name or not name:
            raise ValueError("a header's name or value holds CR, LF, NUL or its name a colon")
        if name.lower() == "content-length":
            raise ValueError("Content-Length is counted here, from the body")
    length = [("Content-Length", str(len(body)))] if body else []
    return _to_bytes(line) + b"\n" + _header_block([*headers, *length]) + body


def encode_message(
    content_type: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
) -> bytes:
    """A switch's frame as bytes: Content-Type, the headers, Content-Length (where the type has a
    body, even an empty one), then the body. Header values go out as they are.
    """
    length: list[tuple[str, str]] = []
    if body or content_type not in _FRAMES_WITHOUT_BODY:
        length = [("Content-Length", str(len(body)))]
    return _header_block([("Content-Type", content_type), *headers, *length]) + body


def encode_event_plain(headers: Sequence[tuple[str, str]], body: bytes = b"") -> bytes:
    """A whole text/event-plain frame, outer headers included, as FreeSWITCH writes it.

    Values are percent-encoded, except that a `%XX` (upper case) already there is left alone:
    `100%` and `100%25` look the same afterwards. A body gets its own, inner Content-Length.
    """
    lines = [_to_bytes(name) + b": " + percent_encode(value) + b"\n" for name, value in headers]
    if body:
        lines.append(b"Content-Length: %d\n" % len(body))
    content = b"".join(lines) + b"\n" + body
    outer = [("Content-Length", str(len(content))), ("Content-Type", "text/event-plain")]
    return _header_block(outer) + content


def _header_pairs(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    # FreeSWITCH skips a line without a colon too, see captures/sendevent_sender.esl.sent.
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            yield name, value.lstrip(" ")


def _header_block(headers: Iterable[tuple[str, str]]) -> bytes:
    return b"".join(_to_bytes(f"{name}: {value}\n") for name, value in headers) + b"\n"


def _percent_decode(value: bytes) -> str:
    return _to_text(unquote_to_bytes(value) if b"%" in value else value)


def percent_encode(value: str) -> bytes:
    """A header's value as FreeSWITCH writes it in an event; a `%XX` that is there stays."""
    return _LEFT_ALONE_OR_ENCODED.sub(
        lambda match: match[1] or b"%%%02X" % match[0][0], _to_bytes(value)
    )


def _to_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
