"""How far a long command is: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from barcache.cli.output import console
from barcache.progress import no_progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from rich.progress import Progress as Bars

    from barcache.progress import Progress


def progress_bar() -> AbstractContextManager[Progress]:
    """A bar on stderr; enters as a function that takes what is done at present and the share done.

    Raises:
        ImportError: stderr is a terminal, and rich is not installed.
    """
    if not sys.stderr.isatty():
        return nullcontext(no_progress)
    # It takes as long to load as all of barcache, and most commands need none.
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<34}"), BarColumn(), TimeElapsedColumn())
    return _told(Progress(*columns, console=console(stderr=True), transient=True))


@contextmanager
def _told(bars: Bars) -> Iterator[Progress]:
    with bars:
        task = bars.add_task("starting", total=1.0)

        def show(what: str, share: float) -> None:
            bars.update(task, completed=share, description=what)

        yield show
