"""The DecodeNms function body in ONNX Runtime against the oracle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from ssd_small.export.decode_nms_node import append_decode_nms, strip_decode_nms
from ssd_small.export.opset import DEFAULT_OPSET

from ssd_small.artefacts.decode_nms import DOMAIN, find_decode_nms, params_from_node
from ssd_small.bench.synthetic import detector_heads
from ssd_small.evaluation.limits import BOX_ROUNDING, SCORE_ROUNDING
from ssd_small.models.priors import priors_from_shifts, priors_from_spec
from ssd_small.models.registry import get_spec
from ssd_small.pictures.tile_grid import TileGrid
from ssd_small.postprocess import PostprocessParams, decode_nms
from ssd_small.postprocess.boxes import edges_from_scale
from ssd_small.postprocess.detections import Detections, detections_from_padded

CLASSES = 6
PARAMS = {
    "deploy": PostprocessParams(),
    "coco": PostprocessParams.coco(),
    "tight cuts": PostprocessParams(pre_nms_topk=7, keep_topk_per_class=3, keep_topk=5),
    "no cuts": PostprocessParams(pre_nms_topk=0, keep_topk_per_class=0, keep_topk=0),
    "sigmoid": PostprocessParams(activation="sigmoid", score_threshold=0.7, background_label=-1),
    "none": PostprocessParams(activation="none", score_threshold=-1.0, keep_topk=50),
    "other background": PostprocessParams(background_label=3, variances=(0.2, 0.1)),
    "clipped": PostprocessParams(clip_boxes=True, score_threshold=0.002),
    "clipped, pixels": replace(PostprocessParams.coco(), clip_boxes=True),
}


def heads_model(priors: np.ndarray, classes: int, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """A model whose heads are its inputs."""

    def value(name: str, last: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, ["batch", len(priors), last])

    graph = helper.make_graph(
        [helper.make_node("Identity", [f"{n}_in"], [n]) for n in ("loc", "conf")],
        "heads",
        [value("loc_in", 4), value("conf_in", classes)],
        [value("loc", 4), value("conf", classes)],
    )
    opset = [helper.make_opsetid("", DEFAULT_OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)


def run(model: onnx.ModelProto, loc: np.ndarray, conf: np.ndarray) -> list[np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), settings, ["CPUExecutionProvider"]
    )
    return session.run(None, {"loc_in": loc, "conf_in": conf})


def assert_same(own: Detections, oracle: Detections) -> None:
    """Equal kept set; neighbours in the order may swap where scores agree to rounding."""
    sort_own, sort_oracle = (np.lexsort((d.prior_indices, d.labels)) for d in (own, oracle))
    own_sorted, oracle_sorted = own[sort_own], oracle[sort_oracle]
    np.testing.assert_array_equal(own_sorted.labels, oracle_sorted.labels)
    np.testing.assert_array_equal(own_sorted.prior_indices, oracle_sorted.prior_indices)
    assert (np.diff(own.scores) <= 0).all()
    np.testing.assert_allclose(own_sorted.scores, oracle_sorted.scores, rtol=SCORE_ROUNDING, atol=0)
    # of corners beyond the picture the limit is relative
    np.testing.assert_allclose(
        own_sorted.boxes, oracle_sorted.boxes, rtol=BOX_ROUNDING, atol=BOX_ROUNDING
    )


@pytest.mark.parametrize("name", PARAMS)
def test_function_body_keeps_what_the_oracle_keeps(name: str) -> None:
    params = PARAMS[name]
    priors = priors_from_spec(get_spec("mobilenet_v1"))[::7]
    loc, conf = detector_heads(priors, CLASSES, batch=3, objects=12, seed=5)
    conf[1] -= 100 * (params.activation != "softmax")  # an image that may hold nothing
    model = heads_model(priors, CLASSES)
    append_decode_nms(model, params, priors)
    outputs = run(model, loc, conf)
    rows = params.max_detections(len(priors), CLASSES)
    assert [o.shape for o in outputs] == [(3,), (3, rows, 4), *[(3, rows)] * 3]
    assert [o.dtype for o in outputs] == [np.int32, np.float32, np.float32, np.int32, np.int32]
    oracle = decode_nms(loc, conf, priors, params, backend="numpy")
    assert sum(map(len, oracle)) > 10
    for own, expected in zip(detections_from_padded(*outputs), oracle, strict=True):
        assert_same(own, expected)
    for image, number in enumerate(outputs[0]):
        assert not outputs[1][image, number:].any()
        assert not outputs[2][image, number:].any()
        assert not outputs[3][image, number:].any()
        assert (outputs[4][image, number:] == -1).all()


def test_nan_and_infinity_never_win_in_the_function_body() -> None:
    priors = np.tile(np.float32([0.5, 0.5, 0.1, 0.1]), (6, 1))
    priors[:, 0] = np.linspace(0.1, 0.9, 6)
    loc = np.zeros((1, 6, 4), np.float32)
    conf = np.tile(np.float32([0, 5, 1]), (1, 6, 1))
    conf[0, 0, 1] = np.nan
    conf[0, 1, 2] = np.inf
    loc[0, 2, 0] = np.nan
    loc[0, 3, 2] = 1000  # exp overflows
    for params in (PostprocessParams(), PostprocessParams(clip_boxes=True)):
        model = heads_model(priors, 3)
        append_decode_nms(model, params, priors)
        own = detections_from_padded(*run(model, loc, conf))[0]
        oracle = decode_nms(loc, conf, priors, params, backend="numpy")[0]
        assert set(oracle.prior_indices.tolist()) == {4, 5}
        assert_same(own, oracle)


def test_equal_scores_come_out_in_the_total_order() -> None:
    priors = np.float32([[x, 0.5, 0.05, 0.05] for x in (0.9, 0.1, 0.5)])
    conf = np.ones((1, 3, 3), np.float32)
    params = replace(PostprocessParams(), activation="none", score_threshold=0.5)
    model = heads_model(priors, 3)
    append_decode_nms(model, params, priors)
    own = detections_from_padded(*run(model, np.zeros((1, 3, 4), np.float32), conf))[0]
    assert own.labels.tolist() == [1, 1, 1, 2, 2, 2]
    assert own.prior_indices.tolist() == [0, 1, 2, 0, 1, 2]


def test_low_sigmoid_scores_pass_a_low_threshold_as_the_oracles_do() -> None:
    """ONNX Runtime's own Sigmoid is off by a hundredth of them, and counts one for another."""
    priors = priors_from_spec(get_spec("mobilenet_v1"))[::20]
    conf = np.random.default_rng(7).uniform(-13, -10, (1, len(priors), 4)).astype(np.float32)
    loc = np.zeros((1, len(priors), 4), np.float32)
    params = PostprocessParams(
        activation="sigmoid", score_threshold=1e-5, pre_nms_topk=0, keep_topk=0, iou_threshold=0.9
    )
    model = heads_model(priors, 4)
    append_decode_nms(model, params, priors)
    (own,) = detections_from_padded(*run(model, loc, conf))
    (oracle,) = decode_nms(loc, conf, priors, params, backend="numpy")
    assert len(oracle) > 100
    assert_same(own, oracle)


def test_half_heads_are_decoded_in_single_precision() -> None:
    priors = priors_from_spec(get_spec("mobilenet_v1"))[::11]
    loc, conf = (a.astype(np.float16) for a in detector_heads(priors, CLASSES, seed=2))
    model = heads_model(priors, CLASSES, TensorProto.FLOAT16)
    append_decode_nms(model, PostprocessParams(), priors)
    own = detections_from_padded(*run(model, loc, conf))[0]
    assert_same(own, decode_nms(loc, conf, priors, PostprocessParams(), backend="numpy")[0])


@pytest.mark.parametrize("name", PARAMS)
def test_parameters_survive_the_node(name: str, tmp_path) -> None:
    priors = np.float32([[0.5, 0.5, 0.1, 0.1]] * 3)
    model = heads_model(priors, CLASSES)
    append_decode_nms(model, PARAMS[name], priors)
    node = find_decode_nms(onnx.load_model_from_string(model.SerializeToString()))
    read = params_from_node(node, tmp_path)
    assert replace(read, pixel_offset=0) == replace(PARAMS[name], pixel_offset=0)
    assert np.float32(read.pixel_offset) == np.float32(PARAMS[name].pixel_offset)


def test_clipped_boxes_are_version_2_and_others_version_1_without_a_word_of_it() -> None:
    priors = np.float32([[0.5, 0.5, 0.1, 0.1]] * 3)
    nodes, versions = [], []
    for params in (PostprocessParams(), PostprocessParams(clip_boxes=True)):
        model = heads_model(priors, CLASSES)
        append_decode_nms(model, params, priors)
        nodes.append(find_decode_nms(model))
        versions += [o.version for o in model.opset_import if o.domain == DOMAIN]
    first, second = ({a.name: helper.get_attribute_value(a) for a in n.attribute} for n in nodes)
    assert versions == [1, 2]
    added = {"clip_boxes": 1, "clip_edges": [1.0, 1.0], "plugin_version": b"2"}
    assert second == first | added
    assert not first.keys() & added.keys()


def test_boxes_of_tiles_are_cut_where_their_picture_ends() -> None:
    """In the unit of a tile; what comes out lies in the unit square of the picture."""
    grid = TileGrid(3, 2, 50, 40, 0.3)
    priors = priors_from_spec(get_spec("mobilenet_v1"))[::60]
    priors = priors_from_shifts(priors, grid.shifts)
    loc, conf = detector_heads(priors, CLASSES, batch=2, objects=12, seed=5)
    params = PostprocessParams(clip_boxes=True)
    model = heads_model(priors, CLASSES)
    append_decode_nms(model, params, priors, grid.box_scale)
    own = detections_from_padded(*run(model, loc, conf))
    edges = edges_from_scale(grid.box_scale)
    oracle = decode_nms(loc, conf, priors, params, edges=edges, backend="numpy")
    for one, expected in zip(own, oracle, strict=True):
        assert_same(one, replace(expected, boxes=expected.boxes * grid.box_scale))
        assert one.boxes.max() > 1 - 1e-6
        assert one.boxes.min() == 0
        assert one.boxes.max() <= 1


def test_strip_undoes_append() -> None:
    priors = np.float32([[0.5, 0.5, 0.1, 0.1]] * 3)
    model = heads_model(priors, CLASSES)
    before = model.SerializeToString(deterministic=True)
    append_decode_nms(model, PostprocessParams(), priors)
    assert model.SerializeToString(deterministic=True) != before
    strip_decode_nms(model)
    assert model.SerializeToString(deterministic=True) == before
