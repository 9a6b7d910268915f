"""Run ``python -m fieldmark`` like ``fieldmark``; ``torchrun -m -- fieldmark train ...`` trains in several processes."""

import sys

from fieldmark.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
