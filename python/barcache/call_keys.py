"""Calls as text: the canonical JSON that a memoized call is named by.

Equal text must mean an equal answer, so that types are told apart (1, 1.0 and True; a list and a
tuple; NumPy's scalars by their dtype) and whatever cannot be written down exactly is refused.

Thread safety: pure functions; the core of a frame argument may be used from any thread.
"""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from types import CodeType
from typing import TYPE_CHECKING, Any

import polars as pl

from barcache.conversion import frame_to_put

if TYPE_CHECKING:
    from collections.abc import Callable

    from barcache import _core

_FRAMES = {
    ("pandas", "DataFrame"),
    ("pyarrow", "Table"),
    ("pyarrow", "RecordBatch"),
}
_PLAIN: dict[type, Callable[[Any], Any]] = {
    type(None): lambda value: value,
    bool: lambda value: value,
    int: lambda value: value,
    str: lambda value: value,
    float: lambda value: value if math.isfinite(value) else {"float": repr(value)},
    complex: lambda value: {"complex": repr(value)},
    bytes: lambda value: {"bytes": value.hex()},
    Decimal: lambda value: {"decimal": str(value)},
    date: lambda value: {"date": value.isoformat()},
    time: lambda value: {"time": value.isoformat(), "zone": str(value.tzinfo), "fold": value.fold},
    timedelta: lambda value: {"timedelta": [value.days, value.seconds, value.microseconds]},
    range: lambda value: {"range": [value.start, value.stop, value.step]},
}


class NotCanonical(Exception):
    """A value that cannot be written down exactly; ``value`` is it."""

    def __init__(self, value: object) -> None:
        super().__init__(type(value).__name__)
        self.value = value


def canonical(core: _core.CacheCore, value: Any) -> Any:
    """The value as something that JSON can write, the same in each process.

    Raises:
        NotCanonical: it holds something else than plain values, dates, containers, dataclasses,
            NumPy's scalars and arrays, and frames.
    """
    kind = type(value)
    if plain := _PLAIN.get(kind):
        return plain(value)
    if kind is list:
        return [canonical(core, item) for item in value]
    if kind is tuple:
        return {"tuple": [canonical(core, item) for item in value]}
    if kind is dict:  # In its order, which a function may see.
        return {
            "dict": [[canonical(core, name), canonical(core, item)] for name, item in value.items()]
        }
    if kind in (set, frozenset):
        return {kind.__name__: sorted((canonical(core, item) for item in value), key=repr)}
    if isinstance(value, Enum):
        return {"enum": type_name(kind), "value": value.name or repr(value)}
    if isinstance(value, datetime):  # Also pandas' Timestamp, with its nanoseconds.
        zone = str(value.tzinfo)
        return {
            "datetime": value.isoformat(),
            "zone": zone,
            "fold": value.fold,
            "type": kind.__name__,
        }
    if isinstance(value, PurePath):
        return {"path": str(value)}
    if is_dataclass(value) and not isinstance(value, type):
        parts = {item.name: canonical(core, getattr(value, item.name)) for item in fields(value)}
        return {"dataclass": type_name(kind), "fields": parts}
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return {"namedtuple": type_name(kind), "values": [canonical(core, item) for item in value]}
    return _foreign(core, value)


def type_name(kind: Any) -> str:
    """Module and qualified name of a class or function.

    >>> type_name(Decimal)
    'decimal.Decimal'
    """
    return f"{kind.__module__}.{kind.__qualname__}"


def _foreign(core: _core.CacheCore, value: Any) -> Any:
    """A value of another library: none of these is imported for it."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    if library == "numpy" and hasattr(value, "dtype") and not value.dtype.hasobject:
        digest = hashlib.sha256(value.tobytes()).hexdigest()
        if kind.__name__ == "ndarray":
            return {"ndarray": repr(value.dtype), "shape": list(value.shape), "sha256": digest}
        if value.ndim == 0:
            return {"numpy": repr(value.dtype), "value": str(value), "sha256": digest}
    if (library, kind.__name__) == ("pandas", "Timedelta"):
        return {"pandas.Timedelta": value.isoformat()}
    if (library, kind.__name__) == ("pandas", "Series"):
        name = canonical(core, value.name)
        return {"pandas.Series": name, **_frame(core, value.rename("value").to_frame())}
    if kind is pl.Series:
        return {"polars.Series": _content(value.to_frame())}
    if kind is pl.DataFrame or (library, kind.__name__) in _FRAMES:
        return _frame(core, value)
    raise NotCanonical(value)


def _frame(core: _core.CacheCore, frame: Any) -> dict[str, str]:
    kind = type(frame)
    name = f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
    if kind is pl.DataFrame:
        return {"frame": name, "sha256": _content(frame)}
    ready = frame_to_put(frame)
    content = core._import_frame(ready.data, ready.is_polars, ready.origin).polars()
    return {"frame": name, "sha256": _content(content), "origin": ready.origin}


def _content(frame: pl.DataFrame) -> str:
    """SHA-256 over names, types and values."""
    stream = io.BytesIO()
    frame.rechunk().write_ipc(stream)
    return hashlib.sha256(stream.getbuffer()).hexdigest()


def code_hash(function: Any) -> str:
    """16 hex letters that change with what the function does, not with where it stands.

    Over the instructions, constants and names of its code and of the code nested in it; the
    docstring does not count. Another version of Python may compile to another hash.
    """
    code: CodeType = function.__code__
    text = _code_text(code, skip=function.__doc__)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _code_text(code: CodeType, skip: str | None = None) -> str:
    constants = list(code.co_consts)
    if skip is not None and constants and constants[0] == skip:
        constants[0] = None
    parts = [
        code.co_code.hex(),
        code.co_exceptiontable.hex(),
        repr(code.co_names),
        repr(code.co_freevars),
        str(code.co_argcount),
        *(_constant_text(constant) for constant in constants),
    ]
    return "\n".join(parts)


def _constant_text(constant: Any) -> str:
    if isinstance(constant, CodeType):
        return f"code({_code_text(constant)})"
    if isinstance(constant, tuple):
        return f"({','.join(_constant_text(item) for item in constant)})"
    if isinstance(constant, frozenset):
        return f"{{{','.join(sorted(_constant_text(item) for item in constant))}}}"
    return f"{type(constant).__name__}:{constant!r}"
