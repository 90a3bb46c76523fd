"""The stage that makes an engine find something else is named: planted faults, alone and together.

The first pictures of the digits data and the shipped network of width 0.25.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import planted_faults as faults
import pytest
from attribution_bench import Bench, side_from
from onnx import ModelProto
from planted import Graph, plant, write_engine
from planted_faults import FAULTS, Fault, told
from ssd_small.export.decode_nms_node import inlined
from ssd_small.export.onnx_file import write_onnx

from ssd_small.artefacts.onnx_file import read_onnx
from ssd_small.detection.load import load
from ssd_small.errors import UsageError
from ssd_small.parity.attribution import STAGES, StageCost, attribute
from ssd_small.parity.engine_graph import graph_from_model
from ssd_small.parity.side import Side
from ssd_small.postprocess import PostprocessParams

#: an export and three builds; each test is short
pytestmark = pytest.mark.slow

#: what is said of a fault in a graph, which leaves node and sidecar as they are
EXECUTED = {
    "mean, 20 levels off in the graph": ("(123.94, 136.78, 143.68), not (103.94, 116.78, 123.68)"),
    "sigmoid for softmax": "sigmoid, not softmax",
    "variance 0.1 for 0.2": "variances (0.1, 0.1), not (0.1, 0.2)",
    "columns of conf one class on": "classes stand in another order",
    "labels one class on": "classes stand in another order",
    "IoU threshold halved": "iou_threshold 0.3, where 0.6 is told",
    "IoU `>=` for `>`": "an IoU equal to iou_threshold suppresses: >= in the place of >",
    "score `>=` for `>`": "a score equal to score_threshold is kept: >= in the place of >",
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    found = Bench(tmp_path_factory.mktemp("attribution"))
    yield found
    found.reference.detector.close()


def _named(costs: list[StageCost]) -> list[str]:
    """The stages that cost anything, the most expensive first."""
    return [one.stage for one in costs if one.map_cost or one.detections_changed]


def test_of_a_right_engine_no_stage_costs_anything(bench: Bench) -> None:
    costs = bench.costs(side_from(load(bench.engine, threads=1), bench.engine))
    # heads differ in the last digits, which changes no detection and moves scores in AP by nothing
    assert _named(costs) == []
    assert [one.reason for one in costs] == [None] * len(STAGES)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_planted_fault_is_named_and_nothing_else(bench: Bench, fault: Fault) -> None:
    source = bench.coco if fault.coco else bench.engine
    reference = bench.recording(PostprocessParams.coco()) if fault.coco else bench.reference
    costs = bench.costs(bench.faulty(source, fault.record, fault.graph), reference=reference)
    first, *others = costs
    assert first.stage == fault.stage
    assert [one.stage for one in others if one.map_cost or one.detections_changed] == []
    assert [one.reason for one in others] == [None] * len(others)
    # of a network nothing can be said in a line; ties are seldom, and none is in these pictures
    assert (first.reason is None) == (fault.stage == "network")
    assert EXECUTED.get(fault.name) in (None, first.reason)
    assert first.detections_changed > 0 or ">= in the place of >" in str(first.reason)


@pytest.mark.parametrize(
    ("stage", "graph", "reason"),
    [
        ("decode_boxes", faults.clipped_boxes, "boxes are computed in another way"),
        ("activation", faults.half_the_logits, "an activation of its own"),
        ("labels", faults.last_class_for_background(11), "background 10, not 0"),
    ],
    ids=["boxes", "activation", "background"],
)
def test_what_no_parameter_could_say_is_named(
    bench: Bench, stage: str, graph: Graph, reason: str
) -> None:
    costs = bench.planted(graph=graph)
    assert (_named(costs), costs[0].reason) == ([stage], reason)


def test_priors_that_are_not_clipped_are_named(bench: Bench) -> None:
    costs = bench.planted(graph=faults.priors_of(faults.unclipped(bench.description)))
    assert (costs[0].stage, costs[0].reason) == ("priors", "134 of 11638 priors are elsewhere")
    assert costs[0].detections_changed > 0
    assert _named(costs) == ["priors"]


def test_a_tie_that_or_equal_lets_through_is_counted(bench: Bench) -> None:
    """The threshold is the score of a detection of the first picture."""
    usual = bench.reference.detector(bench.pictures[0], score_threshold=0.01)[0]
    score = float(np.sort(usual.scores)[-2])
    params = replace(bench.description.postprocess, score_threshold=score)
    source = write_engine(bench.source, bench.folder / "tie.engine", params)
    reference = bench.recording(params)
    right = side_from(load(source, threads=1), source)
    assert _named(bench.costs(right, reference=reference)) == []
    # the scores that ONNX Runtime computes are not ours to the last digit: the tie is in ours
    faulty = bench.faulty(source, graph=faults.score_or_equal)
    costs = bench.costs(faulty, reference=reference)
    assert (_named(costs), costs[0].detections_changed) == (["nms"], 1)


def test_a_pixel_that_both_count_costs_nothing(bench: Bench) -> None:
    right = side_from(load(bench.coco, threads=1), bench.coco)
    assert _named(bench.costs(right, reference=bench.recording(PostprocessParams.coco()))) == []


def test_thresholds_other_than_the_reference_records_are_named(bench: Bench) -> None:
    first = bench.costs(side_from(load(bench.coco, threads=1), bench.coco))[0]
    assert first.stage == "nms"
    assert first.reason == (
        "pixel_offset 0.00333333, not 0; pre_nms_topk 0, not 400; keep_topk 0, not 200"
    )


def test_boxes_that_one_side_alone_cuts_are_named(bench: Bench) -> None:
    clipped = replace(bench.description.postprocess, clip_boxes=True)
    source = write_engine(bench.source, bench.folder / "clipped.engine", clipped)
    right = side_from(load(source, threads=1), source)
    costs = bench.costs(right, reference=bench.recording(clipped))
    assert (_named(costs), [one.reason for one in costs]) == ([], [None] * len(STAGES))
    nms = next(one for one in bench.costs(right) if one.stage == "nms")
    assert nms.reason == "clip_boxes 1, not 0"
    assert nms.detections_changed > 0


def test_of_two_faults_each_is_named_with_what_it_costs_alone(bench: Bench) -> None:
    mean, labels = told("preprocessing", mean=[0.0, 0.0, 0.0]), faults.rolled_classes(11)
    alone = [bench.planted(record=mean)[0], bench.planted(graph=labels)[0]]
    both = bench.planted(record=mean, graph=labels)
    assert sorted(both[:2], key=lambda one: one.stage) == sorted(alone, key=lambda one: one.stage)
    assert _named(both) == [one.stage for one in both[:2]]


def test_half_precision_is_the_network_alone(bench: Bench) -> None:
    half = write_engine(bench.source, bench.folder / "half.engine", precision="fp16")
    costs = bench.costs(side_from(load(half, threads=1), half))
    assert [one.stage for one in costs if one.map_cost or one.detections_changed] == ["network"]
    assert [one.reason for one in costs] == [None] * len(STAGES)


def test_a_network_that_moves_scores_alone_is_named_first(bench: Bench) -> None:
    def scaled(model: ModelProto) -> None:
        # conf of a coarse level, of which few boxes are kept and none is elsewhere
        faults.initializer(model, "conf.4.weight", lambda value: value * 1.05)

    costs = bench.planted(graph=scaled)
    assert _named(costs) == []
    assert costs[0].stage == "network"
    assert str(costs[0].reason).startswith("loc or conf differ by up to 0.00")
    assert [one.reason for one in costs[1:]] == [None] * (len(STAGES) - 1)


def test_a_resize_that_differs_in_antialiasing_alone(bench: Bench) -> None:
    """A checkerboard of squares of two pixels and a half, in a graph that resizes it itself."""
    squares = (np.indices((600, 600)) // 5).sum(axis=0) % 2 * 255
    board = np.repeat(squares.astype(np.uint8)[:, :, None], 3, axis=2)
    found = attribute(bench.reference, _taking_pictures(bench, antialias=True), [board], threads=1)
    assert found[0].stage == "resize"
    assert found[0].reason is not None
    assert found[0].reason.startswith("pixels differ by up to")
    assert [one.stage for one in found if one.detections_changed] == ["resize"]


def _taking_pictures(bench: Bench, mean: tuple[float, ...] | None = None, **changes: Any) -> Side:
    """An engine with the making of the input inside, which is not opened but taken apart."""
    size = bench.description.preprocessing
    graph = faults.pictures_inside((size.height, size.width), mean or size.mean, **changes)
    path = plant(bench.engine, bench.folder / "pictures.engine", record=None, graph=graph)
    return side_from(load(bench.engine, threads=1), path)


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("resize", {}),
        ("mean", {"mean": (0.0, 0.0, 0.0)}),
        ("colour_order", {"rgb": True}),
        ("colour_order", {"rgb": True, "mean": (123.68, 116.78, 103.94)}),
    ],
    ids=["rounding", "mean", "rgb", "rgb with its mean"],
)
def test_what_happens_to_pictures_inside_of_a_graph_is_named(
    bench: Bench, stage: str, changes: dict[str, Any]
) -> None:
    found = bench.costs(_taking_pictures(bench, **changes))
    assert found[0].stage == stage
    # resizing in floats differs from OpenCV's by a grey level in places, as it always does
    assert {one.stage for one in found if one.map_cost or one.detections_changed} <= {
        stage,
        "resize",
    }
    assert [one.stage for one in found if one.reason] == [stage] * bool(changes)


def test_without_annotations_detections_are_counted(bench: Bench) -> None:
    faulty = bench.faulty(bench.engine, faults.labels_off_by_one)
    costs = bench.costs(faulty, annotations=None)
    assert _named(costs) == ["labels"]
    assert {one.map_cost for one in costs} == {None}
    assert costs[0].to_dict() == {
        "stage": "labels",
        "map_cost": None,
        "map_change": None,
        "reason": costs[0].reason,
        "detections_changed": costs[0].detections_changed,
    }


def test_a_file_that_is_decoded_otherwise_is_named(bench: Bench) -> None:
    def upside_down(picture: Any) -> Any:
        return np.ascontiguousarray(bench_read(picture)[::-1])

    engine = side_from(load(bench.engine, threads=1), bench.engine)
    assert _named(bench.costs(engine, readers=(bench_read, upside_down))) == ["decode_file"]


def bench_read(picture: Any) -> Any:
    from ssd_small.pictures.reading import read_image

    return read_image(picture)


def test_of_an_engine_that_cannot_be_taken_apart_what_lies_around_it_is_swapped(
    bench: Bench,
) -> None:
    """As an engine of TensorRT: its sidecar tells of it, and detections are all it gives."""

    def whole(**changes: Any) -> list[StageCost]:
        closed = replace(bench.faulty(bench.engine, **changes), source="checkpoint")
        return bench.costs(closed)

    assert _named(whole(record=told("preprocessing", color_order="RGB"))) == ["colour_order"]
    assert _named(whole(graph=faults.sigmoid_for_softmax)) == ["network"]


@pytest.mark.parametrize("kind", ["ONNX file", "heads"])
def test_engines_of_other_kinds_cost_nothing_either(bench: Bench, kind: str) -> None:
    if kind == "heads":
        path = write_engine(bench.source, bench.folder / "heads.engine", heads=True)
        engine = side_from(load(path, threads=1), path)
    else:
        path = bench.source
        engine = side_from(load(path, threads=1), path, source="ONNX file")
    assert _named(bench.costs(engine)) == []


def test_the_reference_may_be_an_engine(bench: Bench) -> None:
    reference = side_from(load(bench.engine, threads=1), bench.engine)
    faulty = bench.faulty(bench.engine, graph=faults.other_variances)
    assert _named(bench.costs(faulty, reference=reference)) == ["decode_boxes"]


def test_a_reference_that_cannot_be_taken_apart_is_looked_at_from_the_other_side(
    bench: Bench,
) -> None:
    """An engine of TensorRT for reference: the engine is the one that is run."""
    closed = side_from(load(bench.engine, threads=1), bench.engine, source="checkpoint")
    faulty = bench.faulty(bench.engine, told("preprocessing", color_order="RGB"))
    first, *others = bench.costs(faulty, reference=closed)
    assert (first.stage, first.reason) == ("colour_order", "RGB, not BGR")
    assert first.map_change is not None
    assert first.map_change < 0
    assert [one.stage for one in others if one.map_cost or one.detections_changed] == []
    with pytest.raises(UsageError, match="neither side gives loc and conf"):
        bench.costs(replace(faulty, source="checkpoint"), reference=closed)


def test_networks_that_do_not_go_together_are_refused(bench: Bench) -> None:
    other = load("bccd/mobilenet_v1_s1l0", threads=1)
    engine = side_from(other, "bccd/mobilenet_v1_s1l0", source="checkpoint")
    with pytest.raises(UsageError, match="classes 11, the engine 4; expected two of the same"):
        bench.costs(engine)


def test_only_the_first_pictures_are_taken_where_asked(bench: Bench) -> None:
    seen: list[int] = []
    faulty = bench.faulty(bench.engine, faults.labels_off_by_one)
    costs = bench.costs(faulty, most_pictures=2, progress=seen.append)
    assert sum(seen) == 2
    assert 0 < costs[0].detections_changed < bench.costs(faulty)[0].detections_changed


def test_a_picture_that_cannot_be_read_is_left_out_with_its_boxes(bench: Bench) -> None:
    faulty = bench.faulty(bench.engine, faults.labels_off_by_one)
    pictures = [bench.folder / "absent.png", *bench.pictures[1:]]
    costs = attribute(bench.reference, faulty, pictures, bench.annotations, threads=1)
    annotations = replace(bench.annotations, images=bench.annotations.images[1:])
    kept = {image["id"] for image in annotations.images}
    boxes = tuple(box for box in annotations.boxes if box["image_id"] in kept)
    annotations = replace(annotations, boxes=boxes)
    assert costs == attribute(bench.reference, faulty, pictures[1:], annotations, threads=1)


def test_standard_operators_in_the_place_of_the_node_are_taken_apart_as_well(
    bench: Bench,
) -> None:
    model, _ = read_onnx(bench.source)
    path = bench.folder / "inline.onnx"
    write_onnx(inlined(model), path)
    engine = side_from(load(path, threads=1), path, source="ONNX file")
    assert _named(bench.costs(engine)) == []
    graph = graph_from_model(inlined(model), engine.description, 1)
    assert graph is not None
    assert None not in (graph.activation, graph.boxes, graph.nms)
