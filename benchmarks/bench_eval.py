"""`eval` end to end beside the bare network: pictures per second, and where processor time goes.

    python benchmarks/bench_eval.py [--models NAME...] [--seconds 30]
        [--output benchmarks/results/eval_cpu.json]

Full-width networks with random weights, whose scores are spread as a trained detector's are, as
engines of ONNX Runtime that end in the heads. The bare network runs on batches that lie ready; the
same engine in `evaluate` reads and decodes files, resizes, runs, decodes boxes, suppresses,
collects and scores, in the same process, with the same batch and threads. The two take turns, and
the ratio is the median of the turns'. Opening the engine and reading the annotations is not in it.

Decoding and post-processing overlap with the network, but on a CPU they share its cores: what they
take, the network lacks. So each stage's processor time is measured by itself, and ``at most`` is
the share of the network in their sum, which no overlapping can exceed where the network uses all
cores. Before anything is timed, the detections of `evaluate` are compared bit by bit with those of
the stages one after the other. With ``--seconds 20`` the six networks took 15 minutes on two cores
of which others used four fifths.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
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
from ssd_small.artefacts.network import random_network
from ssd_small.bench.disturbance import Watch
from ssd_small.bench.same_outputs import SameOutputs
from ssd_small.datasets.coco import Annotations, read_boxes_alone
from ssd_small.datasets.digits import make_digits
from ssd_small.detection.detector import Detector
from ssd_small.evaluation.coco_results import columns_from_detections
from ssd_small.evaluation.columns import joined_columns
from ssd_small.evaluation.evaluate import evaluate
from ssd_small.evaluation.score import score
from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine
from ssd_small.models.registry import list_models
from ssd_small.pictures.preprocessing import inputs_from_levels, resized_from_image
from ssd_small.pictures.reading import bytes_of_image, image_from_bytes
from ssd_small.postprocess.oracle import candidates_of_image
from ssd_small.runtimes import HeadOutputs

ROOT = Path(__file__).resolve().parents[1]
BATCH, CLASSES = 4, 81
#: pictures of a turn: as many as the bare network does in a while, but not fewer
LEAST, TURN_SECONDS = 8, 5.0
STAGES = ("read", "decode", "resize", "batch", "network", "decode_nms", "collect", "score")
WIDTH, HEIGHT = 640, 480


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
    """The bare network and `evaluate` with the same engine on the same pictures."""

    def __init__(self, detector: Detector, truth: Annotations, folder: Path) -> None:
        self.detector, self.folder = detector, folder
        self.runtime, self.before = detector.runtime, detector.preprocessing
        self.paths = [folder / image["file_name"] for image in truth.images]
        self.truth = truth
        # files are in the page cache from here on
        resized = [self._resized(self._decoded(path)) for path in self.paths]
        self.batches = self._batches(resized)
        self.expected = [one for batch in self.batches for one in detector.inference(batch)]
        heads = self.runtime.infer(self.batches[0])
        assert isinstance(heads, HeadOutputs)
        self.heads = heads
        pairs = zip(heads.loc, heads.conf, strict=True)
        #: scores above the threshold in a picture, the median of the first batch
        self.candidates = int(np.median([candidates_of_image(*p, detector.params) for p in pairs]))

    def check(self) -> None:
        """Refuse to time what finds something else when its stages overlap."""
        with closing(self.detector.outcomes(self.paths)) as outcomes:  # type: ignore[type-var]
            found = [outcome.detections for outcome, _ in outcomes]
        SameOutputs([self.expected], self.runtime.description.model)([found])

    def bare(self) -> None:
        """The network alone."""
        for batch in self.batches:
            self.runtime.infer(batch)

    def evaluate(self) -> Any:
        """From files to scores."""
        return evaluate(self.detector, self.truth, self.folder)

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
        pixels = run("decode", lambda: [image_from_bytes(*pair) for pair in pairs])
        resized = run("resize", lambda: [self._resized(one) for one in pixels])
        run("batch", lambda: self._batches(resized))
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


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds."""
    started, before = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - before


def measure(
    engine: Path, truth: Annotations, folder: Path, threads: int, seconds: float
) -> dict[str, Any]:
    """A row of the table: turns of the two until the seconds are over, three at least."""
    with ssd_small.load(engine, threads=threads, max_batch=BATCH) as detector:
        few = Contest(detector, first_of(truth, BATCH), folder)
        few.bare()
        per_batch, _ = timed(few.bare)
        batches = int(TURN_SECONDS / per_batch)
        number = int(np.clip(batches * BATCH, LEAST, len(truth.images)))
        contest = Contest(detector, first_of(truth, number), folder)
        contest.check()
        watch, started = Watch(), time.perf_counter()
        turns, stages = [], []
        while len(turns) < 3 or time.perf_counter() - started < seconds:
            pair = [contest.bare, contest.evaluate]
            backwards = -1 if len(turns) % 2 else 1
            turns.append([timed(work) for work in pair[::backwards]][::backwards])
            stages.append(contest.stages())
        workers = detector.workers
        about = {"model": detector.description.model, "runtime": detector.runtime.name}
    # [turn, bare or eval, wall or processor]
    table = np.array(turns)
    ratios = table[:, 0] / table[:, 1]
    spent = {name: float(np.median([one[name] for one in stages])) for name in stages[0]}
    spent["network"] = float(1e3 * np.median(table[:, 0, 1]) / number)
    return {
        **about,
        "batch": BATCH,
        "workers": workers,
        "pictures": number,
        "turns": len(turns),
        "candidates_per_picture": contest.candidates,
        "detections_per_picture": sum(map(len, contest.expected)) / number,
        "bare_images_per_second": float(number / np.median(table[:, 0, 0])),
        "eval_images_per_second": float(number / np.median(table[:, 1, 0])),
        "ratio": float(np.median(ratios[:, 0])),
        "ratio_range": [float(ratios[:, 0].min()), float(ratios[:, 0].max())],
        "processor_ratio": float(np.median(ratios[:, 1])),
        "processor_ms": {name: round(spent[name], 4) for name in STAGES},
        "at_most": spent["network"] / sum(spent.values()),
        "disturbance": watch.seen().to_dict(),
    }


def main() -> None:
    """Measure each network, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list_models())
    parser.add_argument("--seconds", type=float, default=30.0, help="for each network")
    parser.add_argument("--pictures", type=int, default=96, help="at most")
    parser.add_argument("--threads", type=int, default=describe_machine()["cores"])
    parser.add_argument("--width", type=float, default=1.0)
    default = ROOT / "benchmarks/results/eval_cpu.json"
    parser.add_argument("--output", type=Path, default=default)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="ssd-small-") as temporary:
        folder = Path(temporary)
        truth = read_boxes_alone(write_pictures(folder, arguments.pictures))
        sizes = [(folder / image["file_name"]).stat().st_size for image in truth.images]
        report = {
            "machine": describe_machine(),
            "commit": commit_of(ROOT),
            "threads": arguments.threads,
            "width": arguments.width,
            "picture": {"width": WIDTH, "height": HEIGHT, "mean_bytes": round(np.mean(sizes))},
            "results": rows,
        }
        for model in arguments.models:
            engine = write_engine(model, folder, arguments.width)
            rows.append(measure(engine, truth, folder, arguments.threads, arguments.seconds))
            engine.unlink()
            ratio, spent = rows[-1]["ratio"], rows[-1]["processor_ms"]
            print(f"{model}: {ratio:.3f} of the bare network, {spent}", flush=True)
            write_json(arguments.output, report)


if __name__ == "__main__":
    main()
