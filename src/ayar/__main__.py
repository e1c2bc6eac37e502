"""``python -m ayar``: the command line."""

import sys

from ayar.cli import main

if __name__ == "__main__":
    sys.exit(main())
