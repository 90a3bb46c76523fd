"""The size of the objects a network has learned: recorded, carried on, and refused if damaged."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ssd_small.artefacts.checkpoint import CheckpointRecord, write_checkpoint  # noqa: E402
from ssd_small.artefacts.description import description_from_spec  # noqa: E402
from ssd_small.artefacts.network import network_from_checkpoint  # noqa: E402
from ssd_small.artefacts.object_size import ObjectSize  # noqa: E402
from ssd_small.models.network import create_model  # noqa: E402
from ssd_small.models.shipped import shipped_checkpoints  # noqa: E402

SIZE = ObjectSize(picture=26.5, network=12.25)


@pytest.fixture
def own_checkpoint(tmp_path):
    torch.manual_seed(0)
    net = create_model("mobilenet_v1", num_classes=3, width=0.25)
    description = description_from_spec(net.spec, 3, 0.25, labels=("cat", "dog"), object_size=SIZE)
    path = tmp_path / "sized.pth"
    write_checkpoint(net.state_dict(), CheckpointRecord(description), path)
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("traced_once")
def test_onnx_and_engine_say_what_the_checkpoint_says(call, own_checkpoint, tmp_path):
    pytest.importorskip("onnxscript")
    onnx, engine = tmp_path / "x.onnx", tmp_path / "x.engine"
    call("export", "--weights", own_checkpoint, "--output", onnx).fits()
    call("build-engine", onnx, "--target", "onnxruntime", "--output", engine).fits()
    for file in (own_checkpoint, onnx, engine):
        told = call("inspect", file, "--json").fits().json
        assert told["object_size"] == {"picture": 26.5, "network": 12.25}
        assert "26.5 px (median side), 12.2 px at the network" in call("inspect", file).fits().out


def test_a_description_of_inspect_has_it_too(call, own_checkpoint, tmp_path):
    from ssd_small.artefacts.description_file import read_description

    told = tmp_path / "told.json"
    told.write_text(call("inspect", own_checkpoint, "--json").fits().out)
    assert read_description(told).object_size == SIZE


def test_a_file_without_one_says_nothing_of_it(call, engine):
    assert "object_size" not in call("inspect", engine, "--json").fits().json
    assert "trained on" not in call("inspect", engine).fits().out


@pytest.mark.parametrize("field", ["picture", "network"])
@pytest.mark.parametrize("value", ["26.5", None, 0, -1.0, 1e30, [3]])
def test_a_damaged_size_is_refused(call, own_engine, field, value):
    side = own_engine.with_name(own_engine.name + ".json")
    content = json.loads(side.read_text())
    for changed, code in (({}, 0), ({field: value}, 4)):
        content["description"]["object_size"] = SIZE.to_dict() | changed
        side.write_text(json.dumps(content))
        outcome = call("inspect", own_engine)
        assert outcome.code == code
    assert f"object_size.{field}" in outcome.err


@pytest.mark.parametrize("name", [one.name for one in shipped_checkpoints()])
def test_shipped_checkpoints_know_theirs(name):
    _, description = network_from_checkpoint(name)
    assert description.object_size is not None


def sides(boxes: list[dict], scale: float = 1.0) -> np.ndarray:
    xywh = np.array([box["bbox"] for box in boxes])
    return np.sqrt(xywh[:, 2] * xywh[:, 3] * scale)


def test_the_size_of_the_shipped_cells_is_that_of_their_training_pictures(shared_data):
    content = json.loads((shared_data / "bccd-mosaic" / "train.json").read_text())
    (sizes,) = {(one["width"], one["height"]) for one in content["images"]}
    (own,) = {tuple(o.object_size.values()) for o in shipped_checkpoints() if "bccd/" in o.name}
    scale = 300 * 300 / (sizes[0] * sizes[1])
    boxes = content["annotations"]
    measured = np.median(sides(boxes)), np.median(sides(boxes, scale))
    assert own == pytest.approx(measured, abs=0.01)  # as rounded


def test_the_size_of_the_shipped_digits_is_that_of_digits_drawn_alike():
    for module in ("cv2", "sklearn", "skimage"):
        pytest.importorskip(module, reason=f"needs {module}")
    from ssd_small.datasets.digits import coco_from_scenes
    from ssd_small.datasets.digits_scenes import draw_scene, load_material

    material = load_material("train")
    scenes = [draw_scene(material, np.random.default_rng([0, 0, i])) for i in range(30)]
    content = coco_from_scenes([(str(i), one) for i, one in enumerate(scenes)], "train")
    (own,) = {tuple(o.object_size.values()) for o in shipped_checkpoints() if "digits/" in o.name}
    # of about 340 digits, half between 11 and 17 px: the median of so many is off by about 0.5
    assert np.median(sides(content["annotations"])) == pytest.approx(own[0], abs=1.5)


def test_detect_says_that_objects_shrink_in_a_large_picture(call, own_checkpoint, tmp_path):
    cv2 = pytest.importorskip("cv2")
    for name, side in (("large.png", 900), ("usual.png", 600)):
        assert cv2.imwrite(str(tmp_path / name), np.full((side, side, 3), 90, np.uint8))
    detect = ("detect", "--weights", own_checkpoint, "--threads", 1)
    # 26.5 px come to 8.8 px, less than in training, and to 13.2
    assert "objects of" not in call(*detect, tmp_path / "large.png").fits().err
    assert cv2.imwrite(str(tmp_path / "large.png"), np.full((1060, 1060, 3), 90, np.uint8))
    outcome = call(*detect, tmp_path / "large.png", tmp_path / "usual.png").fits()
    assert "note: 1 of 2 images are so large that objects of 26.5 px" in outcome.err
    assert "(7.5 px at 300x300, 12.2 px in training): pass --tiles auto" in outcome.err
    assert "so large" not in call(*detect, "--tiles", "auto", tmp_path / "large.png").fits().err
