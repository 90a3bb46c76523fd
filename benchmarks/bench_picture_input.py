"""Compare networks that take pictures as they are with those that take preprocessed float32.

    python benchmarks/bench_picture_input.py ANNOTATIONS IMAGES --weights NAME [--name NAME]
        [--output benchmarks/results/picture_input.json]

The weights are a shipped checkpoint. Both networks are exported with the heads as outputs and run
by ONNX Runtime on the CPU, one picture at a time; results are added to the output file, a row per
name. Compared are all scores that the ordinary network gives above its threshold, with the other
network's scores for the same prior and class (so NMS and its choice between ties play no part), and
the AP of the ``coco`` protocol. Times are processor time of one thread, medians over the pictures;
the two networks take turns.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ssd_small.export.onnx_file import write_onnx
from ssd_small.export.to_onnx import onnx_from_network

import ssd_small
from ssd_small import PostprocessParams
from ssd_small.artefacts.network import network_from_checkpoint
from ssd_small.datasets.coco import read_annotations
from ssd_small.detection.detector import Detector
from ssd_small.evaluation.evaluate import Evaluation, evaluate
from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine
from ssd_small.pictures.preprocessing import PictureInput, input_from_image
from ssd_small.pictures.reading import Image, read_image

ROOT = Path(__file__).resolve().parents[1]


def export_both(weights: str, folder: Path) -> tuple[Path, Path]:
    """The heads of a shipped network, for preprocessed float32 and for pictures of any size."""
    net, description = network_from_checkpoint(weights)
    paths = folder / "float32.onnx", folder / "uint8.onnx"
    for path, pictures in zip(paths, (None, PictureInput()), strict=True):
        write_onnx(onnx_from_network(net, replace(description, pictures=pictures)), path)
    return paths


def score_differences(
    plain: Detector, other: Detector, pictures: Iterable[Image], threshold: float = 0.01
) -> npt.NDArray[np.float32]:
    """Distances of the scores above ``threshold`` of a float32 network and one of pictures, [n].

    ``pictures`` are ``[H, W, 3]`` uint8 BGR; both detectors end in the heads.
    """
    found = []
    for picture in pictures:
        usual = plain.runtime.infer(input_from_image(picture, plain.preprocessing)[None])
        own = other.runtime.infer(picture[None])
        expected, scores = (_scores(heads.conf[0]) for heads in (usual, own))  # type: ignore[union-attr]
        found.append(np.abs(scores - expected)[expected > threshold])
    return np.concatenate(found)


def _scores(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Softmax ``[P, C]`` without the background."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray((exponentials / exponentials.sum(axis=1, keepdims=True))[:, 1:])


def processor_times(
    plain: Detector, other: Detector, pictures: Iterable[Image]
) -> dict[str, float]:
    """Milliseconds a picture: what comes before the ordinary network, it, and that of pictures."""
    times: dict[str, list[float]] = {"preprocess": [], "network": [], "network_of_pictures": []}
    for picture in pictures:
        started = time.process_time()
        images = input_from_image(picture, plain.preprocessing)[None]
        prepared = time.process_time()
        plain.runtime.infer(images)
        usual = time.process_time()
        other.runtime.infer(picture[None])
        spent = (prepared - started, usual - prepared, time.process_time() - usual)
        for one, seconds in zip(times.values(), spent, strict=True):
            one.append(1e3 * seconds)
    return {name: float(np.median(values)) for name, values in times.items()}


def score_of(evaluation: Evaluation) -> float:
    """AP."""
    assert evaluation.scores is not None, "the set has no annotations"
    return evaluation.scores.metrics["AP"]


def measure(
    weights: str, annotations: Path, images: Path, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """A row of the table."""
    truth = read_annotations(annotations)
    paths = [images / image["file_name"] for image in truth.images]
    with tempfile.TemporaryDirectory(prefix="ssd-small-") as temporary:
        files = export_both(weights, Path(temporary))
        options: dict[str, Any] = {"params": PostprocessParams.coco(), "max_batch": 1, "workers": 1}
        plain, other = (ssd_small.load(file, threads=1, **options) for file in files)
        with plain, other:
            differences = score_differences(plain, other, map(read_image, paths))
            say(f"{weights}: {len(differences)} scores compared")
            milliseconds = processor_times(plain, other, map(read_image, paths))
            scores = [score_of(evaluate(one, truth, images)) for one in (plain, other)]
    height, width = read_image(paths[0]).shape[:2]
    size = plain.preprocessing
    return {
        "weights": weights,
        "pictures": len(paths),
        "picture_size": [width, height],
        "scores": len(differences),
        "within_0.02": float(np.mean(differences <= 0.02)),
        "median": float(np.median(differences)),
        "largest": float(differences.max()),
        "AP": scores,
        "upload_bytes": [4 * 3 * size.height * size.width, 3 * height * width],
        "ms_per_picture": milliseconds,
    }


def main() -> None:
    """Measure one set, and put its row into the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--name", required=True, help="of the set")
    default = ROOT / "benchmarks/results/picture_input.json"
    parser.add_argument("--output", type=Path, default=default)
    arguments = parser.parse_args()
    row = {"set": arguments.name} | measure(
        arguments.weights, arguments.annotations, arguments.images
    )
    rows = json.loads(arguments.output.read_text())["sets"] if arguments.output.exists() else []
    rows = [one for one in rows if one["set"] != arguments.name] + [row]
    write_json(
        arguments.output, {"machine": describe_machine(), "commit": commit_of(ROOT), "sets": rows}
    )


if __name__ == "__main__":
    main()
