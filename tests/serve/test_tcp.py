"""The TCP server, its clients and their habits, over real sockets and with the real model."""

import json
import socket as constants
import struct
import time
from pathlib import Path
from typing import Any

import gevent
import numpy as np
import pytest
import soundfile
import soxr
from jiwer import wer
from peers import PATIENCE, SAID, UTTERANCE, Client, ask, pcm, plain, serving, text_of

from fsbot.engine.scheduler import Engine
from fsbot.errors import UserError
from fsbot.serve import client as client_module
from fsbot.serve.tcp import TcpServer
from fsbot.settings import Settings
from fsbot.transcript.redaction import Redaction

LogLines = list[dict[str, object]]
CALLER = Path(__file__).parent.parent / "fixtures" / "caller"


@pytest.fixture(scope="module")
def alone(engine: Engine) -> list[str]:
    """What one client gets, nobody else being there."""
    with serving(engine) as server:
        return ask(server, UTTERANCE)


def left(log_lines: LogLines) -> list[str]:
    """How clients ended."""
    return [str(line["outcome"]) for line in log_lines if line["event"] == "client left"]


def wait_until_left(log_lines: LogLines, count: int = 1) -> list[str]:
    with gevent.Timeout(PATIENCE):
        while len(left(log_lines)) < count:
            gevent.sleep(0.02)
    return left(log_lines)


# What comes out


def test_lines_of_start_end_text(alone: list[str]) -> None:
    assert len(alone) > 2
    assert wer(SAID, plain(text_of(alone))) < 0.3
    before = 0
    for line in alone:
        start, end, text = line.rstrip("\n").split(" ", 2)
        assert before <= int(start) <= int(end) <= 6500
        assert text.startswith(" ")
        assert text.strip()
        before = int(end)


def test_simulstreamings_json_key_by_key(engine: Engine, alone: list[str]) -> None:
    with serving(engine, format="jsonl") as server:
        records = [json.loads(line) for line in ask(server, UTTERANCE)]
    for record in records[:-1]:
        assert list(record) == [
            "start", "end", "text", "tokens", "words", "is_final", "emission_time",
        ]  # fmt: skip
        assert record["text"] == "".join(word["text"] for word in record["words"])
        assert record["tokens"] == [t for word in record["words"] for t in word["tokens"]]
        assert all(list(word) == ["start", "end", "text", "tokens"] for word in record["words"])
        assert record["start"] == record["words"][0]["start"]
        assert record["end"] == record["words"][-1]["end"]
    assert [record["is_final"] for record in records] == [False] * (len(records) - 1) + [True]
    assert "".join(record.get("text", "") for record in records) == text_of(alone)
    times = [record["emission_time"] for record in records]
    assert times == sorted(times)


def test_what_is_taken_out_is_in_no_line(engine: Engine) -> None:
    """The caller says « mardi 12 mars »."""
    samples, rate = soundfile.read(CALLER / "mardi-12-mars.flac", dtype="float32")
    data = (soxr.resample(samples, rate, 16000) * 32767).astype("<i2").tobytes()
    with serving(engine, format="jsonl", redaction=Redaction(["phone"])) as server:
        records = [json.loads(line) for line in ask(server, data)]
    words = [word for record in records for word in record.get("words", ())]
    hidden = [word for word in words if word["text"] == " [number]"]
    assert len(hidden) == 1
    assert hidden[0]["tokens"] == []
    text = "".join(record.get("text", "") for record in records).lower()
    assert "mardi" in text
    assert "douze" not in text
    assert not any(map(str.isdecimal, text))


def test_without_ends_json_has_no_is_final(engine: Engine, alone: list[str]) -> None:
    with serving(engine, ends=False, format="jsonl") as server:
        records = [json.loads(line) for line in ask(server, UTTERANCE)]
    assert all("is_final" not in record and record["text"] for record in records)
    assert "".join(record["text"] for record in records) == text_of(alone)


def test_nothing_said_nothing_sent(engine: Engine) -> None:
    with serving(engine, format="jsonl") as server:
        assert ask(server, bytes(64000)) == []
        assert ask(server, b"") == []
        assert ask(server, b"\0\0\0") == []


def test_equal_lines_are_all_sent(engine: Engine, alone: list[str]) -> None:
    """SimulStreaming swallows a line that equals the one before."""
    with serving(engine) as server:
        lines = ask(server, UTTERANCE + bytes(64000) + UTTERANCE)
    assert plain(text_of(lines)).count("composé") == 2
    assert len(lines) >= 2 * len(alone) - 2


# Formats on purpose


def test_8_khz_on_purpose(engine: Engine) -> None:
    with serving(engine, rate=8000) as server:
        lines = ask(server, pcm("utterance-fr", 8000).tobytes())
    assert wer(SAID, plain(text_of(lines))) < 0.3
    assert int(lines[-1].split()[1]) < 6500


def test_stereo_on_purpose(engine: Engine) -> None:
    voice = pcm("utterance-fr")
    silence = np.zeros_like(voice)
    with serving(engine, channels=2) as server:
        lines = ask(server, np.hstack([silence, voice]).tobytes())
    assert lines
    assert all(line.split(" ", 2)[2].startswith("callee: ") for line in lines)
    with serving(engine, channels=2, format="jsonl") as server:
        records = [json.loads(line) for line in ask(server, np.hstack([voice, silence]).tobytes())]
    assert {record["side"] for record in records} == {"caller"}


@pytest.mark.parametrize("form", ["text", "jsonl"])
def test_a_file_with_a_header_is_refused_with_a_reason(engine: Engine, form: str) -> None:
    wav = b"RIFF\x24\x08\x00\x00WAVEfmt " + UTTERANCE
    with serving(engine, format=form) as server:
        (line,) = ask(server, wav)
    if form == "jsonl":
        record = json.loads(line)
        assert "RIFF (WAV)" in record["error"]
        assert "ffmpeg" in record["remedy"]
    else:
        assert line.startswith("fsbot: error: this is a RIFF (WAV) file, not raw PCM, 16000 Hz")
        assert "serve.rate" in line


@pytest.mark.parametrize(
    ("sound", "reason"),
    [
        (np.repeat(pcm("utterance-fr"), 2).tobytes() * 2, "two interleaved channels"),
        (pcm("demo-fr").tobytes(), "two interleaved channels"),
        (pcm("utterance-fr", 8000).tobytes() * 2, "sounds like 8 kHz"),
    ],
    ids=["two equal channels", "a stereo call", "8 kHz"],
)
def test_what_sounds_like_another_format_is_refused(
    engine: Engine, sound: bytes, reason: str
) -> None:
    with serving(engine) as server:
        lines = ask(server, sound)
    assert reason in lines[-1]


def zero_stuffed(samples: np.ndarray) -> np.ndarray:
    stuffed = np.zeros(2 * samples.size, samples.dtype)
    stuffed[::2] = samples.reshape(-1)
    return stuffed


@pytest.mark.parametrize(
    "crude",
    [lambda samples: np.repeat(samples, 2), zero_stuffed],
    ids=["repeated", "zeros between"],
)
def test_8_khz_that_was_made_16_khz_anyhow_is_heard(engine: Engine, crude: Any) -> None:
    """It has the right speed, whatever it sounds like."""
    sound = crude(pcm("utterance-fr", 8000)).tobytes()
    with serving(engine) as server:
        lines = ask(server, sound)
    text = " ".join(line.split(" ", 2)[2] for line in lines)
    assert "fsbot: error" not in text
    assert len(text.split()) > 6


# Clients and their habits


def test_twenty_clients_each_as_if_alone(engine: Engine, alone: list[str]) -> None:
    with serving(engine) as server:
        began = time.monotonic()
        clients = [Client.of(server) for _ in range(20)]
        sending = [
            gevent.spawn(lambda client=client: client.send(UTTERANCE).end()) for client in clients
        ]
        reading = [gevent.spawn(client.read) for client in clients]
        gevent.joinall(sending + reading, timeout=PATIENCE)
    for client in clients:
        assert client.lines == alone
    speeds = [1 / (client.times[-1] - began) for client in clients]
    jain = sum(speeds) ** 2 / (len(speeds) * sum(speed**2 for speed in speeds))
    assert jain >= 0.95


def test_a_byte_at_a_time(engine: Engine, alone: list[str]) -> None:
    with serving(engine) as server:
        client = Client.of(server)
        client.sock.setsockopt(constants.IPPROTO_TCP, constants.TCP_NODELAY, 1)
        reading = gevent.spawn(client.read)
        some = 40_000
        for number in range(some):
            client.send(UTTERANCE[number : number + 1])
            if number % 50 == 0:
                gevent.sleep(0)
        client.send(UTTERANCE[some:]).end()
        reading.join(PATIENCE)
    assert client.lines == alone


def test_an_abrupt_close_leaves_the_others_alone(
    engine: Engine, alone: list[str], log_lines: LogLines
) -> None:
    with serving(engine) as server:
        rude = Client.of(server).send(UTTERANCE[:100_000])
        gevent.sleep(0.3)
        rude.sock.setsockopt(constants.SOL_SOCKET, constants.SO_LINGER, struct.pack("ii", 1, 0))
        rude.sock.close()
        assert ask(server, UTTERANCE) == alone
        assert "connection lost" in " ".join(wait_until_left(log_lines, 2))


def test_a_client_that_sends_nothing_is_cut_off(engine: Engine, log_lines: LogLines) -> None:
    with serving(engine, idle_timeout=0.3) as server:
        (line,) = Client.of(server).read()
        assert "no sound for 0.3 s" in line
        assert "serve.idle_timeout" in line
        assert wait_until_left(log_lines) == ["refused: no sound for 0.3 s"]


def test_what_was_said_before_a_client_fell_silent_is_not_lost(
    engine: Engine, alone: list[str]
) -> None:
    with serving(engine, idle_timeout=0.5) as server:
        *lines, last = Client.of(server).send(UTTERANCE).read()
    assert lines == alone
    assert "no sound for 0.5 s" in last


@pytest.mark.parametrize(
    ("send_timeout", "unsent", "outcome"),
    [
        (0.5, 1 << 30, "it has not read its lines for 0.5 s"),
        (PATIENCE, 2000, "it does not read its lines"),
    ],
)
def test_a_client_that_never_reads_is_cut_off_and_nobody_waits(
    engine: Engine,
    log_lines: LogLines,
    monkeypatch: pytest.MonkeyPatch,
    send_timeout: float,
    unsent: int,
    outcome: str,
) -> None:
    monkeypatch.setattr(client_module, "KERNEL_BYTES", 1)  # as few as Linux gives
    monkeypatch.setattr(client_module, "MOST_UNSENT_BYTES", unsent)
    with serving(engine, format="jsonl", send_timeout=send_timeout) as server:
        deaf = Client.of(server, receive_buffer=1)
        sending = gevent.spawn(lambda: deaf.send(UTTERANCE * 6).end())
        ask(server, UTTERANCE)
        assert sorted(wait_until_left(log_lines, 2)) == ["finished", outcome]
        sending.kill()
        deaf.sock.close()


def test_nobody_waits_while_a_client_does_not_read(engine: Engine, alone: list[str]) -> None:
    """Its lines are stuck all the while: it is not cut off here."""
    with serving(engine, send_timeout=PATIENCE) as server:
        deaf = Client.of(server, receive_buffer=1).send(UTTERANCE)
        with gevent.Timeout(PATIENCE):
            while not server.clients:
                gevent.sleep(0.02)
        (stuck,) = server.clients
        stuck._outbox.put("x" * (client_module.MOST_UNSENT_BYTES - 10_000) + "\n")
        assert ask(server, UTTERANCE) == alone
        assert server.clients == [stuck]
        assert stuck._outbox._bytes
        deaf.sock.close()


def test_one_client_too_many_is_turned_away(engine: Engine, alone: list[str]) -> None:
    with serving(engine, max_clients=1) as server:
        first = Client.of(server).send(UTTERANCE[:50_000])
        gevent.sleep(0.1)
        (line,) = ask(server, UTTERANCE)
        assert line.startswith("fsbot: error: 1 clients are connected")
        assert "serve.max_clients" in line
        first.send(UTTERANCE[50_000:]).end()
        assert first.read() == alone
        assert ask(server, UTTERANCE) == alone


def test_what_was_said_is_flushed_when_the_server_stops(engine: Engine, alone: list[str]) -> None:
    with serving(engine) as server:
        client = Client.of(server).send(UTTERANCE)
        gevent.sleep(0.5)
        reading = gevent.spawn(client.read)
        server.finish(PATIENCE)
        reading.join(PATIENCE)
        assert client.lines == alone
        with pytest.raises(OSError, match="refused"):
            Client.of(server)


def test_who_sends_faster_than_the_engine_hears_waits(engine: Engine) -> None:
    """The sound waits at the client, not in the server's memory."""
    with serving(engine, backlog=2.0) as server:
        client = Client.of(server)
        sending = gevent.spawn(client.send, UTTERANCE * 20)
        most = 0.0
        for _ in range(50):
            gevent.sleep(0.02)
            most = max([most, *(each.pending_seconds for each in server.clients)])
        assert 0 < most < 4
        sending.kill()
        client.sock.close()


# Addresses


def test_a_busy_port_says_so(engine: Engine) -> None:
    with serving(engine) as server:
        port = server.addresses[0][1]
        with pytest.raises(UserError, match=f"127.0.0.1:{port}: another program listens") as info:
            TcpServer(Settings(serve={"port": port}).serve, server.stream_options)  # type: ignore[arg-type]
        assert "--port" in info.value.remedy


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_no_public_address_without_asking(engine: Engine, host: str) -> None:
    settings = Settings(serve={"host": host, "port": 0})  # type: ignore[arg-type]
    with serving(engine) as server:
        with pytest.raises(UserError, match="reached from other machines") as info:
            TcpServer(settings.serve, server.stream_options)
        assert "allow_remote" in info.value.remedy


def test_a_public_address_on_purpose_warns(engine: Engine, log_lines: LogLines) -> None:
    with serving(engine, host="0.0.0.0", allow_remote=True) as server:
        assert ask(server, b"") == []
    assert any("anybody" in str(line["event"]) for line in log_lines)


def test_no_such_host(engine: Engine) -> None:
    settings = Settings(serve={"host": "no.such.host.invalid"})  # type: ignore[arg-type]
    with serving(engine) as server, pytest.raises(UserError, match=r"serve\.host"):
        TcpServer(settings.serve, server.stream_options)
