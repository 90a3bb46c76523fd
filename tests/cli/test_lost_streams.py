"""A reader that left, or a standard error that takes nothing, does not change the exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

#: how a shell loses a stream; python is "$@"
LOST = {
    "reader left": '{ "$@"; echo $? >code; } | true',
    "no stdout": '"$@" >&-; echo $? >code',
    "no stderr": '"$@" 2>&-; echo $? >code',
    "full stderr": '"$@" 2>/dev/full; echo $? >code',
    "reader of both left": '{ "$@" 2>&1; echo $? >code; } | true',
}
FULL = '"$@" >/dev/full; echo $? >code'
Losing = Callable[..., int]


@pytest.fixture
def losing(tmp_path: Path) -> Losing:
    """The exit code of a command whose streams were lost as in ``LOST``, or by a line of shell."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    folder = tmp_path / "lost"
    folder.mkdir()

    def run(how: str, *arguments: object) -> int:
        # the reader is gone before Python has started
        command = ("sh", "-c", 'sleep 0.1; exec "$@"', "sh", sys.executable, "-m", "ssd_small")
        words = [*command, *map(str, arguments)]
        shell = ["sh", "-c", LOST.get(how, how), "sh", *words]
        subprocess.run(shell, cwd=folder, capture_output=True, timeout=120, check=True)
        return int((folder / "code").read_text())

    return run


@pytest.mark.parametrize("how", LOST)
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--version"], 0), (["--help"], 0), (["models"], 0), ([], 2), (["no-such-command"], 2),
     (["inspect", "missing.onnx"], 4)],
)  # fmt: skip
def test_exit_code_without_work(losing, how, arguments, code):
    assert losing(how, *arguments) == code


@pytest.mark.slow
@pytest.mark.parametrize("how", LOST)
def test_detect_still_says_that_a_picture_was_unreadable(losing, how, engine, pictures, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    found = (bad, pictures / "b.png", "--engine", engine)
    assert losing(how, "detect", *found, "--output", "drawn") == 4
    # and the work was done
    assert (tmp_path / "lost" / "drawn" / "b.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", LOST)
def test_eval_still_says_that_the_check_failed(
    losing, how, engine, pictures, truth, saved, tmp_path
):
    data = ("--annotations", saved(truth), "--images", pictures, "--save-detections", "found.json")
    asked = ("--engine", engine, *data, "--min-map", "0.99", "--json")
    assert losing(how, "eval", *asked) == 1
    assert isinstance(json.loads((tmp_path / "lost" / "found.json").read_text()), list)


@pytest.mark.slow
@pytest.mark.parametrize("how", LOST)
def test_doctor_still_says_no(losing, how, own_engine):
    own_engine.write_bytes(b"no engine")
    assert losing(how, "doctor", own_engine) == 4


def test_files_do_not_get_what_libraries_print(tmp_path):
    """The number of a closed standard error goes to no file that is opened later."""
    code = (
        "import os, sys\n"
        "from ssd_small.cli.streams import open_standard_streams\n"
        "open_standard_streams()\n"
        "with open('file', 'w') as file: os.write(2, b'noise'); file.write('kept')"
    )
    shell = ["sh", "-c", '"$@" 2>&-', "sh", sys.executable, "-c", code]
    subprocess.run(shell, cwd=tmp_path, check=True)
    assert (tmp_path / "file").read_text() == "kept"


def test_full_disk_below_standard_output_stays_an_error(losing):
    assert losing(FULL, "--version") == 4


def test_another_broken_pipe_is_an_error_in_a_line(call, monkeypatch):
    from ssd_small.doctor import environment

    def broken() -> None:
        raise BrokenPipeError(32, os.strerror(32))

    monkeypatch.setattr(environment, "examine", broken)
    call("doctor").fails(1, "Broken pipe", "run it again")
