"""When each word of a reference text ends: forced once, offline, and kept.

`python -m fsbot.bench.forcing ORDERS.json` is the program that does it, with openai-whisper's word
alignment of the reference text over each turn's audio; it prints JSON.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsbot.bench.latencies import SpokenEnd
from fsbot.bench.scoring import words
from fsbot.bench.speech import SIDES, Reference, Turn
from fsbot.weights.store import cache_directory

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from whisper.model import Whisper

    from fsbot.bench.workshop import Workshop

MODEL = "base"
"""The weights that force, whatever model is measured: word ends must not move with it."""

FORM = 1
SECONDS_PER_TURN = 2.0
WHISPER_RATE = 16000

Ends = dict[str, list[SpokenEnd]]
"""By side, in the order of speaking."""


def word_ends(calls: Sequence[Reference], workshop: Workshop) -> dict[str, Ends]:
    """By name of the call. What isn't in the user's cache yet is forced and put there."""
    places = {call.name: _place(call, workshop.weights_sha256(MODEL)) for call in calls}
    absent = [call for call in calls if not places[call.name].is_file()]
    if absent:
        _force(absent, places, workshop)
    return {call.name: _read(places[call.name]) for call in calls}


def _place(call: Reference, weights_sha256: str) -> Path:
    said = json.dumps([(t.side, t.start, t.end, t.text) for t in call.turns])
    key = hashlib.sha256(call.sound.read_bytes())
    key.update(f"{FORM} {weights_sha256} {call.language} {said}".encode())
    folder = cache_directory() / "fsbot" / "bench"
    return folder / f"word-ends-{call.name}-{key.hexdigest()[:20]}.json"


def _force(calls: Sequence[Reference], places: Mapping[str, Path], workshop: Workshop) -> None:
    orders = workshop.place("forcing") / "orders.json"
    models_dir = workshop.point.settings.engine.models_dir
    content = {
        "models_dir": str(models_dir) if models_dir else None,
        "calls": [str(call.sound.with_suffix(".json").resolve()) for call in calls],
    }
    orders.write_text(json.dumps(content))
    turns = sum(len(call.turns) for call in calls)
    title = f"word ends of {turns} turns, once"
    printed = workshop.run("fsbot.bench.forcing", [str(orders)], title, turns * SECONDS_PER_TURN)
    for name, ends in json.loads(printed).items():
        places[name].parent.mkdir(parents=True, exist_ok=True)
        # Under another name first: a benchmark that is broken off leaves no half file.
        half = places[name].with_suffix(".new")
        half.write_text(json.dumps(ends, ensure_ascii=False), encoding="utf-8")
        half.replace(places[name])


def _read(path: Path) -> Ends:
    content = json.loads(path.read_text(encoding="utf-8"))
    return {side: [SpokenEnd(word, end) for word, end in ends] for side, ends in content.items()}


def ends_of_words(pieces: Sequence[tuple[str, float]], text: str) -> list[SpokenEnd]:
    """The normalised words of `text`, each with the end of the piece in which its last letter is.

    pieces: the text as the tokenizer cuts it ("d", "'", "Elbach"), with the second of each end.
    """
    letter_ends = [
        end for piece, end in pieces for letter in "".join(words(piece)) if not letter.isspace()
    ]
    found = []
    letters = 0
    for word in words(text):
        letters += len(word)
        found.append(SpokenEnd(word, letter_ends[min(letters, len(letter_ends)) - 1]))
    return found


def main() -> int:
    import soundfile
    import torch

    from fsbot.bench.speech import references
    from fsbot.weights import load_model

    torch.set_num_threads(1)
    orders = json.loads(Path(sys.argv[1]).read_text())
    model = load_model(MODEL, Path(orders["models_dir"]) if orders["models_dir"] else None)
    found: dict[str, dict[str, list[Any]]] = {}
    for description in map(Path, orders["calls"]):
        [call] = references(description.parents[1], description.stem)
        samples, rate = soundfile.read(call.sound, dtype="float32", always_2d=True)
        found[call.name] = {
            side: [
                (spoken.word, round(spoken.end, 3))
                for turn in call.turns_of(side)
                for spoken in _forced(model, call.language, turn, samples[:, column], rate)
            ]
            for column, side in enumerate(SIDES)
        }
    print(json.dumps(found))
    return 0


def _forced(
    model: Whisper, language: str, turn: Turn, track: NDArray[Any], rate: int
) -> list[SpokenEnd]:
    """The ends of a turn's words, in seconds of the call."""
    import soxr
    from whisper.audio import N_FRAMES, log_mel_spectrogram, pad_or_trim
    from whisper.timing import find_alignment
    from whisper.tokenizer import get_tokenizer

    tokenizer = get_tokenizer(True, language=language, task="transcribe")
    audio = soxr.resample(track[round(turn.start * rate) : round(turn.end * rate)], rate, 16000)
    mel = pad_or_trim(log_mel_spectrogram(audio, padding=N_FRAMES * 160), N_FRAMES)
    frames = len(audio) // 160
    tokens = tokenizer.encode(f" {turn.text}")
    timed = find_alignment(model, tokenizer, tokens, mel, frames)
    pieces = [(timing.word, float(timing.end)) for timing in timed]
    return [
        SpokenEnd(spoken.word, turn.start + spoken.end)
        for spoken in ends_of_words(pieces, turn.text)
    ]


if __name__ == "__main__":
    sys.exit(main())
