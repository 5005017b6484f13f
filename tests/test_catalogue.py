import tomllib

import pytest

from fsbot.catalogue import (
    all_settings,
    by_name,
    markdown_table,
    nearest_setting,
    toml_literal,
)
from fsbot.settings import Settings


def test_every_field_is_listed_once_with_names_that_tell_apart() -> None:
    fields = {
        f"{section}.{key}" for section, values in Settings().model_dump().items() for key in values
    }
    settings = all_settings()
    assert {setting.name for setting in settings} == fields
    for names in (
        [s.name for s in settings],
        [s.environment for s in settings],
        [s.flag for s in settings],
    ):
        assert len(set(names)) == len(settings)


def test_every_setting_has_a_one_line_description() -> None:
    for setting in all_settings():
        assert setting.description
        assert "\n" not in setting.description
        assert not setting.description.endswith(".")


def test_names_follow_one_rule() -> None:
    setting = by_name()["recordings.switch_directory"]
    assert setting.environment == "FSBOT_RECORDINGS_SWITCH_DIRECTORY"
    assert setting.flag == "--recordings-switch-directory"


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("esl.port", "a whole number from 1 to 65535"),
        ("vad.threshold", "a number above 0 and below 1"),
        ("engine.chunk", "a number from 0.05 to 10, or empty"),
        ("engine.preset", "fast, balanced or accurate"),
        ("recordings.each_leg", "true or false"),
        ("recordings.sample_rate", "8000, 16000 or 48000"),
        ("filter.directions", "a list of inbound or outbound"),
        ("filter.contexts", "a list of text"),
        ("engine.models_dir", "a path, or empty"),
    ],
)
def test_allowed_values_in_words(name: str, allowed: str) -> None:
    assert by_name()[name].allowed == allowed


def test_secret_and_switch() -> None:
    assert [s.name for s in all_settings() if s.secret] == ["esl.password"]
    switches = {s.name for s in all_settings() if s.switch}
    assert switches == {
        "recordings.each_leg",
        "recordings.loopback",
        "recordings.follow_mask",
        "recordings.follow_transfer",
        "serve.enabled",
        "serve.allow_remote",
        "log.text",
        "events.channel_variables",
    }
    assert by_name()["esl.password"].shown("hunter2") == '"********"'


@pytest.mark.parametrize(
    ("section", "key", "near"),
    [
        ("esl", "hsot", "esl.host"),
        ("engin", "threads", "engine.threads"),
        ("engine", "host", "esl.host"),
        ("", "language", "engine.language"),
        ("", "esl_host", "esl.host"),
        ("engine", "qqqq", ""),
        ("", "qqqq", ""),
    ],
)
def test_nearest_setting(section: str, key: str, near: str) -> None:
    assert nearest_setting(section, key) == near


@pytest.mark.parametrize(
    "value",
    ["", 'a"b\\c', "é«\u00a0»", "\x7f\x1b\n\t", True, 3, 0.05, 1e-7, 5.0, [], ["a", "b,c"]],
)
def test_toml_literals_load_back(value: object) -> None:
    literal = toml_literal(value)
    assert "\n" not in literal
    assert tomllib.loads(f"x = {literal}")["x"] == value


def test_markdown_table_has_a_row_per_setting() -> None:
    head, rule, *rows = markdown_table().splitlines()
    assert head == "| setting | default | allowed | meaning |"
    assert rule == "|---|---|---|---|"
    assert [row.split("`")[1] for row in rows] == [s.name for s in all_settings()]
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)
    assert rows[1] == (
        "| `esl.port` | `8021` | a whole number from 1 to 65535 | port of its event socket |"
    )
