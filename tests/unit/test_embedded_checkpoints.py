"""The checkpoints that ship with the package fit their networks and are worth shipping."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from ssd_small.datasets.digits import CATEGORIES  # noqa: E402
from ssd_small.models.network import create_model  # noqa: E402

ASSETS = Path(str(files("ssd_small"))) / "assets" / "digits"
MODELS = ("mobilenet_v1", "mobilenet_v1_s1l0")


def test_labels_are_the_categories_of_the_data_set() -> None:
    assert tuple((ASSETS / "labels.txt").read_text().split()) == CATEGORIES


@pytest.mark.parametrize("model", MODELS)
def test_a_checkpoint_is_a_plain_state_dict_of_its_network(model: str) -> None:
    path = ASSETS / f"{model}.pth"
    assert path.stat().st_size < 8 << 20
    state = torch.load(path, weights_only=True)
    net = create_model(model, num_classes=len(CATEGORIES) + 1, width=0.25)
    assert list(state) == list(net.state_dict())
    net.load_state_dict(state)
    assert all(torch.isfinite(value).all() for value in state.values())


@pytest.mark.parametrize(("model", "least"), [("mobilenet_v1", 0.1), ("mobilenet_v1_s1l0", 0.35)])
def test_it_finds_digits_it_has_not_seen(model: str, least: float) -> None:
    pytest.importorskip("pycocotools", reason="needs pycocotools")
    for module in ("cv2", "sklearn", "skimage"):
        pytest.importorskip(module, reason=f"needs {module}")
    import numpy as np

    from ssd_small.coco import Annotations
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
        (scene.image for scene in scenes),
        Annotations(Path("val"), *lists, dropped=0),
        backend="numpy",
    )
    ap = metrics["AP"]
    assert ap is not None
    assert ap > least
