import subprocess
import sys
from pathlib import Path

import pytest
import whisper.tokenizer
from pydantic import SecretStr, ValidationError

from fsbot.languages import languages
from fsbot.pace import PRESETS, Pace
from fsbot.settings import Esl, Filter, Log, Recordings, Settings, Transcripts
from fsbot.speech_settings import Engine, Vad


def test_defaults_are_those_of_the_design() -> None:
    settings = Settings()
    assert (settings.esl.host, settings.esl.port) == ("127.0.0.1", 8021)
    assert settings.esl.password.get_secret_value() == "ClueCon"
    assert settings.engine.language == "fr"
    assert settings.engine.pace == PRESETS["balanced"] == Pace(0.7, 25, 1, 0.5, 0.8)
    assert settings.recordings.sample_rate == 16000
    assert not settings.recordings.each_leg


def test_building_settings_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSBOT_ESL_PORT", "1234")
    assert Settings().esl.port == 8021


def test_settings_are_frozen_and_closed() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.esl.port = 1
    with pytest.raises(ValidationError):
        settings.esl = Esl()
    with pytest.raises(ValidationError):
        Esl(prot=8021)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("preset", "pace"),
    [
        ("fast", Pace(0.3, 15, 1, 0.2, 0.6)),
        ("balanced", Pace(0.7, 25, 1, 0.5, 0.8)),
        ("accurate", Pace(1.0, 50, 5, 0.9, 1.2)),
    ],
)
def test_preset_sets_the_pace(preset: str, pace: Pace) -> None:
    assert Engine.model_validate({"preset": preset}).pace == pace


@pytest.mark.parametrize(
    ("given", "in_force"),
    [
        ({}, (0.5, 0.8)),
        ({"min_silence": 0.2}, (0.2, 0.8)),
        ({"min_silence": 1.5}, (1.5, 1.5)),
        ({"max_silence": 0.4}, (0.4, 0.4)),
        ({"min_silence": 0.7, "max_silence": 0.5}, (0.7, 0.7)),
        ({"min_silence": 0.3, "max_silence": 2}, (0.3, 2.0)),
    ],
)
def test_silences_that_end_an_utterance(
    given: dict[str, float], in_force: tuple[float, float]
) -> None:
    assert Vad.model_validate(given).silences(PRESETS["balanced"]) == in_force


def test_each_part_of_a_preset_can_be_overridden() -> None:
    engine = Engine(preset="accurate", chunk=0.4, frame_threshold=30, beams=2)
    assert engine.pace == Pace(0.4, 30, 2, 0.9, 1.2)
    assert Engine(preset="accurate", beams=1).pace == Pace(1.0, 50, 1, 0.9, 1.2)
    assert Engine.model_validate({"beams": ""}).pace.beams == 1


def test_languages_are_whispers_own() -> None:
    known = languages()
    for code, name in whisper.tokenizer.LANGUAGES.items():
        assert known[code] == code
        assert known[name] == code
    for name, code in whisper.tokenizer.TO_LANGUAGE_CODE.items():
        assert known[name] == code
    assert len(known) == len(whisper.tokenizer.LANGUAGES) + len(whisper.tokenizer.TO_LANGUAGE_CODE)


@pytest.mark.parametrize(
    ("given", "code"),
    [("FR", "fr"), ("French", "fr"), ("castilian", "es"), ("yue", "yue"), ("Auto", "auto")],
)
def test_language_by_code_and_name(given: str, code: str) -> None:
    assert Engine(language=given).language == code


@pytest.mark.parametrize(
    ("given", "hint"),
    [("frnech", "'fr'"), ("fr-FR", "'fr'"), ("en_US", "'en'"), ("itaien", "'it'")],
)
def test_unknown_language_suggests_the_nearest(given: str, hint: str) -> None:
    with pytest.raises(ValidationError, match=f"did you mean {hint}"):
        Engine(language=given)


def test_hopeless_language_suggests_nothing() -> None:
    with pytest.raises(ValidationError) as caught:
        Engine(language="xyzzy")
    assert "did you mean" not in str(caught.value)


def test_paths_are_expanded_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/camille")
    settings = Settings(
        recordings=Recordings(directory=Path("~/calls")),
        engine=Engine(model="./weights/../base.pt", models_dir=Path("models")),
    )
    assert settings.recordings.directory == Path("/home/camille/calls")
    assert settings.transcripts.directory == tmp_path / "transcripts"
    assert settings.engine.model == str(tmp_path / "base.pt")
    assert settings.engine.models_dir == tmp_path / "models"
    assert Engine(model="large-v3").model == "large-v3"


@pytest.mark.parametrize("directory", ["rec", "/a b", "/a{x=y}", "/a'b", "/a,b", "/a$b", "/a\nb"])
def test_switch_directory_must_survive_uuid_record(directory: str) -> None:
    with pytest.raises(ValidationError):
        Recordings(switch_directory=directory)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("on_close", "on_close"), ("forever", "forever"), (7, 7.0), ("0.5", 0.5), (36500, 36500.0)],
)
def test_recordings_are_kept(given: object, kept: object) -> None:
    assert Recordings(retention=given).retention == kept  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given", ["", "never", "on-close", 0, -1, "nan", "inf", "1e9", True, None, [7]]
)
def test_recordings_are_not_kept_so(given: object) -> None:
    with pytest.raises(ValidationError):
        Recordings(retention=given)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Transcripts(retention=given)  # type: ignore[arg-type]


def test_transcripts_are_not_deleted_as_calls_end() -> None:
    assert Transcripts(retention="30").retention == 30.0  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="forever, or a number of days"):
        Transcripts(retention="on_close")  # type: ignore[arg-type]


def test_switch_directory_loses_its_last_slash() -> None:
    assert Recordings(switch_directory="/srv/calls/").switch_directory == "/srv/calls"


def test_lists_from_text_and_from_lists() -> None:
    assert Filter.model_validate({"contexts": "public, default,"}).contexts == ("public", "default")
    assert Filter.model_validate({"destinations": ["33*", "15"]}).destinations == ("33*", "15")
    assert Filter.model_validate({"contexts": ""}).contexts == ()
    with pytest.raises(ValidationError):
        Filter.model_validate({"directions": "inbound,sideways"})


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("esl", "port", 0),
        ("esl", "port", True),
        ("esl", "host", ""),
        ("esl", "host", "a\r\nb"),
        ("esl", "password", ""),
        ("esl", "password", "a\nb"),
        ("esl", "connect_timeout", "nan"),
        ("recordings", "directory", ""),
        ("recordings", "sample_rate", 44100),
        ("engine", "chunk", "inf"),
        ("engine", "threads", 1.5),
        ("engine", "static_prompt", "a\x1b[2Jb"),
        ("vad", "threshold", 1),
        ("log", "level", "loud"),
    ],
)
def test_values_out_of_range_are_refused(section: str, key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({section: {key: value}})


def test_prompt_may_hold_french_blanks() -> None:
    prompt = "«\u00a0Félicitations\u202f!\u00a0»"
    assert Engine(static_prompt=prompt).static_prompt == prompt


def test_sample_rate_as_text() -> None:
    assert Recordings.model_validate({"sample_rate": "8000"}).sample_rate == 8000


@pytest.mark.parametrize(
    ("form", "text", "shows"),
    [
        ("console", None, True),
        ("json", None, False),
        ("console", False, False),
        ("json", True, True),
    ],
)
def test_text_is_logged_by_default_on_the_console_only(
    form: str, text: bool | None, shows: bool
) -> None:
    assert Log.model_validate({"format": form, "text": text}).shows_text is shows


def test_password_is_in_no_repr_and_no_error() -> None:
    settings = Settings(esl=Esl(password=SecretStr("hunter2")))
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"esl": {"password": "hunter2\n"}})
    assert "hunter2" not in str(caught.value)


def test_settings_import_neither_torch_nor_whisper() -> None:
    script = (
        "import sys; from fsbot.speech_settings import Engine; Engine(language='German');"
        "sys.exit(any(name in sys.modules for name in ('torch', 'whisper', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("voice", ["", "flite", "flite|", "|slt", " | ", "flite|slt|x"])
def test_a_voice_with_which_freeswitch_would_end_the_call_is_refused(voice: str) -> None:
    with pytest.raises(ValidationError, match=r"flite\|slt|at least 1"):
        Settings(robot={"voice": voice})  # type: ignore[arg-type]
