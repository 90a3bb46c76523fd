"""Reading a file up to a limit: all of it, no more, and no memory for what is not there."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from ssd_small.errors import BadFile
from ssd_small.files import read_bytes
from ssd_small.json_files import read_json


def test_a_small_file_takes_no_memory_for_the_largest_that_is_allowed(tmp_path: Path) -> None:
    """Python allocates what a stream is asked for: 8 GiB, where JSON of that size may be read."""
    path = tmp_path / "truth.json"
    path.write_text('{"images": []}')
    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + (1 << 28), before[1]))
    try:
        assert read_json(path, "annotations") == {"images": []}
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("most", [None, 5, 6, 1 << 40])
def test_all_of_a_file_within_the_limit(tmp_path: Path, most: int | None) -> None:
    path = tmp_path / "five"
    path.write_bytes(b"12345")
    assert read_bytes(path, "five bytes", most) == b"12345"


@pytest.mark.parametrize(("length", "most"), [(5, 5), (3 << 20, 3 << 20), (3 << 20, 1 << 40)])
def test_all_of_a_pipe_within_the_limit(length: int, most: int) -> None:
    """As ``<(...)`` of a shell; it has no size to ask for."""
    assert _from_pipe(length, most) == b"x" * length


def test_a_pipe_past_the_limit_is_refused() -> None:
    with pytest.raises(BadFile, match="more than 4 bytes"):
        _from_pipe(5, 4)


def _from_pipe(length: int, most: int) -> bytes:
    reading, writing = os.pipe()
    writer = os.fork()
    if writer == 0:
        os.close(reading)
        with os.fdopen(writing, "wb") as stream:
            stream.write(b"x" * length)
        os._exit(0)
    os.close(writing)
    try:
        return read_bytes(Path(f"/dev/fd/{reading}"), "letters", most)
    finally:
        os.close(reading)
        os.waitpid(writer, 0)
