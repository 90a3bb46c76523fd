"""What the documents point at is there, what they show runs, and each check of that can fail."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from architecture_checks import pointer_faults, section, table, ticked
from document_checks import (
    documents,
    hook_commands,
    link_faults,
    recipe,
    target_faults,
    workflow_commands,
)

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = {path.relative_to(ROOT).as_posix(): path for path in documents(ROOT)}
#: what executes a Python block with such a word
EXECUTED_BY = {
    "tritonclient": "tests/triton/test_client.py",
    "create_model(": "tests/packaging/test_readme.py",
    "detector.stream(": "tests/packaging/test_readme.py",
    "ssd_small.load(": "tests/packaging/test_readme.py",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    assert link_faults(DOCUMENTS[name], ROOT) == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/deployment.md"])
def test_paths_and_make_targets_in_backticks_are_there(name: str) -> None:
    text = DOCUMENTS[name].read_text().replace("](../", "](")  # test_links looks at these
    assert pointer_faults(text, ROOT) == []


def test_every_make_command_shown_is_a_target() -> None:
    shown = [line for path in DOCUMENTS.values() for line in path.read_text().splitlines()]
    assert target_faults([line.strip("` ") for line in shown], ROOT) == []


def test_hosted_checks_call_make_targets_alone() -> None:
    commands = workflow_commands(ROOT)
    assert {"make install", "make test-fast", "make test"} <= set(commands)
    assert [one for one in commands if not re.fullmatch(r"make [\w-]+", one)] == []
    assert target_faults(commands, ROOT) == []


def test_hooks_are_the_commands_of_make_lint() -> None:
    lint = [line.removesuffix(" .") for line in recipe("lint", ROOT)]
    assert hook_commands(ROOT)[: len(lint)] == lint


def test_each_change_has_a_room_and_a_check_that_can_be_typed() -> None:
    text = DOCUMENTS["CONTRIBUTING.md"].read_text()
    rows = table(section(text, "## What I change, and the smallest check"))
    assert len(rows) >= 15
    for what, room, check in rows:
        assert room == "" or all((ROOT / one).is_dir() for one in ticked(room)), what
        commands = [one for one in ticked(check) if one.startswith(("python ", "make "))]
        assert commands, what
        for command in commands:
            word = re.search(r" -k (\w+)", command)
            files = [ROOT / one for one in re.findall(r"tests/\S+\.py", command)]
            assert word is None or any(word[1] in file.read_text() for file in files), what


@pytest.mark.slow
def test_the_deployment_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("torch", "onnxscript", "onnxruntime", "cv2"):
        pytest.importorskip(module, reason=f"needs {module}")
    text = DOCUMENTS["docs/deployment.md"].read_text()
    (tmp_path / "ssd_small").symlink_to(ROOT / "ssd_small")
    monkeypatch.chdir(tmp_path)
    for line in "".join(re.findall(r"```sh\n(.*?)```", text, re.S)).strip().splitlines():
        program, *arguments = shlex.split(line)
        command = [str(Path(sys.executable).with_name(program)), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    (block,) = re.findall(r"```python\n(.*?)```", text, re.S)
    values: dict[str, Any] = {}
    exec(block, values)
    assert len(values["result"]) >= 3


def test_every_python_block_has_a_test_that_executes_it() -> None:
    shown = re.findall(r"```python\n(.*?)```", DOCUMENTS["README.md"].read_text(), re.S)
    assert len(shown) >= 4
    for block in shown:
        tests = [test for word, test in EXECUTED_BY.items() if word in block]
        assert tests, block
        assert "README" in (ROOT / tests[0]).read_text(), tests[0]


@pytest.mark.slow
def test_the_reference_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("pdoc", reason="needs pdoc")
    import ssd_small

    command = [sys.executable, str(ROOT / "docs" / "build_docs.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "ssd_small.html").read_text()
    documented = set(re.findall(r'id="([\w.]+)"', page))
    assert {name for name in ssd_small.__all__ if not name.startswith("_")} <= documented
    assert "ssd_small.html" in (tmp_path / "index.html").read_text()


# --- each check can fail


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Two words, & more\n")
    page = tmp_path / "page.md"
    page.write_text("[a](other.md#two-words--more) [b](https://host/x)\n```\n[c](not.md)\n```\n")
    assert link_faults(page, tmp_path) == []
    page.write_text('[a](other.md#two) ![b](gone.png) <img src="lost.png"> [c](#here) [d](../x)\n')
    assert [fault.partition(": ")[2] for fault in link_faults(page, tmp_path)] == [
        "other.md#two is no heading",
        "gone.png does not exist",
        "lost.png does not exist",
        "#here is no heading",
        "../x does not exist",
    ]


def test_targets_and_paths_that_are_not_there_are_found_and_placeholders_are_none() -> None:
    assert target_faults(["make test-fast", "make nothing"], ROOT) == [
        "the Makefile has no target nothing"
    ]
    assert pointer_faults("`ssd_small/nothing.py` `make nothing`", ROOT) == [
        "ssd_small/nothing.py does not exist",
        "the Makefile has no target nothing",
    ]
    assert pointer_faults("`export/target_NAME.py` `ssd_small/cli/your_command.py`", ROOT) == []
