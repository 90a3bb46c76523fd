"""An engine and its sidecar change as one, whoever is killed, writes beside, or reads meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from engine_pairs import KILLS, WRITER, text_of_engine, write_engine
from full_disk import file_size_limit

from ssd_small import files
from ssd_small.artefacts.engine_output import sole_builder
from ssd_small.artefacts.sidecar import read_sidecar_file, sidecar_path
from ssd_small.errors import BadFile, OutputError
from ssd_small.system.locks import LockHeld

TESTS = Path(__file__).resolve().parents[1]


def _start(program: str, *arguments: object) -> subprocess.Popen[str]:
    path = os.pathsep.join(map(str, (TESTS, TESTS / "artefacts", TESTS.parent)))
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("before", ["nothing", "old", "killed"])
def test_a_kill_at_any_change_leaves_a_pair_that_opens(tmp_path: Path, before: str) -> None:
    with _start(KILLS, tmp_path, before) as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    found = out.split()
    assert len(found) >= 8, "fewer changes than a build makes"
    allowed = {"nothing": {"nothing"}, "old": {"old"}, "killed": {"old", "older"}}[before]
    cut = found.index("new")
    assert set(found[:cut]) <= allowed, "whatever lay there, until the new one does"
    assert set(found[cut:]) == {"new"}


@pytest.mark.slow
@pytest.mark.parametrize("kills", [False, True])
def test_no_reader_sees_a_torn_pair_while_many_build(tmp_path: Path, kills: bool) -> None:
    path, reads, killed = tmp_path / "x.engine", 0, time.monotonic()
    write_engine(path, "first")
    seen: set[str] = set()
    writers = [_start(WRITER, path, number, 4) for number in range(8)]
    try:
        while any(writer.poll() is None for writer in writers):
            seen.add(text_of_engine(path))  # raises where the two are no pair
            reads += 1
            if kills and time.monotonic() > killed + 0.7:
                killed = time.monotonic()
                alive = [writer for writer in writers[1:] if writer.poll() is None]
                for writer in alive[:1]:
                    writer.kill()
    finally:
        ended = [(*writer.communicate(), writer.returncode) for writer in writers]
    while reads < 1000:
        seen.add(text_of_engine(path))
        reads += 1
    assert {code for *_, code in ended} <= ({0, -signal.SIGKILL} if kills else {0}), ended
    done, refused = (
        sum(int(out.split()[i]) for out, _, code in ended if code == 0) for i in (0, 1)
    )
    assert done > 20
    assert refused > 0 or kills, "builders never met"
    assert len(seen) > 5
    write_engine(path, "last")
    assert text_of_engine(path) == "last"


@pytest.mark.slow
def test_the_second_builder_is_refused_before_its_work(tmp_path: Path) -> None:
    path, link = tmp_path / "x.engine", tmp_path / "link.engine"
    link.symlink_to(path.name)
    with sole_builder(path):
        worker = _start(WRITER, link, 0, 0.5)
        out, err = worker.communicate(timeout=60)
        assert worker.returncode == 0, err
        assert out.split()[0] == "0"
        assert int(out.split()[1]) > 0
        write_engine(link, "mine")  # who has the lock is not in his own way
    assert text_of_engine(path) == "mine"
    assert {one.name for one in tmp_path.iterdir()} == {path.name, link.name, "x.engine.json"}


def test_another_thread_of_this_process_is_refused_as_well(tmp_path: Path) -> None:
    path = tmp_path / "x.engine"
    refused = pytest.raises(LockHeld, match="this process is at work there")
    with sole_builder(path), ThreadPoolExecutor(1) as pool, refused:
        pool.submit(write_engine, path, "other").result()


@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize("before", ["nothing", "old"])
def test_a_change_that_fails_leaves_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, before: str
) -> None:
    path, count = tmp_path / "x.engine", 0
    if before == "old":
        write_engine(path, "old")
    was = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    replace = os.replace

    def failing_replace(source: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count == failing + 1:
            raise OSError(1, "Operation not permitted", str(source))
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", failing_replace)
    with pytest.raises(OutputError, match=r"cannot write .*Operation not permitted"):
        write_engine(path, "new")
    if failing < 2:
        assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == was
    else:  # the new engine is there, and its sidecar still tells of the old one too
        assert text_of_engine(path) == "new"
        assert {one.name for one in tmp_path.iterdir()} == {"x.engine", "x.engine.json"}


def test_a_full_disk_leaves_the_old_pair(tmp_path: Path) -> None:
    """One on which the new sidecar fits, but not that of the new and the old engine together."""
    path = tmp_path / "x.engine"
    write_engine(path, "old")
    was = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    with file_size_limit(len(was["x.engine.json"]) + 100), pytest.raises(OutputError):
        write_engine(path, "new")
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == was


def test_sidecars_beside_a_link_and_beside_its_engine_both_stay_true(tmp_path: Path) -> None:
    path, link = tmp_path / "x.engine", tmp_path / "here" / "link.engine"
    write_engine(path, "one")
    link.parent.mkdir()
    link.symlink_to(path)
    sidecar_path(link).write_bytes(sidecar_path(path).read_bytes())
    write_engine(link, "two")
    assert link.is_symlink()
    assert [text_of_engine(one) for one in (path, link)] == ["two"] * 2
    sidecar_path(link).unlink()
    sidecar_path(link).symlink_to(sidecar_path(path))
    write_engine(link, "three")
    assert sidecar_path(link).is_symlink()
    assert [text_of_engine(one) for one in (path, link)] == ["three"] * 2


def test_an_engine_that_is_not_its_sidecars_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.engine"
    write_engine(path, "one")
    path.write_bytes(b"two")
    for _ in range(2):
        with pytest.raises(BadFile, match="size or SHA-256"):
            text_of_engine(path)
    # and what its sidecar told of it is not kept by the next build
    write_engine(path, "three")
    assert text_of_engine(path) == "three"


def test_a_pair_is_two_files_that_can_be_copied(tmp_path: Path) -> None:
    path, other = tmp_path / "x.engine", tmp_path / "elsewhere" / "y.engine"
    write_engine(path, "one")
    other.parent.mkdir()
    for one, copy in ((path, other), (sidecar_path(path), sidecar_path(other))):
        assert not one.is_symlink()
        copy.write_bytes(one.read_bytes())
    assert text_of_engine(other) == "one"
    assert path.read_bytes() == b"one", "the plan is the target's own"
    assert read_sidecar_file(sidecar_path(other)).target_version == "one"
