"""The contenders of `bench_eval.py`: a bare network, and commands that run it on files."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from ssd_small.export.build_engine import build_engine
from ssd_small.export.onnx_file import write_onnx
from ssd_small.export.to_onnx import onnx_from_network

from ssd_small.artefacts.build_options import BuildOptions
from ssd_small.artefacts.network import random_network
from ssd_small.bench.same_outputs import SameOutputs
from ssd_small.cli.detect import print_detections
from ssd_small.datasets.coco import Annotations
from ssd_small.datasets.digits import make_digits
from ssd_small.detection.detector import Detector
from ssd_small.evaluation.coco_results import columns_from_detections
from ssd_small.evaluation.columns import joined_columns
from ssd_small.evaluation.evaluate import evaluate
from ssd_small.evaluation.score import score
from ssd_small.pictures.preprocessing import inputs_from_levels, resized_from_image
from ssd_small.pictures.reading import bytes_of_image, image_from_bytes
from ssd_small.postprocess.oracle import candidates_of_image
from ssd_small.runtimes import HeadOutputs

BATCH, CLASSES = 4, 81
STAGES = ("read", "decode", "resize", "batch", "network", "decode_nms", "collect", "score")
WIDTH, HEIGHT = 640, 480
#: boxes that a picture shows on average
SHOWN = 10


def write_engine(model: str, folder: Path, width: float) -> Path:
    """An engine with the heads of a network whose scores are spread as a trained one's are."""
    net, description = random_network(model, num_classes=CLASSES, width=width)
    with torch.no_grad():
        for head in net.conf:
            # logits of standard deviation 1 instead of 0.42, and those of the background above
            # them: of a thousand scores of classes a few are above 0.01
            head.weight *= 2.4
            head.bias.zero_()
            head.bias.view(-1, CLASSES)[:, 0] = 9
    path = folder / f"{model}.engine"
    write_onnx(onnx_from_network(net, description), path.with_suffix(".onnx"))
    options = BuildOptions(target="onnxruntime", max_batch=BATCH, heads=True)
    build_engine(path.with_suffix(".onnx"), path, options)
    return path


def write_pictures(folder: Path, number: int) -> Path:
    """Photographs with digits on them, as JPEG files of COCO's usual size; their ground truth."""
    digits = make_digits(folder / "digits", train_images=0, val_images=number)
    truth = json.loads(digits.val_annotations.read_text())
    sides = {one["id"]: (one["width"], one["height"]) for one in truth["images"]}
    for image in truth["images"]:
        pixels = cv2.imread(str(digits.val_images / image["file_name"]))
        image |= {"file_name": f"{image['id']}.jpg", "width": WIDTH, "height": HEIGHT}
        larger = cv2.resize(pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / image["file_name"]), larger, [cv2.IMWRITE_JPEG_QUALITY, 92])
    for box in truth["annotations"]:
        width, height = sides[box["image_id"]]
        across, down = WIDTH / width, HEIGHT / height
        box["bbox"] = [a * b for a, b in zip(box["bbox"], [across, down] * 2, strict=True)]
        box["area"] *= across * down
    truth["categories"] = [{"id": k, "name": f"class {k}"} for k in range(1, CLASSES)]
    path = folder / "truth.json"
    path.write_text(json.dumps(truth))
    return path


class Contest:
    """The bare network, and commands with the same engine on the same pictures.

    Attributes:
        second: two instances of the engine, which share the threads.
        drawn: folder for pictures with boxes.
    """

    def __init__(
        self, detector: Detector, second: Detector, truth: Annotations, folder: Path, drawn: Path
    ) -> None:
        self.detector, self.second, self.folder, self.drawn = detector, second, folder, drawn
        self.runtime, self.before = detector.runtime, detector.preprocessing
        self.paths = [folder / image["file_name"] for image in truth.images]
        self.truth = truth
        # files are in the page cache from here on
        resized = [self._resized(self._decoded(path)) for path in self.paths]
        self.batches = self._batches(resized)
        self.expected = [one for batch in self.batches for one in detector.inference(batch)]
        scores = np.sort(np.concatenate([one.scores for one in self.expected]))
        #: above it is what is shown and drawn
        self.threshold = float(scores[-min(len(scores), SHOWN * len(self.paths))])
        heads = self.runtime.infer(self.batches[0])
        assert isinstance(heads, HeadOutputs)
        self.heads = heads
        pairs = zip(heads.loc, heads.conf, strict=True)
        #: scores above the threshold in a picture, the median of the first batch
        self.candidates = int(np.median([candidates_of_image(*p, detector.params) for p in pairs]))

    def check(self) -> None:
        """Refuse to time what finds something else when its stages overlap."""
        for detector in (self.detector, self.second):
            with closing(detector.outcomes(self.paths)) as outcomes:  # type: ignore[type-var]
                found = [outcome.detections for outcome, _ in outcomes]
            SameOutputs([self.expected], self.runtime.description.model)([found])

    @property
    def works(self) -> dict[str, Callable[[], Any]]:
        """What is timed, by name."""
        return {
            "bare": self.bare,
            "eval": self.evaluate,
            "json": self.detect,
            "json_instances": lambda: self.detect(self.second),
            "jpeg": lambda: self.detect(suffix=".jpg"),
            "png": lambda: self.detect(suffix=".png"),
        }

    def bare(self) -> None:
        """The network alone."""
        for batch in self.batches:
            self.runtime.infer(batch)

    def evaluate(self) -> Any:
        """From files to scores."""
        return evaluate(self.detector, self.truth, self.folder)

    def detect(self, detector: Detector | None = None, suffix: str = "") -> None:
        """From files to lines of JSON, with pictures of a format written beside if asked for."""
        targets = [self.drawn / f"{path.stem}{suffix}" for path in self.paths] if suffix else []
        with open(os.devnull, "w") as no, redirect_stdout(no), redirect_stderr(no):
            threshold = {None: self.threshold}
            faults = print_detections(
                detector or self.detector, self.paths, targets, True, None, threshold=threshold
            )
        assert not faults

    def stages(self) -> dict[str, float]:
        """Processor milliseconds a picture of each stage beside the network by itself."""
        spent: dict[str, float] = {}

        def run(name: str, work: Callable[[], Any], number: int = len(self.paths)) -> Any:
            started = time.process_time()
            result = work()
            spent[name] = 1e3 * (time.process_time() - started) / number
            return result

        inference, description = self.detector.inference, self.detector.description
        contents = run("read", lambda: [bytes_of_image(path) for path in self.paths])
        pairs = list(zip(contents, self.paths, strict=True))
        # as on the road, where memory is used again, none of it is kept
        run("decode", lambda: [image_from_bytes(*pair).shape for pair in pairs])
        pixels = [image_from_bytes(*pair) for pair in pairs[:BATCH]]
        few = BATCH * (len(pairs) // BATCH)
        again = [pixels[i % BATCH] for i in range(few)]
        run("resize", lambda: [self._resized(one).shape for one in again], few)
        levels = [self._resized(one) for one in pixels]
        run("batch", lambda: [inputs_from_levels(levels, self.before).shape for _ in again], few)
        spent["batch"] /= BATCH
        run("decode_nms", lambda: inference.postprocess(self.heads), len(self.heads.loc))
        ids = list(range(1, CLASSES))
        columns = run(
            "collect",
            lambda: joined_columns(
                [
                    columns_from_detections(one, image, description, ids)
                    for one, image in zip(self.expected, self.truth.images, strict=True)
                ]
            ),
        )
        size = (self.before.height, self.before.width)
        run("score", lambda: score(self.truth, columns, size))
        return spent

    def _decoded(self, path: Path) -> Any:
        return image_from_bytes(bytes_of_image(path), path)

    def _resized(self, pixels: Any) -> Any:
        return resized_from_image(pixels, self.before)

    def _batches(self, resized: Sequence[Any]) -> list[Any]:
        starts = range(0, len(resized), BATCH)
        return [inputs_from_levels(resized[i : i + BATCH], self.before) for i in starts]


def first_of(truth: Annotations, number: int) -> Annotations:
    """The first pictures of a ground truth."""
    images = truth.images[:number]
    ids = {image["id"] for image in images}
    boxes = tuple(box for box in truth.boxes if box["image_id"] in ids)
    return replace(truth, images=images, boxes=boxes)
