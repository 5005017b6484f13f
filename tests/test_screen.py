"""What the demo shows of a call, from its records."""

import io
from typing import Any

import pytest
from rich.console import Console

from fsbot.engine.scheduler import EngineTimes
from fsbot.screen import AboveScreen, LiveScreen, PlainScreen, Tally, clock, make_screen
from fsbot.transcript.records import (
    EndOfTranscript,
    EndOfUtterance,
    Failure,
    Record,
    StartOfTranscript,
    Transcription,
)

SAID: dict[str, Any] = {
    "call_uuid": "1",
    "sequence": 1,
    "emitted_at": 100.0,
    "side": "caller",
    "channel_tag": 1,
    "utterance": 1,
    "is_final": False,
    "speech_final": False,
    "revised": False,
    "start": 1.0,
    "end": 2.0,
    "audio_start": 1.0,
    "audio_end": 2.0,
    "tentative": "",
    "language_code": "fr",
    "alternatives": (),
    "latency_ms": 500.0,
    "emission_time": 2.5,
}


def words(text: str, **fields: Any) -> Transcription:
    return Transcription(**(SAID | {"text": text} | fields))


def final(text: str, **fields: Any) -> Transcription:
    ended = {"is_final": True, "speech_final": True, "emission_time": 3.5}
    return words(text, **(ended | fields))


FAILURE = Failure(
    call_uuid="1",
    sequence=2,
    emission_time=1.0,
    emitted_at=1.0,
    error="x",
    message="refused\x1b",
    over=False,
)


def terminal() -> Console:
    file = io.StringIO()
    return Console(
        file=file, force_terminal=True, width=60, color_system="standard", legacy_windows=False
    )


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    console.file.seek(0)
    console.file.truncate()
    return text


def test_a_pipe_gets_a_line_per_record_with_call_time() -> None:
    console = Console(file=io.StringIO(), width=20)
    with make_screen(console, 10.0) as screen:
        assert isinstance(screen, PlainScreen)
        for record in (words("", tentative="Bon"), words("Bonjour à tous et à toutes"), FAILURE):
            screen.show(record)
        screen.show(final("Bonjour \x1b[31mà tous", emission_time=63.21))
    lines = shown(console).splitlines()[1:]
    assert lines == [
        " 0:02.5 caller   Bonjour à tous et à toutes",
        " 0:01.0 refused\\x1b",
        " 1:03.2 caller = Bonjour \\x1b[31mà tous",
    ]


def test_a_terminal_shows_committed_and_dimmed_tentative_words_until_the_final_text() -> None:
    console = terminal()
    with make_screen(console, 10.0) as screen:
        assert isinstance(screen, LiveScreen)
        screen.show(words("Bonjour", tentative="à vous"))
        now = shown(console)
        assert "\x1b[36mBonjour" in now
        assert "\x1b[2;3;36mà vous" in now
        screen.show(words("à", side="callee", tentative=""))
        screen.show(words("à", tentative="toutes"))
        assert "Bonjour à \x1b[0m\x1b[2;3;36mtoutes" in shown(console)
        screen.show(final("Bonjour à tous."))
        now = shown(console)
        assert "Bonjour à tous." in now
        assert "toutes" not in now
        assert "callee" in now  # the other side's utterance is still open
        screen.show(FAILURE)
        assert "refused\\x1b" in shown(console)


def test_words_of_unspaced_languages_are_joined_without_blanks() -> None:
    console = terminal()
    with make_screen(console, 10.0) as screen:
        screen.show(words("你", language_code="zh"))
        screen.show(words("好", language_code="zh"))
        assert "你好" in shown(console)


def test_the_clock_starts_with_the_answer() -> None:
    console = terminal()
    with make_screen(console, 10.0) as screen:
        screen.tick()
        assert "ringing" in shown(console)
        screen.show(start_of_transcript(answered_at=0.0001))
        screen.tick()
        assert "the call is over" in shown(console)


def start_of_transcript(answered_at: float) -> Record:
    return StartOfTranscript(
        call_uuid="1",
        sequence=1,
        emission_time=0.0,
        emitted_at=1.0,
        channel_call_uuid="1",
        recording=1,
        path="/r/1-1.raw",
        switch_path="/r/1-1.raw",
        rate=16000,
        channels=2,
        sides=("caller", "callee"),
        answered_at=answered_at,
        codec_rate=8000,
        leg_uuid="u",
        direction="inbound",
        caller="06",
        destination="9196",
        language_code="fr",
    )


def test_log_lines_go_above_the_live_part() -> None:
    console = terminal()
    with make_screen(console, 10.0) as screen:
        screen.tick()
        shown(console)
        AboveScreen(console).write("warning [red]hub held[/red]\n")
        assert "warning [red]hub held[/red]\n" in shown(console)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0:00.0"), (-0.3, "0:00.0"), (59.96, "1:00.0"), (61.25, "1:01.2")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_summary() -> None:
    tally = Tally()
    end: dict[str, Any] = {"call_uuid": "1", "sequence": 9, "emission_time": 9.0, "emitted_at": 9.0}
    for record in (
        words("", latency_ms=9000.0),
        words("un", latency_ms=400.0),
        words("deux", latency_ms=600.0),
        EndOfUtterance(
            side="caller",
            channel_tag=1,
            utterance=1,
            end=2.0,
            silence=0.5,
            probability=0.9,
            audio_end=2.0,
            **end,
        ),
        final("un deux", end=2.5),
        final("trois", end=2.9, utterance=2),
        EndOfTranscript(reason="hangup", duration=10.0, words={"caller": 3, "callee": 0}, **end),
    ):
        tally.add(record)
    times = EngineTimes(listening=1.0, updating=2.0, closing=3.0, audio=20.0)
    assert tally.end_reason == "hangup"
    assert [line.split(maxsplit=1)[1] for line in tally.lines(times)] == [
        "3 (caller 3, callee 0), 2 utterances",
        "10.0 s, ended by hangup",
        "factor  0.30 s of work per second of each side",
        "words        0.50 s (p50), 0.60 s (max) after they were spoken",
        "text        1.05 s (p50), 1.50 s (max) after the end of speech, 0.50 s of it silence",
    ]


def test_summary_of_a_silent_call() -> None:
    lines = list(Tally().lines(EngineTimes()))
    assert lines[3] == "live words        - after they were spoken"
