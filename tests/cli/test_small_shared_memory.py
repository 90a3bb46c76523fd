"""``ssd-small train`` where /dev/shm is small, as in containers that were told nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("cv2", reason="needs OpenCV")

from training_pictures import history_of, short_run  # noqa: E402

#: mounts a /dev/shm of its own, seen by nobody else, and becomes the command
_MOUNT = 'mount -t tmpfs -o size="$0" tmpfs /dev/shm && exec "$@"'


@pytest.fixture(scope="module")
def small() -> Callable[..., list[str]]:
    """The command line that runs a command in a /dev/shm of a size."""

    def wrapped(size: str, *command: object) -> list[str]:
        return ["unshare", "--mount", "sh", "-c", _MOUNT, size, *map(str, command)]

    if shutil.which("unshare") is None:
        pytest.skip("not executed here: no unshare, which makes a private mount")
    trial = subprocess.run(wrapped("64k", "true"), capture_output=True, text=True, check=False)
    if trial.returncode:
        pytest.skip(f"not executed here: no private mount permitted ({trial.stderr.strip()})")
    return wrapped


@pytest.mark.slow
def test_a_shared_memory_smaller_than_a_batch_changes_nothing(
    call, small, data: Path, tmp_path: Path
) -> None:
    # a batch of 4 is 4.5 MB
    program = (sys.executable, "-m", "ssd_small")
    command = small("256k", *program, *short_run(data, tmp_path / "small", workers=2))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    call(*short_run(data, tmp_path / "alone", workers=0)).fits()
    losses = [
        [row["loss"] for row in history_of(tmp_path / name) if row["loss"]]
        for name in ("small", "alone")
    ]
    assert losses[0] == losses[1] != []


@pytest.mark.slow
def test_none_at_all_ends_in_a_line_that_names_the_way_out(small, data: Path, tmp_path) -> None:
    """The locks of the processes have no room: the smallest file system has one page."""
    program = (sys.executable, "-m", "ssd_small")
    command = small("4k", *program, *short_run(data, tmp_path / "run", workers=2))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 3, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ssd-small: error: no shared memory for 2 data loading processes")
    assert "--workers 0" in last
    assert "docker run --shm-size" in last
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_it_can_be_stopped_there(small, data: Path, tmp_path: Path) -> None:
    program = (sys.executable, "-m", "ssd_small")
    run = short_run(data, tmp_path / "run", workers=2, iterations=100_000)
    with subprocess.Popen(small("256k", *program, *run), stderr=subprocess.PIPE, text=True) as one:
        try:
            assert one.stderr is not None
            for line in one.stderr:
                if "iteration 2 " in line:
                    break
            os.kill(one.pid, signal.SIGTERM)
            started = time.monotonic()
            rest = one.stderr.read()
            assert one.wait(60) == 128 + signal.SIGTERM
            assert time.monotonic() - started < 30
            assert "stopped after iteration" in rest
        finally:
            one.kill()
