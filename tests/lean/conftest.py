"""Tests with NVIDIA's lean runtimes of TensorRT 10 and 11 and the bindings of the full ones.

``make test-lean`` installs them into a folder each and names the folder that holds these in
``SSD_SMALL_LEAN``; elsewhere the tests are not collected. ``--record FILE`` writes which test
passed with which version, and the same is printed as a table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("SSD_SMALL_LEAN", os.devnull))
#: folders, of the lowest version first; the last one holds the newest that pip found
VERSIONS = sorted(path.name for path in FOLDER.glob("*") if path.is_dir())
collect_ignore_glob = [] if VERSIONS else ["test_*.py"]

#: the version that a folder turned out to hold, and its outcomes: check -> passed
_found: dict[str, str] = {}
_outcomes: dict[str, dict[str, bool]] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", type=Path, help="JSON file for version x check")


def pytest_report_header() -> str | None:
    """Why nothing is collected, where this folder is asked for by name."""
    return None if VERSIONS else "tests/lean needs what make test-lean installs: SSD_SMALL_LEAN"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "version" in metafunc.fixturenames:
        metafunc.parametrize("version", VERSIONS)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = (yield).get_result()
    version = getattr(item, "callspec", None) and item.callspec.params.get("version")
    if version is None or report.when != "call":
        return
    check = item.function.__doc__.partition("\n")[0].rstrip(".")
    _outcomes.setdefault(check, {})[version] = report.passed


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if not _outcomes:
        return
    from tabulate import tabulate

    rows = [
        [check, *("-" if v not in by else "yes" if by[v] else "NO" for v in VERSIONS)]
        for check, by in _outcomes.items()
    ]
    terminalreporter.section("TensorRT version x check")
    headers = ["", *(_found.get(version, version) for version in VERSIONS)]
    terminalreporter.line(tabulate(rows, headers))
    output = config.getoption("--record")
    if output is not None:
        from ssd_small.json_files import write_json
        from ssd_small.machine import commit_of, describe_machine

        what = "make test-lean: NVIDIA's lean runtimes on a CPU; nothing is executed on a GPU"
        checks = {
            check: {_found.get(version, version): passed for version, passed in by.items()}
            for check, by in _outcomes.items()
        }
        root = HERE.parents[1]
        record = {"what": what, "machine": describe_machine(), "commit": commit_of(root)}
        write_json(output, {**record, "checks": checks})


@pytest.fixture(scope="session")
def host_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Plugin and registering library, the plugin over the CPU executor."""
    import plugin_libraries

    return plugin_libraries.copy_pair(tmp_path_factory.mktemp("host"))


@pytest.fixture(scope="session")
def shipped_pair() -> tuple[Path, Path]:
    """Plugin and registering library as they are installed."""
    from ssd_small.runtimes.plugin_library import find_plugin

    plugin = find_plugin()
    return plugin, plugin.with_name("libssd_small_plugin_dlopen.so")


@pytest.fixture
def folder(version: str) -> Path:
    """Where the packages of this version are."""
    return FOLDER / version


@pytest.fixture
def run(version: str, folder: Path, shipped_pair: tuple[Path, Path]) -> Callable[..., Any]:
    """Function: a step of in_process.py with this version -> its result, and lines on stderr."""

    def run_step(
        step: str, pair: tuple[Path, Path] = shipped_pair, **environment: str
    ) -> tuple[Any, list[str]]:
        libraries = folder / "tensorrt_lean_libs"
        paths = os.pathsep.join([str(folder), str(HERE.parent)])
        given = {k: v.format(libraries=libraries) for k, v in environment.items()}
        done = subprocess.run(
            [sys.executable, HERE / "in_process.py", step, *pair],
            env={**os.environ, "PYTHONPATH": paths, **given},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (done.returncode, done.stderr)
        _found[version], result = json.loads(done.stdout.splitlines()[-1])
        return result, done.stderr.splitlines()

    return run_step
