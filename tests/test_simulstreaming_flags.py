"""SimulStreaming's flags, as settings, as defaults, and refused."""

import argparse
from pathlib import Path

import pytest

from fsbot import cli, simulstreaming
from fsbot.errors import UserError


def settings_of(*argv: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    simulstreaming.add_arguments(parser, "format", "jsonl", "txt", **{"serve.port": 43007})
    return vars(parser.parse_args(argv))


def config(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert cli.main(["config", *argv]) == 0
    return capsys.readouterr().out


def test_flags_become_settings() -> None:
    given = settings_of(
        *[
            "--min-chunk-size",
            "0.5",
            "--lan",
            "de",
            "--task",
            "translate",
            "--model_path",
            "./small.pt",
            "--beams",
            "3",
        ],
        *[
            "--audio_max_len",
            "30",
            "--audio_min_len",
            "1",
            "--frame_threshold",
            "10",
            "--max_context_tokens",
            "50",
        ],
        *[
            "--init_prompt",
            "Bonjour",
            "--static_init_prompt",
            "Acme",
            "--logdir",
            "/tmp/log",
            "-l",
            "DEBUG",
        ],
        *["--decoder", "beam", "--vac", "--out-txt", "--no-never_fire"],
    )
    assert {name: value for name, value in given.items() if "." in name} == {
        "engine.chunk": "0.5",
        "engine.language": "de",
        "engine.task": "translate",
        "engine.model": "small",
        "engine.beams": "3",
        "vad.max_utterance": "28.0",
        "engine.min_audio": "1",
        "engine.frame_threshold": "10",
        "engine.max_context_tokens": "50",
        "engine.init_prompt": "Bonjour",
        "engine.static_prompt": "Acme",
        "engine.logdir": "/tmp/log",
        "log.level": "DEBUG",
    }
    assert given["format"] == "txt"
    assert given["vac"] is True


def test_its_defaults_are_for_what_no_flag_says() -> None:
    for argv in (["--simulstreaming", "--lan", "fr"], ["--lan", "fr", "--simulstreaming"]):
        given = settings_of(*argv)
        assert given["engine.language"] == "fr"
        assert given["engine.chunk"] == 1.2
        assert given["serve.port"] == 43007
        assert given["format"] == "jsonl"
    assert settings_of("--out-txt", "--simulstreaming")["format"] == "txt"
    assert "engine.language" not in settings_of()


@pytest.mark.parametrize("flag", simulstreaming.REFUSED)
def test_what_makes_no_sense_here_is_refused_with_a_sentence(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["serve"], ["transcribe", "a.wav"]):
        assert cli.main([*command, flag, "x"]) == 2
        assert f"fsbot: {flag}: {simulstreaming.REFUSED[flag]}" in capsys.readouterr().err


def test_a_decoder_that_does_not_fit() -> None:
    simulstreaming.check_decoder(None, 5)
    simulstreaming.check_decoder("beam", 1)
    with pytest.raises(UserError, match=r"engine\.beams = 2"):
        simulstreaming.check_decoder("greedy", 2)


def test_models_by_name_and_by_path(tmp_path: Path) -> None:
    own = tmp_path / "own.pt"
    own.touch()
    assert simulstreaming.model_of_path(str(own)) == str(own)
    assert simulstreaming.model_of_path("./large-v3.pt") == "large-v3"
    assert simulstreaming.model_of_path("small") == "small"


def test_log_levels_in_capitals(capsys: pytest.CaptureFixture[str]) -> None:
    assert 'log.level = "debug"' in config(capsys, "--log-level", "DEBUG")
    assert 'log.level = "error"' in config(capsys, "--log-level", "CRITICAL")


@pytest.mark.parametrize("command", ["serve", "transcribe"])
def test_help_names_every_flag(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    printed = capsys.readouterr().out
    for flag in [
        "--min-chunk-size",
        "--lan",
        "--task",
        "--vac",
        "--model_path",
        "--beams",
        "--decoder",
        "--audio_max_len",
        "--audio_min_len",
        "--frame_threshold",
        "--init_prompt",
        "--static_init_prompt",
        "--max_context_tokens",
        "--logdir",
        "--out-txt",
        "-l",
    ]:
        assert flag in printed
