"""A disk that is full, as far as this process is concerned."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """Writing past ``limit`` bytes of a file fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


#: mounts a file system of its own, seen by nobody else, and becomes the command
_MOUNT = 'mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"'


def on_small_disk(size: str, folder: Path, *command: object) -> list[str]:
    """The command line that runs a command while ``folder`` is an empty disk of ``size`` (64k).

    Skips the test where nobody may mount one.
    """
    wrapped = ["unshare", "--mount", "sh", "-c", _MOUNT, size, str(folder)]
    if shutil.which("unshare") is None:
        pytest.skip("not executed here: no unshare, which makes a private mount")
    trial = subprocess.run([*wrapped, "true"], capture_output=True, text=True, check=False)
    if trial.returncode:
        pytest.skip(f"not executed here: no private mount permitted ({trial.stderr.strip()})")
    return [*wrapped, *map(str, command)]
