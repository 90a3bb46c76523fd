"""Compare SSD300-VGG16 here and in torchvision in one run: forward pass, post-processing, both.

    python benchmarks/bench_torchvision.py [--output benchmarks/results/torchvision_cpu.json]

Equal work: one picture of 300x300, 81 classes, 8 732 priors, the same thresholds, cuts and
threads. Weights are random; post-processing takes synthetic heads of a busy scene. All parts take
turns, so that other load on the machine affects all of them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from ssd_small.export.build_engine import build_engine
from ssd_small.export.onnx_file import write_onnx
from ssd_small.export.to_onnx import onnx_from_network
from torchvision.models.detection import ssd300_vgg16
from torchvision.models.detection.image_list import ImageList

from ssd_small.artefacts.build_options import BuildOptions, Precision, Target
from ssd_small.artefacts.description import description_from_spec
from ssd_small.artefacts.network import random_network
from ssd_small.bench.disturbance import Watch
from ssd_small.bench.synthetic import detector_heads, picture_input
from ssd_small.bench.timing import measure
from ssd_small.configs.experiment import read_experiment
from ssd_small.detection.inference import Inference
from ssd_small.errors import MissingRequirement
from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine
from ssd_small.models.registry import spec_from_experiment
from ssd_small.postprocess import PostprocessParams
from ssd_small.postprocess.oracle import candidates_of_image
from ssd_small.runtimes import HeadOutputs, open_engine
from ssd_small.runtimes.openvino import check_precision
from ssd_small.runtimes.torch import TorchRuntime

ROOT = Path(__file__).resolve().parents[1]
CLASSES, PRIORS = 81, 8732
#: torchvision's defaults, but for the score, which its users lower for mAP
PARAMS = PostprocessParams(
    score_threshold=0.01,
    iou_threshold=0.45,
    pre_nms_topk=400,
    keep_topk_per_class=0,
    keep_topk=200,
)
ENGINES: tuple[tuple[Target, Precision], ...] = (
    ("onnxruntime", "fp32"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
)
#: the network of the SSD paper, whose priors torchvision has
NETWORK = {
    "MODEL": {
        "SSDS": "ssd",
        "NETS": "vgg16",
        "IMAGE_SIZE": [300, 300],
        "NUM_CLASSES": CLASSES,
        "FEATURE_LAYER": [
            [22, 34, "S", "S", "", ""],
            [512, 1024, 512, 256, 256, 256],
        ],
        "STEPS": [[8, 8], [16, 16], [32, 32], [64, 64], [100, 100], [300, 300]],
        "SIZES": [[30, 30], [60, 60], [111, 111], [162, 162], [213, 213], [264, 264], [315, 315]],
        "ASPECT_RATIOS": [[1, 2], [1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2], [1, 2]],
    }
}


def main() -> None:
    """Measure all and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks/results/torchvision_cpu.json"
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    arguments = parser.parse_args()
    machine = describe_machine()
    threads = arguments.threads or machine["cores"]
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory(prefix="ssd-small-") as folder:
        report = {
            "what": "one picture of 300x300, 81 classes, 8732 priors, random weights; median "
            "milliseconds; post-processing of synthetic heads of a busy scene",
            "machine": machine,
            "threads": threads,
            "commit": commit_of(ROOT),
            "postprocess": PARAMS.to_dict(),
            **compare(Path(folder), threads, arguments.seconds),
        }
    write_json(arguments.output, report)


def compare(folder: Path, threads: int, seconds: float) -> dict[str, Any]:
    """Rows of torchvision, our network in PyTorch, and its engines."""
    config = folder / "ssd300.yml"
    config.write_text(yaml.safe_dump(NETWORK))
    spec = spec_from_experiment(read_experiment(config))
    assert spec is not None
    net, _ = random_network(spec, num_classes=CLASSES)
    description = description_from_spec(spec, CLASSES, 1.0, params=PARAMS)
    assert len(description.priors) == PRIORS, len(description.priors)
    ours = TorchRuntime(net, description, threads)
    write_onnx(onnx_from_network(net, description), folder / "ssd300.onnx")
    built = [engine_of(folder, *kind) for kind in ENGINES if can_run(*kind)]
    images = picture_input(1, 300, 300)
    heads = HeadOutputs(*detector_heads(description.priors, CLASSES))
    other = TorchvisionSsd()
    with ExitStack() as opened, torch.inference_mode():
        engines = [opened.enter_context(open_engine(path, threads)) for path in built]
        inference = Inference(engines[0], PARAMS, threads)
        stages: list[Callable[[], Any]] = [lambda: other.forward(images), other.postprocess]
        for runtime in (ours, *engines):
            stages += [partial(runtime.infer, images), lambda: inference.postprocess(heads)]
        kept = [len(stage()[0]) for stage in stages[1::2]]
        watch = Watch()
        *parts, _ = measure(stages, seconds)
        names = [f"torchvision {other.version}, {ours.name}", ours.name]
        names += [f"{engine.name}, {engine.precision}" for engine in engines]
    count = candidates_of_image(heads.loc[0], heads.conf[0], PARAMS)
    rows = [
        {
            "runtime": name,
            "network_ms": forward.to_dict(),
            "decode_nms_ms": after.to_dict(),
            "total_ms": round(forward.median + after.median, 4),
            "detections": found,
            "candidates": count,
        }
        for name, forward, after, found in zip(names, parts[::2], parts[1::2], kept, strict=True)
    ]
    return {"disturbance": watch.seen().to_dict(), "results": rows}


def engine_of(folder: Path, target: Target, precision: Precision) -> Path:
    """Our network as an engine for one picture that ends in its heads."""
    path = folder / f"ssd300.{target}.{precision}.engine"
    options = BuildOptions(target=target, precision=precision, max_batch=1, heads=True)
    build_engine(folder / "ssd300.onnx", path, options)
    return path


def can_run(target: Target, precision: Precision) -> bool:
    """Whether this processor has the precision."""
    try:
        check_precision(precision, target)
    except MissingRequirement:
        return False
    return True


class TorchvisionSsd:
    """torchvision's network, its forward pass and post-processing apart."""

    def __init__(self) -> None:
        import torchvision

        self.version = torchvision.__version__
        self._net = ssd300_vgg16(
            weights=None,
            weights_backbone=None,
            num_classes=CLASSES,
            score_thresh=PARAMS.score_threshold,
            nms_thresh=PARAMS.iou_threshold,
            topk_candidates=PARAMS.pre_nms_topk,
            detections_per_img=PARAMS.keep_topk,
        ).eval()
        pictures = ImageList(torch.zeros(1, 3, 300, 300), [(300, 300)])
        with torch.inference_mode():
            features = list(self._net.backbone(pictures.tensors).values())
            self._anchors = self._net.anchor_generator(pictures, features)
        corners = self._anchors[0].numpy() / 300
        assert len(corners) == PRIORS, len(corners)
        centres = (corners[:, :2] + corners[:, 2:]) / 2
        priors = np.concatenate([centres, corners[:, 2:] - corners[:, :2]], 1).astype(np.float32)
        # the same scene on priors in torchvision's order
        loc, conf = detector_heads(priors, CLASSES)
        self._heads = {
            "bbox_regression": torch.from_numpy(loc),
            "cls_logits": torch.from_numpy(conf),
        }

    def forward(self, images: np.ndarray) -> Any:  # type: ignore[type-arg]
        """Backbone and heads of preprocessed images."""
        features = list(self._net.backbone(torch.from_numpy(images)).values())
        return self._net.head(features)

    def postprocess(self) -> list[Any]:
        """Softmax, decoding and NMS of the synthetic heads."""
        found = self._net.postprocess_detections(self._heads, self._anchors, [(300, 300)])
        return [one["scores"] for one in found]


if __name__ == "__main__":
    main()
