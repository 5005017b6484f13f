"""The codec against bytes that no FreeSWITCH sends, and text that must not be sent to one."""

import pytest
from esl_peer import decode, decode_commands

from fsbot.switch.codec import (
    MAX_HEADER_BYTES,
    MAX_MESSAGE_BODY,
    Decoder,
    Event,
    Headers,
    ProtocolError,
    encode_command,
    encode_message,
    parse_event,
)


def one_event(frame: bytes) -> Event:
    (message,) = decode(frame)
    return parse_event(message)


def plain_frame(content: bytes) -> bytes:
    return encode_message("text/event-plain", [], content)


def json_frame(content: bytes) -> bytes:
    return encode_message("text/event-json", [], content)


class TestHostileInput:
    def test_a_caller_cannot_forge_a_header(self):
        event = one_event(
            plain_frame(
                b"Event-Name: CHANNEL_ANSWER\nCaller-Caller-ID-Name: x%0AUnique-ID: evil%0A%0Abody"
                b"\nUnique-ID: good\n\n"
            )
        )

        assert event.headers.all("Unique-ID") == ["good"]
        assert event.headers["Caller-Caller-ID-Name"] == "x\nUnique-ID: evil\n\nbody"
        assert event.body == b""

    @pytest.mark.parametrize("frame", [plain_frame, json_frame])
    def test_bytes_that_are_not_utf_8_are_kept(self, frame):
        raw = b"A: \xff\xfe bad\n\n" if frame is plain_frame else b'{"A":"\xff\xfe bad"}'
        event = one_event(frame(raw))

        assert event.headers["A"].encode("utf-8", "surrogateescape") == b"\xff\xfe bad"
        (command,) = decode_commands(encode_command("x", list(event.headers.items())))
        assert command.headers == event.headers

    def test_percent_encoded_bytes_that_are_not_utf_8_are_kept(self):
        event = one_event(plain_frame(b"A: 50%AB\n\n"))

        assert event.headers["A"].encode("utf-8", "surrogateescape") == b"50\xab"

    def test_a_character_half_encoded_half_raw_is_one_character(self):
        assert one_event(plain_frame(b"A: %C3\xa9\n\n")).headers["A"] == "é"

    @pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r"])
    def test_only_lf_ends_a_line(self, separator):
        event = one_event(plain_frame(f"A: x{separator}B: y\n\n".encode()))

        assert event.headers.items() == (("A", f"x{separator}B: y"),)

    @pytest.mark.parametrize(
        "length",
        ["-1", "+5", "0x10", "1_0", "٣", "", "1e3", "9" * 5000, str(MAX_MESSAGE_BODY + 1)],
    )
    def test_impossible_lengths(self, length):
        decoder = Decoder()
        decoder.feed(f"Content-Type: api/response\nContent-Length: {length}\n\nx".encode())

        for _ in range(2):
            with pytest.raises(ProtocolError):
                decoder.next_message()

    def test_two_lengths_that_differ(self):
        with pytest.raises(ProtocolError, match="two different"):
            decode(b"Content-Type: api/response\nContent-Length: 1\nContent-Length: 2\n\nxx")

    @pytest.mark.parametrize("tail", [b"", b"\n\n"])
    def test_a_header_block_without_end(self, tail):
        decoder = Decoder()
        decoder.feed(b"A: " + b"x" * (MAX_HEADER_BYTES + 1) + tail)

        with pytest.raises(ProtocolError, match="header block"):
            decoder.next_message()

    def test_a_frame_that_is_none(self):
        with pytest.raises(ProtocolError, match="without Content-Type"):
            decode(b"HTTP/1.1 400 Bad Request\n\n")

    @pytest.mark.parametrize(
        "content",
        [b"", b"[]", b"null", b"{", b'{"a":', b"[" * 100_000, b'{"_body":"\\ud800"}'],
    )
    def test_json_that_is_no_event(self, content):
        with pytest.raises(ProtocolError):
            one_event(json_frame(content))

    @pytest.mark.parametrize(
        "frame",
        [
            plain_frame(b"A: " + b"%20" * MAX_HEADER_BYTES + b"\n\n"),
            plain_frame(b"A: 1\n" * MAX_HEADER_BYTES + b"\n"),
            json_frame(b'{"A":"' + bytes(MAX_HEADER_BYTES) + b'"}'),
        ],
    )
    def test_too_many_bytes_of_headers_are_not_taken_apart(self, frame):
        with pytest.raises(ProtocolError, match="with headers of"):
            one_event(frame)

    def test_a_body_may_be_large(self):
        event = one_event(plain_frame(b"A: 1\n\n" + bytes(10 * MAX_HEADER_BYTES)))

        assert event.headers.items() == (("A", "1"),)
        assert len(event.body) == 10 * MAX_HEADER_BYTES

    def test_half_a_surrogate_pair_in_json_could_be_written_nowhere(self):
        with pytest.raises(ProtocolError):
            one_event(json_frame(b'{"A":"\\ud800"}'))

    def test_a_command_line_is_no_header(self):
        (command,) = decode_commands(b"Content-Length: 5\n\n")

        assert (command.line, command.body) == ("Content-Length: 5", b"")

    def test_json_duplicates_and_lists(self):
        event = one_event(json_frame(b'{"A":"1","A":"2","L":["a","b"],"_body":"text"}'))

        assert event.headers.all("a") == ["1", "2"]
        assert event.headers["L"] == "ARRAY::a|:b"
        assert event.body == b"text"

    def test_an_api_response_is_no_event(self):
        with pytest.raises(ProtocolError, match="no event"):
            one_event(encode_message("api/response", [], b"+OK\n"))


class TestWritingCommands:
    @pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b", ""])
    def test_a_command_is_one_line(self, bad):
        with pytest.raises(ValueError, match="one line"):
            encode_command(bad)

    @pytest.mark.parametrize(
        "header", [("A", "x\ny"), ("A", "x\ry"), ("A", "\0"), ("A\n", "x"), ("A:", "x"), ("", "x")]
    )
    def test_a_header_is_one_line(self, header):
        with pytest.raises(ValueError, match="header"):
            encode_command("sendevent CUSTOM", [header])

    def test_the_length_is_counted_in_bytes_and_not_given(self):
        assert encode_command("x", body="é".encode()) == b"x\nContent-Length: 2\n\n\xc3\xa9"
        with pytest.raises(ValueError, match="counted"):
            encode_command("x", [("content-length", "7")])

    def test_the_refusal_does_not_quote_a_password(self):
        with pytest.raises(ValueError, match="one line") as raised:
            encode_command("auth geheim\n")
        assert "geheim" not in str(raised.value)


class TestHeaders:
    def test_names_in_any_case_first_value_first(self):
        headers = Headers([("A", "1"), ("b", "2"), ("a", "3")])

        assert headers["a"] == headers.get("A") == "1"
        assert headers.all("A") == ["1", "3"]
        assert headers.get("none", "x") == "x"
        assert "B" in headers
        assert "none" not in headers
        assert list(headers) == ["A", "b", "a"]
        with pytest.raises(KeyError):
            headers["none"]
