"""SimulStreaming's flags: what each becomes here, and which are refused with a sentence.

The names are those of its simulstreaming_whisper.py and simulstreaming_whisper_server.py, commit
077ea37.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from fsbot.errors import UserError

DEFAULTS: Mapping[str, object] = {
    "engine.language": "en",
    "engine.chunk": 1.2,
    "engine.frame_threshold": 25,
    "engine.beams": 1,
}
"""SimulStreaming's own, taken by `--simulstreaming` for what no flag says."""

REFUSED = {
    "--cif_ckpt_path": "fsbot has no model of word ends: a word is committed when another one "
    "follows it or the model has ended the text. Leave the flag out",
    "--never_fire": "fsbot never commits a last word that may go on: it would be cut in two. "
    "Leave the flag out",
    "--vac-chunk-size": "voice activity is judged every 0.032 s, whatever comes in. Leave the "
    "flag out; what ends an utterance is vad.min_silence (--vad-min-silence)",
}

LONGEST_UTTERANCE = 28.0


def add_arguments(
    parser: argparse.ArgumentParser, form: str, jsonl: str, txt: str, **more: object
) -> None:
    """Declare the flags that server and simulation share.

    form: where a format of the output goes, as `jsonl` or `txt`. more: further defaults of
    `--simulstreaming`, by destination.
    """
    group = parser.add_argument_group(
        "SimulStreaming's flags", "As simulstreaming_whisper.py and its server have them."
    )
    group.add_argument(
        "--simulstreaming",
        action=_Defaults,
        nargs=0,
        defaults={**DEFAULTS, form: jsonl, **more},
        default=False,
        help="SimulStreaming's defaults (English, 1.2 s chunks, JSON lines) for all that no other "
        "flag says",
    )
    _add_settings(
        group,
        {
            "--min-chunk-size": "engine.chunk",
            "--lan": "engine.language",
            "--task": "engine.task",
            "--frame_threshold": "engine.frame_threshold",
            "--audio_min_len": "engine.min_audio",
            "--init_prompt": "engine.init_prompt",
            "--static_init_prompt": "engine.static_prompt",
            "--max_context_tokens": "engine.max_context_tokens",
            "--logdir": "engine.logdir",
        },
    )
    _add_setting(group, ["--beams", "-b"], "engine.beams")
    _add_setting(group, ["-l"], "log.level")
    _add_setting(group, ["--model_path"], "engine.model", convert=model_of_path)
    _add_setting(group, ["--audio_max_len"], "vad.max_utterance", convert=_longest_utterance)
    group.add_argument(
        "--decoder", choices=("greedy", "beam"), help="must fit --beams, which decides"
    )
    group.add_argument(
        "--vac",
        action="store_true",
        help="voice activity detection, which fsbot always has: tells ends of utterances in "
        "SimulStreaming's JSON",
    )
    group.add_argument(
        "--out-txt",
        dest=form,
        action="store_const",
        const=txt,
        default=argparse.SUPPRESS,
        help="lines of text instead of JSON",
    )
    group.add_argument("--no-never_fire", action="store_true", help="as it is anyway")
    for flag in REFUSED:
        group.add_argument(
            flag, action=_Refuse, nargs="?", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def check_decoder(decoder: str | None, beams: int) -> None:
    """Raises UserError if the named decoder is not that of so many beams."""
    if decoder == "greedy" and beams > 1:
        raise UserError(
            f"--decoder greedy does not fit engine.beams = {beams}",
            "Leave --decoder out, or set --beams 1.",
        )


def model_of_path(path: str) -> str:
    """The setting engine.model for `--model_path`: an existing path as it is, else the name of one
    of Whisper's models, which SimulStreaming takes for a file's (`./large-v3.pt`)."""
    name = Path(path).name
    if not Path(path).expanduser().exists() and name.endswith(".pt"):
        return name.removesuffix(".pt")
    return path


def _longest_utterance(text: str) -> str:
    try:
        seconds = float(text)
    except ValueError:
        return text  # the setting says what it wants
    # Whisper's window is 30 s; a little of it is silence before and behind the utterance.
    return str(LONGEST_UTTERANCE) if LONGEST_UTTERANCE < seconds <= 30 else text


def _add_settings(group: argparse._ArgumentGroup, flags: Mapping[str, str]) -> None:
    for flag, setting in flags.items():
        _add_setting(group, [flag], setting)


def _add_setting(
    group: argparse._ArgumentGroup,
    flags: Sequence[str],
    setting: str,
    convert: Any = str,
) -> None:
    group.add_argument(
        *flags,
        dest=setting,
        type=convert,
        default=argparse.SUPPRESS,
        metavar=setting.rpartition(".")[2].upper(),
        help=f"the setting {setting}",
    )


class _Defaults(argparse.Action):
    def __init__(self, *args: Any, defaults: Mapping[str, object], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._defaults = defaults

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, True)
        for name, value in self._defaults.items():
            if not hasattr(namespace, name):  # flags before it; those behind it win anyway
                setattr(namespace, name, value)


class _Refuse(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> NoReturn:
        flag = option_string or ""
        raise UserError(f"{flag}: {REFUSED[flag]}")
