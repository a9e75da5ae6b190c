"""Runs a script with RustyBT's cache manager served by barcache.

``python -m barcache.rustybt script.py args...``, or ``-m module args...``.
"""

from __future__ import annotations

import sys
from pathlib import Path

_USAGE = """\
usage: python -m barcache.rustybt [--status | [-m] PROGRAM [ARGS...]]

Runs a Python file (or with -m a module) so that
    from rustybt.data.polars.cache_manager import CacheManager
gives barcache's cache, whether RustyBT is installed or not.

  --status   say which cache manager is live, and stop
"""


def main(arguments: list[str]) -> int:
    """Run what the command line names; 2 for a usage error."""
    from barcache.rustybt import install, launch

    if not arguments or arguments[0] in ("-h", "--help"):
        (sys.stdout if arguments else sys.stderr).write(_USAGE)
        return 0 if arguments else 2
    if arguments[0] == "--status":
        sys.stdout.write(f"{install()}\n")
        return 0
    if arguments[0] == "-m" and len(arguments) > 1:
        launch.run_module(arguments[1], arguments[2:])
        return 0
    if arguments[0].startswith("-"):
        sys.stderr.write(f"unknown option {arguments[0]}\n\n{_USAGE}")
        return 2
    if not Path(arguments[0]).is_file():
        sys.stderr.write(f"no such file: {arguments[0]}\n")
        return 2
    launch.run_file(arguments[0], arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
