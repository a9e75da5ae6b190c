"""Work in steps: one generator that is driven by a thread or by a task.

A generator yields what it cannot do by itself because it may take long (a flight, a call of a
source) and is sent what came of it, or has its exception raised there. What it does between two
yields may block for a moment; under an event loop each such step runs in a thread.

Thread safety: a generator belongs to one call, whichever threads its steps run in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

T = TypeVar("T")


def drive(steps: Generator[Any, Any, T], do: Callable[[Any], Any]) -> T:
    """What the generator returns; ``do`` does what it yields.

    >>> def total():
    ...     return (yield 2) + (yield 3)
    >>> drive(total(), lambda number: number * 10)
    50
    """
    is_done, value = _step(steps, None, None)
    while not is_done:
        try:
            outcome = do(value)
        except Exception as error:
            is_done, value = _step(steps, None, error)
        else:
            is_done, value = _step(steps, outcome, None)
    result: T = value
    return result


async def adrive(
    steps: Generator[Any, Any, T],
    do: Callable[[Any], Awaitable[Any]],
    in_thread: Callable[..., Awaitable[Any]],
) -> T:
    """The same in a task. ``in_thread(function, *arguments)`` runs a step."""
    is_done, value = await in_thread(_step, steps, None, None)
    while not is_done:
        try:
            outcome = await do(value)
        except Exception as error:
            is_done, value = await in_thread(_step, steps, None, error)
        else:
            is_done, value = await in_thread(_step, steps, outcome, None)
    result: T = value
    return result


def _step(steps: Generator[Any, Any, T], outcome: Any, error: Exception | None) -> tuple[bool, Any]:
    """Whether it is done, and what it returned or yielded."""
    try:
        return False, steps.send(outcome) if error is None else steps.throw(error)
    except StopIteration as done:
        return True, done.value
