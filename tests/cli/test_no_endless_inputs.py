"""Devices, named pipes, sockets and links to them, for every path of every command.

The walk goes over the commands' own parameters: a new option is covered by itself, and a new
command fails until it has a line in ``BASES``.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from forked_command import run_forked
from report_values import bench, measurement
from triton_answers import answering

from ssd_small.cli import _COMMANDS, file_of

pytestmark = pytest.mark.slow

#: seconds of a processor that a refusal may take, and of the clock on a machine that is busy; one
#: takes less than two, a device without end takes all
PROCESSOR_SECONDS, SECONDS = 15, 60
KINDS = ("fifo", "socket", "/dev/zero", "/dev/full")
#: what a command needs beside the path in question; {name} are files that are fine
BASES: dict[str, tuple[str, ...]] = {
    "models": (),
    "import": ("{weights}", "--from", "published", "--model", "mobilenet_v1", "-o", "{out}"),
    "export": ("--model", "mobilenet_v1", "--weights", "{weights}", "-o", "{out}"),
    "adopt": (
        *("{onnx}", "--loc", "loc", "--conf", "conf", "--priors", "from-spec"),
        *("--labels", "{labels}", "-o", "{out}"),
    ),
    "build-engine": ("{onnx}", "--target", "onnxruntime", "-o", "{out}"),
    "train": (
        *("--model", "mobilenet_v1", "--annotations", "{truth}", "--images", "{pictures}"),
        *("--width", "0.1", "--epochs", "1", "-o", "{out}"),
    ),
    "bench": ("--model", "mobilenet_v1"),
    "eval": ("--engine", "{engine}", "--annotations", "{truth}", "--images", "{pictures}"),
    "parity": (
        *("{engine}", "--against", "{weights}", "--annotations", "{truth}"),
        *("--images", "{pictures}"),
    ),
    "detect": ("--engine", "{engine}", "{picture}"),
    "serve": ("{engine}", "--port", "0"),
    "batch": ("{engine}", "{picture}", "-o", "{out}"),
    "report": ("{run}", "-o", "{out}"),
    "triton": ("{engine}", "-o", "{out}"),
    "triton-client": ("{triton}", "{picture}"),
    "explain": ("{picture}", "--engine", "{engine}", "--box", "1,1,9,9"),
    "check-data": ("{truth}", "--images", "{pictures}"),
    "convert": ("--from", "csv", "{csv}", "-o", "{out}"),
    "convert-voc": ("--folder", "{pictures}", "-o", "{out}"),
    "tile": ("{truth}", "--images", "{pictures}", "-o", "{out}", "--tiles", "30x30"),
    "digits": (),
    "inspect": ("{engine}",),
    "doctor": (),
    "demo": (),
}
#: options that need others beside them, or replace some
BESIDE: dict[tuple[str, str], tuple[str, ...]] = {
    ("detect", "weights"): ("{picture}",),
    ("detect", "config"): ("{picture}", "--weights", "{weights}"),
    ("detect", "images"): ("--engine", "{engine}"),
    ("batch", "engine"): ("{engine}", "{picture}", "-o", "{out}"),
    ("batch", "sources"): ("-o", "{out}", "{engine}"),
    ("batch", "annotations"): ("{engine}", "{picture}", "-o", "{out}", "--coco"),
    ("explain", "image"): ("--engine", "{engine}", "--box", "1,1,9,9"),
    ("explain", "weights"): ("{picture}", "--box", "1,1,9,9"),
    ("explain", "config"): ("{picture}", "--box", "1,1,9,9", "--weights", "{weights}"),
    ("eval", "weights"): ("--annotations", "{truth}", "--images", "{pictures}"),
    ("eval", "config"): (
        *("--annotations", "{truth}", "--images", "{pictures}"),
        *("--weights", "{weights}"),
    ),
    ("eval", "detections"): ("--annotations", "{truth}"),
    ("bench", "images"): ("--engine", "{engine}"),
    ("triton-client", "images"): ("{triton}",),
    ("build-engine", "check_images"): (
        *("{onnx}", "--target", "onnxruntime", "--precision", "fp16", "-o", "{out}"),
    ),
    ("build-engine", "calibration"): (
        *("{onnx}", "--target", "onnxruntime", "--precision", "int8", "-o", "{out}"),
    ),
    ("build-engine", "annotations"): (
        *("{onnx}", "--target", "onnxruntime", "--precision", "int8", "-o", "{out}"),
        *("--calibration", "{pictures}", "--max-drop", "0.1"),
    ),
    ("build-engine", "timing_cache"): ("{onnx}", "--target", "tensorrt", "-o", "{out}"),
    ("inspect", "path"): (),
    ("train", "val_annotations"): (*BASES["train"], "--val-images", "{pictures}"),
    ("train", "val_images"): (*BASES["train"], "--val-annotations", "{truth}"),
    ("check-data", "val_annotations"): (*BASES["check-data"], "--val-images", "{pictures}"),
    ("check-data", "val_images"): (*BASES["check-data"], "--val-annotations", "{truth}"),
}


def _paths() -> Iterator[tuple[str, click.Parameter]]:
    for name in _COMMANDS:
        module = importlib.import_module(f"ssd_small.cli.{file_of(name)}")
        for param in module.command.params:
            if isinstance(param.type, click.Path):
                yield name, param


CASES = [pytest.param(name, param, id=f"{name}-{param.name}") for name, param in _paths()]


@pytest.fixture(scope="module")
def bad() -> Iterator[list[Path]]:
    """What is no file, and links to it, in a folder whose name is short enough for a socket."""
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as listener:
        folder = Path(name)
        os.mkfifo(folder / "fifo")
        listener.bind(str(folder / "socket"))
        found = [folder / kind if kind[0] != "/" else Path(kind) for kind in KINDS]
        for number, path in enumerate(list(found)):
            link = folder / f"link{number}.json"
            link.symlink_to(path)
            found.append(link)
        yield found


@pytest.fixture(scope="module")
def triton(engine, tmp_path_factory) -> Iterator[str]:
    """The address of a server that has the model, and runs none."""
    folder = tmp_path_factory.mktemp("triton")
    code, said = _run(["triton", str(engine), "-o", str(folder / "models")])
    assert code == 0, said
    with answering(folder / "models") as url:
        yield url


@pytest.fixture
def fine(
    engine, onnx_file, checkpoint, pictures, truth, saved, tmp_path, triton
) -> dict[str, object]:
    table = tmp_path / "boxes.csv"
    table.write_text("a.jpg,1,2,30,40,cat\n")
    (tmp_path / "a.jpg").write_bytes((pictures / "a.jpg").read_bytes())
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    run = tmp_path / "run.json"
    run.write_text(json.dumps(bench(measurement("x.engine", 1.0))))
    return {
        "run": run,
        "engine": engine,
        "onnx": onnx_file,
        "weights": checkpoint,
        "pictures": pictures,
        "picture": pictures / "a.jpg",
        "truth": saved(truth),
        "csv": table,
        "labels": labels,
        "out": tmp_path / "out",
        "triton": triton,
    }


def _run(arguments: list[str]) -> tuple[int, str]:
    return run_forked(arguments, seconds=SECONDS, processor_seconds=PROCESSOR_SECONDS)


def test_every_command_has_its_base():
    assert set(BASES) == set(_COMMANDS)


def _arguments(
    name: str, param: click.Parameter, value: Path, fine: dict[str, object]
) -> list[str]:
    base = list(BESIDE.get((name, str(param.name)), BASES[name]))
    if isinstance(param, click.Argument):
        own = [
            one
            for one in base
            if one in ("{onnx}", "{truth}", "{csv}", "{engine}", "{run}", "{weights}")
        ]
        if base and base[0] in own:
            base[0] = str(value)
        elif (name, param.name) == ("convert", "source"):
            base[2] = str(value)
        else:
            base.append(str(value))
    else:
        for option in param.opts:
            if option in base:
                at = base.index(option)
                del base[at : at + 2]
        base += [param.opts[0], str(value)]
    return [name, *(one.format(**fine) for one in base)]


@pytest.mark.parametrize(("name", "param"), CASES)
def test_what_is_no_file_is_refused_at_once(bad, fine, name, param):
    faults = []
    for value in bad:
        mode = os.stat(value).st_mode
        code, said = _run(_arguments(name, param, value, fine))
        lines = [line for line in said.splitlines() if line.startswith("ssd-small: error: ")]
        # the same thing is there afterwards
        if code != 4 or len(lines) != 1 or os.stat(value).st_mode != mode:
            faults.append((str(value), code, said[-300:]))
    assert not faults, "\n".join(map(str, faults))


def test_a_folder_of_pictures_passes_over_what_is_no_file(call, engine, pictures, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "a.jpg").write_bytes((pictures / "a.jpg").read_bytes())
    os.mkfifo(folder / "b.jpg")
    (folder / "c.jpg").symlink_to("/dev/zero")
    call("detect", "--engine", engine, folder).fits()


@pytest.mark.parametrize("kind", ["fifo", "/dev/zero"])
def test_what_lies_beside_a_file_is_not_waited_for(
    fine, own_engine, onnx_file, pictures, tmp_path, kind
):
    """Sidecars, weights outside an ONNX file, pictures that annotations name, lists of a set."""

    def replace(path: Path) -> None:
        path.unlink(missing_ok=True)
        os.mkfifo(path) if kind == "fifo" else path.symlink_to(kind)

    replace(own_engine.with_name(f"{own_engine.name}.json"))
    run = ["detect", "--engine", str(own_engine), str(pictures / "a.jpg")]
    code, said = _run(run)
    assert code == 4, (code, said)

    onnx = pytest.importorskip("onnx")
    outside = tmp_path / "outside.onnx"
    model = onnx.load(onnx_file)
    onnx.save(model, outside, save_as_external_data=True, location="w.bin", size_threshold=0)
    replace(tmp_path / "w.bin")
    code, said = _run(["detect", "--engine", str(outside), str(pictures / "a.jpg")])
    assert code == 4, (code, said)

    images = tmp_path / "images"
    images.mkdir()
    (images / "a.jpg").write_bytes((pictures / "a.jpg").read_bytes())
    replace(images / "b.png")
    arguments = ["--annotations", str(fine["truth"]), "--images", str(images)]
    code, said = _run(["eval", "--engine", str(fine["engine"]), *arguments])
    assert code == 4, (code, said)
    # a finding of the data set
    code, said = _run(["check-data", str(fine["truth"]), "--images", str(images)])
    assert code == 1, (code, said)

    voc = tmp_path / "voc"
    (voc / "Annotations").mkdir(parents=True)
    (voc / "ImageSets" / "Main").mkdir(parents=True)
    (voc / "Annotations" / "a.xml").write_text("<annotation/>")
    replace(voc / "ImageSets" / "Main" / "train.txt")
    out = ["-o", str(tmp_path / "o.json")]
    code, said = _run(["convert-voc", "--folder", str(voc), "--split", "train", *out])
    assert code == 4, (code, said)
    replace(voc / "Annotations" / "a.xml")
    code, said = _run(["convert-voc", "--folder", str(voc), *out])
    assert code == 4, (code, said)
