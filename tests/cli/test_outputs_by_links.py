"""Outputs that are links, devices, pipes, write-protected or nowhere."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def converting(tmp_path) -> tuple[object, ...]:
    """A command that writes a file, but for its name."""
    source = tmp_path / "boxes.csv"
    source.write_text("a.jpg,1,2,30,40,cat\n")
    pytest.importorskip("cv2")
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((60, 80, 3), np.uint8))
    return ("convert", "--from", "csv", source, "-o")


def test_a_link_stays_and_its_file_is_replaced(call, converting, tmp_path):
    real = tmp_path / "store" / "real.json"
    real.parent.mkdir()
    real.write_text("old")
    real.chmod(0o640)
    link = tmp_path / "out.json"
    link.symlink_to(Path("store") / "real.json")
    call(*converting, link).fits()
    assert link.is_symlink()
    assert link.readlink() == Path("store") / "real.json"
    assert json.loads(real.read_text())["images"]
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert list(real.parent.iterdir()) == [real]


def test_a_link_to_what_is_not_there_yet_is_written_through(call, converting, tmp_path):
    link = tmp_path / "out.json"
    link.symlink_to(tmp_path / "new" / "real.json")
    call(*converting, link).fits()
    assert link.is_symlink()
    assert json.loads((tmp_path / "new" / "real.json").read_text())["images"]
    circle = tmp_path / "circle.json"
    circle.symlink_to(circle.name)
    call(*converting, circle).fails(4, "cannot write", "circles")
    assert circle.is_symlink()


@pytest.mark.slow
def test_an_engine_and_its_sidecar_are_written_through_a_link(call, onnx_file, tmp_path):
    (tmp_path / "store").mkdir()
    link = tmp_path / "current.engine"
    link.symlink_to(Path("store") / "real.engine")
    for _ in range(2):
        call("build-engine", onnx_file, "-o", link).fits()
        assert link.is_symlink()
        names = {path.name for path in (tmp_path / "store").iterdir()}
        assert names == {"real.engine", "real.engine.json"}
        for engine in (link, tmp_path / "store" / "real.engine"):
            assert call("inspect", engine, "--json").fits().json["kind"] == "engine"


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_what_is_no_file_is_not_replaced(kind, call, converting, tmp_path, monkeypatch):
    place = tmp_path / "place.json"
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            monkeypatch.chdir(tmp_path)  # such names are short
            one.bind(place.name)
    else:
        place = Path("/dev/null")
    before = place.stat()
    link = tmp_path / "link.json"
    link.symlink_to(place)
    for output in (place, link):
        call(*converting, output).fails(4, "cannot write", "device or pipe")
    after = place.stat()
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)
    assert link.is_symlink()


@pytest.mark.parametrize("target", ["pipe", "file"])
def test_standard_output_is_not_replaced(target, spawn, converting, tmp_path):
    # by a link of ours: a fault here must not cost the machine its /dev/stdout
    link, printed = tmp_path / "stdout.json", tmp_path / "printed"
    link.symlink_to("/proc/self/fd/1")
    with printed.open("w") as stream:
        stdout = {"stdout": stream} if target == "file" else {}
        spawn(*converting, link, **stdout).fails(4, "cannot write", str(link))
    assert link.readlink() == Path("/proc/self/fd/1")


def test_a_write_protected_file_is_not_replaced(call, converting, tmp_path):
    output = tmp_path / "out.json"
    output.write_text("kept")
    output.chmod(0o400)
    call(*converting, output).fails(4, "cannot write", "write-protected")
    assert output.read_text() == "kept"
    output.chmod(0o600)
    call(*converting, output).fits()
    assert stat.S_IMODE(output.stat().st_mode) == 0o600


def test_the_true_cause_of_an_output_in_proc(call, converting, onnx_file):
    for command in (converting, ("build-engine", onnx_file, "-o")):
        call(*command, "/proc/x").fails(4, "cannot write /proc/x", "/proc takes no file")


def test_a_working_folder_that_was_deleted_is_named(tmp_path, onnx_file):
    gone = tmp_path / "gone"
    gone.mkdir()
    program = (
        "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1]); "
        "from ssd_small.cli import main; main(sys.argv[2:])"
    )
    for command in (
        ("inspect", onnx_file),
        ("detect", "a.png", "--weights", "digits/mobilenet_v1"),
        ("build-engine", onnx_file, "-o", "x.engine"),
    ):
        gone.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", program, gone, *map(str, command)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 4
        assert "the working folder was deleted" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    shutil.rmtree(gone, ignore_errors=True)


@pytest.mark.slow
def test_digits_keeps_to_the_umask_and_to_links(spawn, tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("skimage")
    link = tmp_path / "link"
    link.symlink_to("real")
    few = ("--train-images", 1, "--val-images", 1)
    spawn("digits", link, *few, umask=0o077).fits()
    assert link.is_symlink()
    real = tmp_path / "real"
    modes = {stat.S_IMODE(one.stat().st_mode) for one in (real, *real.rglob("*")) if one.is_dir()}
    assert modes == {0o700}
    assert stat.S_IMODE((real / "val.json").stat().st_mode) == 0o600
