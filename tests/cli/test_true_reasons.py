"""A file that the system refuses to read is told by the system's own reason, whoever reads it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from command_line import Outcome
from report_values import evaluation_of
from triton_answers import answering

from ssd_small.cli import _COMMANDS

Call = Callable[..., Outcome]
Given = dict[str, Path | str]

#: name -> the command, in which {} is the file that cannot be read
COMMANDS = {
    "detect picture": "detect --engine ENGINE {}",
    "detect engine": "detect --engine {} PICTURES",
    "detect weights": "detect --weights {} PICTURES",
    "detect weights cached": "detect --runtime onnxruntime --weights {} PICTURES",
    "detect labels": "detect --model mobilenet_v1 --weights WEIGHTS --labels {} PICTURES",
    "detect config": "detect --config {} PICTURES",
    "batch engine": "batch {} PICTURES -o OUT",
    "batch annotations": "batch ENGINE PICTURES --coco --annotations {} -o OUT",
    "explain picture": "explain {} --engine ENGINE --box 1,1,9,9",
    "explain engine": "explain PICTURES --engine {} --box 1,1,9,9",
    "eval engine": "eval --engine {} --annotations TRUTH --images PICTURES",
    "eval annotations": "eval --engine ENGINE --annotations {} --images PICTURES",
    "eval detections": "eval --annotations TRUTH --detections {}",
    "eval config": "eval --config {} --annotations TRUTH --images PICTURES",
    "parity engine": "parity {} --against WEIGHTS --images PICTURES",
    "parity against": "parity ENGINE --against {} --images PICTURES",
    "parity annotations": "parity ENGINE --against WEIGHTS --annotations {} --images PICTURES",
    "import": "import {} -o OUT",
    "import labels": "import WEIGHTS --from published --model mobilenet_v1 --labels {} -o OUT",
    "export weights": "export --model mobilenet_v1 --weights {} -o OUT",
    "export labels": "export --model mobilenet_v1 --weights WEIGHTS --labels {} -o OUT",
    "export config": "export --config {} -o OUT",
    "export preprocessing": "export --model mobilenet_v1 --weights WEIGHTS -o OUT "
    "--preprocessing {}",
    "adopt onnx": "adopt {} --loc a --conf b --priors from-spec --labels LABELS -o OUT",
    "adopt labels": "adopt ONNX --loc loc --conf conf --priors from-spec --labels {} -o OUT",
    "adopt priors": "adopt ONNX --loc loc --conf conf --priors {} --labels LABELS -o OUT",
    "adopt preprocessing": "adopt ONNX --loc loc --conf conf --priors from-spec --labels LABELS "
    "--preprocessing {} -o OUT",
    "adopt picture": "adopt ONNX --loc loc --conf conf --priors from-spec --labels LABELS "
    "--picture {} -o OUT",
    "build-engine onnx": "build-engine {} -o OUT",
    "build-engine description": "build-engine ONNX --description {} -o OUT",
    "build-engine annotations": "build-engine ONNX --target onnxruntime --precision int8 "
    "--calibration PICTURES --max-drop 0.1 --annotations {} -o OUT",
    "bench engine": "bench --engine {} --seconds 0.01",
    "bench config": "bench --config {} --seconds 0.01",
    "bench against": "bench --engine ENGINE --seconds 0.01 --against {}",
    "triton": "triton {} -o OUT",
    "triton picture": "triton ONNX -o OUT --warmup-image {}",
    "triton-client picture": "triton-client TRITON {}",
    "report run": "report {} -o OUT",
    "report runs": "report RUN {} -o OUT",
    "serve": "serve {}",
    "serve labels": "serve ENGINE --labels {}",
    "inspect": "inspect {}",
    "doctor": "doctor {}",
    "check-data": "check-data {} --images PICTURES",
    "check-data val": "check-data TRUTH --images PICTURES --val-annotations {} "
    "--val-images PICTURES",
    "convert csv": "convert --from csv {} -o OUT",
    "convert labels": "convert --from csv CSV --labels {} -o OUT",
    "convert yolo": "convert --from yolo {} -o OUT",
    "tile": "tile {} --images PICTURES --tiles 30x30 -o OUT",
    "train annotations": "train --model mobilenet_v1 --annotations {} --images PICTURES -o OUT",
    "train weights": "train --model mobilenet_v1 --annotations TRUTH --images PICTURES "
    "--weights {} -o OUT",
    "train config": "train --config {} -o OUT",
}  # fmt: skip


@pytest.fixture(scope="module")
def given(
    session_folder: Path,
    engine: Path,
    onnx_file: Path,
    checkpoint: Path,
    pictures: Path,
    spawn: Call,
) -> Iterator[Given]:
    folder = session_folder / "reasons"
    folder.mkdir()
    csv = folder / "boxes.csv"
    csv.write_text(f"{pictures / 'a.jpg'},1,1,9,9,cat\n")
    labels = folder / "labels.txt"
    labels.write_text("cat\ndog\n")
    run = folder / "run.json"
    run.write_text(json.dumps(evaluation_of("x.engine", 0.1)))
    spawn("triton", onnx_file, "-o", folder / "models").fits()
    with answering(folder / "models") as url:
        yield {
            "ENGINE": engine, "ONNX": onnx_file, "WEIGHTS": checkpoint, "PICTURES": pictures,
            "CSV": csv, "RUN": run, "TRITON": url, "LABELS": labels,
        }  # fmt: skip


@pytest.fixture
def arguments(
    given: Given, truth: Any, saved: Callable[[object], Path], tmp_path: Path
) -> Callable[[str, Path], list[str]]:
    known = given | {"TRUTH": saved(truth), "OUT": tmp_path / "out"}

    def words(name: str, path: Path) -> list[str]:
        return [
            str(path) if word == "{}" else str(known.get(word, word))
            for word in COMMANDS[name].split()
        ]

    return words


def unreadable(kind: str, folder: Path) -> tuple[Path, str]:
    """A path that cannot be read, and what the system says of it."""
    path = folder / "x"
    if kind == "loop":
        path.symlink_to(path)
        return path, "Too many levels of symbolic links"
    if kind == "long":
        return folder / ("x" * 300), "File name too long"
    if kind == "below":
        path.write_text("a file")
        return path / "y", "Not a directory|does not exist"
    if kind == "broken":
        # of a process's own memory nothing lies at address 0
        if not Path("/proc/self/mem").exists():
            pytest.skip("not executed here: no /proc/self/mem, which is a file that fails")
        path.symlink_to("/proc/self/mem")
        return path, "Input/output error"
    path.write_bytes(b"PK\x03\x04")
    path.chmod(0)
    return path, "Permission denied"


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Root may read everything: for a moment somebody else, who may look into ``folder``."""
    user = os.geteuid()
    if user == 0:
        for one in (folder, *list(folder.parents)[:2]):
            one.chmod(0o755)
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


KINDS = ("broken", "loop", "long", "below", "denied")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COMMANDS)
def test_reason(
    name: str,
    kind: str,
    call: Call,
    arguments: Callable[[str, Path], list[str]],
    given: Given,
    tmp_path: Path,
) -> None:
    if name.startswith("train"):
        pytest.importorskip("torchvision")  # nobody else may import it
    path, reason = unreadable(kind, tmp_path)
    words = arguments(name, path)
    if kind == "broken":  # an engine is looked at where its sidecar is there
        shutil.copy(f"{given['ENGINE']}.json", f"{path}.json")
    with as_nobody(tmp_path) if kind == "denied" else nullcontext():
        outcome = call(*words)
    line = outcome.fails(4)
    assert any(one in line for one in reason.split("|")), line
    for wrong in ("truncated", "damaged", "not a checkpoint", "not JSON", "not a valid"):
        assert wrong not in line


class TestWeightsBesideAnOnnxFile:
    """Its external data."""

    @pytest.fixture
    def split(self, onnx_file: Path, tmp_path: Path) -> Path:
        onnx = pytest.importorskip("onnx")
        path = tmp_path / "split" / "m.onnx"
        path.parent.mkdir()
        onnx.save_model(
            onnx.load(onnx_file), path, save_as_external_data=True, location="m.data",
            size_threshold=0,
        )  # fmt: skip
        return path

    # no other kind: its name is in the ONNX file
    @pytest.mark.parametrize("kind", ["broken", "loop", "denied"])
    def test_reason(self, kind: str, call: Call, split: Path, tmp_path: Path) -> None:
        data = split.with_name("m.data")
        data.unlink()
        path, reason = unreadable(kind, split.parent)
        path.rename(data) if kind == "denied" else data.symlink_to(os.readlink(path))
        if kind == "loop":
            data.unlink()
            data.symlink_to(data)
        with as_nobody(split.parent) if kind == "denied" else nullcontext():
            outcome = call("build-engine", split, "-o", tmp_path / "x.engine")
        line = outcome.fails(4)
        # onnx follows no links at all
        assert reason in line or (kind == "broken" and "symbolic link" in line)
        assert "does not exist" not in line

    @pytest.mark.parametrize(
        ("make", "words"), [(Path.mkdir, "it is a folder"), (os.mkfifo, "it is a device or pipe")]
    )
    def test_what_is_no_file(
        self, make: Callable[[Path], None], words: str, call: Call, split: Path, tmp_path: Path
    ) -> None:
        split.with_name("m.data").unlink()
        make(split.with_name("m.data"))
        call("build-engine", split, "-o", tmp_path / "x.engine").fails(4, words)


def test_a_disk_that_fails_within_a_checkpoint_is_no_damage(
    checkpoint: Path, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """zipfile takes what it cannot read at the end of a file for a missing end."""
    import zipfile

    from ssd_small.models import checkpoint_file

    def fail(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def missing(path: Path) -> None:
        raise zipfile.BadZipFile("File is not a zip file")

    monkeypatch.setattr(zipfile, "ZipFile", missing)
    monkeypatch.setattr(checkpoint_file, "check_readable", fail)
    line = call("export", "--weights", checkpoint, "-o", tmp_path / "x.onnx").fails(
        4, f"cannot load checkpoint {checkpoint}: Input/output error"
    )
    assert "truncated" not in line


#: what writes, with everything but the output
WRITING = {
    "adopt": "adopt ONNX --loc loc --conf conf --priors from-spec --labels LABELS -o",
    "build-engine": "build-engine ONNX -o",
    "convert": "convert --from csv CSV -o",
    "check-data": "check-data TRUTH --images PICTURES --fix",
    "detect": "detect --engine ENGINE PICTURES -o",
    "batch": "batch ENGINE PICTURES -o",
    "digits": "digits --train-images 1 --val-images 1",
    "eval": "eval --engine ENGINE --annotations TRUTH --images PICTURES --save-detections",
    "import": "import WEIGHTS --from published --model mobilenet_v1 -o",
    "export": "export --model mobilenet_v1 --weights WEIGHTS -o",
    "train": "train --model mobilenet_v1 --annotations TRUTH --images PICTURES -o",
    "tile": "tile TRUTH --images PICTURES --tiles 30x30 -o",
    "triton": "triton ONNX -o",
    "demo": "demo --output",
    "report": "report RUN -o",
    "eval report": "eval --engine ENGINE --annotations TRUTH --images PICTURES --report",
    "parity report": "parity ENGINE --against WEIGHTS --images PICTURES --report",
    "bench report": "bench --engine ENGINE --seconds 0.01 --report",
    "demo report": "demo --output OUT --report",
}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
@pytest.mark.parametrize("name", WRITING)
def test_an_output_that_the_system_refuses(
    name: str, call: Call, given: Given, truth: Any, saved: Callable[[object], Path], tmp_path: Path
) -> None:
    if "report" in name:
        pytest.importorskip("jinja2")
    known = given | {"TRUTH": saved(truth), "OUT": tmp_path / "out"}
    words = [str(known.get(word, word)) for word in WRITING[name].split()]
    call(*words, "/proc/x").fails(4, "/proc", "No such file or directory")


def _gone() -> None:
    folder = Path(tempfile.mkdtemp())
    os.chdir(folder)
    folder.rmdir()


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ()])
def test_a_working_folder_that_is_gone_keeps_nobody_from_help(
    arguments: tuple[str, ...], spawn: Call
) -> None:
    outcome = spawn(*arguments, preexec_fn=_gone)
    assert outcome.code == (0 if arguments else 2)
    assert "Traceback" not in outcome.err


@pytest.mark.slow
@pytest.mark.parametrize("name", list(_COMMANDS))
def test_a_working_folder_that_is_gone_is_said(name: str, spawn: Call) -> None:
    outcome = spawn(name, preexec_fn=_gone)
    outcome.fails(4, "the working folder was deleted")
    assert outcome.err.count("\n") == 1
