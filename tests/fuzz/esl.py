"""The ESL codec, and what the bot reads out of events and replies."""

import contextlib
import random
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbot.switch.bridges import Bridges
from fsbot.switch.codec import (
    Command,
    CommandDecoder,
    Decoder,
    Event,
    Headers,
    Message,
    ProtocolError,
    encode_command,
    encode_message,
    parse_event,
)
from fsbot.switch.conversations import Conversations
from fsbot.switch.errors import CommandRefused
from fsbot.switch.legs import Leg, LegRoles
from fsbot.switch.masks import mask_change
from fsbot.switch.resync import parse_channels

CAPTURES = Path(__file__).parent.parent / "fixtures" / "captures"
SEED_BYTES = 4000
MOST_BYTES = 6000
_LENGTH = "content-length"


def seeds() -> Iterator[bytes]:
    """Both directions of every capture: as they are, and whole frames together."""
    for path in sorted(CAPTURES.glob("*.esl*")):
        data = path.read_bytes()
        yield data[:SEED_BYTES]
        frames = b""
        for message in decoded(Decoder(), [data])[0]:
            rest = others(message.headers, _LENGTH, "content-type")
            frames += encode_message(message.content_type, rest, message.body)
            if len(frames) > SEED_BYTES:
                yield frames
                frames = b""


def check(data: bytes) -> None:
    messages, error = decoded(Decoder(), [data])
    commands, command_error = decoded(CommandDecoder(), [data])
    for pieces in (cut(data), [data[at : at + 1] for at in range(min(len(data), 3000))]):
        if len(b"".join(pieces)) == len(data):
            assert decoded(Decoder(), pieces) == (messages, error)
            assert decoded(CommandDecoder(), pieces) == (commands, command_error)
    for message in messages:
        check_message(message)
    for command in commands:
        check_command(command)


def decoded(decoder: Decoder | CommandDecoder, pieces: list[bytes]) -> tuple[list, str]:
    """All that comes out, and the error that ends it, if any."""
    ask = decoder.next_message if isinstance(decoder, Decoder) else decoder.next_command
    found: list = []
    try:
        for piece in pieces:
            decoder.feed(piece)
            found.extend(iter(ask, None))
    except ProtocolError as error:
        decoder.feed(b"Content-Type: a\n\n")
        with pytest.raises(ProtocolError, match=re.escape(str(error))):
            ask()
        return found, str(error)
    return found, ""


def cut(data: bytes) -> list[bytes]:
    """In pieces, always in the same ones."""
    dice = random.Random(zlib.crc32(data))
    places = sorted(dice.randrange(len(data) + 1) for _ in range(min(len(data), 20)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def check_message(message: Message) -> None:
    assert isinstance(message.reply_text, str)
    assert message.text.encode("utf-8", "surrogateescape") == message.body
    rest = others(message.headers, _LENGTH, "content-type")
    ((again,), error) = decoded(
        Decoder(), [encode_message(message.content_type, rest, message.body)]
    )
    assert error == ""
    assert (again.content_type, again.body) == (message.content_type, message.body)
    assert others(again.headers, _LENGTH, "content-type") == rest
    with contextlib.suppress(CommandRefused):
        parse_channels(message.text)
    try:
        event = parse_event(message)
    except ProtocolError:
        return
    check_event(event)


def check_event(event: Event) -> None:
    """Whatever strangers put into it: it can be asked for all that the bot asks, and be written."""
    for name, value in event.headers.items():
        (name + value).encode("utf-8", "surrogateescape")
        assert event.headers.get(name) in event.headers.all(name)
    assert isinstance(event.name + event.subclass, str)
    Leg.from_event(event)
    LegRoles().observe(event)
    mask_change(event)
    bridges, conversations = Bridges(), Conversations()
    bridges.observe(event)
    conversations.observe(event)
    conversations.describe(event.headers)
    conversations.describe_conferences(event.body.decode(errors="replace"))
    conversations.heard_by(event.headers.get("Unique-ID"))


def check_command(command: Command) -> None:
    rest = others(command.headers, _LENGTH)
    try:
        data = encode_command(command.line, rest, command.body)
    except ValueError:
        return
    ((again,), error) = decoded(CommandDecoder(), [data])
    assert error == ""
    assert (again.line, again.body) == (command.line, command.body)
    assert others(again.headers, _LENGTH) == rest


def others(headers: Headers, *names: str) -> list[tuple[str, str]]:
    return [pair for pair in headers.items() if pair[0].lower() not in names]
