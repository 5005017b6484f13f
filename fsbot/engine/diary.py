"""What the model was given and what it made of it, window by window: for debugging."""

from pathlib import Path

import soundfile
import structlog
from whisper.tokenizer import Tokenizer

from fsbot.audio.pcm import SAMPLE_RATE
from fsbot.engine.decoding import Decoded
from fsbot.engine.inference import Job, Result, Window

log = structlog.get_logger("fsbot.engine")


class Diary:
    """Writes `seg_<utterance>/iter_<number>_audio.wav` and `…_hypothesis.txt`, as SimulStreaming
    does: the sound of a window, the tokens that stood before its text, and the text."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0

    def noted(self, job: Job[Result], utterance: int, tokenizer: Tokenizer) -> Job[Result]:
        """The same job, every window of it written down."""
        try:
            window = next(job)
            while True:
                decoded = yield window
                if window.task.max_tokens:  # else it asked for the language
                    self._note(utterance, tokenizer, window, decoded)
                window = job.send(decoded)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _note(self, utterance: int, tokenizer: Tokenizer, window: Window, decoded: Decoded) -> None:
        self._number += 1
        before = tokenizer.encoding.decode([*window.task.prompt, *window.task.prefix])
        text = tokenizer.decode(decoded.tokens)
        folder = self._directory / f"seg_{utterance:05d}"
        name = f"iter_{self._number:05d}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{name}_audio.wav", window.samples, SAMPLE_RATE)
            (folder / f"{name}_hypothesis.txt").write_text(
                f"CONTEXT+FORCED:\t{before}\nHYPOTHESIS:\t{text}\n", encoding="utf-8"
            )
        except (OSError, soundfile.SoundFileError) as error:
            # A full disk costs the diary, and no words.
            log.warning("window not written down", directory=str(folder), reason=str(error))
