"""Compose the demo sounds again from Debian's package asterisk-core-sounds-fr-wav.

    python compose.py /usr/share/asterisk/sounds/fr_CA_f_June

writes demo-fr.flac, utterance-fr.flac and their .json beside this file. CREDITS.md says whose
voice it is and under which licence.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 8000
GAP_SECONDS = 0.5
LOUDER_THAN_HISS = 500


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch of one prompt, in seconds (`end` None: to its end), and what is said in it."""

    side: str
    prompt: str
    text: str
    start: float = 0.0
    end: float | None = None


DEMO = (
    Turn(
        "callee",
        "tt-allbusy",
        "Tous nos préposés sont présentement occupés. Votre appel est important pour nous. Merci "
        "de bien vouloir patienter afin de conserver votre priorité d'appel.",
    ),
    Turn(
        "caller",
        "demo-congrats",
        "Félicitations, vous avez bien installé et exécuté le projet libre Asterisk.",
        end=5.1,
    ),
    Turn(
        "callee",
        "pbx-invalid",
        "Désolée, ce numéro de poste n'est pas valide, veuillez essayer de nouveau.",
    ),
    Turn(
        "caller",
        "demo-congrats",
        "Vous avez aussi installé quelques fichiers audio et les fichiers de configuration qui "
        "devraient vous aider à démarrer.",
        start=5.1,
        end=11.4,
    ),
    Turn(
        "callee",
        "speed-dial-empty",
        "La composition abrégée à laquelle vous avez accédé n'existe pas.",
    ),
    Turn(
        "caller",
        "demo-congrats",
        "Comme avec tout central téléphonique, vous naviguerez dans cette démonstration en "
        "appuyant sur les chiffres.",
        start=11.4,
        end=17.4,
    ),
    Turn(
        "callee",
        "demo-thanks",
        "Au revoir, merci d'avoir essayé le projet libre Asterisk.",
    ),
)
UTTERANCE = (
    Turn(
        "caller",
        "ss-noservice",
        "Le numéro composé n'est pas en service. Veuillez vérifier le numéro et essayer de "
        "nouveau.",
    ),
)


def compose(turns: tuple[Turn, ...], prompts: Path, target: Path) -> None:
    """Turn after turn with gaps between; one channel if only the caller speaks."""
    sides = ["caller", "callee"] if any(turn.side == "callee" for turn in turns) else ["caller"]
    position = int(GAP_SECONDS * RATE)
    placed = []
    for turn in turns:
        voice, rate = soundfile.read(prompts / f"{turn.prompt}.wav", dtype="int16")
        if rate != RATE:
            raise SystemExit(f"{turn.prompt}.wav has {rate} Hz, not {RATE}")
        last = len(voice) if turn.end is None else int(turn.end * RATE)
        placed.append((turn, position, voice[int(turn.start * RATE) : last]))
        position += len(placed[-1][2]) + int(GAP_SECONDS * RATE)
    track = np.zeros((position, len(sides)), np.int16)
    told = []
    for turn, start, voice in placed:
        track[start : start + len(voice), sides.index(turn.side)] = voice
        told.append(
            {
                "side": turn.side,
                "prompt": turn.prompt,
                **_seconds("start", "end", start, start + len(voice)),
                **_seconds("speech_start", "speech_end", *_speech(voice, start)),
                "text": turn.text,
            }
        )
    soundfile.write(target, track, RATE)
    description = {
        "id": target.stem,
        "lang": "fr",
        "rate": RATE,
        "channels": sides,
        "duration": position / RATE,
        "turns": told,
    }
    content = json.dumps(description, indent=1, ensure_ascii=False)
    target.with_suffix(".json").write_text(content + "\n", encoding="utf-8")


def _speech(voice: NDArray[np.int16], offset: int) -> tuple[int, int]:
    """First and last sample that is louder than the recording's own hiss."""
    loud = np.flatnonzero(np.abs(voice.astype(int)) > LOUDER_THAN_HISS)
    return offset + int(loud[0]), offset + int(loud[-1]) + 1


def _seconds(first: str, last: str, start: int, end: int) -> dict[str, float]:
    return {first: round(start / RATE, 3), last: round(end / RATE, 3)}


if __name__ == "__main__":
    here = Path(__file__).parent
    compose(DEMO, Path(sys.argv[1]), here / "demo-fr.flac")
    compose(UTTERANCE, Path(sys.argv[1]), here / "utterance-fr.flac")
