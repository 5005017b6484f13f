import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsbot import __version__, cli
from fsbot.catalogue import all_settings
from fsbot.commands import COMMANDS, Command
from fsbot.errors import UserError

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.upper().startswith("FSBOT_")}


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(os.environ) - set(ENVIRONMENT):
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


def fsbot(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program itself, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "fsbot", *argv],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=60,
        env=ENVIRONMENT | environment,
    )


def modules_after(*argv: str) -> set[str]:
    script = (
        "import sys; from fsbot.cli import main; status = main(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert name in text
        assert command.summary.split()[0] in text


def test_help_imports_nothing_heavy() -> None:
    assert not modules_after("--help") & {"torch", "whisper", "numpy", "gevent", "pydantic", "rich"}


@pytest.mark.parametrize("argv", [["config"], ["run", "--help"], ["config", "--help"]])
def test_settings_do_not_import_torch(argv: list[str]) -> None:
    assert not modules_after(*argv) & {"torch", "whisper", "numpy", "fsbot.bot"}


@pytest.mark.parametrize("name", list(COMMANDS))
def test_help_of_each_command_has_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: fsbot {name}")
    assert f"examples:\n{COMMANDS[name].examples}" in text


@pytest.mark.parametrize("name", list(COMMANDS))
def test_examples_use_flags_that_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main([name, "--help"])
    before, _, examples = capsys.readouterr().out.partition("examples:")
    for word in examples.split():
        if word.startswith("--"):
            assert word in before.replace(",", " ").split()


@pytest.mark.parametrize("name", [n for n, c in COMMANDS.items() if c.start_with])
def test_commands_with_settings_have_a_flag_for_each(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main([name, "--help"])
    words = capsys.readouterr().out.replace(",", " ").split()
    for setting in all_settings():
        assert setting.flag in words
    assert {"--language", "--model", "--preset", "--config", "--no-log-text"} <= set(words)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"fsbot {__version__}\n"


def test_flags_reach_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["config", "--language", "english", "--esl-port", "7", "--recordings-each-leg"]
    assert cli.main([*argv, "--no-log-text", "--filter-directions", "inbound,outbound"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 'engine.language = "en"  # flag --engine-language' in lines
    assert "esl.port = 7  # flag --esl-port" in lines
    assert "recordings.each_leg = true  # flag --recordings-each-leg" in lines
    assert "log.text = false  # flag --log-text" in lines
    assert 'filter.directions = ["inbound", "outbound"]  # flag --filter-directions' in lines


def test_precedence_of_file_environment_and_flag(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[vad]\nthreshold = 0.1\nmin_silence = 0.1\nlead_in = 0.1\n")
    done = fsbot(
        *("config", "--config", str(file), "--vad-lead-in", "0.3"),
        FSBOT_VAD_MIN_SILENCE="0.2",
    )
    assert f"vad.threshold = 0.1  # file {file}:2" in done.stdout
    assert "vad.min_silence = 0.2  # environment FSBOT_VAD_MIN_SILENCE" in done.stdout
    assert "vad.lead_in = 0.3  # flag --vad-lead-in" in done.stdout


def test_wrong_settings_end_in_one_message_without_traceback() -> None:
    done = fsbot("config", "--engine-threads", "many", FSBOT_ESL_PORT="0")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "fsbot: 2 settings are wrong",
        '  esl.port = "0" (environment FSBOT_ESL_PORT): must be a whole number from 1 to 65535',
        '  engine.threads = "many" (flag --engine-threads): must be a whole number from 1 to 64',
        "  `fsbot config --help` lists all settings and their ranges",
    ]


def test_wrong_command_and_flag_suggest_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["confg"]) == 2
    assert "no command 'confg': did you mean config?" in capsys.readouterr().err
    assert cli.main(["config", "--esl-pasword=hunter2"]) == 2
    err = capsys.readouterr().err
    assert "no flag '--esl-pasword': did you mean --esl-password?" in err
    assert "hunter2" not in err


@pytest.mark.parametrize("argv", [[], ["--nonsense"], ["--", "config"], ["config", "--format"]])
def test_incomplete_command_lines_exit_2(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(argv) == 2
    assert "usage: fsbot" in capsys.readouterr().err


def raising(error: BaseException) -> Command:
    def start(module: object, args: object) -> int:
        raise error

    return Command("fails", "fsbot.errors", "", own_arguments=False, start=start)


def test_user_error_gives_message_remedy_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = UserError("no \x1b[31mmodel", "set engine.model", exit_code=4)
    monkeypatch.setitem(COMMANDS, "fail", raising(error))
    assert cli.main(["fail"]) == 4
    assert capsys.readouterr().err == "fsbot: no \\x1b[31mmodel\n  set engine.model\n"


def test_interrupt_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "fail", raising(KeyboardInterrupt()))
    assert cli.main(["fail"]) == 130
    assert capsys.readouterr() == ("", "")


def test_other_errors_keep_their_traceback_and_ask_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "fail", raising(ZeroDivisionError("oh")))
    assert cli.main(["fail"]) == 1
    *trace, last = capsys.readouterr().err.splitlines()
    assert trace[0].startswith("Traceback")
    assert trace[-1] == "ZeroDivisionError: oh"
    assert "please report" in last


@pytest.mark.parametrize("argv", [["config"], ["config", "--format", "toml"]])
def test_reader_that_goes_away_is_no_error(argv: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "fsbot", *argv],
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
            env=ENVIRONMENT,
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_broken_pipe_of_a_socket_is_not_taken_for_stdouts() -> None:
    script = (
        "import sys; from fsbot import cli; from fsbot.commands import COMMANDS, Command\n"
        "def start(module, args): raise BrokenPipeError(32, 'Broken pipe')\n"
        "COMMANDS['fail'] = Command('fails', 'fsbot.errors', '', False, start)\n"
        "sys.exit(cli.main(['fail']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "BrokenPipeError" in done.stderr
