"""Where a path is taken, so is its text: the same comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voc_folder import VocFolder, xml

cv2 = pytest.importorskip("cv2")
torch = pytest.importorskip("torch")

from ssd_small.export.build_engine import default_engine_path  # noqa: E402

import ssd_small  # noqa: E402
from ssd_small.artefacts.build_options import BuildOptions  # noqa: E402
from ssd_small.artefacts.labels import read_labels  # noqa: E402
from ssd_small.artefacts.sidecar import read_sidecar, sidecar_path  # noqa: E402
from ssd_small.datasets.coco import read_annotations  # noqa: E402
from ssd_small.datasets.digits import DigitsDataset  # noqa: E402
from ssd_small.datasets.picture_files import image_paths  # noqa: E402
from ssd_small.datasets.voc import coco_from_voc  # noqa: E402
from ssd_small.doctor.engine import examine_engine  # noqa: E402
from ssd_small.doctor.inspection import inspect_file  # noqa: E402
from ssd_small.errors import BadFile  # noqa: E402
from ssd_small.evaluation.coco_results import read_results  # noqa: E402
from ssd_small.pictures.listing import list_images  # noqa: E402
from ssd_small.pictures.reading import read_image  # noqa: E402
from ssd_small.runtimes import open_engine, open_onnx  # noqa: E402
from ssd_small.training.dataset import DetectionDataset  # noqa: E402
from ssd_small.training.job import TrainingJob  # noqa: E402
from ssd_small.training.recipe import Recipe  # noqa: E402


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures, annotations, results and labels."""
    for name in ("a.png", "b.png"):
        assert cv2.imwrite(str(tmp_path / name), np.full((6, 8, 3), 7, np.uint8))
    size = {"width": 8, "height": 6}
    box = {"image_id": 1, "category_id": 7, "bbox": [1, 1, 4, 4]}
    truth = {
        "images": [{"id": i + 1, "file_name": f"{'ab'[i]}.png", **size} for i in range(2)],
        "annotations": [{"id": 1, **box}],
        "categories": [{"id": 7, "name": "cat"}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "results.json").write_text(json.dumps([box | {"score": 0.5}]))
    (tmp_path / "labels.txt").write_text("cat\n")
    return tmp_path


READERS: dict[str, Callable[[Callable[[Path], Any], Path], Any]] = {
    "read_image": lambda form, folder: read_image(form(folder / "a.png")).tolist(),
    "list_images": lambda form, folder: list_images([form(folder), form(folder / "a.png")]).files,
    "list_images of one": lambda form, folder: list_images(form(folder)).files,
    "read_labels": lambda form, folder: read_labels(form(folder / "labels.txt")),
    "read_annotations": lambda form, folder: (
        vars(truth := read_annotations(form(folder / "truth.json")))
        | {"findings": truth.findings.problems}
    ),
    "image_paths": lambda form, folder: image_paths(
        read_annotations(folder / "truth.json"), form(folder)
    ),
    "read_results": lambda form, folder: read_results(
        form(folder / "results.json"), read_annotations(folder / "truth.json")
    ),
    "from_coco": lambda form, folder: (
        DetectionDataset.from_coco(form(folder / "truth.json"), form(folder)).paths
    ),
    "sidecar_path": lambda form, folder: sidecar_path(form(folder / "x.engine")),
    "default_engine_path": lambda form, folder: default_engine_path(
        form(folder / "x.onnx"), "onnxruntime", "fp32"
    ),
    "digits": lambda form, folder: DigitsDataset.at(form(folder)),
    "build options": lambda form, folder: BuildOptions("tensorrt", timing_cache=form(folder / "c")),
    "training job": lambda form, folder: TrainingJob(
        "vgg16", Recipe(), form(folder / "t.json"), form(folder), form(folder), weights=form(folder)
    ),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_text_and_path_give_the_same(
    reader: Callable[[Callable[[Path], Any], Path], Any], folder: Path
) -> None:
    given = reader(Path, folder)
    assert given
    assert reader(str, folder) == given


def test_a_folder_of_voc_is_named_by_text_too(tmp_path: Path) -> None:
    voc = VocFolder(tmp_path / "voc")
    voc.add("a", xml([("cat", (1, 1, 9, 9))]))
    assert vars(coco_from_voc(str(voc.path))) == vars(coco_from_voc(voc.path))


@pytest.mark.parametrize(
    "opener", [open_engine, open_onnx, read_sidecar, inspect_file, examine_engine]
)
def test_a_missing_engine_is_a_bad_file_in_both_forms(
    opener: Callable[[Any], object], tmp_path: Path
) -> None:
    for form in (Path, str):
        with pytest.raises(BadFile, match=r"no\.engine"):
            opener(form(tmp_path / "no.engine"))


def test_weights_are_loaded_from_text_too(tmp_path: Path) -> None:
    net = ssd_small.create_model("mobilenet_v1", num_classes=3, width=0.1)
    torch.save(net.state_dict(), tmp_path / "m.pth")
    for form in (Path, str):
        other = ssd_small.create_model("mobilenet_v1", num_classes=3, width=0.1)
        ssd_small.load_checkpoint(other, form(tmp_path / "m.pth"))
        assert torch.equal(other.conf[0].weight, net.conf[0].weight)
