"""`python -m fsbot`."""

import sys

from fsbot.cli import main

if __name__ == "__main__":
    sys.exit(main())
