"""Runs SimulStreaming, the reference implementation of AlignAtt, on recorded calls.

    python -m fsbot.bench.simulstreaming CHECKOUT --speech ../shared/speech --json FILE

Each track (one side of a call, or a reading) is heard by a process of its own, which feeds
SimulStreaming's online processor as its simulation from a file does with `--comp_unaware`: all
sound in small steps, however late it is. With `--aware` it is fed as that simulation feeds it
without, and as a live line does: what has arrived while it was busy is one step. Interrupted, it
goes on where it stopped.
"""

import argparse
import importlib
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from fsbot.bench.speech import SIDES, readings, references
from fsbot.errors import UserError

MODEL = "base"
WEIGHTS = f"{MODEL}.pt"  # SimulStreaming knows the alignment heads by the file's name
RATE = 16000
FLAGS = "--vac --min-chunk-size 0.5 --frame_threshold 25 --beams 1 --task transcribe -l WARNING"
"""SimulStreaming's own; what is not named has its default, and no prompt is given."""

TRACKS = ("call-*", "fdm_003", "fdm_021")  # of the readings two: it loops on them for minutes
AWARE, UNAWARE = "aware", "unaware"
PROJECT = Path(__file__).parents[2]
FRONT = "simulstreaming_whisper"
SIMULATION = "simulstreaming.whisper.whisper_streaming.whisper_online_main"
SERVER = "simulstreaming.whisper.whisper_streaming.whisper_server"
WHISPER = "simulstreaming.whisper.simul_whisper.whisper"


@dataclass(frozen=True, slots=True)
class Track:
    """One side of a call, named `call/side`, or a reading."""

    name: str
    set: str
    lang: str
    path: Path
    channel: int

    def sound(self) -> NDArray[np.float32]:
        """At 16 kHz."""
        import soundfile  # what the child imports shall be what SimulStreaming needs, no more
        import soxr

        samples, rate = soundfile.read(self.path, dtype="float32", always_2d=True)
        resampled = soxr.resample(samples[:, self.channel], rate, RATE)
        return np.asarray(resampled, dtype=np.float32)


@dataclass(slots=True)
class Word:
    """A word, or a piece of one with the space before it. All times in seconds of the track.

    It is emitted at `emission_time` if updates take their CPU time and wait for one another, and
    at `emission_time_unaware` if they took none.
    """

    text: str
    start: float
    end: float
    emission_time: float
    emission_time_unaware: float


def join_pieces(pieces: Iterable[Word]) -> list[Word]:
    """The words of one stretch of voice: a piece without a space before it belongs to the last.

    A word is emitted with its last letter; a comma that comes afterwards makes it no later.
    """
    words: list[Word] = []
    for piece in pieces:
        text = piece.text.strip()
        if not words or piece.text[:1].isspace():
            words.append(replace(piece, text=text))
        elif re.search(r"\w", text):
            words[-1] = replace(piece, text=words[-1].text + text, start=words[-1].start)
        else:
            words[-1].text += text
    return [word for word in words if word.text]


def listen(
    online: Any, sound: NDArray[np.float32], step: int, *, aware: bool
) -> tuple[float, list[list[Word]]]:
    """Feed `step` samples at a time; the CPU seconds it took, and pieces by stretch of voice.

    On the virtual clock the update for sound that has arrived at time t begins at t, or when the
    update before is over, and lasts the CPU time it took: a busy machine makes nothing later.
    aware: an update that begins late takes all sound that has arrived by then.
    """
    cpu_seconds = clock = 0.0
    voices: list[list[Word]] = [[]]
    arrived, finished = 0, False
    while not finished:
        finished, before = arrived == len(sound), arrived
        arrived = max(before + step, int(clock * RATE) if aware else 0)
        arrived = min(arrived, len(sound))
        began = time.process_time()
        try:
            if finished:
                output = online.finish()
            else:
                online.insert_audio_chunk(sound[before:arrived])
                output = online.process_iter()
        except AssertionError:
            output = {}  # as its own simulation has it
        spent = time.process_time() - began
        heard = arrived / RATE
        cpu_seconds += spent
        clock = max(clock, heard) + spent
        voices[-1] += [
            Word(word["text"], word["start"], word["end"], clock, heard)
            for word in output.get("words", [])
            if not word["text"].startswith("<|")
        ]
        if output.get("is_final"):
            voices.append([])
    return cpu_seconds, voices


def load(language: str, sound: NDArray[np.float32]) -> tuple[Any, int]:
    """SimulStreaming's online processor, warmed up, and how many samples it wants at a time."""
    import torch

    sys.modules["librosa"] = _librosa()
    simulation = importlib.import_module(SIMULATION)
    front = importlib.import_module(FRONT)
    parser = argparse.ArgumentParser()
    simulation.processor_args(parser)
    front.simulwhisper_args(parser)
    args = parser.parse_args([*FLAGS.split(), "--model_path", WEIGHTS, "--lan", language])
    with _nothing_downloaded():
        asr, online = simulation.asr_factory(args, front.simul_asr_factory)
    torch.set_num_threads(1)
    asr.warmup(sound[:RATE])
    return online, round(args.vac_chunk_size * RATE)


def serve(checkout: Path, port: int, language: str) -> None:
    """Be SimulStreaming's server, one CPU thread, lines of text. The working directory gets the
    weights."""
    import torch

    write_weights(Path(WEIGHTS))
    sys.path.insert(0, str(checkout))
    sys.modules["librosa"] = _librosa()
    server = importlib.import_module(SERVER)
    front = importlib.import_module(FRONT)
    torch.set_num_threads(1)
    sys.argv = [SERVER, *FLAGS.split(), "--model_path", WEIGHTS, "--lan", language, "--out-txt"]
    sys.argv += ["--host", "127.0.0.1", "--port", str(port)]
    with _nothing_downloaded():
        server.main_server(front.simul_asr_factory, add_args=front.simulwhisper_args)


@contextmanager
def _nothing_downloaded() -> Iterator[None]:
    """It would fetch Silero and weights: our file's hash is not OpenAI's, although they are."""
    from silero_vad import load_silero_vad

    with (
        mock.patch("torch.hub.load", return_value=(load_silero_vad(), None)),
        mock.patch(f"{WHISPER}._download", return_value=WEIGHTS),
    ):
        yield


def _librosa() -> ModuleType:
    """All that is wanted of librosa: samples of a sound file that is 16 kHz mono already."""
    module = ModuleType("librosa")
    module.load = lambda file, sr, dtype: (file.read(dtype="float32"), sr)  # type: ignore[attr-defined]
    return module


def child() -> None:
    """The process that hears one track, run by an interpreter that can import SimulStreaming."""
    sound = np.load("sound.npy")
    language, computation = sys.argv[1:]
    online, step = load(language, sound)
    cpu_seconds, voices = listen(online, sound, step, aware=computation == AWARE)
    words = [word for pieces in voices for word in join_pieces(pieces)]
    heard: dict[str, Any] = {"seconds": len(sound) / RATE, "cpu_seconds": cpu_seconds}
    heard["text"] = " ".join(word.text for word in words)
    heard["words"] = [asdict(word) for word in words]
    Path("heard.json").write_text(json.dumps(heard), encoding="utf-8")


def hear(
    track: Track, checkout: Path, python: str, folder: Path, computation: str
) -> dict[str, Any]:
    """Let a child hear a track. `folder` holds the weights, and what goes to and fro."""
    np.save(folder / "sound.npy", track.sound())
    code = "from fsbot.bench.simulstreaming import child; child()"
    environment = os.environ | {"PYTHONPATH": f"{PROJECT}{os.pathsep}{checkout}"}
    command = [python, "-c", code, track.lang, computation]
    # In a group of its own it doesn't hear Ctrl-C, which would make it print a traceback.
    if subprocess.call(command, cwd=folder, env=environment, process_group=0) != 0:
        raise UserError(
            f"SimulStreaming failed on {track.name}; its own words are above",
            "If a package is missing, install it, or name the --python that has it.",
        )
    heard = json.loads((folder / "heard.json").read_text(encoding="utf-8"))
    return {"track": track.name, "set": track.set, "lang": track.lang, **heard}


def write_weights(path: Path) -> None:
    """In openai-whisper's own format, the only one that SimulStreaming reads."""
    import torch  # seconds: not for --help, nor for a wrong argument

    from fsbot.weights import load_model

    model = load_model(MODEL)
    torch.save({"dims": vars(model.dims), "model_state_dict": model.state_dict()}, path)


def time_encoder_pass() -> float:
    """CPU seconds of one pass of openai-whisper's encoder over 30 s, on one thread."""
    command = [sys.executable, "-m", "fsbot.bench.encoder_pass", MODEL, "1"]
    return float(subprocess.check_output(command, process_group=0))


def find_tracks(speech: Path, patterns: Sequence[str]) -> list[Track]:
    """The tracks in `speech` whose name matches one of the patterns. Raises UserError."""
    tracks = [
        Track(f"{call.name}/{side}", "calls", call.language, call.sound, channel)
        for call in references(speech)
        for channel, side in enumerate(SIDES)
    ]
    tracks += [Track(each.name, "long", each.language, each.sound, 0) for each in readings(speech)]
    tracks = [track for track in tracks if any(fnmatch(track.name, each) for each in patterns)]
    if not tracks:
        asked = " or ".join(patterns)
        raise UserError(f"no track in {speech} is named {asked}", "Give other --tracks.")
    return tracks


def read_commit(checkout: Path) -> str:
    """The checkout's. Raises UserError if it is none of SimulStreaming."""
    if not (checkout / f"{SIMULATION.replace('.', '/')}.py").is_file():
        raise UserError(
            f"{checkout} is no checkout of SimulStreaming: it has no module {SIMULATION}",
            "Give the folder into which you cloned github.com/ufal/SimulStreaming.",
        )
    # Without --git-dir git would find a repository further up.
    command = ["git", f"--git-dir={checkout / '.git'}", "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def describe_machine() -> str:
    """The processor, and what computes on it."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{[*names, platform.machine()][0]}, {os.cpu_count()} cores, torch {version('torch')}"


def read_results(path: Path, **conditions: Any) -> dict[str, Any]:
    """What an earlier run left, or a beginning. `conditions`: what all tracks have in common."""
    if not os.access(path.absolute().parent, os.W_OK):
        raise UserError(f"{path} cannot be written", "Give another --json.")
    try:
        results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else conditions
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", "Give another --json.") from error
    differing = [key for key, value in conditions.items() if results.get(key) != value]
    if differing:
        changed = " and ".join(differing)
        raise UserError(f"{path} has another {changed}", "Delete it, or give another --json.")
    return {"encoder_pass_cpu_seconds": None, "encoder_passes": [], "tracks": []} | results


def run(args: argparse.Namespace) -> None:
    """Hear all tracks that are not in the JSON yet. Raises UserError."""
    checkout = args.checkout.resolve()
    computation = AWARE if args.aware else UNAWARE
    settings = {"model": MODEL, "flags": FLAGS, "torch_threads": 1, "computation": computation}
    commit, machine = read_commit(checkout), describe_machine()
    results = read_results(args.json, commit=commit, settings=settings, machine=machine)
    done = {heard["track"] for heard in results["tracks"]}
    tracks = find_tracks(args.speech, args.tracks)
    python = shutil.which(args.python)
    if python is None:
        raise UserError(f"--python: {args.python} is no program", "Give another one.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_weights(folder / WEIGHTS)
        for track in (track for track in tracks if track.name not in done):
            results["encoder_passes"].append(time_encoder_pass())
            results["encoder_pass_cpu_seconds"] = statistics.median(results["encoder_passes"])
            heard = hear(track, checkout, os.path.abspath(python), folder, computation)
            results["tracks"].append(heard)
            part = args.json.with_suffix(".part")
            part.write_text(json.dumps(results, ensure_ascii=False, indent=1), encoding="utf-8")
            part.replace(args.json)
            cost = f"{heard['cpu_seconds']:.1f} CPU-s for {heard['seconds']:.1f} s"
            print(f"{len(results['tracks'])} {track.name}: {cost}: {heard['text']}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m fsbot.bench.simulstreaming", description=(__doc__ or "").splitlines()[0]
    )
    add = parser.add_argument
    add("checkout", metavar="CHECKOUT", type=Path, help="of github.com/ufal/SimulStreaming")
    add("--speech", metavar="DIR", type=Path, help="the folder of calls/ and long/")
    add("--tracks", metavar="PATTERN", nargs="+", default=TRACKS, help="default: %(default)s")
    add("--aware", action="store_true", help="late updates take all sound that is there by then")
    add("--python", metavar="PY", default=sys.executable, help="that has SimulStreaming's packages")
    add("--json", metavar="OUT", type=Path, help="what is in it already is kept")
    add("--serve", metavar="PORT", type=int, help="instead: be its TCP server")
    add("--language", default="fr", help="of --serve (default: %(default)s)")
    args = parser.parse_args(argv)
    try:
        if args.serve:
            read_commit(args.checkout)
            serve(args.checkout, args.serve, args.language)
        elif args.speech and args.json:
            run(args)
        else:
            parser.error("--speech and --json are needed, or --serve")
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
