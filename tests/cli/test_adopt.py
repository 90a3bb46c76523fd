"""``ssd-small adopt``: one small detector as several exporters write it, the same found in each.

Expected detections come from the heads of the plain form, run by themselves, and the oracle.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Outcome

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
cv2 = pytest.importorskip("cv2")

from foreign_graphs import (  # noqa: E402
    CLASSES,
    LABELS,
    PLAIN,
    PRIORS,
    SIDE,
    SWAPPED,
    Form,
    adopt_options,
    foreign,
    priors,
    write_foreign,
)

import ssd_small  # noqa: E402
from ssd_small.evaluation.limits import BOX_ROUNDING, HEAD_LIMITS, SCORE_ROUNDING  # noqa: E402
from ssd_small.importing.adopt import made_picture  # noqa: E402
from ssd_small.importing.adopt_heads import rename  # noqa: E402
from ssd_small.pictures.preprocessing import Preprocessing, input_from_image  # noqa: E402
from ssd_small.postprocess import PostprocessParams, decode_nms  # noqa: E402
from ssd_small.runtimes import HeadOutputs  # noqa: E402

Call = Callable[..., Outcome]
PREPROCESSING = Preprocessing(SIDE, SIDE, "RGB", (127.5,) * 3, (127.5,) * 3)
AS_PIXELS = Preprocessing(SIDE, SIDE, "RGB", (0.0,) * 3, (1.0,) * 3)
FORMS = {
    "plain": Form(),
    "channels last, y first": Form(channels_last=True, batch=1, layout="yxhw", loc="unit"),
    "conf of four sides": Form(conf="unit", batch=1),
    "of opset 9 and IR 3": Form(opset=9, ir=3, listed=True, batch=1),
    "of opset 11 and IR 4": Form(opset=11, ir=4, listed=True, batch=1),
    "in a row": Form(loc="flat", conf="flat", batch=1),
    "channels first": Form(loc="first", conf="first", batch=2),
    "NMS behind": Form(ending="nms", layout="yxhw", activation="Sigmoid", channels_last=True),
    "another tool's operator behind": Form(ending="custom", layout="yxhw", batch=1),
}


def adopted(call: Call, folder: Path, form: Form, *more: object, **changed: Any) -> Any:
    path, heads = write_foreign(folder, form)
    given = adopt_options(folder, form, **changed)
    return call("adopt", path, *heads, *given, *more, "--json").fits().json


def expected(form: Form, params: PostprocessParams, preprocessing: Preprocessing) -> Any:
    """What is found in the picture, by the plain form's heads and the oracle."""
    plain = replace(Form(), activation=form.activation, kind=form.kind)
    model, *names = foreign(plain)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = input_from_image(made_picture((SIDE, SIDE)), preprocessing)[None]
    kind = np.uint8 if form.kind == onnx.TensorProto.UINT8 else np.float32
    loc, conf = session.run(names, {"pixels": images.astype(kind)})
    return decode_nms(loc, conf, priors(), params, backend="numpy")[0]


def found_in(path: Path) -> Any:
    with ssd_small.load(path, threads=1) as detector:
        description = detector.description
        images = input_from_image(made_picture((SIDE, SIDE)), description.preprocessing)[None]
        found = detector.runtime.infer(images)
    if isinstance(found, HeadOutputs):
        found = decode_nms(found.loc, found.conf, description.priors, description.postprocess)
    return found[0]


def same(found: Any, wanted: Any) -> None:
    """The same detections; ONNX Runtime's sigmoid is off by some units in the last place of 1."""
    assert len(wanted.scores) > 3
    np.testing.assert_array_equal(found.labels, wanted.labels)
    np.testing.assert_array_equal(found.prior_indices, wanted.prior_indices)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=SCORE_ROUNDING, atol=4 * 2**-24)
    np.testing.assert_allclose(found.boxes, wanted.boxes, rtol=0, atol=BOX_ROUNDING)


@pytest.mark.parametrize("form", [pytest.param(f, id=name) for name, f in FORMS.items()])
def test_each_form_finds_what_the_plain_one_does(form: Form, call: Call, tmp_path: Path) -> None:
    scores = "sigmoid" if form.activation else "logits"
    told = adopted(call, tmp_path, form, scores=scores)
    params = PostprocessParams(activation="none" if form.activation else "softmax")
    same(found_in(tmp_path / "ours.onnx"), expected(form, params, PREPROCESSING))
    assert told["inputs"] == ["images"]
    assert told["outputs"][0] == "num_detections"
    heads = told["adopted"]["heads"]
    assert heads["bits"]
    # another number of pictures may be summed in another order
    assert heads["batch"] < HEAD_LIMITS["fp32"]
    described = told["description"]
    assert described["format"] == 5
    assert (described["num_classes"], described["labels"]) == (CLASSES, list(LABELS))
    assert described["postprocess"]["background_label"] == 0
    model = onnx.load(tmp_path / "ours.onnx")
    kept = {node.op_type for node in model.graph.node}
    assert not kept & {"NonMaxSuppression", "TFL_Detection_PostProcess", "Exp"}


@pytest.mark.parametrize(
    ("activation", "scores", "own"),
    [
        (None, "logits", "softmax"),
        (None, "sigmoid-logits", "sigmoid"),
        ("Softmax", "softmax", "none"),
        ("Sigmoid", "sigmoid", "none"),
    ],
)
def test_scores_say_what_decode_nms_has_to_do(
    activation: str | None, scores: str, own: str, call: Call, tmp_path: Path
) -> None:
    form = Form(activation=activation)
    told = adopted(call, tmp_path, form, scores=scores)
    assert told["description"]["postprocess"]["activation"] == own
    params = PostprocessParams(activation=own)  # type: ignore[arg-type]
    same(found_in(tmp_path / "ours.onnx"), expected(form, params, PREPROCESSING))


def test_as_many_labels_as_columns_mean_no_background(call: Call, tmp_path: Path) -> None:
    form = Form(activation="Sigmoid")
    path, heads = write_foreign(tmp_path, form)
    given = adopt_options(tmp_path, form, scores="sigmoid")
    (tmp_path / "labels.txt").write_text("cat\ndog\ncow\nape\n")
    told = call("adopt", path, *heads, *given, "--json").fits().json
    assert told["description"]["postprocess"]["background_label"] == -1
    params = PostprocessParams(activation="none", background_label=-1)
    wanted = expected(form, params, PREPROCESSING)
    assert 0 in wanted.labels
    same(found_in(tmp_path / "ours.onnx"), wanted)


def test_pictures_of_whole_numbers_are_given_as_they_are(call: Call, tmp_path: Path) -> None:
    form = Form(kind=onnx.TensorProto.UINT8, channels_last=True)
    told = adopted(call, tmp_path, form, scores="logits")
    assert told["description"]["preprocessing"]["std"] == [1.0, 1.0, 1.0]
    same(found_in(tmp_path / "ours.onnx"), expected(form, PostprocessParams(), AS_PIXELS))


def test_preprocessing_of_their_own_can_be_left_off(call: Call, tmp_path: Path) -> None:
    form = Form(kind=onnx.TensorProto.UINT8, channels_last=True)
    values = {"mean": [0, 0, 0], "std": [255, 255, 255], "height": SIDE, "width": SIDE}
    (tmp_path / "p.json").write_text(json.dumps(values))
    adopted(
        *(call, tmp_path, form, "--input", "scaled"),
        scores="logits",
        preprocessing=tmp_path / "p.json",
    )
    kinds = [node.op_type for node in onnx.load(tmp_path / "ours.onnx").graph.node]
    assert kinds[0] == "Conv"
    same(found_in(tmp_path / "ours.onnx"), expected(form, PostprocessParams(), AS_PIXELS))


def test_a_graph_of_any_size_is_told_its_size(call: Call, tmp_path: Path) -> None:
    form = Form(any_size=True)
    (tmp_path / "p.json").write_text(json.dumps({"height": SIDE, "width": SIDE}))
    told = adopted(call, tmp_path, form, scores="logits", preprocessing=tmp_path / "p.json")
    assert told["description"]["preprocessing"]["height"] == SIDE
    same(found_in(tmp_path / "ours.onnx"), expected(PLAIN, PostprocessParams(), PREPROCESSING))


def test_weights_in_a_file_beside_it_are_read(call: Call, tmp_path: Path) -> None:
    path, heads = write_foreign(tmp_path)
    model = onnx.load(path)
    beside = {"save_as_external_data": True, "location": "theirs.bin", "size_threshold": 0}
    onnx.save(model, path, **beside)
    assert (tmp_path / "theirs.bin").stat().st_size > 1000
    call("adopt", path, *heads, *adopt_options(tmp_path, scores="logits")).fits()
    same(found_in(tmp_path / "ours.onnx"), expected(PLAIN, PostprocessParams(), PREPROCESSING))
    over = adopt_options(tmp_path, scores="logits", output=tmp_path / "theirs.bin")
    call("adopt", path, *heads, *over).fails(2, "would overwrite an input")


def test_half_precision_comes_out_in_single(call: Call, tmp_path: Path) -> None:
    told = adopted(call, tmp_path, Form(half=True), scores="logits")
    assert told["adopted"]["heads"]["conf"] < HEAD_LIMITS["fp16"]
    model = onnx.load(tmp_path / "ours.onnx")
    heads = {one.name: one.type.tensor_type.elem_type for one in model.graph.value_info}
    assert heads["loc"] == heads["conf"] == onnx.TensorProto.FLOAT


@pytest.mark.parametrize("form", ["centres", "corners"])
def test_prior_boxes_of_the_graph_are_told_by_their_numbers(
    form: str, call: Call, tmp_path: Path
) -> None:
    path, heads = write_foreign(tmp_path, Form(layout="yxhw"))
    model = onnx.load(path)
    boxes = priors().astype(np.float64)
    if form == "corners":
        boxes = np.hstack([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2])
    stored = boxes[:, SWAPPED].astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(stored, "anchors"))
    onnx.save(model, path)
    given = adopt_options(tmp_path, Form(layout="yxhw"), priors="initializer:anchors")
    told = call("adopt", path, *heads, *given, "--scores", "logits", "--json").fits()
    assert f"prior boxes of the graph, {'where they are' if form == 'corners' else ''}" in told.err
    with ssd_small.load(tmp_path / "ours.onnx", threads=1) as detector:
        found = detector.description.priors
    # two corners of single precision are each off by half a unit in the last place, below 2
    np.testing.assert_allclose(found, priors(), rtol=0, atol=2**-23 if form == "corners" else 0)


@pytest.mark.parametrize("has_it", [True, False], ids=["in the graph", "in the call"])
def test_names_may_end_as_tensorflows_do(has_it: bool, call: Call, tmp_path: Path) -> None:
    form = Form(ending="nms", layout="yxhw")
    path, heads = write_foreign(tmp_path, form)
    given = adopt_options(tmp_path, form, priors=f"initializer:anchors{'' if has_it else ':0'}")
    if has_it:
        model = onnx.load(path)
        rename(model, {name: f"{name}:0" for name in (*heads[1::2], "anchors")})
        onnx.save(model, path)
    else:
        heads = [f"{one}:0" if one.startswith("heads/") else one for one in heads]
    call("adopt", path, *heads, *given, "--scores", "logits").fits()
    same(found_in(tmp_path / "ours.onnx"), expected(form, PostprocessParams(), PREPROCESSING))


def test_parameters_and_preprocessing_travel_in_the_file(call: Call, tmp_path: Path) -> None:
    values = PREPROCESSING.to_dict() | {"mean": [100.0, 110.0, 120.0], "color_order": "BGR"}
    (tmp_path / "p.json").write_text(json.dumps({"preprocessing": values}))
    more = ("--iou-threshold", 0.3, "--score-threshold", 0.2, "--variances", 0.2, 0.3)
    told = adopted(
        *(call, tmp_path, Form(), *more),
        preprocessing=tmp_path / "p.json",
        scores="logits",
        name="theirs",
    )["description"]
    assert told["model"] == "theirs"
    assert told["preprocessing"] == values
    assert told["postprocess"]["iou_threshold"] == 0.3
    assert told["postprocess"]["variances"] == [0.2, 0.3]


def test_what_is_not_told_is_assumed_and_said(call: Call, tmp_path: Path) -> None:
    form = FORMS["NMS behind"]
    path, heads = write_foreign(tmp_path, form)
    told = call("adopt", path, *heads, *adopt_options(tmp_path, form, layout=None)).fits()
    assert "--layout yxhw is assumed" in told.err
    assert "--scores sigmoid is assumed: its numbers lie from 0 to 1" in told.err
    assert "--preprocessing is assumed: RGB" in told.err
    assert f"{PRIORS} of {PRIORS} boxes that their graph gives are among" in told.err


def test_a_guess_that_their_own_boxes_contradict_is_refused(call: Call, tmp_path: Path) -> None:
    form = replace(FORMS["NMS behind"], layout="xywh")
    path, heads = write_foreign(tmp_path, form)
    # without a layout the anchors are read as TensorFlow's too, so they come from the file
    given = adopt_options(tmp_path, form, layout=None, priors=tmp_path / "priors.npy")
    call("adopt", path, *heads, *given).fails(2, "pass --layout xywh")
    call("adopt", path, *heads, *given, "--layout", "xywh").fits()


def test_without_names_the_candidates_are_shown(call: Call, tmp_path: Path) -> None:
    form = FORMS["channels last, y first"]
    path, heads = write_foreign(tmp_path, replace(form, ending="custom"))
    told = call("adopt", path)
    told.fails(2, "pass --loc and --conf and --priors")
    for name in (*heads[1::2], "anchors"):
        assert f"{name} [" in told.err
    told = call("adopt", path, *heads)
    told.fails(2, "pass --priors")
    assert "--priors initializer:anchors [40, 4]" in told.err
    assert "--loc" not in told.err


# --- the file is one of ours


@pytest.mark.slow
def test_a_file_of_ours_finds_the_same_by_the_prior_boxes_of_its_network(
    call: Call, onnx_file: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    with ssd_small.load(onnx_file, threads=1) as detector:
        own = detector.description.preprocessing
    (tmp_path / "p.json").write_text(json.dumps(own.to_dict()))
    heads = ("--loc", "loc", "--conf", "conf", "--priors", "from-spec", "--scores", "logits")
    beside = ("--labels", tmp_path / "labels.txt", "--preprocessing", tmp_path / "p.json")
    told = call("adopt", onnx_file, *heads, *beside, "-o", tmp_path / "ours.onnx").fits()
    assert "prior boxes of mobilenet_v1" in told.err
    found = [
        call("detect", "--engine", path, pictures / "a.jpg", "--json").fits().json
        for path in (onnx_file, tmp_path / "ours.onnx")
    ]
    assert found[0]["detections"]
    assert found[0]["detections"] == found[1]["detections"]


@pytest.mark.parametrize(
    ("option", "outputs"), [("--heads", 2), ("--inline", 5), ("--plugin-only", 5)]
)
def test_it_ends_as_an_export_does(option: str, outputs: int, call: Call, tmp_path: Path) -> None:
    told = adopted(call, tmp_path, PLAIN, option, scores="logits")
    model = onnx.load(tmp_path / "ours.onnx")
    assert told["outputs"] == [one.name for one in model.graph.output]
    assert len(told["outputs"]) == outputs
    nodes = [node.op_type for node in model.graph.node if node.domain]
    assert nodes == (["DecodeNms"] if option == "--plugin-only" else [])
    assert not model.functions
    assert told["description"]["has_decode_nms"] == (option != "--heads")
    wanted = expected(PLAIN, PostprocessParams(), PREPROCESSING)
    path = tmp_path / "ours.onnx"
    if option == "--plugin-only":  # which ONNX Runtime has no operator for
        build = ("build-engine", path, "--target", "onnxruntime", "--heads")
        path = tmp_path / "ours.engine"
        call(*build, "-o", path).fits()
    same(found_in(path), wanted)


def test_it_ends_in_one_way_only(call: Call, tmp_path: Path) -> None:
    path, heads = write_foreign(tmp_path, PLAIN)
    given = (*heads, *adopt_options(tmp_path, PLAIN), "--inline", "--heads")
    call("adopt", path, *given).fails(2, "--heads and --inline exclude each other")
    assert not (tmp_path / "ours.onnx").exists()


@pytest.mark.slow
def test_the_other_commands_take_it(call: Call, tmp_path: Path) -> None:
    pytest.importorskip("hotcoco")
    form = FORMS["channels last, y first"]
    adopted(call, tmp_path, form, scores="logits")
    ours, engine = tmp_path / "ours.onnx", tmp_path / "ours.engine"
    (tmp_path / "p").mkdir()
    cv2.imwrite(str(tmp_path / "p/a.png"), made_picture((SIDE, SIDE)))
    found = call("detect", "--engine", ours, tmp_path / "p/a.png", "--json").fits().json
    assert found["detections"]
    for precision in ("fp32", "fp16"):
        build = ("build-engine", ours, "--target", "onnxruntime", "--precision", precision)
        call(*build, "--heads", "-o", engine).fits()
    told = call("inspect", engine, "--json").fits().json
    assert told["priors"]["count"] == PRIORS
    call("parity", engine, "--images", tmp_path / "p").fails(2, "no PyTorch network")
    report = call("parity", engine, "--against", ours, "--images", tmp_path / "p", "--json").fits()
    assert report.json["heads"][0]["level"] is None
    call("explain", tmp_path / "p/a.png", "--engine", ours, "--box", "4,4,20,20").fits()
    size = {"width": SIDE, "height": SIDE}
    box = {"id": 1, "image_id": 1, "category_id": 2, "bbox": [4, 4, 20, 20], "area": 400}
    truth = {
        "images": [{"id": 1, "file_name": "a.png", **size}],
        "annotations": [box],
        "categories": [{"id": n, "name": name} for n, name in enumerate(LABELS, 1)],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    run = ("--annotations", tmp_path / "truth.json", "--images", tmp_path / "p")
    scored = call("eval", "--engine", ours, *run, "--json").fits()
    assert scored.json["by_level"] is None
    assert "no scores by feature level: the prior boxes are data" in scored.err
    call("bench", "--engine", ours, "--seconds", 0, "--threads", 1).fits()
    call("export", "--weights", ours, "-o", tmp_path / "z.onnx").fails(4)
