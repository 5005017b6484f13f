import argparse
import os
import tomllib
from pathlib import Path

import pytest

from fsbot.catalogue import all_settings
from fsbot.config import add_arguments, plain, rows, run, toml
from fsbot.sources import load

FLAGS: dict[str, object] = {
    "esl.host": 'strange "host" \\ é',
    "esl.connect_timeout": "0.0000001",
    "recordings.each_leg": True,
    "recordings.sample_rate": "48000",
    "filter.contexts": "public,from-*",
    "engine.preset": "accurate",
    "engine.chunk": "0.7",
    "engine.language": "german",
    "engine.models_dir": "weights",
    "log.text": False,
}


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("FSBOT_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def arguments(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(argv)


@pytest.mark.parametrize("flags", [{}, FLAGS])
def test_toml_loads_back_to_the_same_settings(flags: dict[str, object]) -> None:
    configuration = load(flags)
    written = Path("again.toml")
    written.write_text(toml(configuration), encoding="utf-8")
    assert load(file=written).settings == configuration.settings


def test_toml_of_a_password_file_loads_back_to_its_password() -> None:
    Path("secret").write_text("hunter2\n")
    configuration = load({"esl.password_file": "secret"})
    written = Path("again.toml")
    written.write_text(toml(configuration))
    again = load(file=written)
    assert again.settings == configuration.settings
    assert again.settings.esl.password.get_secret_value() == "hunter2"


def test_toml_is_complete_and_says_what_each_key_is() -> None:
    text = toml(load())
    uncommented = "\n".join(
        line.removeprefix("# ") if " = " in line.split("(")[0] else line
        for line in text.splitlines()
    )
    tables = tomllib.loads(uncommented)
    assert [f"{section}.{key}" for section in tables for key in tables[section]] == [
        setting.name for setting in all_settings()
    ]
    for setting in all_settings():
        assert setting.description in text


def test_rows_show_the_pace_in_force() -> None:
    by_name = {row.setting.name: row for row in rows(load(FLAGS))}
    assert (by_name["engine.chunk"].value, str(by_name["engine.chunk"].origin)) == (
        "0.7",
        "flag --engine-chunk",
    )
    beams = by_name["engine.beams"]
    assert (beams.value, str(beams.origin), beams.unset) == ("5", "preset accurate", True)


def test_plain_is_one_line_per_setting() -> None:
    lines = plain(load({"esl.port": "5"})).splitlines()
    assert len(lines) == len(all_settings())
    assert lines[1] == "esl.port = 5  # flag --esl-port"


@pytest.mark.parametrize("form", ["table", "plain", "toml"])
@pytest.mark.parametrize("source", ["flag", "environment", "file", "password_file"])
def test_the_password_is_never_printed(
    form: str,
    source: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags: dict[str, object] = {}
    match source:
        case "flag":
            flags["esl.password"] = "hunter2"
        case "environment":
            monkeypatch.setenv("FSBOT_ESL_PASSWORD", "hunter2")
        case "file":
            Path("fsbot.toml").write_text("[esl]\npassword = 'hunter2'\n")
        case "password_file":
            Path("secret").write_text("hunter2\n")
            flags["esl.password_file"] = "secret"
    configuration = load(flags)
    assert configuration.settings.esl.password.get_secret_value() == "hunter2"
    assert run(arguments("--format", form), configuration) == 0
    printed = capsys.readouterr()
    assert "********" in printed.out
    assert "hunter2" not in printed.out + printed.err + repr(configuration)


def test_table_shows_values_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    run(arguments("--format", "table"), load({"esl.host": "[red]x"}))
    assert '"[red]x"' in capsys.readouterr().out


def test_warnings_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("fsbot.toml")
    path.write_text("[esl]\npassword = 'x'\n")
    path.chmod(0o644)
    run(arguments(), load())
    assert "warning: fsbot.toml holds esl.password" in capsys.readouterr().err
