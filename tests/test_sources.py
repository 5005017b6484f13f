import os
from pathlib import Path

import pytest

from fsbot.errors import UserError
from fsbot.pace import Pace
from fsbot.sources import Configuration, Origin, load


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory and no settings in the environment."""
    for name in os.environ:
        if name.upper().startswith("FSBOT_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "fsbot.toml", mode: int = 0o600) -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def refusal(flags: dict[str, object] | None = None, file: Path | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load(flags, file)
    assert caught.value.exit_code == 2
    assert caught.value.remedy
    return caught.value.message


def origin(configuration: Configuration, name: str) -> str:
    return str(configuration.origins[name])


def test_without_anything_the_defaults_hold() -> None:
    configuration = load()
    assert configuration.settings.esl.port == 8021
    assert configuration.origins["esl.port"] == Origin("default")
    assert configuration.warnings == ()


def test_each_source_beats_the_ones_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    write("[esl]\nhost = 'file'\nport = 1\nconnect_timeout = 1\n")
    monkeypatch.setenv("FSBOT_ESL_PORT", "2")
    monkeypatch.setenv("FSBOT_ESL_CONNECT_TIMEOUT", "2")
    configuration = load({"esl.connect_timeout": "3"})
    esl = configuration.settings.esl
    assert (esl.host, esl.port, esl.connect_timeout, esl.request_timeout) == ("file", 2, 3.0, 10.0)
    assert origin(configuration, "esl.host") == "file fsbot.toml:2"
    assert origin(configuration, "esl.port") == "environment FSBOT_ESL_PORT"
    assert origin(configuration, "esl.connect_timeout") == "flag --esl-connect-timeout"
    assert origin(configuration, "esl.request_timeout") == "default"


def test_every_setting_has_an_origin() -> None:
    configuration = load()
    dumped = configuration.settings.model_dump()
    assert set(configuration.origins) == {f"{s}.{k}" for s, keys in dumped.items() for k in keys}


def test_keys_with_underscores_come_out_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FSBOT_RECORDINGS_SWITCH_DIRECTORY", "/srv/calls")
    monkeypatch.setenv("FSBOT_ENGINE_MAX_CONTEXT_TOKENS", "20")
    monkeypatch.setenv("FSBOT_FILTER_CONTEXTS", "public,default")
    monkeypatch.setenv("FSBOT_RECORDINGS_EACH_LEG", "yes")
    monkeypatch.setenv("FSBOT_ENGINE_STATIC_PROMPT", '{"not": "json"}')
    settings = load().settings
    assert settings.recordings.switch_directory == "/srv/calls"
    assert settings.engine.max_context_tokens == 20
    assert settings.filter.contexts == ("public", "default")
    assert settings.recordings.each_leg is True
    assert settings.engine.static_prompt == '{"not": "json"}'


def test_preset_values_say_that_they_are_the_presets() -> None:
    configuration = load({"engine.preset": "accurate", "engine.beams": "2"})
    assert configuration.settings.engine.pace == Pace(
        chunk=1.0, frame_threshold=50, beams=2, min_silence=0.9, max_silence=1.2
    )
    assert origin(configuration, "engine.chunk") == "preset accurate"
    assert origin(configuration, "engine.beams") == "flag --engine-beams"


def test_explicit_file_beats_variable_beats_working_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("[esl]\nport = 1\n")
    write("[esl]\nport = 2\n", "two.toml")
    three = write("[esl]\nport = 3\n", "three.toml")
    assert load().settings.esl.port == 1
    monkeypatch.setenv("FSBOT_CONFIG", "two.toml")
    assert load().settings.esl.port == 2
    assert load(file=three).settings.esl.port == 3


def test_a_named_file_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nowhere.toml cannot be read: No such file" in refusal(file=Path("nowhere.toml"))
    monkeypatch.setenv("FSBOT_CONFIG", "elsewhere.toml")
    assert "elsewhere.toml cannot be read" in refusal()


def test_a_file_that_is_no_toml_or_no_text_names_the_place() -> None:
    write("[esl]\nhost = localhost\n")
    assert "fsbot.toml is not valid TOML" in refusal()
    assert "line 2" in refusal()
    Path("fsbot.toml").write_bytes(b"[esl]\nhost = '\xff'\n")
    assert "not UTF-8" in refusal()


def test_byte_order_mark_is_accepted() -> None:
    Path("fsbot.toml").write_bytes(b"\xef\xbb\xbf[esl]\nport = 9\n")
    assert load().settings.esl.port == 9


def test_unknown_keys_in_the_file_are_named_with_line_and_nearest() -> None:
    write("language = 'fr'\n[esl]\n# x\nhsot = 'a'\n[engin]\nthreads = 2\n")
    message = refusal()
    assert "unknown setting esl.hsot (fsbot.toml:4): did you mean esl.host?" in message
    assert "unknown setting engin.threads (fsbot.toml:6): did you mean engine.threads?" in message
    assert "unknown setting language (fsbot.toml:1): did you mean engine.language?" in message


def test_a_section_must_be_a_table() -> None:
    write("esl = 3\n")
    assert "write [esl] (fsbot.toml:1)" in refusal()
    write("[enginee]\n")
    assert "unknown setting enginee" in refusal()


def test_unknown_variables_are_named_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSBOT_ESL_HSOT", "a")
    assert refusal() == "unknown environment variable FSBOT_ESL_HSOT: did you mean FSBOT_ESL_HOST?"
    monkeypatch.setenv("FSBOT_ESL", '{"host": "a"}')
    assert "unknown environment variable FSBOT_ESL" in refusal()


def test_variables_that_are_no_settings_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSBOT_MODELS_DIR", "/weights")
    monkeypatch.setenv("FSBOT_CONFIG", "")
    assert load().settings.esl.port == 8021


def test_one_line_per_problem_with_origin_and_range(monkeypatch: pytest.MonkeyPatch) -> None:
    write("[engine]\nthreads = 0\nlanguage = 'frnech'\n[filter]\ndirections = ['up', 'down']\n")
    monkeypatch.setenv("FSBOT_VAD_THRESHOLD", "7")
    lines = refusal({"esl.port": "x"}).splitlines()
    assert lines == [
        "5 settings are wrong",
        '  esl.port = "x" (flag --esl-port): must be a whole number from 1 to 65535',
        '  filter.directions = ["up", "down"] (file fsbot.toml:5): '
        "must be a list of inbound or outbound",
        '  engine.language = "frnech" (file fsbot.toml:3): is no language that Whisper knows '
        "(its codes and names, or auto): did you mean 'fr'?",
        "  engine.threads = 0 (file fsbot.toml:2): must be a whole number from 1 to 64",
        '  vad.threshold = "7" (environment FSBOT_VAD_THRESHOLD): '
        "must be a number above 0 and below 1",
    ]


def test_a_wrong_value_that_is_overridden_does_no_harm() -> None:
    write("[esl]\nport = 'x'\n")
    assert load({"esl.port": "1"}).settings.esl.port == 1


def test_a_wrong_password_is_not_repeated() -> None:
    write("[esl]\npassword = 7130914\n")
    message = refusal()
    assert "esl.password" in message
    assert "7130914" not in message


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_password_file(end: str) -> None:
    Path("secret").write_bytes(f" hunter 2 {end}".encode())
    Path("secret").chmod(0o600)
    configuration = load({"esl.password_file": "secret"})
    assert configuration.settings.esl.password.get_secret_value() == " hunter 2 "
    assert origin(configuration, "esl.password") == "flag --esl-password-file"
    assert configuration.warnings == ()


def test_password_and_password_file_take_precedence_by_their_sources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("from file", "secret")
    write("[esl]\npassword_file = 'secret'\n")
    monkeypatch.setenv("FSBOT_ESL_PASSWORD", "from environment")
    assert load().settings.esl.password.get_secret_value() == "from environment"
    flags = {"esl.password_file": "secret"}
    assert load(flags).settings.esl.password.get_secret_value() == "from file"
    monkeypatch.setenv("FSBOT_ESL_PASSWORD_FILE", "secret")
    message = refusal()
    assert "FSBOT_ESL_PASSWORD)" in message
    assert "FSBOT_ESL_PASSWORD_FILE)" in message
    assert "from" not in message


def test_password_file_that_is_missing_or_empty() -> None:
    message = refusal({"esl.password_file": "nowhere"})
    assert "esl.password_file (flag --esl-password-file)" in message
    assert "nowhere" in message
    write("\n", "secret")
    assert "esl.password" in refusal({"esl.password_file": "secret"})


def test_secrets_that_everybody_can_read_are_warned_of() -> None:
    write("hunter2", "secret", mode=0o644)
    (warning,) = load({"esl.password_file": "secret"}).warnings
    assert str(Path("secret").resolve()) in warning
    assert "hunter2" not in warning
    write("[esl]\npassword = 'hunter2'\n", mode=0o644)
    (warning,) = load().warnings
    assert "fsbot.toml holds esl.password" in warning
    write("[esl]\nport = 1\n", mode=0o644)
    assert load().warnings == ()
