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
    PRIORS,
    SIDE,
    SWAPPED,
    Form,
    foreign,
    priors,
    write_foreign,
)

import ssd_small  # noqa: E402
from ssd_small.evaluation.limits import BOX_ROUNDING, HEAD_LIMITS, SCORE_ROUNDING  # noqa: E402
from ssd_small.importing.adopt import made_picture  # noqa: E402
from ssd_small.pictures.preprocessing import Preprocessing, input_from_image  # noqa: E402
from ssd_small.postprocess import PostprocessParams, decode_nms  # noqa: E402

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


PLAIN = Form()


def options(folder: Path, form: Form = PLAIN, **changed: Any) -> list[object]:
    """A call without the file; ``changed`` replaces options, None leaves them out."""
    np.save(folder / "priors.npy", priors())
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")
    given = {
        "layout": form.layout,
        "priors": "initializer:anchors" if form.ending else folder / "priors.npy",
        "labels": folder / "labels.txt",
        "output": folder / "ours.onnx",
    } | changed
    return [
        word
        for name, value in given.items()
        if value is not None
        for word in (f"--{name.replace('_', '-')}", value)
    ]


def adopted(call: Call, folder: Path, form: Form, *more: object, **changed: Any) -> Any:
    path, heads = write_foreign(folder, form)
    given = options(folder, form, **changed)
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
        (found,) = detector.runtime.infer(images)
    return found


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
    given = options(tmp_path, form, scores="sigmoid")
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
    given = options(tmp_path, Form(layout="yxhw"), priors="initializer:anchors")
    told = call("adopt", path, *heads, *given, "--scores", "logits", "--json").fits()
    assert f"prior boxes of the graph, {'where they are' if form == 'corners' else ''}" in told.err
    with ssd_small.load(tmp_path / "ours.onnx", threads=1) as detector:
        found = detector.description.priors
    # two corners of single precision are each off by half a unit in the last place, below 2
    np.testing.assert_allclose(found, priors(), rtol=0, atol=2**-23 if form == "corners" else 0)


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
    told = call("adopt", path, *heads, *options(tmp_path, form, layout=None)).fits()
    assert "--layout yxhw is assumed" in told.err
    assert "--scores sigmoid is assumed: its numbers lie from 0 to 1" in told.err
    assert "--preprocessing is assumed: RGB" in told.err
    assert f"{PRIORS} of {PRIORS} boxes that their graph gives are among" in told.err


def test_a_guess_that_their_own_boxes_contradict_is_refused(call: Call, tmp_path: Path) -> None:
    form = replace(FORMS["NMS behind"], layout="xywh")
    path, heads = write_foreign(tmp_path, form)
    # without a layout the anchors are read as TensorFlow's too, so they come from the file
    given = options(tmp_path, form, layout=None, priors=tmp_path / "priors.npy")
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


# --- what is refused, a line each


def refused(call: Call, folder: Path, code: int, *words: str, form: Form = PLAIN, **changed: Any):
    path, heads = write_foreign(folder, form)
    names = {"loc": heads[1], "conf": heads[3]} | {
        key: changed.pop(key) for key in ("loc", "conf") if key in changed
    }
    given = options(folder, form, **({"scores": "logits"} | changed))
    line = call("adopt", path, "--loc", names["loc"], "--conf", names["conf"], *given)
    assert not (folder / "ours.onnx").exists()
    return line.fails(code, *words)


def test_names_that_are_not_there(call: Call, tmp_path: Path) -> None:
    refused(call, tmp_path, 2, "no tensor 'heads/lo'", "heads/loc", loc="heads/lo")
    refused(call, tmp_path, 2, "--conf", "no tensor", conf="x")
    refused(call, tmp_path, 2, "--priors", "no tensor 'x'", priors="initializer:x")
    refused(call, tmp_path, 2, "one tensor", conf="heads/loc")


def test_tensors_of_other_shapes(call: Call, tmp_path: Path) -> None:
    refused(call, tmp_path, 2, "--loc relu_1", "expected [N, P, 4]", loc="relu_1")
    refused(call, tmp_path, 2, "--conf relu_1", "[N, 40, C]", conf="relu_1")
    refused(call, tmp_path, 2, "--loc", "no tensor 'a/w'", loc="a/w")


@pytest.mark.parametrize(
    ("array", "code", "reason"),
    [
        (priors()[:-1], 4, "39 boxes, and --loc is of 40"),
        (np.where(np.arange(PRIORS)[:, None] == 3, np.nan, priors()), 4, "box 3 is"),
        (priors()[:, :3], 4, "of shape [40, 3]"),
        (priors().astype(np.int32), 4, "holds int32"),
        (priors()[:, [0, 1, 2, 2]] * [1, 1, -1, 1], 4, "side below 0"),
    ],
)
def test_prior_boxes_that_do_not_fit(
    array: np.ndarray, code: int, reason: str, call: Call, tmp_path: Path
) -> None:
    np.save(tmp_path / "odd.npy", array)
    refused(call, tmp_path, code, reason, priors=tmp_path / "odd.npy")


def test_files_that_are_no_arrays(call: Call, tmp_path: Path) -> None:
    (tmp_path / "odd.npy").write_bytes(b"nothing")
    refused(call, tmp_path, 4, "is no .npy file", priors=tmp_path / "odd.npy")
    np.save(tmp_path / "short.npy", priors())
    content = (tmp_path / "short.npy").read_bytes()
    (tmp_path / "short.npy").write_bytes(content[:-8])
    refused(call, tmp_path, 4, "take a whole copy", priors=tmp_path / "short.npy")
    # an object array is a pickle
    np.save(tmp_path / "pickle.npy", np.array([{}], object), allow_pickle=True)
    refused(call, tmp_path, 4, "holds object", priors=tmp_path / "pickle.npy")
    refused(call, tmp_path, 2, "no network here has 40 prior boxes", priors="from-spec")
    refused(call, tmp_path, 2, "mobilenet", priors="from-spec:mobile")


def test_scores_that_contradict_their_numbers(call: Call, tmp_path: Path) -> None:
    soft = Form(activation="Softmax")
    refused(call, tmp_path, 2, "no probabilities", scores="softmax")
    refused(call, tmp_path, 2, "sum to 1", form=soft, scores="logits")
    sigmoid = Form(activation="Sigmoid")
    refused(call, tmp_path, 2, "expected sigmoid", form=sigmoid, scores="softmax")


def test_labels_of_another_number(call: Call, tmp_path: Path) -> None:
    path, heads = write_foreign(tmp_path)
    given = options(tmp_path, scores="logits")
    (tmp_path / "labels.txt").write_text("cat\n")
    call("adopt", path, *heads, *given).fails(2, "1 labels, and --conf has 4 classes")
    (tmp_path / "labels.txt").write_text("background\ncat\ndog\ncow\n")
    call("adopt", path, *heads, *given).fails(2, "leave the background's name out")
    (tmp_path / "labels.txt").write_text("cat\ndog\ncow\n")
    call("adopt", path, *heads, *given, "--background", "x").fails(2, "--background 'x'")
    call("adopt", path, *heads, *given, "--name", "mobilenet_v1").fails(2, "--name mobilenet_v1")


def test_preprocessing_of_another_size(call: Call, tmp_path: Path) -> None:
    values = PREPROCESSING.to_dict() | {"height": 300}
    (tmp_path / "p.json").write_text(json.dumps(values))
    refused(call, tmp_path, 2, "32x300", "takes 32x32", preprocessing=tmp_path / "p.json")
    (tmp_path / "p.json").write_text("{}")
    refused(call, tmp_path, 4, "preprocessing.height is missing", preprocessing=tmp_path / "p.json")


def test_files_that_are_no_networks(call: Call, tmp_path: Path) -> None:
    heads = ("--loc", "a", "--conf", "b")
    given = options(tmp_path)
    for name, content in {"empty": b"", "text": b"not ONNX", "zeros": bytes(100)}.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        call("adopt", path, *heads, *given).fails(4, "not a valid ONNX file")
    call("adopt", tmp_path / "none.onnx", *heads, *given).fails(4, "none.onnx")


def test_a_head_behind_another_tools_operator(call: Call, tmp_path: Path) -> None:
    form = FORMS["another tool's operator behind"]
    refused(call, tmp_path, 4, "no operator of ONNX", form=form, loc="detections")


def test_the_file_itself_is_not_written_over(call: Call, tmp_path: Path) -> None:
    path, heads = write_foreign(tmp_path)
    before = path.read_bytes()
    call("adopt", path, *heads, *options(tmp_path, output=path)).fails(2, "overwrite an input")
    given = options(tmp_path, output=tmp_path / "priors.npy")
    call("adopt", path, *heads, *given).fails(2, "overwrite an input")
    assert path.read_bytes() == before


# --- the file is one of ours


@pytest.mark.slow
def test_the_other_commands_take_it(call: Call, tmp_path: Path) -> None:
    form = FORMS["channels last, y first"]
    adopted(call, tmp_path, form, scores="logits")
    ours, engine = tmp_path / "ours.onnx", tmp_path / "ours.engine"
    (tmp_path / "p").mkdir()
    cv2.imwrite(str(tmp_path / "p/a.png"), made_picture((SIDE, SIDE)))
    found = call("detect", "--engine", ours, tmp_path / "p/a.png", "--json").fits().json
    assert found["images"][0]["detections"] if "images" in found else found["detections"]
    for precision in ("fp32", "fp16"):
        build = ("build-engine", ours, "--target", "onnxruntime", "--precision", precision)
        call(*build, "--heads", "-o", engine).fits()
    told = call("inspect", engine, "--json").fits().json
    assert told["priors"]["count"] == PRIORS
    call("parity", engine, "--images", tmp_path / "p").fails(2, "no PyTorch network")
    report = call("parity", engine, "--against", ours, "--images", tmp_path / "p", "--json").fits()
    assert report.json["heads"][0]["level"] is None
    call("explain", tmp_path / "p/a.png", "--engine", ours, "--box", "4,4,20,20").fits()
    call("bench", "--engine", ours, "--seconds", 0, "--threads", 1).fits()
    call("export", "--weights", ours, "-o", tmp_path / "z.onnx").fails(4)
