"""A disk that is full loses no result: what was computed is printed, then exit 4 says what is full.

The limit on the size of files stands for a full disk where no private one may be mounted.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Outcome
from full_disk import file_size_limit, on_small_disk

from ssd_small import files
from ssd_small.errors import OutputError
from ssd_small.system import temporary

Call = Callable[..., Outcome]


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file that is written is on a full disk; standard output is not."""

    def refuse(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", refuse)


@pytest.mark.usefixtures("full")
def test_detect_tells_what_it_found_in_pictures_that_it_cannot_draw(
    call: Call, engine: Path, pictures: Path, tmp_path: Path
) -> None:
    outcome = call("detect", "--engine", engine, pictures, "-o", tmp_path / "drawn", "--json")
    outcome.fails(4, "2 of 2 pictures with boxes could not be written")
    assert outcome.err.count("No space left on device") == 2
    entries = [json.loads(line) for line in outcome.out.splitlines()]
    assert [Path(entry["image"]).name for entry in entries] == ["a.jpg", "b.png"]
    assert all("detections" in entry and "picture" not in entry for entry in entries)


@pytest.mark.usefixtures("full")
def test_detect_names_the_one_picture_that_it_cannot_draw(
    call: Call, engine: Path, pictures: Path, tmp_path: Path
) -> None:
    outcome = call("detect", "--engine", engine, pictures / "a.jpg", "-o", tmp_path)
    outcome.fails(4, f"cannot write {tmp_path / 'a.jpg'}: No space left on device; free space")
    assert outcome.out.startswith(f"{pictures / 'a.jpg'} (80x60)")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_detect_draws_where_standard_output_is_full(
    spawn: Call, engine: Path, pictures: Path, tmp_path: Path
) -> None:
    with open("/dev/full", "w") as stream:
        outcome = spawn("detect", "--engine", engine, pictures, "-o", tmp_path, stdout=stream)
    outcome.fails(4, "No space left on device")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "b.png"]


@pytest.mark.parametrize("more", [(), ("--min-map", 0.99)])
@pytest.mark.usefixtures("full")
def test_eval_reports_before_it_saves(
    more: tuple[object, ...], call: Call, engine: Path, pictures: Path, truth: Any, tmp_path: Path,
    saved: Callable[[object], Path],
) -> None:  # fmt: skip
    data = ("--annotations", saved(truth), "--images", pictures)
    path = tmp_path / "found.json"
    outcome = call("eval", "--engine", engine, *data, "--save-detections", path, "--json", *more)
    outcome.fails(4, f"cannot write {path}: No space left on device")
    assert outcome.json["metrics"]["AP"] is not None


def test_eval_saves_where_standard_output_is_full(
    spawn: Call, engine: Path, pictures: Path, truth: Any, tmp_path: Path,
    saved: Callable[[object], Path],
) -> None:  # fmt: skip
    data = ("--annotations", saved(truth), "--images", pictures)
    path = tmp_path / "found.json"
    with open("/dev/full", "w") as stream:
        outcome = spawn("eval", "--engine", engine, *data, "--save-detections", path, stdout=stream)
    outcome.fails(4, "No space left on device")
    assert isinstance(json.loads(path.read_text()), list)


def test_both_full_is_one_line_and_exit_4(
    spawn: Call, engine: Path, pictures: Path, truth: Any, tmp_path: Path,
    saved: Callable[[object], Path],
) -> None:  # fmt: skip
    data = ("--annotations", saved(truth), "--images", pictures)
    with open("/dev/full", "w") as stream, file_size_limit(100):
        outcome = spawn(
            "eval", "--engine", engine, *data, "--save-detections", tmp_path / "found.json",
            stdout=stream,
        )  # fmt: skip
    outcome.fails(4, "found.json", "File too large")
    assert outcome.err.count("\n") == 1


def test_bench_prints_what_it_has_measured_before_a_network_failed(
    call: Call, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssd_small.bench import run

    measured = next(iter(run.bench_engine(engine, run.Plan(seconds=0.01, threads=1))))
    fault = OutputError("the disk is full")

    def bench(*arguments: object, **options: object) -> Any:
        yield measured
        raise fault

    monkeypatch.setattr(run, "bench_engine", bench)
    outcome = call("bench", "--engine", engine, "--json")
    outcome.fails(4, "the disk is full")
    assert len(outcome.json["results"]) == 1


class TestTemporaryFolder:
    """What finds no room in it is no matter of the output."""

    def test_a_full_one_is_named(self) -> None:
        with (
            pytest.raises(OutputError) as caught,
            temporary.temporary_folder() as folder,
            file_size_limit(100),
        ):
            files.write_bytes(folder / "x", bytes(200))
        assert str(folder / "x") in str(caught.value)
        assert "temporary file" in str(caught.value)
        assert "File too large; free space, or set TMPDIR" in str(caught.value)
        assert not folder.exists()

    def test_what_lies_elsewhere_is_not_its_fault(self, tmp_path: Path) -> None:
        with (
            pytest.raises(OutputError, match="choose another output"),
            temporary.temporary_folder(),
            file_size_limit(100),
        ):
            files.write_bytes(tmp_path / "x", bytes(200))

    def test_one_that_cannot_be_made_is_a_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*arguments: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/ssd-small-x")

        monkeypatch.setattr(os, "mkdir", refuse)
        words = r"/somewhere.*No space left on device.*TMPDIR"
        with pytest.raises(OutputError, match=words), temporary.temporary_folder():
            raise AssertionError


@pytest.mark.slow
class TestRealDisk:
    """A small disk of our own, full."""

    def run(self, size: str, folder: Path, *arguments: object, **env: str) -> Outcome:
        folder.mkdir()
        command = on_small_disk(size, folder, sys.executable, "-m", "ssd_small", *arguments)
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=120, errors="replace",
            env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        )  # fmt: skip
        return Outcome(done.returncode, done.stdout, done.stderr)

    def test_engine(self, onnx_file: Path, tmp_path: Path) -> None:
        disk = tmp_path / "disk"
        outcome = self.run("64k", disk, "build-engine", onnx_file, "-o", disk / "x.engine")
        outcome.fails(4, f"cannot write {disk / 'x.engine'}: No space left on device; free space")

    def test_temporary_folder_of_an_engine(self, onnx_file: Path, tmp_path: Path) -> None:
        # ONNX Runtime takes names that are text alone; in a folder of another name it needs it
        disk, output = tmp_path / "disk", os.fsencode(tmp_path) + b"/\xff/x.engine"
        outcome = self.run(
            "64k", disk, "build-engine", onnx_file, "-o", os.fsdecode(output), TMPDIR=str(disk)
        )
        outcome.fails(4, f"temporary file {disk}", "No space left on device", "TMPDIR")

    def test_detect(self, engine: Path, pictures: Path, tmp_path: Path) -> None:
        disk = tmp_path / "disk"
        outcome = self.run("4k", disk, "detect", "--engine", engine, pictures, "-o", disk / "out")
        outcome.fails(4, "pictures with boxes could not be written")
        assert "No space left on device" in outcome.err
        assert outcome.out.count("(80x60)") == 2

    def test_eval(
        self, engine: Path, pictures: Path, truth: Any, tmp_path: Path,
        saved: Callable[[object], Path],
    ) -> None:  # fmt: skip
        disk = tmp_path / "disk"
        data = ("--annotations", saved(truth), "--images", pictures)
        path = disk / "found.json"
        outcome = self.run(
            "4k", disk, "eval", "--engine", engine, *data, "--save-detections", path, "--json"
        )
        outcome.fails(4, f"cannot write {path}: No space left on device")
        assert "AP" in outcome.json["metrics"]
