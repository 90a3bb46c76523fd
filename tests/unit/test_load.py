"""Opening a detector from whatever holds one, and what is refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
for module in ("cv2", "onnxscript", "onnxruntime"):
    pytest.importorskip(module, reason=f"needs {module}")

from detection_models import LABELS, MODEL, Models, noise  # noqa: E402
from ssd_small.export.build_engine import build_engine  # noqa: E402
from ssd_small.export.onnx_file import write_onnx  # noqa: E402

import ssd_small  # noqa: E402
from ssd_small import PostprocessParams  # noqa: E402
from ssd_small.artefacts.build_options import BuildOptions  # noqa: E402
from ssd_small.artefacts.onnx_file import read_onnx  # noqa: E402
from ssd_small.artefacts.sidecar import read_sidecar  # noqa: E402
from ssd_small.doctor.engine import examine_engine  # noqa: E402
from ssd_small.doctor.inspection import inspect_file  # noqa: E402
from ssd_small.errors import BadFile, MissingRequirement, SsdSmallError, UsageError  # noqa: E402
from ssd_small.runtimes import open_engine, open_onnx  # noqa: E402

KINDS = ("engine", "onnx", "checkpoint", "heads", "heads_engine", "own", "own_engine")


@pytest.mark.parametrize("kind", KINDS)
def test_a_detector_says_what_it_is(kind: str, models: Models) -> None:
    with models.open(kind) as detector:
        assert detector.labels == LABELS
        assert (detector.preprocessing.width, detector.preprocessing.height) == (300, 300)
        assert detector.max_batch == (4 if "engine" in kind else 8)
        line = repr(detector)
        runtime = "torch" if kind == "checkpoint" else "onnxruntime"
        assert line.startswith(f"Detector({MODEL}, 2 classes, {runtime} ")
        assert line.endswith(f"fp32, input 300x300, max_batch {detector.max_batch})")
        assert line.isprintable()
        assert len(line) <= 120
    assert repr(detector).endswith(", closed)")


@pytest.mark.slow
def test_labels_are_given_as_a_list_or_a_file(models: Models, tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("Katze\nHund\n", encoding="utf-8")
    for kind in ("engine", "onnx", "checkpoint"):
        for labels in (["Katze", "Hund"], str(file), file):
            with models.open(kind, labels=labels) as detector:
                assert detector.labels == ("Katze", "Hund")
                assert set(detector(noise())[0].names) <= {"Katze", "Hund"}
        with models.open(kind, labels=[1, 2]) as detector:
            assert detector.labels == ("1", "2")
        with pytest.raises(UsageError, match="1 labels for 3 classes; expected 2"):
            models.open(kind, labels=["cat"])
        with pytest.raises(BadFile, match="cannot read cat"):
            models.open(kind, labels="cat")
    with models.open("checkpoint", labels=None) as detector:
        assert detector.labels == ("class 1", "class 2")


def _refusals(models: Models) -> list[tuple[Any, dict[str, Any], type, str]]:
    shipped = "bccd/mobilenet_v1_s1l0"
    return [
        ("nothing", {}, BadFile, f"nothing does not exist; .*{shipped}"),
        ("", {}, BadFile, "is a folder"),
        (
            models.files["engine"].parent,
            {"model": MODEL},
            BadFile,
            "is a folder; expected an engine",
        ),
        (models.files["checkpoint"], {}, UsageError, "does not say which network it is of"),
        (models.files["checkpoint"], {"model": "nope"}, UsageError, "unknown model 'nope'"),
        (models.files["checkpoint"], {"model": "vgg16"}, BadFile, "does not fit vgg16"),
        (models.files["checkpoint"], {"model": MODEL, "width": 0.5}, BadFile, "has width 0.1"),
        (shipped, {"model": "vgg16"}, UsageError, f"is a {shipped[5:]}, not a vgg16"),
        (models.files["engine"], {"model": MODEL}, UsageError, "does not go with the engine"),
        (models.files["onnx"], {"num_classes": 3}, UsageError, "does not go with the ONNX file"),
        (models.files["foreign"], {}, BadFile, "was not written by 'ssd-small export'"),
        (models.files["engine"], {"threads": -1}, UsageError, "threads -1: expected 0"),
        (models.files["engine"], {"max_batch": 0}, UsageError, "max_batch 0: expected a whole"),
        (models.files["onnx"], {"max_batch": 2.5}, UsageError, r"max_batch 2\.5: expected a whole"),
        (models.files["onnx"], {"workers": 0}, UsageError, "workers 0: expected a whole"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("case", range(15))
def test_what_cannot_be_opened_is_refused_with_the_reason(case: int, models: Models) -> None:
    source, options, kind, words = _refusals(models)[case]
    with pytest.raises(SsdSmallError, match=words) as caught:
        ssd_small.load(source, **options)
    assert type(caught.value) is kind


def test_an_onnx_file_without_the_body_of_its_last_node_is_run_all_the_same(
    models: Models,
) -> None:
    with models.open("onnx") as whole, models.open("plugin") as bare:
        assert bare(noise())[0].to_dict() == whole(noise())[0].to_dict()


def test_damaged_and_lonely_files_are_refused(models: Models, tmp_path: Path) -> None:
    for name, words in (("x.onnx", "not a valid ONNX file"), ("x.engine", "has no sidecar")):
        (tmp_path / name).write_bytes(b"damaged")
        with pytest.raises(BadFile, match=words):
            ssd_small.load(tmp_path / name)
    # an engine is known by its sidecar, whatever it is called
    for suffix in ("", ".json"):
        source = models.files["engine"].with_name(models.files["engine"].name + suffix)
        (tmp_path / f"cells.bin{suffix}").write_bytes(source.read_bytes())
    assert ssd_small.load(tmp_path / "cells.bin").labels == LABELS


@pytest.mark.parametrize("kind", ["engine", "onnx", "checkpoint"])
def test_a_device_is_one_that_there_is(kind: str, models: Models) -> None:
    for device in ("cpu", None, torch.device("cpu")):
        assert models.open(kind, device=device).runtime.device == "cpu"
    for device in ("gpu", "cuda:", "cuda:-1", "cuda:x", "CPU", "", 0):
        with pytest.raises(UsageError, match="expected cpu, cuda or cuda:N"):
            models.open(kind, device=device)
    missing = MissingRequirement if kind == "checkpoint" else UsageError
    with pytest.raises(missing, match="device 'cuda:99'"):
        models.open(kind, device="cuda:99")


def test_a_batch_is_bounded_by_the_engine_and_by_nothing_else(models: Models) -> None:
    for kind, asked, given in (
        *(("engine", 2, 2), ("engine", 99, 4)),
        *(("onnx", 2, 2), ("onnx", 32, 32), ("checkpoint", 32, 32)),
    ):
        with models.open(kind, max_batch=asked) as detector:
            assert detector.max_batch == given


def test_a_shipped_name_opens_its_checkpoint_with_its_labels() -> None:
    with ssd_small.load("bccd/mobilenet_v1_s1l0") as detector:
        assert detector.labels == ("Platelets", "RBC", "WBC")
        found = detector(noise(), score_threshold={"RBC": 0.05})[0]
        assert set(found.names) <= set(detector.labels)
        net = ssd_small.create_model(
            "mobilenet_v1_s1l0", num_classes=4, width=detector.description.width
        )
        ssd_small.load_checkpoint(net, "bccd/mobilenet_v1_s1l0")
        weights = detector.runtime.net.state_dict()
        assert all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())


def test_files_of_engines_are_named_by_text_too(models: Models, tmp_path: Path) -> None:
    onnx, engine = str(tmp_path / "x.onnx"), str(tmp_path / "x.engine")
    model, description = read_onnx(str(models.files["onnx"]))
    write_onnx(model, onnx)
    sidecar = build_engine(onnx, engine, BuildOptions("onnxruntime"))
    assert read_sidecar(engine).engine == sidecar.engine
    assert inspect_file(engine)["file"] == engine
    assert examine_engine(engine)[0].fine
    with open_engine(engine) as first, open_onnx(onnx) as second:
        assert first.description == second.description == description


def test_parameters_inside_an_engine_are_not_to_be_chosen(models: Models) -> None:
    for kind in ("engine", "onnx"):
        with pytest.raises(UsageError, match="decode \\+ NMS inside with other"):
            models.open(kind, params=PostprocessParams(iou_threshold=0.3))


def test_the_public_names_are_listed_and_there() -> None:
    assert dir(ssd_small) == sorted(ssd_small.__all__)
    assert {"load", "Detector", "PictureDetections", "load_checkpoint"} <= set(dir(ssd_small))
    for name in dir(ssd_small):
        assert getattr(ssd_small, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'detect'"):
        ssd_small.detect  # noqa: B018
