"""The checkpoints that ship with the package fit their networks and are worth shipping."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from ssd_small.cli.opening import load_network  # noqa: E402
from ssd_small.datasets.digits import CATEGORIES  # noqa: E402
from ssd_small.detection.load import load  # noqa: E402
from ssd_small.errors import UsageError  # noqa: E402
from ssd_small.models.network import create_model  # noqa: E402
from ssd_small.models.shipped import ShippedCheckpoint, find_shipped, shipped_checkpoints  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
ASSETS = Path(str(files("ssd_small"))) / "assets" / "digits"
SHIPPED = {one.name: one for one in shipped_checkpoints()}


def test_labels_are_the_categories_of_the_data_set() -> None:
    assert tuple((ASSETS / "labels.txt").read_text().split()) == CATEGORIES


def test_every_state_dict_in_the_package_is_listed() -> None:
    assert {one.path for one in SHIPPED.values()} == set(ASSETS.parent.glob("*/*.pth"))
    assert {one.onnx_path for one in SHIPPED.values()} == set(ASSETS.parent.glob("*/*.onnx"))
    assert all((one.path.parent / "README.md").exists() for one in SHIPPED.values())


@pytest.mark.parametrize("one", SHIPPED.values(), ids=SHIPPED)
def test_a_checkpoint_is_a_plain_state_dict_of_its_network(one: ShippedCheckpoint) -> None:
    assert one.path.stat().st_size < 8 << 20
    state = torch.load(one.path, weights_only=True)
    num_classes = len(one.labels_path.read_text().split()) + 1
    net = create_model(one.model, num_classes=num_classes, width=one.width)
    assert list(state) == list(net.state_dict())
    net.load_state_dict(state)
    assert all(torch.isfinite(value).all() for value in state.values())


@pytest.mark.slow
@pytest.mark.parametrize("one", SHIPPED.values(), ids=SHIPPED)
def test_the_onnx_file_beside_a_checkpoint_is_what_export_writes_of_it(
    one: ShippedCheckpoint, tmp_path: Path
) -> None:
    """``ssd-small export --weights NAME --heads -o`` the file, as this version writes it."""
    pytest.importorskip("onnxscript")
    onnx = pytest.importorskip("onnx")
    from ssd_small.export.onnx_file import write_onnx
    from ssd_small.export.to_onnx import onnx_from_network

    net, description = load_network(None, Path(one.name), None, None, None)
    write_onnx(onnx_from_network(net, description), tmp_path / "x.onnx")
    made, kept = (onnx.load(path) for path in (tmp_path / "x.onnx", one.onnx_path))
    assert kept.SerializeToString() == made.SerializeToString()
    assert one.onnx_path.stat().st_size < 4e6


def test_with_torch_a_shipped_name_runs_in_it_and_its_onnx_file_finds_the_same() -> None:
    for module in ("cv2", "onnxruntime"):
        pytest.importorskip(module)
    one = SHIPPED["digits/mobilenet_v1_s1l0"]
    picture = ASSETS / "picture.jpg"
    found = {}
    for source in (one.name, one.onnx_path):
        with load(source) as detector:
            found[detector.runtime.name.split()[0]] = detector(picture)[0]
    assert set(found) == {"torch", "onnxruntime"}
    assert len(found["torch"]) >= 3
    assert list(found["torch"].names) == list(found["onnxruntime"].names)
    np.testing.assert_allclose(found["torch"].boxes, found["onnxruntime"].boxes, atol=1e-2)


def test_a_checkpoint_is_found_by_name_unless_there_is_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = Path("digits/mobilenet_v1")
    found = find_shipped(name)
    assert found is not None
    assert found.path == ASSETS / "mobilenet_v1.pth"
    assert find_shipped(Path("digits/vgg16")) is find_shipped(None) is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    name.touch()
    assert find_shipped(name) is None


def test_the_scores_listed_are_those_of_the_demo_s_result_file() -> None:
    report = json.loads((ROOT / "benchmarks" / "results" / "demo.json").read_text())
    for network in report["networks"]:
        listed = SHIPPED[f"digits/{network['model']}"].metrics
        measured = network["metrics"]["pytorch"]
        assert listed == {name: pytest.approx(measured[name], abs=5e-5) for name in listed}


def test_the_scores_listed_of_cells_are_those_of_the_first_seed() -> None:
    report = json.loads((ROOT / "benchmarks" / "results" / "bccd.json").read_text())
    runs = {run["model"]: run for run in report["runs"] if run["seed"] == 0}
    cells = [one for one in SHIPPED.values() if one.name.startswith("bccd/")]
    assert cells
    for one in cells:
        measured = runs[one.model]["metrics"]
        assert one.metrics == {name: pytest.approx(measured[name], abs=5e-5) for name in measured}
        assert one.width == runs[one.model]["width"]


def test_the_network_and_labels_come_with_the_name() -> None:
    net, description = load_network(None, Path("digits/mobilenet_v1_s1l0"), None, None, None)
    assert net.spec.name == "mobilenet_v1_s1l0"
    assert description.labels == CATEGORIES
    with pytest.raises(UsageError, match="digits/mobilenet_v1 is a mobilenet_v1, not a vgg16"):
        load_network("vgg16", Path("digits/mobilenet_v1"), None, None, None)


@pytest.mark.parametrize(("model", "least"), [("mobilenet_v1", 0.1), ("mobilenet_v1_s1l0", 0.35)])
def test_it_finds_digits_it_has_not_seen(model: str, least: float) -> None:
    pytest.importorskip("hotcoco", reason="needs hotcoco")
    for module in ("cv2", "sklearn", "skimage"):
        pytest.importorskip(module, reason=f"needs {module}")
    import numpy as np

    from ssd_small.datasets.coco import Annotations
    from ssd_small.datasets.digits import coco_from_scenes
    from ssd_small.datasets.digits_scenes import draw_scene, load_material
    from ssd_small.training.evaluation import evaluate_network

    material = load_material("val")
    scenes = [draw_scene(material, np.random.default_rng([0, 1, i])) for i in range(12)]
    coco = coco_from_scenes([(str(i), scene) for i, scene in enumerate(scenes)], "val")
    lists = (tuple(coco[key]) for key in ("images", "categories", "annotations"))
    net = create_model(model, num_classes=len(CATEGORIES) + 1, width=0.25)
    net.load_state_dict(torch.load(ASSETS / f"{model}.pth", weights_only=True))
    metrics = evaluate_network(
        net,
        Annotations(Path("val"), *lists, dropped=0),
        (scene.image for scene in scenes),
        backend="numpy",
    )
    ap = metrics["AP"]
    assert ap is not None
    assert ap > least


def test_detect_takes_the_name_alone(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
    from click.testing import CliRunner

    from ssd_small.cli import cli

    cv2.imwrite(str(tmp_path / "grey.png"), torch.full((40, 60, 3), 90, dtype=torch.uint8).numpy())
    arguments = ["detect", "--weights", "digits/mobilenet_v1", "--json", str(tmp_path / "grey.png")]
    outcome = CliRunner().invoke(cli, arguments)
    assert outcome.exit_code == 0, outcome.output
