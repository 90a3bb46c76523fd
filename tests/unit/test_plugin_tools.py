"""What doctor and inspect say of the plugin in other tools."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import plugin_libraries
import pytest

from ssd_small.doctor import other_tools
from ssd_small.runtimes.plugin_tools import lines_for_tools

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    pair = plugin_libraries.copy_pair(tmp_path)
    monkeypatch.setenv("SSD_SMALL_PLUGIN", str(pair[0]))
    return pair


@pytest.mark.trt
@pytest.mark.slow
def test_doctor_has_loaded_the_file_and_says_what_to_type(pair: tuple[Path, Path]) -> None:
    pytest.importorskip("tensorrt_rtx")
    first, *lines = other_tools.examine_other_tools()
    assert first.fine
    assert first.state == f"{pair[1].name} registers DecodeNms with tensorrt_rtx"
    found = {line.subject: line.state for line in lines}
    assert str(pair[1]) in found["plugin in Triton"]
    assert f"--dynamicPlugins={pair[0]}" in found["plugin in trtexec"]


@pytest.mark.trt
@pytest.mark.slow
def test_a_file_that_registers_nothing_is_a_no(pair: tuple[Path, Path]) -> None:
    """Another library in its place; a text; none."""
    pytest.importorskip("tensorrt_rtx")
    faults = []
    shutil.copy2(pair[0], pair[1])
    faults += other_tools.examine_other_tools()
    pair[1].write_text("no library")
    faults += other_tools.examine_other_tools()
    pair[1].unlink()
    faults += other_tools.examine_other_tools()
    assert [fault.fine for fault in faults] == [False] * 3
    assert "does not register DecodeNms with tensorrt_rtx" in faults[0].state
    assert "does not register DecodeNms with tensorrt_rtx (OSError: " in faults[1].state
    assert "is not beside the plugin" in faults[2].state
    assert all(fault.remedy.startswith("pip install --force-reinstall") for fault in faults)


def test_without_a_tensorrt_it_is_not_said_to_work(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_tools, "find_spec", lambda name: None)
    first, *_ = other_tools.examine_other_tools()
    assert first.state.endswith("is there, and not tried: no TensorRT to register with")


def test_without_a_plugin_nothing_is_said_of_other_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSD_SMALL_PLUGIN", str(tmp_path / "absent.so"))
    assert list(other_tools.examine_other_tools()) == []


def test_the_readme_names_the_same_file_for_each_tool() -> None:
    """Its table: tool, file, what to type."""
    readme = (ROOT / "README.md").read_text().split("### The plugin in other tools", 1)[1]
    readme = readme.split("\n## ", 1)[0].split("\n### ", 1)[0]
    rows = re.findall(r"^\| ([^|]+) \| `([^`|]+)` \| `([^|]+)` \|", readme, re.M)
    told = {tool: (file, line) for tool, file, line in rows}
    folder = Path("ssd_small/_native")
    lines = lines_for_tools(folder / "libssd_small_plugin.so")
    assert told.keys() == lines.keys()
    for tool, line in lines.items():
        file, shown = told[tool]
        assert f"/{file}" in line, tool
        assert line.replace(f"{folder}/", "").replace("'", '"') == shown.replace("FOLDER/", "")


def test_a_folder_with_a_space_is_quoted_where_a_shell_reads_it() -> None:
    """DeepStream's is a line of a file, and the loader knows no quotes."""
    folder = Path("/my packages/ssd_small/_native")
    lines = lines_for_tools(folder / "libssd_small_plugin.so")
    for tool in ("trtexec", "trtexec, the older way", "Triton", "polygraphy"):
        (word,) = (one for one in shlex.split(lines[tool]) if "libssd_small" in one)
        assert str(folder) in word, tool
    assert lines["DeepStream"] == f"custom-lib-path={folder}/libssd_small_plugin_dlopen.so"
    assert lines["another tool"].startswith("LD_PRELOAD takes no path with a space")
