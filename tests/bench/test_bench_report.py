"""Reports, points, other systems' results."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from fsbot.bench.machine import describe_machine
from fsbot.bench.others import read_other_system, read_texts
from fsbot.bench.points import PRESET_POINTS, point_in_force, points
from fsbot.bench.report import BenchReport, CaseReport, Figure, all_met, limited, print_case
from fsbot.errors import UserError
from fsbot.settings import Settings
from fsbot.sources import load

CASE = CaseReport(
    "closing",
    "how",
    (
        limited("p50", 0.3, "s", 0.25, "<= 0.25 s"),
        limited("calls", 4, "", 4, ">= 4", least=True),
        limited("nothing", None, "s", 1.0, "<= 1 s"),
        Figure("words", "3 of 4"),
    ),
)


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_figure_meets_its_target_or_not() -> None:
    assert [figure.met for figure in CASE.figures] == [False, True, None, None]
    assert not all_met([CASE])
    assert all_met([CaseReport("x", "", CASE.figures[1:])])


def test_the_json_holds_every_figure(tmp_path: Path) -> None:
    report = BenchReport({"cpu": "x"}, {"engine.chunk": 0.5}, "here", "2026-01-01", [CASE])
    path = tmp_path / "report.json"
    report.write(path)
    content = json.loads(path.read_text())
    assert content["cases"][0]["figures"][0] == {
        "name": "p50",
        "value": 0.3,
        "unit": "s",
        "target": "<= 0.25 s",
        "met": False,
    }
    assert set(content) == {"machine", "settings", "speech", "date", "cases"}
    with pytest.raises(UserError, match="--json"):
        report.write(tmp_path / "absent" / "report.json")


def test_the_table_shows_them_too() -> None:
    page = io.StringIO()
    print_case(CASE, Console(file=page, width=100))
    for shown in ("closing", "0.300 s", "<= 0.25 s", "NO", "yes", "—", "3 of 4", "how"):
        assert shown in page.getvalue()


def test_the_machine_is_described(speech_model: object) -> None:
    told = describe_machine(Settings())
    assert len(told["weights_sha256"]) == 64
    assert set(told["flags"]) == {"avx512", "vnni", "bf16", "amx"}
    assert {"cpu", "cores", "python", "torch", "openai-whisper", "fsbot"} <= set(told)
    with pytest.raises(UserError):
        describe_machine(Settings.model_validate({"engine": {"model": "smalll"}}))


def test_the_settings_given_reach_the_bot_and_nothing_else() -> None:
    point = point_in_force(load({"engine.preset": "fast", "vad.threshold": "0.4"}))
    assert set(point.flags) == {"--engine-preset=fast", "--vad-threshold=0.4"}
    assert point.values["engine.chunk"] == point.settings.engine.pace.chunk
    assert "engine.trace" not in point.values
    assert point_in_force(load({"esl.port": "1", "log.level": "debug"})).flags == ()


def test_points_vary_the_settings_given() -> None:
    configuration = load({"engine.beams": "2"})
    fast, balanced, _ = points(PRESET_POINTS, configuration)
    assert (fast.name, balanced.name) == ("fast", "balanced")
    assert set(fast.flags) == {"--engine-beams=2", "--engine-preset=fast"}
    [own] = points(["preset=fast,vad.min_silence=0.4"], configuration)
    assert own.settings.vad.min_silence == 0.4
    assert "min_silence 0.4" in own.summary


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("prset=fast", "engine.preset"),
        ("esl.port=1", "sets no setting"),
        ("preset", "--point"),
        ("preset=fats", "fast, balanced or accurate"),
    ],
)
def test_a_wrong_point_is_explained(text: str, hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        points([text], load({}))


TRACK = {
    "track": "call-fr-00/caller",
    "set": "calls",
    "lang": "fr",
    "seconds": 10.0,
    "cpu_seconds": 15.0,
    "text": "bonjour",
    "words": [{"text": "bonjour", "start": 0.0, "end": 1.0, "emission_time": 2.5}],
}


def test_another_systems_results_are_read(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    tracks = [TRACK, TRACK | {"track": "fdm_003", "set": "long"}]
    path.write_text(json.dumps({"encoder_pass_cpu_seconds": 1.1, "tracks": tracks}))
    other = read_other_system(path)
    assert other.cost(other.calls) == pytest.approx(1.5)
    assert list(other.readings) == ["fdm_003"]
    assert other.calls["call-fr-00/caller"].words[0].emission_time == 2.5


@pytest.mark.parametrize("content", ["{}", "[]", "no json", '{"tracks": [{"track": "x"}]}'])
def test_wrong_results_are_the_users_mistake(content: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(UserError, match="--reference-results"):
        read_other_system(path)
    with pytest.raises(UserError, match="--compare"):
        read_texts(path)
