"""What one pass of openai-whisper's encoder over 30 s costs: the unit in which work is compared
between machines. `python -m fsbot.bench.encoder_pass MODEL PASSES [MODELS_DIR]` prints CPU seconds,
one a line.
"""

import sys
import time
from pathlib import Path

import torch

from fsbot.weights import load_model


def main() -> int:
    name, passes, *rest = sys.argv[1:]
    torch.set_num_threads(1)
    model = load_model(name, Path(rest[0]) if rest else None)
    mel = torch.randn(1, model.dims.n_mels, 3000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        model.encoder(mel)
        for _ in range(int(passes)):
            began = time.process_time()
            model.encoder(mel)
            print(time.process_time() - began, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
