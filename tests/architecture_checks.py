"""ARCHITECTURE.md against the tree: each check gives its faults, a line each, or none."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "ARCHITECTURE.md"

PACKAGES = ("ssd_small", "export")
CODE = (".py", ".h", ".c", ".cpp", ".cu", ".cuh", ".cmake")
#: what ends so is a file of the repository even if its folder is wrong
FILES = (*CODE, ".md", ".json", ".cfg", ".toml", ".jpg")
MOST_SINGLE_FILES = 10
_GROUND = ("ssd_small/system/",)
FEWEST_CHANGES = 10
CHECKS = re.compile(r"python -m pytest |python -c |python benchmarks/|make |ssd-small ")


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    level = len(title) - len(title.lstrip("#"))
    found = re.search(rf"^{re.escape(title)}\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.M | re.S)
    assert found is not None, f"no heading {title!r}"
    return found[1]


def table(text: str) -> list[list[str]]:
    """Cells of the rows of a table, without its head."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines[2:]]


def ticked(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`\n]+)`", text)


def steps(text: str, title: str) -> list[str]:
    """The files of a numbered way, in order."""
    return re.findall(r"^\d+\. `([^`]+)`", section(text, title), re.M)


# --- the map


def map_faults(text: str, root: Path) -> list[str]:
    """Rooms named but not there, folders there but not named."""
    named = [room for row in table(section(text, "## The map")) for room in ticked(row[0])]
    faults = [f"{room} is on the map but no folder" for room in named if not (root / room).is_dir()]
    return faults + [
        f"{folder} holds code but is not on the map"
        for folder in sorted(folders_with_code(root) - set(named))
    ]


def folders_with_code(root: Path) -> set[str]:
    """Top folders with code at any depth, and the folders directly in them that have some."""
    ignored = [line.strip("/") for line in (root / ".gitignore").read_text().split()]
    found = set()
    for top in root.iterdir():
        hidden = top.name.startswith(".") or any(fnmatch(top.name, name) for name in ignored)
        if hidden or not top.is_dir():
            continue
        for path in top.rglob("*"):
            parts = path.relative_to(root).parts
            if path.suffix in CODE and "__pycache__" not in parts:
                found |= {"/".join(parts[:depth]) + "/" for depth in (1, 2) if depth < len(parts)}
    return found


def single_file_faults(root: Path) -> list[str]:
    """More files at the top of the package than a reader keeps in mind."""
    files = sorted(path.name for path in (root / "ssd_small").glob("*.py"))
    if len(files) <= MOST_SINGLE_FILES:
        return []
    return [f"{len(files)} files at the top of ssd_small/, at most {MOST_SINGLE_FILES}: {files}"]


# --- import directions


def directions(text: str) -> dict[str, set[str]]:
    """Room -> what it may import, lowest first; "the ground" is what stands before postprocess."""
    allowed: dict[str, set[str]] = {}
    for rooms, imports in (row[:2] for row in table(section(text, "## Import directions"))):
        ground = ground_of(allowed) if "the ground" in imports else set()
        for room in ticked(rooms):
            assert room not in allowed, f"{room} has two rows"
            allowed[room] = ground | set(ticked(imports))
    return allowed


def ground_of(ordered: Iterable[str]) -> set[str]:
    """The files, and what is asked of the system, before the first of the other folders."""
    return set(takewhile(lambda room: room in _GROUND or not room.endswith("/"), ordered))


def import_faults(text: str, root: Path) -> list[str]:
    """Rooms without a row, rows that look up or allow what nobody does, imports not allowed."""
    allowed, found = directions(text), arrows(root)
    order = list(allowed)
    rooms = {room_of(path, root) for path in modules(root).values()}
    ground = ground_of(allowed)
    faults = [f"{room} has no row of import directions" for room in sorted(rooms - set(order))]
    faults += [f"import directions of {room}, which is not there" for room in set(order) - rooms]
    for position, room in enumerate(order):
        faults += [
            f"the row of {room} allows {other}, which does not stand above it"
            for other in sorted(allowed[room] - set(order[:position]))
        ]
        faults += [
            f"the row of {room} allows {other}, which it does not import"
            for other in sorted(allowed[room] - ground)
            if room in rooms and (room, other) not in found
        ]
    for (room, other), places in sorted(found.items()):
        if other not in allowed.get(room, set()):
            faults.append(f"{room} may not import {other}: {', '.join(places)}")
    return faults


def modules(root: Path) -> dict[str, Path]:
    """File of each module by its full name; export/ is ssd_small.export."""
    found = {}
    for path in sorted(path for top in PACKAGES for path in (root / top).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        parts = parts if parts[0] == "ssd_small" else ("ssd_small", *parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(path: Path, root: Path) -> str:
    """``ssd_small/models/`` or ``export/`` for what lies in there, else the file itself.

    What serves are several rooms, which know nothing of each other: ``ssd_small/serving/jobs/``.
    """
    parts = path.relative_to(root).parts
    if parts[0] != "ssd_small":
        return f"{parts[0]}/"
    if parts[1] == "serving" and len(parts) > 3:
        return f"ssd_small/serving/{parts[2]}/"
    return f"ssd_small/{parts[1]}/" if len(parts) > 2 else f"ssd_small/{parts[1]}"


def arrows(root: Path) -> dict[tuple[str, str], list[str]]:
    """(room, room it imports) -> file:line of each such import, wherever in a file it stands."""
    known = modules(root)
    found: dict[tuple[str, str], list[str]] = {}
    for name, path in known.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node, target in _imports(path, package):
            while target and target not in known:
                target = target.rpartition(".")[0]
            ends = (room_of(path, root), room_of(known[target], root)) if target else ("", "")
            if ends[0] != ends[1]:
                place = f"{path.relative_to(root)}:{node.lineno}"
                found.setdefault(ends, []).append(place)
    return found


def _imports(path: Path, package: str) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    """Every import of a file with the full name of what it imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level]
            parts = [*(base if node.level else []), *((node.module or "").split("."))]
            yield from ((node, ".".join([*filter(None, parts), a.name])) for a in node.names)


def export_faults(root: Path) -> list[str]:
    """Absolute imports of our own code in export/, which lies in two places."""
    return [
        f"{path.relative_to(root)}:{node.lineno} imports {name} absolutely"
        for path in sorted((root / "export").rglob("*.py"))
        for node, name in _imports(path, "ssd_small.export")
        if not getattr(node, "level", 0) and name.split(".")[0] in PACKAGES
    ]


# --- what the document points at


def pointer_faults(text: str, root: Path) -> list[str]:
    """Paths, links, make targets and numbers of formats that are not there.

    What has ``NAME`` or ``your_`` in it is a placeholder.
    """
    tops = {path.name for path in root.iterdir()}
    words = {word for span in ticked(text) for word in re.findall(r"[\w.*/-]+", span)}
    words = {word for word in words if "NAME" not in word and "your_" not in word}
    paths = {word for word in words if "/" in word and word.split("/")[0] in tops}
    paths |= {word for word in words if "/" in word and word.endswith(FILES)}
    paths |= {word for word in words if word.endswith((".py", ".md", ".cfg", ".toml"))}
    paths |= set(re.findall(r"\]\(([^)#:]+)\)", text))
    faults = [f"{path} does not exist" for path in sorted(paths) if not _exists(root, path)]
    makefile = (root / "Makefile").read_text()
    for target in sorted({t for span in ticked(text) for t in re.findall(r"^make ([\w-]+)", span)}):
        if not re.search(rf"^{target}:", makefile, re.M):
            faults.append(f"the Makefile has no target {target}")
    for name, number, path in re.findall(r"`(\w+) = (\d+)` in `([^`]+)`", text):
        if not re.search(rf"^{name} = {number}$", (root / path).read_text(), re.M):
            faults.append(f"{path} does not say {name} = {number}")
    return faults


def _exists(root: Path, path: str) -> bool:
    return any(root.glob(path)) if "*" in path else (root / path).exists()


def change_faults(text: str, root: Path) -> list[str]:
    """Changes that begin nowhere, or whose check is no command that can be typed."""
    rows = table(section(text, "## Where a change begins"))
    faults = [] if len(rows) >= FEWEST_CHANGES else [f"only {len(rows)} changes are listed"]
    commands = (root / "ssd_small/cli/__init__.py").read_text()
    for what, begin, check in rows:
        if not any((root / path).is_file() for path in ticked(begin)):
            faults.append(f"{what}: begins in no file")
        for command in ticked(check) or [""]:
            if not CHECKS.match(command):
                faults.append(f"{what}: {command!r} is no check")
            name = re.match(r"ssd-small ([\w-]+)", command)
            if name and f'"{name[1]}": ' not in commands:
                faults.append(f"{what}: there is no command ssd-small {name[1]}")
            faults += [f"{what}: {fault}" for fault in _selection_faults(command, root)]
    return faults


def _selection_faults(command: str, root: Path) -> list[str]:
    """Words of ``-k`` that stand in none of the files of a pytest command."""
    word = re.search(r" -k ([\w-]+)", command)
    files = [root / path for path in re.findall(r"tests/\S+\.py", command)]
    if word is None or any(word[1] in f.read_text() for f in files if f.is_file()):
        return []
    return [f"-k {word[1]} selects nothing"]
