"""Runs a script or a module as ``__main__`` with the switch on, also in its child processes.

A child that multiprocessing spawns imports the main program again. It is told to import
``barcache.rustybt.child`` instead, which turns the switch on and then runs the same program text
under the name ``__mp_main__``.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import io
import os
import sys
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from barcache.rustybt import install

# What the main program is, for spawned children: "file <path>" or "module <name>".
PROGRAM_VARIABLE = "BARCACHE_RUSTYBT_PROGRAM"


class _MainSpec(importlib.machinery.ModuleSpec):
    """Names the module that a spawned child imports in place of the main program."""

    def __init__(self, package: str | None) -> None:
        super().__init__("barcache.rustybt.child", None)
        self._package = package

    @property
    def parent(self) -> str | None:
        return self._package


def run_file(path: str, args: list[str]) -> None:
    """Run a Python file as ``python path args...`` would."""
    install()
    full_path = str(Path(path).absolute())
    os.environ[PROGRAM_VARIABLE] = f"file {full_path}"
    sys.argv = [path, *args]
    sys.path[0] = str(Path(path).resolve().parent)
    code = _compile_file(full_path)
    _run_main(code, {"__file__": path, "__package__": None, "__spec__": _MainSpec("")})


def run_module(name: str, args: list[str]) -> None:
    """Run a module, or a package's ``__main__``, as ``python -m name args...`` would."""
    install()
    sys.path[0] = str(Path.cwd())
    code, found = _module_code(name)
    os.environ[PROGRAM_VARIABLE] = f"module {name}"
    sys.argv = [found.origin or name, *args]
    _run_main(
        code,
        {
            "__file__": found.origin,
            "__package__": found.parent,
            "__spec__": _MainSpec(found.parent),
        },
    )


def run_again_in_child(namespace: dict[str, Any]) -> None:
    """In a spawned child: fill ``namespace`` with the main program's definitions."""
    install()
    kind, _, program = os.environ.get(PROGRAM_VARIABLE, "").partition(" ")
    if kind == "file":
        namespace.update(__file__=program, __package__=None)
        exec(_compile_file(program), namespace)
    elif kind == "module":
        code, found = _module_code(program)
        namespace.update(__file__=found.origin, __package__=found.parent)
        exec(code, namespace)


def _run_main(code: CodeType, settings: dict[str, Any]) -> None:
    main = ModuleType("__main__")
    main.__dict__.update(settings)
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    exec(code, main.__dict__)


def _compile_file(path: str) -> CodeType:
    with io.open_code(path) as file:
        return compile(file.read(), path, "exec")


def _module_code(name: str) -> tuple[CodeType, importlib.machinery.ModuleSpec]:
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{name}.__main__")
    get_code = getattr(spec.loader, "get_code", None) if spec is not None else None
    code = get_code(spec.name) if spec is not None and get_code is not None else None
    if spec is None or code is None:
        raise ModuleNotFoundError(f"no module {name!r} that can be run; check its name", name=name)
    return code, spec
