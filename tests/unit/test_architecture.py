"""ARCHITECTURE.md is true of the tree, and each check of that can fail."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from architecture_checks import (
    DOCUMENT,
    MOST_SINGLE_FILES,
    ROOT,
    arrows,
    change_faults,
    export_faults,
    import_faults,
    map_faults,
    pointer_faults,
    section,
    single_file_faults,
    table,
    ticked,
)

from ssd_small import errors
from ssd_small.artefacts.tensors import DETECTIONS
from ssd_small.postprocess import PostprocessParams

TEXT = DOCUMENT.read_text()
#: a constant with its number, and the file that holds it
NUMBERED = re.compile(r"`(\w+) = (\d+)` in `([^`]+)`")


@pytest.mark.parametrize("check", [map_faults, import_faults, pointer_faults, change_faults])
def test_the_document_is_true_of_the_tree(check: Callable[[str, Path], list[str]]) -> None:
    assert check(TEXT, ROOT) == []


def test_every_folder_of_the_repository_is_named() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    folders = {f"{parent}/" for name in listed for parent in Path(name).parents if parent.name}
    assert sorted(folder for folder in folders if f"`{folder}`" not in TEXT) == []


@pytest.mark.parametrize("check", [single_file_faults, export_faults])
def test_the_tree_keeps_its_form(check: Callable[[Path], list[str]]) -> None:
    assert check(ROOT) == []


# --- contracts: what the document says is what the code says


def test_the_operator_has_the_inputs_outputs_and_attributes_listed() -> None:
    rows = table(section(TEXT, "### The DecodeNms operator"))
    named = {kind: [ticked(r[1])[0] for r in rows if r[0] == kind] for kind in ("input", "output")}
    function = pytest.importorskip("ssd_small.artefacts.decode_nms_function")
    assert named == {"input": list(function.INPUTS), "output": list(DETECTIONS)}


def test_the_presets_are_those_listed() -> None:
    rows = table(section(TEXT, "### Parameters"))
    names = [ticked(row[0])[0] for row in rows]
    for column, preset in ((2, PostprocessParams()), (3, PostprocessParams.coco())):
        listed = [_value(row[column]) for row in rows]
        # in the order of the fields
        assert dict(zip(names, listed, strict=True)) == {n: vars(preset)[n] for n in vars(preset)}


def _value(cell: str) -> object:
    """A number, a fraction, a pair of numbers, yes or no, or a word."""
    if cell in ("yes", "no"):
        return cell == "yes"
    if cell.startswith("("):
        return ast.literal_eval(cell)
    return float(Fraction(cell)) if cell[0].isdigit() else cell


def test_the_formats_are_those_listed() -> None:
    """Each number of a format or version in the code, with the file that it stands in."""
    rows = table(section(TEXT, "### What files carry"))
    listed = {found for row in rows for found in NUMBERED.findall(row[2])}
    code = [path for room in ("ssd_small", "export") for path in (ROOT / room).rglob("*.py")]
    found = {
        (*pair, path.relative_to(ROOT).as_posix())
        for path in code
        for pair in re.findall(r"^(\w*(?:FORMAT|VERSION)) = (\d+)$", path.read_text(), re.M)
    }
    assert len(found) >= 7
    assert listed == found


def test_what_a_newer_version_wrote_is_refused_by_the_one_rule_of_growth() -> None:
    """Every format but those of operator and library is checked in record.py, and only there."""
    rows = table(section(TEXT, "### What files carry"))
    listed = {(name, path) for row in rows for name, _, path in NUMBERED.findall(row[2])}
    records = {(name, path) for name, path in listed if name.endswith("FORMAT")}
    assert len(records) == 5
    for name, path in records:
        call = re.search(r"check_record\((.*)\)$", (ROOT / path).read_text(), re.M | re.S)
        assert call is not None, path
        assert name in call[1].split("\n\n")[0], path


def test_each_error_has_the_exit_code_listed() -> None:
    rows = table(section(TEXT, "### Errors and exit codes"))
    listed = {name: int(row[0]) for row in rows for name in ticked(row[1])}
    found = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.SsdSmallError)
    }
    del found["SsdSmallError"]
    assert listed == found


# --- each check can fail

SMALL_TREE = {
    ".gitignore": "build/\n",
    "Makefile": "test: install\n",
    "ssd_small/__init__.py": "",
    "ssd_small/errors.py": "",
    "ssd_small/low/__init__.py": "",
    "ssd_small/low/plain.py": "from ..errors import SomeError\n",
    "ssd_small/high/__init__.py": "from .tower import top\n",
    "ssd_small/high/tower.py": "from ..low.plain import base\n",
    "export/__init__.py": "",
    "export/write.py": "from ..high import top\n",
    "build/made.py": "",
}
SMALL_TEXT = """
## The map

| room | holds |
|---|---|
| `ssd_small/` | all |
| `ssd_small/low/` | little |
| `ssd_small/high/` | much |
| `export/` | files |

## Import directions

| room | may import |
|---|---|
| `ssd_small/errors.py` | nothing |
| `ssd_small/low/` | the ground |
| `ssd_small/high/` | the ground, `ssd_small/low/` |
| `export/` | `ssd_small/high/` |
| `ssd_small/__init__.py` | the ground |
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small repository of which SMALL_TEXT is true."""
    for name, content in SMALL_TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert map_faults(SMALL_TEXT, tmp_path) == []
    assert import_faults(SMALL_TEXT, tmp_path) == []
    assert single_file_faults(tmp_path) + export_faults(tmp_path) == []
    return tmp_path


def test_a_room_that_is_not_there_is_noticed(tree: Path) -> None:
    text = SMALL_TEXT.replace("`ssd_small/low/` | little", "`ssd_small/lower/` | little")
    assert map_faults(text, tree) == [
        "ssd_small/lower/ is on the map but no folder",
        "ssd_small/low/ holds code but is not on the map",
    ]


@pytest.mark.parametrize("file", ["kernels/x.cu", "tests/new/test_x.py", "ssd_small/new/x.py"])
def test_a_folder_that_is_not_on_the_map_is_noticed(tree: Path, file: str) -> None:
    (tree / file).parent.mkdir(parents=True)
    (tree / file).write_text("")
    assert f"{Path(file).parent}/ holds code but is not on the map" in map_faults(SMALL_TEXT, tree)


@pytest.mark.parametrize(
    "line",
    [
        "from ..high.tower import top",
        "from ..high import tower",
        "from .. import high",
        "import ssd_small.high",
        "from ssd_small.high import tower",
        "def later():\n    from ..high import top",
        "if TYPE_CHECKING:\n    from ..high import top",
    ],
)
def test_an_import_that_goes_up_is_noticed_wherever_it_stands(tree: Path, line: str) -> None:
    (tree / "ssd_small/low/plain.py").write_text(f"from typing import TYPE_CHECKING\n{line}\n")
    (fault,) = import_faults(SMALL_TEXT, tree)
    assert fault.startswith(
        "ssd_small/low/ may not import ssd_small/high/: ssd_small/low/plain.py:"
    )


def test_export_is_a_room_like_the_others(tree: Path) -> None:
    with (tree / "ssd_small/high/tower.py").open("a") as file:
        file.write("from ..export.write import x\n")
    assert arrows(tree)["ssd_small/high/", "export/"] == ["ssd_small/high/tower.py:2"]
    (fault,) = import_faults(SMALL_TEXT, tree)
    assert fault == "ssd_small/high/ may not import export/: ssd_small/high/tower.py:2"


def test_a_row_that_allows_an_arrow_up_is_noticed(tree: Path) -> None:
    text = SMALL_TEXT.replace("low/` | the ground", "low/` | the ground, `ssd_small/high/`")
    assert import_faults(text, tree) == [
        "the row of ssd_small/low/ allows ssd_small/high/, which does not stand above it",
        "the row of ssd_small/low/ allows ssd_small/high/, which it does not import",
    ]


def test_a_row_that_allows_what_no_import_needs_is_noticed(tree: Path) -> None:
    text = SMALL_TEXT.replace("`export/` | ", "`export/` | `ssd_small/low/`, ")
    assert import_faults(text, tree) == [
        "the row of export/ allows ssd_small/low/, which it does not import"
    ]


def test_a_room_without_a_row_and_a_row_without_a_room_are_noticed(tree: Path) -> None:
    (tree / "ssd_small/new.py").write_text("")
    text = SMALL_TEXT.replace("| `export/` | `ssd", "| `export/`, `ssd_small/gone/` | `ssd")
    assert import_faults(text, tree) == [
        "ssd_small/new.py has no row of import directions",
        "import directions of ssd_small/gone/, which is not there",
    ]


def test_one_file_too_many_at_the_top_is_noticed(tree: Path) -> None:
    for number in range(MOST_SINGLE_FILES - 1):
        (tree / f"ssd_small/more{number}.py").write_text("")
    (fault,) = single_file_faults(tree)
    assert fault.startswith(f"{MOST_SINGLE_FILES + 1} files at the top")


@pytest.mark.parametrize(
    "line", ["import ssd_small.errors", "from ssd_small import errors", "from export import x"]
)
def test_an_absolute_import_in_export_is_noticed(tree: Path, line: str) -> None:
    (tree / "export/write.py").write_text(f"def later():\n    {line}\n")
    assert len(export_faults(tree)) == 1


@pytest.mark.parametrize(
    ("was", "now", "fault"),
    [
        ("`make test-cpp`", "`make test-all`", "the Makefile has no target test-all"),
        ("`export/fold.py`", "`export/folded.py`", "export/folded.py does not exist"),
        ("pytest tests/unit/test_score.py", "pytest tests/unit/coco.py", "tests/unit/coco.py does"),
        ("benchmarks/results/*.json", "benchmarks/results/*.toml", "benchmarks/results/*.toml"),
        ("`setup.cfg`", "`setup.toml`", "setup.toml does not exist"),
        ("`kernels/capi/`", "`kernels/api/`", "kernels/api/ does not exist"),
        ("`SIDECAR_FORMAT = 1`", "`SIDECAR_FORMAT = 99`", "does not say SIDECAR_FORMAT = 99"),
        ("For somebody", "[For](docs/none.md) somebody", "docs/none.md does not exist"),
    ],
)
def test_a_pointer_to_nothing_is_noticed(was: str, now: str, fault: str) -> None:
    assert was in TEXT
    assert any(fault in found for found in pointer_faults(TEXT.replace(was, now), ROOT))


@pytest.mark.parametrize(
    ("was", "now", "fault"),
    [
        ("| `export/precision.py` |", "| somewhere |", "begins in no file"),
        ("| `export/precision.py` |", "| `export/` |", "begins in no file"),
        ("| `python -m pytest tests/unit/test_score.py` |", "| look at it |", "'' is no check"),
        ("| `python -m pytest tests/unit/test_score.py` |", "| `look` |", "'look' is no check"),
        ("`ssd-small detect --weights", "`ssd-small detct --weights", "no command ssd-small detct"),
        ("-k mobilenet`", "-k mobilnet`", "-k mobilnet selects nothing"),
    ],
)
def test_a_change_that_begins_nowhere_is_noticed(was: str, now: str, fault: str) -> None:
    assert was in TEXT
    assert any(fault in found for found in change_faults(TEXT.replace(was, now), ROOT))


def test_too_few_changes_are_noticed() -> None:
    begin, _, rest = TEXT.partition("## Where a change begins")
    short = f"{begin}## Where a change begins{''.join(rest.splitlines(keepends=True)[:12])}"
    assert any("changes are listed" in fault for fault in change_faults(short, ROOT))
