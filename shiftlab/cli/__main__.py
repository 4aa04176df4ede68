"""``python -m shiftlab.cli`` is the command ``shiftlab``."""

import sys

from shiftlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
