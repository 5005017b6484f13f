"""The runner of SimulStreaming, without SimulStreaming."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fsbot.bench.simulstreaming import (
    Word,
    find_tracks,
    join_pieces,
    listen,
    main,
    read_results,
)
from fsbot.errors import UserError


class SlowProcessor:
    """Takes the next of `costs` CPU seconds for each update, and hears a word in each."""

    def __init__(self, costs: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
        self.costs = costs
        self.pieces: list[int] = []
        self.clock = 0.0
        monkeypatch.setattr("time.process_time", lambda: self.clock)

    def insert_audio_chunk(self, samples: np.ndarray) -> None:
        self.pieces.append(len(samples))

    def process_iter(self) -> dict[str, Any]:
        self.clock += self.costs.pop(0)
        return {"words": [{"text": " so", "start": 0.0, "end": 0.5}], "is_final": False}

    def finish(self) -> dict[str, Any]:
        return self.process_iter() | {"is_final": True}


def test_updates_wait_for_one_another_on_the_virtual_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor = SlowProcessor([2.5, 0.25, 0.25, 0.5, 1.0], monkeypatch)
    cpu_seconds, voices = listen(processor, np.zeros(56000, np.float32), 16000, aware=False)
    assert processor.pieces == [16000, 16000, 16000, 8000]
    assert cpu_seconds == 4.5
    [words, after_the_end] = voices
    assert after_the_end == []
    assert [word.emission_time_unaware for word in words] == [1.0, 2.0, 3.0, 3.5, 3.5]
    assert [word.emission_time for word in words] == [3.5, 3.75, 4.0, 4.5, 5.5]


def test_when_aware_what_came_meanwhile_is_one_update(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = SlowProcessor([2.0, 0.25, 0.25, 0.5], monkeypatch)
    cpu_seconds, [words, _] = listen(processor, np.zeros(56000, np.float32), 16000, aware=True)
    assert processor.pieces == [16000, 32000, 8000]
    assert cpu_seconds == 3.0
    assert [word.emission_time_unaware for word in words] == [1.0, 3.0, 3.5, 3.5]
    assert [word.emission_time for word in words] == [3.0, 3.25, 3.75, 4.25]


def test_an_update_that_fails_as_theirs_may_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = SlowProcessor([0.5, 0.5], monkeypatch)

    def fail(samples: np.ndarray) -> None:
        raise AssertionError

    processor.insert_audio_chunk = fail  # type: ignore[method-assign]
    _, voices = listen(processor, np.zeros(16000, np.float32), 16000, aware=False)
    assert [len(words) for words in voices] == [1, 0]


def test_pieces_become_words_that_are_emitted_with_their_last_letter() -> None:
    words = join_pieces(
        [
            Word(" L", 1.0, 1.0, 5.0, 2.0),
            Word("'", 1.0, 1.1, 5.0, 2.0),
            Word("au", 1.2, 1.2, 5.0, 2.0),
            Word("tre", 1.3, 1.4, 7.0, 3.0),
            Word(",", 1.9, 1.9, 9.0, 4.0),
            Word(" mot", 2.0, 2.2, 9.0, 4.0),
        ]
    )
    assert words == [Word("L'autre,", 1.0, 1.4, 7.0, 3.0), Word("mot", 2.0, 2.2, 9.0, 4.0)]


def test_a_voice_may_begin_without_a_space() -> None:
    assert join_pieces([Word("Il", 0.0, 0.1, 1.0, 1.0)]) == [Word("Il", 0.0, 0.1, 1.0, 1.0)]
    assert join_pieces([Word(" ", 0.0, 0.1, 1.0, 1.0)]) == []


def test_tracks_are_sides_of_calls_and_readings(tmp_path: Path) -> None:
    for name, more in (("calls/call-en-00", {"turns": []}), ("long/verse", {"text": ""})):
        path = tmp_path / f"{name}.json"
        path.parent.mkdir()
        path.write_text(json.dumps({"lang": "en", "duration": 1.0} | more))
        path.with_suffix(".flac").touch()
    tracks = find_tracks(tmp_path, ["*"])
    assert [(track.name, track.set, track.channel) for track in tracks] == [
        ("call-en-00/caller", "calls", 0),
        ("call-en-00/callee", "calls", 1),
        ("verse", "long", 0),
    ]
    assert [track.name for track in find_tracks(tmp_path, ["verse", "*/callee"])] == [
        "call-en-00/callee",
        "verse",
    ]
    with pytest.raises(UserError):
        find_tracks(tmp_path, ["call-fr-*"])


def test_a_run_goes_on_with_what_it_left_but_not_under_other_conditions(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results = read_results(path, commit="1", machine="this")
    assert results["tracks"] == []
    results["tracks"].append({"track": "call-en-00/caller"})
    path.write_text(json.dumps(results))
    assert read_results(path, commit="1", machine="this") == results
    with pytest.raises(UserError, match="another commit and machine"):
        read_results(path, commit="2", machine="that")
    with pytest.raises(UserError, match="cannot be written"):
        read_results(tmp_path / "nowhere" / "results.json")


def test_a_folder_that_is_no_checkout_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "results.json")
    assert main([str(tmp_path), "--speech", str(tmp_path), "--json", out]) == 2
    assert "is no checkout of SimulStreaming" in capsys.readouterr().err
