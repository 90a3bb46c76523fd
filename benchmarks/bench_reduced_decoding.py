"""Compare decoding large JPEG files at a fraction of their size with full decoding: AP, time.

    python benchmarks/bench_reduced_decoding.py [--pictures 100] [--enlarged 4 8 16]
        [--output benchmarks/results/reduced_decoding.json]

The digits' val pictures (e.g. 360x300) are enlarged by OpenCV's cubic interpolation, written as
JPEG of quality 92, and given to the shipped network under the published protocol, to see what
reduced decoding loses or gains. Times are processor time of one thread, from the bytes of a file to
grey levels at the input's size; the two take turns, and medians over pictures are written.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import ssd_small
from ssd_small.datasets.coco import read_annotations
from ssd_small.datasets.digits import DigitsDataset, make_digits
from ssd_small.evaluation.evaluate import evaluate
from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine
from ssd_small.pictures.decoded import decoded_from_bytes
from ssd_small.pictures.preprocessing import Preprocessing, resized_from_image
from ssd_small.postprocess import PostprocessParams

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = "digits/mobilenet_v1_s1l0"
#: pictures that are timed, and how often each
TIMED, TURNS = 16, 5


def write_enlarged(digits: DigitsDataset, factor: int, folder: Path) -> Path:
    """The pictures as large JPEG files, and their annotations, which are of the small ones."""
    truth = json.loads(digits.val_annotations.read_text())
    for image in truth["images"]:
        pixels = cv2.imread(str(digits.val_images / image["file_name"]))
        large = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        image["file_name"] = f"{image['id']}.jpg"
        cv2.imwrite(str(folder / image["file_name"]), large, [cv2.IMWRITE_JPEG_QUALITY, 92])
    path = folder / "truth.json"
    path.write_text(json.dumps(truth))
    return path


def processor_ms(contents: list[bytes], ways: list[Preprocessing]) -> list[float]:
    """Of a picture from bytes to levels, each way: the median."""
    spent: list[list[float]] = [[] for _ in ways]
    for _ in range(TURNS):
        for content in contents:
            for way, found in zip(ways, spent, strict=True):
                began = time.process_time()
                resized_from_image(decoded_from_bytes(content, "x", way).pixels, way)
                found.append(time.process_time() - began)
    return [1e3 * float(np.median(one)) for one in spent]


def measure(digits: DigitsDataset, factor: int) -> dict[str, Any]:
    """A row of the table."""
    with (
        tempfile.TemporaryDirectory(prefix="ssd-small-") as temporary,
        ssd_small.load(WEIGHTS, params=PostprocessParams.coco()) as detector,
    ):
        folder = Path(temporary)
        truth = read_annotations(write_enlarged(digits, factor, folder))
        own = detector.description
        ways = [replace(own.preprocessing, reduced_decoding=one) for one in (False, True)]
        contents = [(folder / f"{one['file_name']}").read_bytes() for one in truth.images]
        decoded = [decoded_from_bytes(one, "x", ways[1]) for one in contents[:TIMED]]
        cv2.setNumThreads(1)
        milliseconds = processor_ms(contents[:TIMED], ways)
        scores = []
        for way in ways:
            detector.runtime.description = replace(own, preprocessing=way)
            found = evaluate(detector, truth, folder).scores
            assert found is not None
            scores.append(found.metrics["AP"])
    height, width = decoded[0].size
    return {
        "weights": WEIGHTS,
        "pictures": len(contents),
        "picture_size": [width, height],
        "mean_bytes": round(float(np.mean([len(one) for one in contents]))),
        "reduction": sorted({one.reduction for one in decoded}),
        "AP": scores,
        "ms_per_picture": milliseconds,
    }


def main() -> None:
    """Measure each size, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--enlarged", type=int, nargs="+", default=[4, 8, 16])
    default = ROOT / "benchmarks/results/reduced_decoding.json"
    parser.add_argument("--output", type=Path, default=default)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ssd-small-") as temporary:
        made = make_digits(Path(temporary) / "d", train_images=0, val_images=arguments.pictures)
        rows = [measure(made, factor) for factor in arguments.enlarged]
    about = {"machine": describe_machine(), "commit": commit_of(ROOT)}
    write_json(arguments.output, about | {"rows": rows})


if __name__ == "__main__":
    main()
