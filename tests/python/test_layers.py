"""The rules of docs/architecture.md, checked: includes and imports go down, foreign libraries stay
in their room, nothing is dead, nothing is too long, and names say their room's noun.

The rules are read from the tables of that page.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_FILE_LINES = 800
MAX_FUNCTION_LINES = 70
VAGUE_NAMES = {"util", "utils", "common", "helper", "helpers", "misc"}
# What the operating system gives beside the C++ standard library.
POSIX_FOLDERS = {"sys", "linux", "net", "netinet"}
POSIX_HEADERS = {
    "dirent.h", "dlfcn.h", "fcntl.h", "poll.h", "pthread.h", "sched.h", "signal.h", "stdio.h",
    "stdlib.h", "time.h",
    "unistd.h",
    "immintrin.h", "arm_neon.h",
}  # fmt: skip


def _tracked(*patterns: str) -> list[str]:
    """Paths of the files that are, or would be, under version control."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]
    try:
        listed = subprocess.run([*command, *patterns], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not in a git work tree: there is nothing to list")
    names = listed.stdout.decode().split("\0")
    return sorted({name for name in names if name and (ROOT / name).is_file()})


def _text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _tables(page: str) -> list[list[dict[str, str]]]:
    """The Markdown tables of a page, each a list of rows by column name."""
    tables: list[list[dict[str, str]]] = []
    header: list[str] | None = None
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            header = None
        elif header is None:
            header = cells
            tables.append([])
        elif not set(line) <= set("|-: "):
            tables[-1].append(dict(zip(header, cells, strict=True)))
    return tables


def _names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@dataclass(frozen=True)
class Rules:
    """The tables of docs/architecture.md."""

    rank: dict[str, int]
    may_include: dict[str, set[str]]
    public: dict[str, str]  # public header: room
    foreign: dict[str, list[str]]  # beginning of an include: where it may stand
    imports: dict[str, list[str]]  # foreign Python package: where it may stand


def _read_rules(page: str) -> Rules:
    by_columns = {tuple(table[0]): table for table in _tables(page) if table}
    rooms = by_columns["rank", "room", "what it holds", "may include"]
    name = {row["room"]: _names(row["room"])[0] for row in rooms}
    return Rules(
        rank={name[row["room"]]: int(row["rank"]) for row in rooms},
        may_include={name[row["room"]]: set(_names(row["may include"])) for row in rooms},
        public={
            _names(row["header"])[0]: _names(row["room"])[0] for row in by_columns["header", "room"]
        },
        foreign={
            _names(row["include"])[0]: _names(row["where"])
            for row in by_columns["include", "library", "where"]
        },
        imports={
            _names(row["import"])[0]: _names(row["where"]) for row in by_columns["import", "where"]
        },
    )


RULES = _read_rules(_text("docs/architecture.md"))


def _room_of(path: str) -> str | None:
    """The room of a file, or None for one outside the rooms."""
    if match := re.match(r"src/(\w+)/", path):
        return match[1]
    if match := re.match(r"include/barcache/([\w.]+)$", path):
        return RULES.public.get(match[1], f"no room in the table for {match[1]}")
    return None


def _misplaced(path: str, include: str) -> str | None:
    """Why `path` may not contain `include` (with its quotes or angle brackets), or None."""
    room = _room_of(path)
    if include.startswith("<"):
        name = include.strip("<>")
        for beginning, where in RULES.foreign.items():
            if include.startswith(beginning):
                allowed = any(fnmatch(path, pattern) for pattern in where)
                return None if allowed else f"{include} belongs in {' '.join(where)}"
        folder = name.partition("/")[0]
        standard = "." not in name and "/" not in name
        known = standard or name in POSIX_HEADERS or ("/" in name and folder in POSIX_FOLDERS)
        return None if known else f"{include} is of a library that docs/architecture.md lacks"
    folder, _, name = include.strip('"').partition("/")
    if room is None:  # benchmarks, examples: anything of ours; what they may not, review says.
        return None
    if not name:
        return f'{include}: headers are included as "room/file.h"'
    target = RULES.public.get(name) if folder == "barcache" else folder
    if target is None or target not in RULES.rank:
        return f"{include}: no room of docs/architecture.md"
    if target == room:
        return None
    if target not in RULES.may_include[room] or RULES.rank[target] >= RULES.rank[room]:
        return f"{include}: {room} may not include {target}"
    return None


def _includes(path: str) -> list[str]:
    return re.findall(r'^\s*#\s*include\s*(<[^>]+>|"[^"]+")', _text(path), flags=re.MULTILINE)


# --- The tables themselves


def test_every_room_is_in_the_table_and_ranks_fall() -> None:
    folders = {path.split("/")[1] for path in _tracked("src/*.cc", "src/*.h")}
    assert folders == set(RULES.rank)
    for room, below in RULES.may_include.items():
        for other in below:
            assert RULES.rank[other] < RULES.rank[room], f"{room} may include {other}?"


def test_every_public_header_is_in_the_table() -> None:
    headers = {Path(path).name for path in _tracked("include/barcache/*.h")}
    assert headers == set(RULES.public)


# --- Includes


def test_includes_go_strictly_downward() -> None:
    wrong = [
        f"{path}: {reason}"
        for path in _tracked("*.cc", "*.h")
        for include in _includes(path)
        if (reason := _misplaced(path, include)) is not None
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("path", "include"),
    [
        ("src/hot/hot_tier.cc", '"cold/cold_tier.h"'),
        ("src/base/sha256.h", '"barcache/frame.h"'),
        ("include/barcache/frame.h", '"barcache/cache.h"'),
        ("src/cold/cold_tier.cc", "<arrow/api.h>"),
        ("src/base/file_system.cc", "<openssl/evp.h>"),
        ("src/cache/cache.cc", "<sqlite3.h>"),
        ("src/cache/cache.cc", "<boost/any.hpp>"),
        ("src/cache/cache.cc", '"maintainer.h"'),
        ("src/cache/cache.cc", "<gtest/gtest.h>"),
    ],
)
def test_the_checker_sees_a_wrong_include(path: str, include: str) -> None:
    assert _misplaced(path, include) is not None


# --- Imports


def _imported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: imports name the whole path"
        module = node.module or ""
        return [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return []


def _is_for_types_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _module_of(path: str) -> str:
    name = path.removeprefix("python/").removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


def _modules() -> dict[str, str]:
    return {_module_of(path): path for path in _tracked("python/barcache/*.py")}


def test_foreign_packages_are_imported_where_the_table_says() -> None:
    wrong = []
    for path in _modules().values():
        for node in ast.walk(ast.parse(_text(path))):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            package = _imported(node)[0].partition(".")[0]
            if package in sys.stdlib_module_names or package in ("barcache", "__future__"):
                continue
            if not any(fnmatch(path, where) for where in RULES.imports.get(package, [])):
                wrong.append(f"{path}:{node.lineno}: {package}")
    assert not wrong, "\n".join(wrong)


def _cycle_in(graph: dict[str, set[str]]) -> list[str] | None:
    done: set[str] = set()

    def visit(module: str, trail: list[str]) -> list[str] | None:
        if module in trail:
            return [*trail[trail.index(module) :], module]
        if module in done:
            return None
        for other in sorted(graph[module]):
            if found := visit(other, [*trail, module]):
                return found
        done.add(module)
        return None

    return next((found for module in graph if (found := visit(module, []))), None)


def test_python_modules_import_each_other_in_one_direction() -> None:
    modules = _modules()
    graph = {}
    for module, path in modules.items():
        body = [node for node in ast.parse(_text(path)).body if not _is_for_types_only(node)]
        names = {name for node in body for name in _imported(node)}
        graph[module] = (names & set(modules)) - {module}
    # `import barcache.x` runs barcache/__init__.py first, whoever asks: not an import of its own.
    for module in graph:
        if module != "barcache":
            graph[module].discard("barcache")
    cycle = _cycle_in(graph)
    assert cycle is None, " -> ".join(cycle or [])


def test_the_cycle_finder_finds_one() -> None:
    assert _cycle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert _cycle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_importing_barcache_loads_nothing_that_only_some_need() -> None:
    lazy = sorted(set(RULES.imports) - {"polars"})
    code = f"import barcache, sys; print(*[name for name in {lazy!r} if name in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert loaded == []


# --- Dead files


def test_no_header_is_dead() -> None:
    included = set()
    for path in _tracked("*.cc", "*.h"):
        for name in _includes(path):
            beside = (Path(path).parent / name.strip('"')).as_posix().removeprefix("src/")
            included |= {name.strip('"<>'), beside}
    headers = {re.sub(r"^(src|include|tests)/", "", path) for path in _tracked("*.h")}
    assert sorted(headers - included) == []


def test_no_python_module_is_dead() -> None:
    modules = _modules()
    used = set()
    for path in [*modules.values(), *_tracked("src/python/*.cc", "src/python/*.h")]:
        text = _text(path)
        if path.endswith(".py"):
            used |= set(re.findall(r'"(barcache\.[\w.]+)"', text.replace(_module_of(path), "")))
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    used |= {name for name in _imported(node) if name != _module_of(path)}
        else:
            used |= set(re.findall(r'"(barcache\.[\w.]+)"', text))
    doors = {name for name in modules if name.endswith("__main__")} | {"barcache"}
    doors |= {"barcache.rustybt", "barcache.cli", "barcache.freshness", "barcache.sources"}
    assert sorted(set(modules) - used - doors) == []


@pytest.mark.parametrize("pattern", ["scripts/*", "requirements/*", "cmake/*", "build_backend/*"])
def test_no_file_of_the_build_is_dead(pattern: str) -> None:
    users = ["Makefile", "pyproject.toml", "CMakeLists.txt", ".ci/run", "src/python/CMakeLists.txt"]
    users += _tracked("scripts/*", "cmake/*", "tests/*.py", "benchmarks/*.py")
    texts = {path: _text(path) for path in users if (ROOT / path).exists()}
    for path in _tracked(pattern):
        name = Path(path).name
        # setup takes groups by name; CMake includes modules by stem.
        spellings = {name, name.removesuffix(".cmake"), f"setup {Path(path).stem}"}
        spellings |= {f"setup test {Path(path).stem}", name.removesuffix(".py")}
        used = any(s in text for s in spellings for user, text in texts.items() if user != path)
        assert used, f"nothing uses {path}"


# --- Lengths and names


def _without_comments_and_strings(text: str) -> str:
    """The C++ text with comments, strings and character literals blanked; lines are kept."""
    pattern = re.compile(
        r'R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"'
        r'|"(?:\\.|[^"\\\n])*"'
        r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'"
        r"|//[^\n]*|/\*.*?\*/",
        re.DOTALL,
    )
    return pattern.sub(lambda match: "\n" * match[0].count("\n") or " ", text)


def _cc_functions(text: str) -> list[tuple[str, int, int]]:
    """(head, first line, last line) of each function that is not inside another one."""
    directive = re.compile(r"^[ \t]*#(?:[^\n\\]|\\\n|\\.)*", re.MULTILINE)
    text = _without_comments_and_strings(text)
    text = directive.sub(lambda match: "\n" * match[0].count("\n"), text)
    functions = []
    stack: list[tuple[bool, str, int]] = []  # (is a function, head, first line)
    head_start = 0
    initialised = 0  # Depth within braces that initialise, as in x_{1}: no space before them.
    for position in [match.start() for match in re.finditer(r"[{};]", text)]:
        if initialised or (text[position] == "{" and re.match(r"[\w>]", text[position - 1])):
            initialised += {"{": 1, "}": -1, ";": 0}[text[position]]
            continue
        if text[position] == "{":
            head = text[head_start:position]
            line = text.count("\n", 0, head_start + len(head) - len(head.lstrip())) + 1
            inside = any(is_function for is_function, _, _ in stack)
            container = re.match(r"\s*(?:namespace|extern|(?:template\s*<[^{]*>\s*)?"
                                 r"(?:class|struct|union|enum))\b", head)  # fmt: skip
            is_value = head.rstrip().endswith("=")
            is_function = not (inside or container or is_value) and ")" in head
            stack.append((is_function, " ".join(head.split()), line))
        elif text[position] == "}" and stack:
            is_function, head, line = stack.pop()
            if is_function:
                functions.append((head, line, text.count("\n", 0, position) + 1))
        head_start = position + 1
    return functions


def _python_functions(text: str) -> list[tuple[str, int, int]]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    return [(node.name, node.lineno, node.end_lineno or node.lineno) for node in found]


def test_no_function_is_too_long() -> None:
    long = []
    for path in _tracked("*.cc", "*.h", "*.py"):
        functions = _python_functions if path.endswith(".py") else _cc_functions
        for head, first, last in functions(_text(path)):
            if last - first + 1 > MAX_FUNCTION_LINES:
                long.append(f"{path}:{first}: {last - first + 1} lines: {head[:80]}")
    assert not long, "\n".join(long)


def test_the_function_finder_finds_functions() -> None:
    text = """
    namespace a {  // {
    struct S {
      int f() const { return '{' + 1'000; }
      S() : x_{1} {
        if (x_) { g("}"); }
      }
    };
    #define X(a) { a \\
      b {
    const int kValues[] = {sizeof(int),
                           2};
    TEST(S, F) {
      auto x = [] { return 1; };
    }
    }  // namespace a
    """
    lines = {head: last - first + 1 for head, first, last in _cc_functions(text)}
    assert lines["int f() const"] == 1
    assert lines["TEST(S, F)"] == 3
    assert lines["S() : x_{1}"] == 3
    assert len(lines) == 3


def test_no_file_is_too_long() -> None:
    paths = _tracked("*.cc", "*.h", "*.py", "*.cmake", "CMakeLists.txt", "Makefile", "scripts/*")
    long = {p: n for p in paths if (n := _text(p).count("\n")) > MAX_FILE_LINES}
    assert not long


def test_no_name_is_vague() -> None:
    vague = [
        path
        for path in _tracked()
        if VAGUE_NAMES & set(re.split(r"[/._-]", path.lower())) and "/data/" not in path
    ]
    assert not vague


def test_every_source_file_begins_with_what_it_promises() -> None:
    headers = _tracked("src/*.h", "include/*.h")
    # A source with a header of its name has its promise there.
    sources = [
        path
        for path in _tracked("src/*.cc")
        if path.removesuffix(".cc") + ".h" not in headers
        and not path.endswith("_test.cc")
        and f"include/barcache/{Path(path).stem}.h" not in headers
    ]
    bare = [path for path in headers + sources if not _text(path).startswith("// ")]
    bare += [p for p in _modules().values() if ast.get_docstring(ast.parse(_text(p))) is None]
    assert not bare
