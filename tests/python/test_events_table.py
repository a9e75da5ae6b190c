"""The guide's table of log events names what the sources log, at the level at which they do."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORD = r"[a-z0-9]+(?:_[a-z0-9]+)+"
LEVEL_AND = r"EventLevel::k(\w+),\s*"


def events_of_cpp(source: str) -> set[tuple[str, str]]:
    """Each event's level and name. A name is a literal beside its level, or `name`."""
    events = set(re.findall(rf'{LEVEL_AND}"({WORD})"', source))
    for assigned in re.finditer(r"\bname\s*=\s*([^;]*);", source):
        level = re.compile(LEVEL_AND + r"name\b").search(source, assigned.end())
        if level is not None:
            events |= {(level[1], name) for name in re.findall(rf'"({WORD})"', assigned[1])}
    for maker in re.finditer(r"\bEvent (\w+)\(const char\* name\b", source):
        level = re.compile(LEVEL_AND + r"name\b").search(source, maker.end())
        assert level is not None, f"{maker[1]} makes events of no level"
        names = re.findall(rf'\b{maker[1]}\("({WORD})"', source)
        events |= {(level[1], name) for name in names}
    return {(level.upper(), name) for level, name in events}


def events_of_python(source: str) -> set[tuple[str, str]]:
    events = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "log_event":
            continue
        level, name = node.args[:2]
        assert isinstance(level, ast.Attribute), ast.unparse(node)
        assert isinstance(name, ast.Constant), ast.unparse(node)
        events.add((level.attr, str(name.value)))
    return events


def logged() -> set[tuple[str, str]]:
    events: set[tuple[str, str]] = set()
    for path in (ROOT / "src").rglob("*.cc"):
        if path.name.endswith("_test.cc"):
            continue
        source = path.read_text()
        events |= events_of_cpp(source)
        strange = re.findall(rf'{LEVEL_AND}(?!"|name\b)\w+.*', source)
        assert not strange, f"{path}: a name that this test does not find: {strange}"
    for path in (ROOT / "python" / "barcache").rglob("*.py"):
        events |= events_of_python(path.read_text())
    return events


def described() -> set[tuple[str, str]]:
    guide = (ROOT / "docs" / "guide.md").read_text()
    table = guide[guide.index("| level | events |") :].split("\n\n")[0]
    rows = re.findall(r"^\| ([A-Z]+) \| (.*) \|$", table, re.MULTILINE)
    return {(level, name) for level, text in rows for name in re.findall(r"`([^`]+)`", text)}


def test_the_guide_names_every_event_and_no_other() -> None:
    in_sources, in_guide = logged(), described()
    assert in_sources - in_guide == set(), "logged, but not in the table of docs/guide.md"
    assert in_guide - in_sources == set(), "in the table of docs/guide.md, but not logged so"


def test_each_way_to_name_an_event_is_found() -> None:
    source = """
        Event MadeEvent(const char* name, int count) { return {EventLevel::kInfo, name, {}}; }
        Say(MadeEvent("made_one", 1)); Say(MadeEvent("made_two", 2));
        const char* name = bad ? "bad_one" : "good_one";
        Say({EventLevel::kError, name, {}});
        Say({EventLevel::kWarning,
             "written_out", {{"a_field", 1}}});
    """
    assert events_of_cpp(source) == {
        ("INFO", "made_one"),
        ("INFO", "made_two"),
        ("ERROR", "bad_one"),
        ("ERROR", "good_one"),
        ("WARNING", "written_out"),
    }
    python = 'log_event(logging.DEBUG, "one_event", field="x")'
    assert events_of_python(python) == {("DEBUG", "one_event")}
