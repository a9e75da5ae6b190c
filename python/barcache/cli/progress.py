"""How far a long command is: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from barcache.cli.output import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _nobody(what: str, share: float) -> None:
    """Progress that nobody looks at."""


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr; yields a function that takes what is done at present and the share done."""
    if not sys.stderr.isatty():
        yield _nobody
        return
    columns = (TextColumn("{task.description:<34}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)

        def show(what: str, share: float) -> None:
            bar.update(task, completed=share, description=what)

        yield show
