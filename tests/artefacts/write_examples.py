"""Write a folder of files as the present version writes them, to be read by every later one.

    python tests/artefacts/write_examples.py tests/artefacts/data/format-1

A folder is written once and never again: a new format gets a folder of its own beside the old
ones. ``expected.json`` in it says what each file says of itself (as ``ssd-small inspect --json``)
and what its network finds in ``picture.png``; all of it is checked against disturbed outputs
before it is written, so that no rounding decides what is found.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from ssd_small.export.build_engine import build_engine
from ssd_small.export.onnx_file import write_onnx
from ssd_small.export.to_onnx import onnx_from_network

import ssd_small
from ssd_small.artefacts.build_options import BuildOptions
from ssd_small.artefacts.checkpoint import CheckpointRecord, write_checkpoint
from ssd_small.artefacts.description import Description, description_from_spec
from ssd_small.doctor.inspection import inspect_file
from ssd_small.evaluation.limits import HEAD_LIMITS
from ssd_small.files import sha256_of, write_json
from ssd_small.models.network import SsdNetwork, create_model
from ssd_small.pictures.preprocessing import input_from_image
from ssd_small.postprocess import decode_nms
from ssd_small.runtimes import HeadOutputs
from ssd_small.runtimes.torch import TorchRuntime

MODEL, CLASSES, WIDTH, LABELS = "mobilenet_v1", 3, 0.03, ("cat", "dog")
#: files of a folder that detect, with what ``ssd_small.load`` must be told, and their precision
DETECTORS: dict[str, tuple[dict[str, Any], str]] = {
    "record.pth": ({}, "fp32"),
    "plain.pth": ({"model": MODEL, "labels": LABELS}, "fp32"),
    "heads.onnx": ({}, "fp32"),
    "detections.onnx": ({}, "fp32"),
    "detections.fp32.engine": ({}, "fp32"),
    "heads.fp16.engine": ({}, "fp16"),
}
_DISTURBANCES = 40
_HEADS = ("loc", "conf")
#: feature maps of many cells, where all is background
_EMPTY_LEVELS = 4


def example_network(seed: int) -> tuple[SsdNetwork, Description]:
    """A network of 8 to 32 channels that finds a handful of boxes in noise, none by a hair."""
    torch.manual_seed(seed)
    net = create_model(MODEL, CLASSES, WIDTH).eval()
    _calibrate(net)
    with torch.no_grad():
        for layer in (*net.loc, *net.conf):
            layer.weight *= 0.1
        for layer in net.conf[:_EMPTY_LEVELS]:
            layer.bias.view(-1, CLASSES)[:, 0] += 6.0
        for layer in net.conf[_EMPTY_LEVELS:]:
            layer.bias.copy_(torch.randn(layer.bias.shape) * 3)
    return net, description_from_spec(net.spec, CLASSES, net.width, labels=LABELS)


def example_picture() -> np.ndarray:
    """Coloured squares, ``[300, 300, 3]`` uint8: of the input's size, so that none resizes it."""
    squares = np.random.default_rng(1).integers(0, 256, (10, 10, 3), np.uint8)
    return squares.repeat(30, axis=0).repeat(30, axis=1)


def _calibrate(net: SsdNetwork) -> None:
    """Fit batch norms to their inputs: else deep layers would see the same of every picture."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(8, 3, 10, 10, generator=random) * 255 - 128
    with torch.no_grad():
        net.train()(torch.nn.functional.interpolate(coarse, net.spec.input_size))
    net.eval()


def heads_of(net: SsdNetwork, description: Description, picture: np.ndarray) -> HeadOutputs:
    images = input_from_image(picture, description.preprocessing)[None]
    return TorchRuntime(net, description).infer_batch(images)


def is_safe(heads: HeadOutputs, description: Description) -> bool:
    """Whether outputs within the limits of half precision give the same boxes over 0.5."""
    scale = {name: HEAD_LIMITS["fp16"] * np.abs(getattr(heads, name)).max() for name in _HEADS}
    random = np.random.default_rng(0)
    found = []
    for number in range(_DISTURBANCES + 1):
        noise = {
            name: random.uniform(-1, 1, getattr(heads, name).shape) * scale[name] * (number > 0)
            for name in _HEADS
        }
        (one,) = decode_nms(
            (heads.loc + noise["loc"]).astype(np.float32),
            (heads.conf + noise["conf"]).astype(np.float32),
            description.priors,
            description.postprocess,
        )
        shown = one[one.scores > 0.5]
        found.append(sorted(zip(shown.labels.tolist(), shown.prior_indices.tolist(), strict=True)))
    return 3 <= len(found[0]) <= 12 and all(one == found[0] for one in found)


def write_files(folder: Path, net: SsdNetwork, description: Description) -> Iterator[str]:
    """Names of the files, each as soon as it is there."""
    training = {
        "annotations": {"file": "train.json", "sha256": "0" * 64},
        "images": 40,
        "boxes": 90,
    }
    recipe = {"batch_size": 8, "learning_rate": 0.01, "milestones": [600, 800]}
    write_checkpoint(
        net.state_dict(), CheckpointRecord(description, recipe, training), folder / "record.pth"
    )
    yield "record.pth"
    torch.save(net.state_dict(), folder / "plain.pth")
    yield "plain.pth"
    described = replace(description, weights=f"sha256:{sha256_of(folder / 'record.pth')}")
    for name in ("heads", "detections"):
        model = onnx_from_network(net, described.with_decode_nms(name == "detections"))
        write_onnx(model, folder / f"{name}.onnx")
        yield f"{name}.onnx"
    for name, precision in (("detections", "fp32"), ("heads", "fp16")):
        engine = folder / f"{name}.{precision}.engine"
        options = BuildOptions("onnxruntime", precision)  # type: ignore[arg-type]
        build_engine(folder / f"{name}.onnx", engine, options)
        yield engine.name
    # the sidecar tells enough; the plan itself is large and for one version of TensorRT
    plan = folder / "detections.tensorrt-rtx.engine"
    options = BuildOptions("tensorrt-rtx", "fp16", max_batch=4, compute_capabilities=("8.6", "8.9"))
    build_engine(folder / "detections.onnx", plan, options)
    plan.unlink()
    yield f"{plan.name}.json"


def main(folder: Path) -> None:
    folder.mkdir(parents=True)
    pixels = example_picture()
    assert cv2.imwrite(str(folder / "picture.png"), pixels)
    for seed in range(1000):
        net, description = example_network(seed)
        heads = heads_of(net, description, pixels)
        if is_safe(heads, description):
            break
    else:
        raise SystemExit("no network found whose boxes stay under rounding")
    scales = {name: float(np.abs(getattr(heads, name)).max()) for name in _HEADS}
    expected: dict[str, Any] = {"largest": scales, "inspect": {}, "detections": {}}
    for name in write_files(folder, net, description):
        told = inspect_file(folder / name)
        expected["inspect"][name] = told | {"file": name}
        if name in DETECTORS:
            with ssd_small.load(folder / name, **DETECTORS[name][0]) as detector:
                (found,) = detector(folder / "picture.png")
            expected["detections"][name] = found.to_dict()["detections"]
    write_json(folder / "expected.json", expected)
    print(f"seed {seed}, {len(expected['detections']['record.pth'])} boxes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
