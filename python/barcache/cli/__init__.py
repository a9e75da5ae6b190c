"""The command `barcache`: look at a cache, check it and make room in it.

Needs the extra `cli` (click and rich), which is asked for only when the command runs.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_MISSING = """\
barcache: the command line needs {module}, which is not installed.
Install it with: pip install "barcache[cli]"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    0: done. 1: something was found or failed. 2: the command was not used as it is meant.
    130: interrupted from the keyboard.
    """
    try:
        import click
        import rich  # noqa: F401 - asked for here so that the advice comes before any work.
    except ModuleNotFoundError as error:
        sys.stderr.write(_MISSING.format(module=error.name))
        return 1

    from barcache.cli.commands import ReaderLeft, barcache
    from barcache.errors import BarcacheError

    try:
        code = barcache.main(args=arguments, prog_name="barcache", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        sys.stderr.write("\ninterrupted\n")
        return 130
    except (BrokenPipeError, ReaderLeft):
        # What is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except BarcacheError as error:
        sys.stderr.write(f"barcache: {error}\n")
        return 1
