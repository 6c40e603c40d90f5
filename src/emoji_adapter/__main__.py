"""`python -m emoji_adapter` is the command line `emoji-adapter`."""

import sys

from emoji_adapter.cli import main

if __name__ == "__main__":
    sys.exit(main())
