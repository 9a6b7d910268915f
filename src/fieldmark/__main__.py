"""``python -m fieldmark`` is ``fieldmark``; ``torchrun -m -- fieldmark train ...`` trains on many processes."""

import sys

from fieldmark.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
