"""``python -m fieldmark`` is the command ``fieldmark``; with ``torchrun -m --`` it trains in several processes."""

import sys

from fieldmark.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
