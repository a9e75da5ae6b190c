"""How far a long call is: whom to tell, and nobody. Thread safety: pure functions."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]  # What is done at present, and the share that is done.


def no_progress(what: str, share: float) -> None:
    """Nobody wants to know."""
