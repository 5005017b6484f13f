"""`python -m tests.fuzz esl|connection|tcp --seconds N`: mutates the seeds, guided by coverage.

Inputs that reach something new are kept in --corpus, those that fail in the current directory
(crash-…, timeout-…, oom-…); `python -m tests.fuzz TARGET FILE` tries such a file again.
"""

import argparse
import importlib
import os
import sys
import tempfile
from hashlib import sha1
from pathlib import Path

HANG_SECONDS = 20
MOST_MEGABYTES = 2048


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=("esl", "connection", "tcp"))
    parser.add_argument("file", nargs="?", type=Path, help="one input, instead of a search")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, help="default: a folder that is deleted afterwards")
    args = parser.parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is missing: pip install -c constraints.txt -e '.[fuzz]'")
    with atheris.instrument_imports(include=["fsbot"]):
        target = importlib.import_module(f"tests.fuzz.{args.target}")
    if args.file is not None:
        target.check(args.file.read_bytes())
        return
    # Lines are made of what the inputs say, too.
    nowhere = Path(os.devnull).open("w")  # noqa: SIM115
    importlib.import_module("fsbot.log").configure(level="debug", stream=nowhere)
    with tempfile.TemporaryDirectory() as folder:
        corpus = args.corpus or Path(folder)
        corpus.mkdir(parents=True, exist_ok=True)
        for seed in target.seeds():
            (corpus / sha1(seed).hexdigest()).write_bytes(seed)
        limits = [
            f"-max_total_time={args.seconds}",
            f"-timeout={HANG_SECONDS}",
            f"-rss_limit_mb={MOST_MEGABYTES}",
            f"-max_len={target.MOST_BYTES}",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *limits, str(corpus)], target.check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
