"""Starts the other processes of a case and makes sure that none is left."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_S = 120


def _command(task: str, arguments: dict[str, Any]) -> list[str]:
    return [sys.executable, "-m", "barcache.bench.child", task, json.dumps(arguments)]


def ask(task: str, **arguments: Any) -> dict[str, float]:
    """Runs a task in a fresh process to its end, and returns what it printed."""
    done = subprocess.run(
        _command(task, arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the process for {task} failed: {done.stderr.strip()[-800:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


class Child:
    """A process that is told what to do line by line."""

    def __init__(self, task: str, **arguments: Any) -> None:
        self._process = subprocess.Popen(
            _command(task, arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def hear(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a process of the benchmark ended before it was done")
        return line.strip()

    def tell(self, line: str) -> None:
        """Sends it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Closes its stdin, on which it ends by itself; kills it if it does not."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextlib.contextmanager
def children(count: int, task: str, **arguments: Any) -> Iterator[list[Child]]:
    """So many processes of a task, ready; gone at the end of the block."""
    started: list[Child] = []
    try:
        for _ in range(count):
            started.append(Child(task, **arguments))
        for child in started:
            if child.hear() != "ready":
                raise RuntimeError(f"a process for {task} did not get ready")
        yield started
    finally:
        for child in started:
            child.end()
