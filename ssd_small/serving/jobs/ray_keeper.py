"""Ends the processes that Ray started once their driver has ended, in whatever way.

``python -m ssd_small.serving.jobs.ray_keeper FOLDER`` waits for the end of its standard input, then
kills the processes that have files in FOLDER, Ray's folder, open, and removes it. Ray's own agents
also notice, but spend more than a minute trying to report to a process that no longer exists.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: seconds to wait for killed processes to end, and for the keeper
_PATIENCE = 10.0


@contextmanager
def kept(folder: Path) -> Iterator[None]:
    """Clean up after Ray at the end of the block, even if this process is killed within it."""
    command = [sys.executable, "-m", __name__, str(folder)]
    # in a session of its own: Ctrl-C is for the driver
    keeper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        assert keeper.stdin is not None
        keeper.stdin.close()
        try:
            keeper.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()


def processes_at(folder: Path) -> set[int]:
    """Ids of processes that have files in a folder open; none if there is no /proc."""
    found, inside = set(), f"{os.path.realpath(folder)}/"
    with suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit() and _has_open(name, inside):
                found.add(int(name))
    return found


def _has_open(process: str, inside: str) -> bool:
    with suppress(OSError):
        for one in os.listdir(f"/proc/{process}/fd"):
            with suppress(OSError):
                if os.readlink(f"/proc/{process}/fd/{one}").startswith(inside):
                    return True
    return False


def _keep(folder: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    driver = os.getppid()
    while sys.stdin.buffer.read(1):
        pass
    until = time.monotonic() + _PATIENCE
    while (left := processes_at(folder) - {driver}) and time.monotonic() < until:
        for process in left:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]))
