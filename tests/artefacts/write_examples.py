"""Write a folder of files as the present version writes them, to be read by every later one.

    python tests/artefacts/write_examples.py tests/artefacts/data/format-1
    python tests/artefacts/write_examples.py tests/artefacts/data/run-format-2 run
    python tests/artefacts/write_examples.py tests/artefacts/data/run-format-3 run-tiles
    python tests/artefacts/write_examples.py tests/artefacts/data/description-format-2 network
    python tests/artefacts/write_examples.py tests/artefacts/data/description-format-3 pictures
    python tests/artefacts/write_examples.py tests/artefacts/data/description-format-4 tiles
    python tests/artefacts/write_examples.py tests/artefacts/data/description-format-5-clip clipped
    python tests/artefacts/write_examples.py tests/artefacts/data/description-format-5 priors
    python tests/artefacts/write_examples.py tests/artefacts/data/description-format-5-fit fit
    python tests/artefacts/write_examples.py tests/artefacts/data/description-format-5-layers layers
    python tests/artefacts/write_examples.py tests/artefacts/data/description-format-6 reduced

A folder is written once and never again: a new format gets a folder of its own beside the old ones,
with a run alone, a network without a name, one that takes pictures, one that cuts tiles, one whose
prior boxes are data, one with a letterbox, one whose boxes are clipped, one of layers that are
written out, or one whose pictures are decoded at a fraction, where only that is new.
``expected.json`` in it says what each file says of itself (as ``ssd-small inspect --json``) and
what its network finds in ``picture.png`` or ``picture.jpg``. The network is chosen so that
disturbed outputs find the same: no rounding decides.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from layers_example import LAYERS  # noqa: E402
from ssd_small.export.build_engine import build_engine  # noqa: E402
from ssd_small.export.onnx_file import write_onnx  # noqa: E402
from ssd_small.export.to_onnx import onnx_from_network  # noqa: E402
from training_pictures import write_pictures  # noqa: E402

import ssd_small  # noqa: E402
from ssd_small.artefacts.build_options import BuildOptions  # noqa: E402
from ssd_small.artefacts.checkpoint import CheckpointRecord, write_checkpoint  # noqa: E402
from ssd_small.artefacts.description import Description, description_from_spec  # noqa: E402
from ssd_small.artefacts.stored_priors import StoredPriors  # noqa: E402
from ssd_small.artefacts.tiled import tiled_description  # noqa: E402
from ssd_small.configs.network import FeatureList, NetworkConfig  # noqa: E402
from ssd_small.doctor.inspection import inspect_file  # noqa: E402
from ssd_small.evaluation.limits import HEAD_LIMITS  # noqa: E402
from ssd_small.files import sha256_of  # noqa: E402
from ssd_small.json_files import write_json  # noqa: E402
from ssd_small.models.from_config import spec_from_config  # noqa: E402
from ssd_small.models.network import SsdNetwork, create_model  # noqa: E402
from ssd_small.models.spec import ModelSpec  # noqa: E402
from ssd_small.pictures.decoded import LEAST_RATIO, decoded_from_file  # noqa: E402
from ssd_small.pictures.preprocessing import (  # noqa: E402
    PictureInput,
    Preprocessing,
    input_from_image,
)
from ssd_small.postprocess import decode_nms  # noqa: E402
from ssd_small.runtimes import HeadOutputs  # noqa: E402
from ssd_small.runtimes.torch import TorchRuntime  # noqa: E402
from ssd_small.training.options import job_from_options  # noqa: E402
from ssd_small.training.session import run_training  # noqa: E402

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
#: folder of the example of a run, and where its pictures lay; every machine has them elsewhere
RUN, NOWHERE = "run", "/nowhere"
_DISTURBANCES = 40
_HEADS = ("loc", "conf")
#: feature maps of many cells, where all is background
_EMPTY_LEVELS = 4


def example_picture() -> np.ndarray:
    """Coloured squares, ``[300, 300, 3]`` uint8: of the input's size, so that none resizes it."""
    squares = np.random.default_rng(1).integers(0, 256, (10, 10, 3), np.uint8)
    return squares.repeat(30, axis=0).repeat(30, axis=1)


def example_network(seed: int, model: str | ModelSpec) -> tuple[SsdNetwork, Description]:
    """A network of 8 to 32 channels that finds a handful of boxes, none by a hair."""
    torch.manual_seed(seed)
    width = 1.0 if isinstance(model, ModelSpec) and model.written else WIDTH
    net = create_model(model, CLASSES, width).eval()
    _calibrate(net)
    with torch.no_grad():
        # a head of several layers ends in its convolution
        loc, conf = (
            [head[-1] if isinstance(head, torch.nn.Sequential) else head for head in heads]
            for heads in (net.loc, net.conf)
        )
        for layer in (*loc, *conf):
            layer.weight *= 0.1
        for layer in conf[:_EMPTY_LEVELS]:
            layer.bias.view(-1, CLASSES)[:, 0] += 6.0
        for layer in conf[_EMPTY_LEVELS:]:
            layer.bias.copy_(torch.randn(layer.bias.shape) * 3)
        # eight digits are enough, and half of each number is then zeros, which git packs
        for value in net.state_dict().values():
            value.copy_(value.bfloat16().to(value.dtype))
    return net, description_from_spec(net.spec, CLASSES, net.width, labels=LABELS)


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


#: a JPEG is so many times as large as the input
ENLARGED = 4
#: with a picture of 200 rows, of which each is one at the input
LETTERBOX: dict[str, Any] = {"fit": "letterbox", "pad": (10, 20, 30), "resize": "float32"}


def safe_network(
    picture: np.ndarray, model: str | ModelSpec, what: str
) -> tuple[SsdNetwork, Description, HeadOutputs]:
    """The first network that :func:`is_safe`, with its outputs."""
    for seed in range(1000):
        net, description = example_network(seed, model)
        if what == "tiles":
            description = tiled_description(description, 2, 2, 0.2)
        if what == "fit":
            told = replace(description.preprocessing, **LETTERBOX)
            description = replace(description, preprocessing=told)
        if what == "reduced":
            told = replace(description.preprocessing, reduced_decoding=True)
            description = replace(description, preprocessing=told)
        params = replace(description.postprocess, clip_boxes=what == "clipped")
        description = replace(description, postprocess=params)
        heads = heads_of(net, description, picture)
        if is_safe(heads, description):
            return net, description, heads
    raise SystemExit("no network found whose boxes are safe from rounding")


#: a network that has no name, and prior boxes that are listed: other steps down than across, pairs
UNNAMED = NetworkConfig(
    "ssd_lite",
    "mobilenet_v1",
    feature_layer=(FeatureList((11, 13, "S", "S", "S", "S"), (512, 1024, 512, 256, 256, 128)),),
    steps=((16, 15.5), (32, 32), (60, 60), (100, 100), (150, 150), (300, 300)),
    aspect_ratios=((2, 3), (2, 1), ((1.5, 0.75), (0.5, 1.0)), (1, 2), (1, 2), (1,)),
)


def write_network_of_layers(
    folder: Path, net: SsdNetwork, description: Description
) -> Iterator[str]:
    """Names of the files of a network of layers, each as soon as it is there.

    ``detections.onnx`` is the same as an adopted one: nothing but its graph says what it is.
    """
    yield from write_network(folder, net, description)
    adopted = replace(
        description,
        model="adopted",
        network=None,
        levels=(),
        clip="none",
        stored_priors=StoredPriors.from_array(description.priors),
    )
    write_onnx(onnx_from_network(net, adopted.with_decode_nms(True)), folder / "detections.onnx")
    yield "detections.onnx"


def write_network(folder: Path, net: SsdNetwork, description: Description) -> Iterator[str]:
    """Names of the files of a network without a name, each as soon as it is there."""
    write_checkpoint(net.state_dict(), CheckpointRecord(description), folder / "record.pth")
    yield "record.pth"
    write_onnx(onnx_from_network(net, description), folder / "heads.onnx")
    yield "heads.onnx"
    engine = folder / "heads.fp16.engine"
    build_engine(folder / "heads.onnx", engine, BuildOptions("onnxruntime", "fp16"))
    yield engine.name


def write_network_of_pictures(
    folder: Path, net: SsdNetwork, description: Description
) -> Iterator[str]:
    """Names of the files of a network that takes pictures as they are, each as soon as it is there.

    The ONNX file takes any size, the engine that of the picture.
    """
    for name, size in (("heads.onnx", ()), ("fixed.onnx", (300, 300))):
        described = replace(description, pictures=PictureInput(*size))
        write_onnx(onnx_from_network(net, described), folder / name)
    yield "heads.onnx"
    engine = folder / "heads.fp16.engine"
    build_engine(folder / "fixed.onnx", engine, BuildOptions("onnxruntime", "fp16"))
    (folder / "fixed.onnx").unlink()
    yield engine.name


def write_network_of_tiles(
    folder: Path, net: SsdNetwork, description: Description
) -> Iterator[str]:
    """Names of the files of a network with tiles inside, each as soon as it is there.

    The picture, which is made to the size of the grid, is seen larger, in four parts.
    """
    write_onnx(onnx_from_network(net, description), folder / "heads.onnx")
    yield "heads.onnx"
    engine = folder / "heads.fp16.engine"
    build_engine(folder / "heads.onnx", engine, BuildOptions("onnxruntime", "fp16"))
    yield engine.name


def write_network_of_stored_priors(
    folder: Path, net: SsdNetwork, description: Description
) -> Iterator[str]:
    """Names of the files of a network whose prior boxes are data, each as soon as it is there."""
    priors = StoredPriors.from_array(description.priors)
    described = replace(description, levels=(), clip="none", stored_priors=priors)
    write_checkpoint(net.state_dict(), CheckpointRecord(described), folder / "record.pth")
    yield "record.pth"
    for name in ("detections", "heads"):
        model = onnx_from_network(net, described.with_decode_nms(name == "detections"))
        write_onnx(model, folder / f"{name}.onnx")
    yield "detections.onnx"
    engine = folder / "heads.fp16.engine"
    build_engine(folder / "heads.onnx", engine, BuildOptions("onnxruntime", "fp16"))
    (folder / "heads.onnx").unlink()
    yield engine.name


def write_network_of_clipped_boxes(
    folder: Path, net: SsdNetwork, description: Description
) -> Iterator[str]:
    """Names of the files of a network whose boxes are clipped, each as soon as it is there."""
    model = onnx_from_network(net, description.with_decode_nms(True))
    write_onnx(model, folder / "detections.onnx")
    yield "detections.onnx"
    engine = folder / "detections.fp32.engine"
    build_engine(folder / "detections.onnx", engine, BuildOptions("onnxruntime", "fp32"))
    yield engine.name


def write_files(folder: Path, net: SsdNetwork, description: Description) -> Iterator[str]:
    """Names of the files, each as soon as it is there."""
    data = {"annotations": {"file": "train.json", "sha256": "0" * 64}, "images": 40, "boxes": 90}
    recipe = {"batch": 8, "lr": 0.01, "iterations": 800}
    record = CheckpointRecord(description, recipe, data)
    write_checkpoint(net.state_dict(), record, folder / "record.pth")
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


#: of a run: what format 2 says and format 1 does not
FORMAT_2_OPTIONS: dict[str, Any] = {
    "optimizer": "adam",
    "momentum_2": 0.999,
    "eps": 1e-6,
    "schedule": "multi_step",
    "schedule_steps": (1, 3),
    "gamma": 0.5,
    "trainable_scope": ("extras", "loc", "conf"),
}
#: what format 3 says and format 2 does not
RUN_OPTIONS: dict[str, dict[str, Any]] = {
    "run": FORMAT_2_OPTIONS,
    "run-tiles": {"tiles": (60, 50), "overlap": 0.3},
}


def write_run(folder: Path, more: dict[str, Any]) -> None:
    """A run of two updates that was stopped after the first; no weights but those to go on with."""
    folder.mkdir()
    write_pictures(folder)
    for path in folder.glob("*.png"):
        picture = cv2.imread(str(path))
        picture[picture < 150] = 100  # without noise they are small
        assert cv2.imwrite(str(path), picture)
    given = {"model": MODEL, "width": WIDTH, "annotations": folder / "truth.json", "images": folder}
    options = {"batch": 4, "lr": 0.01, "iterations": 2, "workers": 0, "threads": 1, "device": "cpu"}
    job = job_from_options(folder, given | options | more)
    report = run_training(replace(job, options=replace(job.options, stop_after=1e-9)))
    assert report["iterations"] == 1
    record = folder / "run.json"
    record.write_text(record.read_text().replace(str(folder.absolute()), NOWHERE))
    for name in ("last.pth", "labels.txt", "train.log", "curves.png", "config.yml"):
        (folder / name).unlink(missing_ok=True)


def main(folder: Path, what: str = "all") -> None:
    folder.mkdir(parents=True)
    if what in RUN_OPTIONS:
        write_run(folder / RUN, RUN_OPTIONS[what])
        write_json(folder / "expected.json", {"inspect": {}, "detections": {}})
        return
    picture = example_picture()[: 200 if what == "fit" else None]
    path = folder / ("picture.jpg" if what == "reduced" else "picture.png")
    if what == "reduced":
        large = picture.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
        assert cv2.imwrite(str(path), large)
        decoded = decoded_from_file(path, Preprocessing(reduced_decoding=True))
        assert decoded.reduction == ENLARGED // LEAST_RATIO
        picture = decoded.pixels
    else:
        assert cv2.imwrite(str(path), picture)
    model: str | ModelSpec = MODEL
    if what in ("network", "layers"):
        model = LAYERS if what == "layers" else spec_from_config(UNNAMED)
    net, description, heads = safe_network(picture, model, what)
    largest = {name: float(np.abs(getattr(heads, name)).max()) for name in _HEADS}
    expected: dict[str, Any] = {"largest": largest, "inspect": {}, "detections": {}}
    write = {
        "network": write_network,
        "pictures": write_network_of_pictures,
        "tiles": write_network_of_tiles,
        "priors": write_network_of_stored_priors,
        "fit": write_network,
        "layers": write_network_of_layers,
        "reduced": write_network,
        "clipped": write_network_of_clipped_boxes,
    }
    for name in write.get(what, write_files)(folder, net, description):
        told = inspect_file(folder / name)
        expected["inspect"][name] = told | {"file": name}
        if name in DETECTORS:
            with ssd_small.load(folder / name, **DETECTORS[name][0]) as detector:
                (found,) = detector(path)
            expected["detections"][name] = found.to_dict()["detections"]
    if what == "all":
        write_run(folder / RUN, {})
    write_json(folder / "expected.json", expected)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
