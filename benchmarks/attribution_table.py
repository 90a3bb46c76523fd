"""Plant the classic faults in engines; record which stage attribution names and what it costs.

    python benchmarks/attribution_table.py [--images 30] [--output attribution.json]

Uses the digits data and the shipped network of width 0.25, ONNX Runtime engines against PyTorch.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssd_small.datasets.coco import Annotations, read_annotations
from ssd_small.datasets.digits import make_digits
from ssd_small.datasets.picture_files import image_paths
from ssd_small.detection.load import load
from ssd_small.json_files import write_json
from ssd_small.machine import commit_of, describe_machine
from ssd_small.parity.attribution import StageCost, attribute
from ssd_small.parity.side import Side
from ssd_small.postprocess import PostprocessParams

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "parity")]
from planted import plant, write_engine, write_source  # noqa: E402
from planted_faults import FAULTS, Fault, priors_of, unclipped  # noqa: E402

WEIGHTS = "digits/mobilenet_v1_s1l0"


class Table:
    """Engines with faults beside the network they were built of."""

    def __init__(self, folder: Path, images: int, threads: int) -> None:
        self._folder, self._threads = folder, threads
        made = make_digits(folder / "digits", train_images=0, val_images=images)
        self._annotations: Annotations = read_annotations(made.val_annotations)
        self._pictures = image_paths(self._annotations, made.val_images)
        source = write_source(WEIGHTS, folder / "network.onnx")
        coco = PostprocessParams.coco()
        self._engines = {
            False: write_engine(source, folder / "usual.engine"),
            True: write_engine(source, folder / "coco.engine", coco),
        }
        self._half = write_engine(source, folder / "half.engine", precision="fp16")
        reference = self._side(WEIGHTS, "checkpoint")
        described = replace(reference.description, postprocess=coco)
        self._references = {
            False: reference,
            True: replace(reference, description=described, params=coco),
        }

    def _side(self, path: Path | str, source: Any) -> Side:
        detector = load(path, threads=self._threads)
        return Side(detector, detector.description, str(path), source, detector.params)

    def rows(self) -> list[dict[str, Any]]:
        """One per fault, and of engines without any."""
        description = self._references[False].description
        clipped = Fault("priors not clipped", "priors", None, priors_of(unclipped(description)))
        both = Fault(
            "no mean, and columns of conf one class on",
            "labels, mean",
            FAULTS[0].record,
            next(f.graph for f in FAULTS if f.name == "columns of conf one class on"),
        )
        rows = [self._row("none", "", self._engines[False], coco=False)]
        rows.append(self._row("none, in fp16", "network", self._half, coco=False))
        for fault in (*FAULTS, clipped, both):
            source, target = self._engines[fault.coco], self._folder / "faulty.engine"
            engine = plant(source, target, record=fault.record, graph=fault.graph)
            rows.append(self._row(fault.name, fault.stage, engine, coco=fault.coco))
            print(rows[-1]["fault"], rows[-1]["named"], file=sys.stderr, flush=True)
        return rows

    def _row(self, name: str, expected: str, engine: Path, *, coco: bool) -> dict[str, Any]:
        started = time.perf_counter()
        costs = attribute(
            self._references[coco],
            self._side(engine, "engine"),
            self._pictures,
            self._annotations,
            threads=self._threads,
        )
        named = [one for one in costs if one.map_cost or one.detections_changed or one.reason]
        return {
            "fault": name,
            "expected": expected,
            "named": [_told(one) for one in named],
            "seconds": round(time.perf_counter() - started, 1),
        }


def _told(cost: StageCost) -> dict[str, Any]:
    return cost.to_dict() | {"map_change": cost.map_change, "reason": cost.reason}


def main() -> None:
    """Plant, attribute, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/attribution.json")
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = Table(Path(folder), arguments.images, arguments.threads).rows()
    report = {
        "machine": describe_machine(),
        "commit": commit_of(ROOT),
        "threads": arguments.threads,
        "network": WEIGHTS,
        "images": arguments.images,
        "faults": rows,
    }
    write_json(arguments.output, report)


if __name__ == "__main__":
    main()
