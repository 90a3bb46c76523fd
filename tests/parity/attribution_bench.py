"""A shipped network as the reference, working engines of it, and a few pictures of digits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from planted import Graph, Record, plant, write_engine, write_source

from ssd_small.artefacts.description import Description
from ssd_small.datasets.coco import Annotations, read_annotations
from ssd_small.datasets.digits import make_digits
from ssd_small.datasets.picture_files import image_paths
from ssd_small.detection.detector import Detector
from ssd_small.detection.load import load
from ssd_small.parity.attribution import STAGES, StageCost, attribute
from ssd_small.parity.side import Side
from ssd_small.postprocess import PostprocessParams
from ssd_small.runtimes import HeadOutputs

WEIGHTS = "digits/mobilenet_v1_s1l0"
PICTURES = 3


class Bench:
    """The reference, working engines, and pictures with their annotations."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.annotations, self.pictures = _digits(folder / "digits")
        self.source = write_source(WEIGHTS, folder / "plain.onnx")
        self.engine = write_engine(self.source, folder / "plain.engine")
        self.coco = write_engine(self.source, folder / "coco.engine", PostprocessParams.coco())
        self.reference = side_from(load(WEIGHTS, threads=1), WEIGHTS, source="checkpoint")
        _remember_heads(self.reference.detector)

    @property
    def description(self) -> Description:
        return self.reference.description

    def costs(self, engine: Side, **options: Any) -> list[StageCost]:
        """What the stages of an engine cost, and that the list is in order."""
        options = {"reference": self.reference, "annotations": self.annotations} | options
        found = attribute(engine=engine, pictures=self.pictures, threads=1, **options)
        assert {one.stage for one in found} == set(STAGES)
        ranks = [(one.map_cost or 0.0, one.detections_changed) for one in found]
        assert ranks == sorted(ranks, reverse=True)
        return found

    def recording(self, params: PostprocessParams) -> Side:
        """The reference, with other parameters in its file."""
        described = replace(self.description, postprocess=params)
        return replace(self.reference, description=described, params=params)

    def planted(self, record: Record | None = None, graph: Graph | None = None) -> list[StageCost]:
        """What the stages of the plain engine cost with faults."""
        return self.costs(self.faulty(self.engine, record, graph))

    def faulty(
        self, source: Path, record: Record | None = None, graph: Graph | None = None
    ) -> Side:
        target = plant(source, self.folder / "faulty.engine", record=record, graph=graph)
        return side_from(load(target, threads=1), target)


def _digits(folder: Path) -> tuple[Annotations, list[Path]]:
    make_digits(folder, train_images=0, val_images=PICTURES, seed=0)
    annotations = read_annotations(folder / "val.json")
    return annotations, image_paths(annotations, folder / "val")


def _remember_heads(detector: Detector) -> None:
    """Heads of an input are computed once, however many engines are compared with them."""
    infer, known = detector.runtime.infer, {}

    def remembered(images: Any) -> HeadOutputs:
        key = images.tobytes()
        if key not in known:
            known[key] = infer(images)
        return known[key]

    detector.runtime.infer = remembered  # type: ignore[method-assign]


def side_from(detector: Detector, path: Path | str, **values: Any) -> Side:
    given = {"source": "engine", "description": detector.description, "params": detector.params}
    return Side(detector, path=str(path), **(given | values))
