"""The counters of this run, as the mapping that existing code reads and sometimes sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, SupportsIndex

from barcache.errors import InvalidType

COUNTERS = ("hit_count", "miss_count", "hot_hits", "cold_hits")


class _Core(Protocol):
    def _session_stats(self) -> dict[str, int]: ...

    def _set_session_stats(
        self, hit_count: int, miss_count: int, hot_hits: int, cold_hits: int
    ) -> None: ...


class SessionStats(dict[str, int]):
    """A snapshot of the counters; setting one sets that one in the cache as well.

    A dict in every other way: comparing, copying and iterating work as ever. Safe with threads
    as far as a dict is: read ``cache.session_stats`` again for fresh figures.
    """

    def __init__(self, core: _Core) -> None:
        super().__init__(core._session_stats())
        self._core = core

    def __setitem__(self, name: str, value: int) -> None:
        self.update({name: value})

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several counters at once."""
        changed = dict(*args, **kwargs)
        store(self._core, {**self._core._session_stats(), **changed})
        super().update(changed)

    def copy(self) -> dict[str, int]:
        """A plain dict, which sets nothing."""
        return dict(self)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def store(core: _Core, counters: Mapping[str, int]) -> None:
    """Make ``counters`` the figures that the cache goes on counting from; absent ones are 0.

    Raises:
        InvalidType: not a mapping, or a figure is no integer; nothing is changed.
    """
    if not isinstance(counters, Mapping):
        raise InvalidType(
            f"session_stats must be a dict of {', '.join(COUNTERS)}, not {type(counters).__name__}"
        )
    figures = []
    for name in COUNTERS:
        figure = counters.get(name, 0)
        if not isinstance(figure, SupportsIndex):
            raise InvalidType(
                f"session_stats[{name!r}] must be an int, not {type(figure).__name__}"
            )
        figures.append(figure.__index__())
    core._set_session_stats(*figures)
