"""The counters of this run, as the mapping that existing code reads and sometimes sets."""

from __future__ import annotations

from typing import Any, Protocol

COUNTERS = ("hit_count", "miss_count", "hot_hits", "cold_hits")


class _Core(Protocol):
    def _set_session_stats(
        self, hit_count: int, miss_count: int, hot_hits: int, cold_hits: int
    ) -> None: ...


class SessionStats(dict[str, int]):
    """A snapshot of the counters; setting one sets it in the cache as well.

    A dict in every other way: comparing, copying and iterating work as ever. Safe with threads
    as far as a dict is: read ``cache.session_stats`` again for fresh figures.
    """

    def __init__(self, core: _Core, counters: dict[str, int]) -> None:
        super().__init__(counters)
        self._core = core

    def __setitem__(self, name: str, value: int) -> None:
        super().__setitem__(name, value)
        store(self._core, self)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several counters at once."""
        super().update(*args, **kwargs)
        store(self._core, self)

    def copy(self) -> dict[str, int]:
        """A plain dict, which sets nothing."""
        return dict(self)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def store(core: _Core, counters: dict[str, int]) -> None:
    """Make ``counters`` the figures that the cache goes on counting from; absent ones are 0."""
    hit_count, miss_count, hot_hits, cold_hits = (int(counters.get(name, 0)) for name in COUNTERS)
    core._set_session_stats(hit_count, miss_count, hot_hits, cold_hits)
