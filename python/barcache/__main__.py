"""`python -m barcache` is the command `barcache`."""

from __future__ import annotations

import sys

from barcache.cli import main

if __name__ == "__main__":
    sys.exit(main())
