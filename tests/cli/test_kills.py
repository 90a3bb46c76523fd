"""Whoever ends a command finds nothing half-written, nothing left behind and nobody at work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="asks /proc and Linux's kernel"),
]

ROOT = Path(__file__).resolve().parents[2]
LAST_LINES = {
    signal.SIGINT: "ssd-small: interrupted; nothing half-written was left",
    signal.SIGTERM: "ssd-small: ended by SIGTERM; nothing half-written was left",
    signal.SIGHUP: "ssd-small: ended by SIGHUP; nothing half-written was left",
}
#: a command with temporary files in the folder "out", that does what is put in
COMMAND = """
import os, signal, sys, time, threading
from pathlib import Path
from ssd_small import cli
from ssd_small.system.temporary import temporary_file, temporary_folder

def load(*_):
    with temporary_file(Path("out")), temporary_folder(Path("out")):
        {body}
cli.import_module = load
sys.argv[1:] = ["models"]
cli.main()
"""
READY = "print('ready', flush=True)"
WAITS = f"{READY}; time.sleep(60)"
#: libraries that lose an exception, in their code and while objects are cleared away
SWALLOWS = f"""
        {READY}
        while True:
            try: time.sleep(60)
            except BaseException: pass
"""
IN_A_FINALIZER = f"""
        {READY}
        class Cleared:
            def __del__(self): time.sleep(0.6)
        started = time.monotonic()
        while time.monotonic() - started < 60: Cleared()
"""
CLEANS_SLOWLY = f"""
        try: {READY}; time.sleep(60)
        finally: time.sleep(1); Path("cleaned").touch()
"""
Started = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def started(tmp_path: Path) -> Started:
    """Start a command that does ``body`` and wait until it is at it."""
    (tmp_path / "out").mkdir()

    def start(body: str = WAITS, before: str = "") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", before + COMMAND.format(body=body)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    return start


def _ended(process: subprocess.Popen[str], *numbers: int, apart: float = 0.0) -> tuple[int, str]:
    """Exit code and standard error of a process that gets signals."""
    with process:
        try:
            for number in numbers:
                process.send_signal(number)
                time.sleep(apart)
            _, err = process.communicate(timeout=30)
        except BaseException:
            process.kill()
            raise
    return process.returncode, err


@pytest.mark.parametrize("number", LAST_LINES)
@pytest.mark.parametrize("body", [WAITS, SWALLOWS, IN_A_FINALIZER])
def test_a_signal_ends_a_command_that_cleans_up_and_says_so(
    started: Started, number: signal.Signals, body: str, tmp_path: Path
) -> None:
    code, err = _ended(started(body), number)
    assert (code, err.strip()) == (128 + number, LAST_LINES[number])
    assert list((tmp_path / "out").iterdir()) == []


def test_a_second_signal_does_not_break_the_clean_up(started: Started, tmp_path: Path) -> None:
    code, err = _ended(
        started(CLEANS_SLOWLY), signal.SIGTERM, signal.SIGINT, signal.SIGTERM, apart=0.2
    )
    assert (code, err.strip()) == (143, LAST_LINES[signal.SIGTERM])
    assert (tmp_path / "cleaned").exists()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_is_ignored_at_the_start_stays_so(
    started: Started, number: signal.Signals
) -> None:
    """As under nohup, and in the background of a shell."""
    before = f"import signal; signal.signal({int(number)}, signal.SIG_IGN)"
    process = started(f"{READY}; time.sleep(0.5); sys.exit(0)", before)
    assert _ended(process, number) == (0, "")


def test_in_python_no_signal_is_taken_over(call: Callable[..., object]) -> None:
    before = [signal.getsignal(number) for number in LAST_LINES]
    call("models")
    assert [signal.getsignal(number) for number in LAST_LINES] == before


def test_a_child_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "sleeps.py").write_text("import os, time; print(os.getpid(), flush=True)\n"
                                        "time.sleep(60)\n")  # fmt: skip
    code = (
        "import subprocess, time\n"
        "from ssd_small.system.processes import command_of_child\n"
        "subprocess.Popen(command_of_child('sleeps')); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    for _ in range(200):
        if not _lives(child):
            return
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    pytest.fail("it went on for 2 s")


def test_a_child_whose_parent_is_gone_already_does_not_begin(tmp_path: Path) -> None:
    (tmp_path / "begins.py").write_text("print('begun')")
    command = [sys.executable, "-m", "ssd_small.system.processes", "1", "begins"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (137, "")


def _lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_ten_kills_leave_nothing(tmp_path: Path) -> None:
    """A share of ``make kill-table``."""
    pytest.importorskip("skimage", reason="needs scikit-image")
    pytest.importorskip("onnxscript", reason="needs onnxscript")
    table = tmp_path / "table.json"
    commands = ("digits", "convert", "build-engine onnxruntime")
    script = ROOT / "benchmarks" / "kill_table.py"
    options = ("--kills", "10", "--seed", "1", "--output", table, "--commands", *commands)
    done = subprocess.run(
        [sys.executable, script, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(table.read_text())
    assert report["kills"] >= 10
    assert {row["command"] for row in report["commands"]} == set(commands)
