"""``build-engine`` several times at once into one file: a reader finds a pair at any moment."""

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
from command_line import PREFIX, Outcome

pytest.importorskip("onnxruntime", reason="needs onnxruntime")
pytest.importorskip("onnx", reason="needs onnx")

from ssd_small.artefacts.sidecar import read_sidecar
from ssd_small.runtimes import open_engine

pytestmark = pytest.mark.slow

Call = Callable[..., Outcome]


def _build(onnx_file: Path, engine: Path, precision: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "ssd_small", "build-engine", onnx_file, "-o", engine),
            *("--target", "onnxruntime", "--precision", precision),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_of_builds_into_one_file_the_ones_that_lost_say_so(
    call: Call, onnx_file: Path, own_engine: Path
) -> None:
    reads, precisions = 0, ("fp32", "fp16", "fp32", "fp16")
    builds = [_build(onnx_file, own_engine, precision) for precision in precisions]
    while any(build.poll() is None for build in builds):
        open_engine(own_engine, threads=1).close()
        reads += 1
    assert reads > 10
    ended = [(build.communicate()[1], build.returncode) for build in builds]
    won = {precisions[i] for i, (_, code) in enumerate(ended) if code == 0}
    assert won
    for err, code in ended:
        assert code in (0, 4), err
        if code:
            (line,) = err.splitlines()
            assert line.startswith(f"{PREFIX}cannot write {own_engine}: process ")
    assert read_sidecar(own_engine).precision in won
    call("inspect", own_engine).fits()
    left = {one.name for one in own_engine.parent.iterdir()}
    assert left == {own_engine.name, f"{own_engine.name}.json"}


def test_a_killed_build_leaves_the_old_pair_and_refuses_nobody(
    call: Call, onnx_file: Path, own_engine: Path
) -> None:
    before = {one.name: one.read_bytes() for one in own_engine.parent.iterdir()}
    with _build(onnx_file, own_engine, "fp16") as build:
        while not list(own_engine.parent.glob(".ssd-small-*.lock")):
            assert build.poll() is None
            time.sleep(0.01)
        build.send_signal(signal.SIGKILL)
    assert {name: (own_engine.parent / name).read_bytes() for name in before} == before
    call("build-engine", onnx_file, "-o", own_engine).fits()
    assert not list(own_engine.parent.glob(".ssd-small-*.lock"))


def test_a_pair_moves_to_another_folder(call: Call, own_engine: Path, tmp_path: Path) -> None:
    there = tmp_path / "elsewhere"
    there.mkdir()
    for one in (own_engine, own_engine.with_name("m.engine.json")):
        shutil.copy(one, there)
        one.unlink()
    assert call("inspect", there / "m.engine", "--json").fits().json["kind"] == "engine"
