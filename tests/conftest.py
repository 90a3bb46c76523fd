"""Where shared data lies, and what the tests of several folders need."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import Outcome

if TYPE_CHECKING:
    from traced import Traces

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
# many tests import ONNX Runtime before the package, which says this to it
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
#: where CI is true nothing else may keep a test from being executed: `make install` brings the rest
MAY_BE_ABSENT = re.compile(
    "not executed here: .*"
    "(GPU|NVIDIA driver|compute-sanitizer|emulator|cross compiler|package index|shared data|strace|"
    "browser|namespace|private mount|root may|processor has no|program ffmpeg|RTSP server)"
)


def _needless_skips(config: pytest.Config) -> list[str]:
    """``file:line: reason`` of what was left out in continuous integration without need."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") != "true" or reporter is None:  # none in a process of pytest-xdist
        return []
    skips = [report.longrepr for report in reporter.stats.get("skipped", [])]
    found = {f"{path}:{line}: {why}" for path, line, why in skips if not MAY_BE_ABSENT.search(why)}
    return sorted(found)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK and _needless_skips(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    needless = _needless_skips(terminalreporter.config)
    if needless:
        terminalreporter.section("skipped, which fails where CI=true", red=True, bold=True)
        for line in needless:
            terminalreporter.line(line)


@pytest.fixture(scope="session", autouse=True)
def signals_are_heard() -> None:
    """Commands under test hear their signals, wherever the tests were started.

    A shell starts what runs in the background deaf to Ctrl-C, nohup to a lost terminal, other
    launchers to more, and a child would be born deaf too.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    # nohup is obeyed by the tests themselves: a handler is not inherited
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: None)
    heard = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What libraries leave in the temporary folder goes with pytest's own; we leave nothing."""
    folder = tmp_path_factory.mktemp("tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", None)
        yield
    assert not list(folder.glob("ssd-small*"))


@pytest.fixture(autouse=True)
def threads_are_put_back() -> Iterator[None]:
    """A detector opened with ``threads`` sets them in PyTorch for the process: not for other tests.

    Sums of several threads have other last bits, and training is compared to the bit.
    """
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    yield
    if torch:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real pictures and annotations."""
    folder = Path(os.environ.get("SSD_SMALL_DATA", SHARED / "data"))
    if not folder.is_dir():
        pytest.skip(f"not executed here: no shared data in {folder} (set SSD_SMALL_DATA)")
    return folder


@pytest.fixture(scope="session")
def shared_imports() -> Path:
    """What other implementations of SSD made of seeded weights, for reading only."""
    folder = SHARED / "golden" / "import"
    if not folder.is_dir():
        pytest.skip(f"not executed here: no shared data in {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Folder of inputs as users bring them, each with what is right in words beside it."""
    folder = SHARED / "cases"
    if not folder.is_dir():
        pytest.skip(f"not executed here: no shared data in {folder}")
    return folder


@pytest.fixture(scope="session")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Traces:
    """For fixtures of the session; a test uses ``traced_once``."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # which the processes share
    folder = folder / "traces"
    folder.mkdir(exist_ok=True)

    def context() -> AbstractContextManager[None]:
        import traced

        return traced.traced_once(folder)

    return context


@pytest.fixture
def traced_once(traces: Traces) -> Iterator[None]:
    """No network is traced in this test that another one has traced."""
    with traces():
        yield


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call the command line in this process, file descriptors watched."""
    from ssd_small.cli import main

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        return Outcome(code, *capfd.readouterr())

    return run
