"""What ``ssd-small adopt`` refuses: a line each, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Outcome

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("cv2")

from foreign_graphs import (
    PLAIN,
    PRIORS,
    SIDE,
    Form,
    adopt_options,
    priors,
    write_foreign,
)

Call = Callable[..., Outcome]
#: ends in an operator that only another tool knows
CUSTOM = Form(ending="custom", layout="yxhw", batch=1)


def refused(call: Call, folder: Path, code: int, *words: str, form: Form = PLAIN, **changed: Any):
    path, heads = write_foreign(folder, form)
    names = {"loc": heads[1], "conf": heads[3]} | {
        key: changed.pop(key) for key in ("loc", "conf") if key in changed
    }
    given = adopt_options(folder, form, **({"scores": "logits"} | changed))
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
    refused(call, tmp_path, 2, "mobilenet_v1", "amdegroot_ssd300-coco", priors="from-spec:mobile")
    priors_of = "from-spec:torchvision_ssd300_vgg16"
    refused(call, tmp_path, 2, "8732 boxes, and --loc is of 40", priors=priors_of)


def test_scores_that_contradict_their_numbers(call: Call, tmp_path: Path) -> None:
    soft = Form(activation="Softmax")
    refused(call, tmp_path, 2, "no probabilities", scores="softmax")
    refused(call, tmp_path, 2, "sum to 1", form=soft, scores="logits")
    sigmoid = Form(activation="Sigmoid")
    refused(call, tmp_path, 2, "expected sigmoid", form=sigmoid, scores="softmax")


def test_labels_of_another_number(call: Call, tmp_path: Path) -> None:
    path, heads = write_foreign(tmp_path)
    given = adopt_options(tmp_path, scores="logits")
    (tmp_path / "labels.txt").write_text("cat\n")
    call("adopt", path, *heads, *given).fails(2, "1 labels, and --conf has 4 classes")
    (tmp_path / "labels.txt").write_text("background\ncat\ndog\ncow\n")
    call("adopt", path, *heads, *given).fails(2, "leave the background's name out")
    (tmp_path / "labels.txt").write_text("cat\ndog\ncow\n")
    call("adopt", path, *heads, *given, "--background", "x").fails(2, "--background 'x'")
    call("adopt", path, *heads, *given, "--name", "mobilenet_v1").fails(2, "--name mobilenet_v1")


def test_preprocessing_of_another_size(call: Call, tmp_path: Path) -> None:
    values = {"height": 300, "width": 32}
    (tmp_path / "p.json").write_text(json.dumps(values))
    refused(call, tmp_path, 2, "of 32x300", "is 32x32", preprocessing=tmp_path / "p.json")
    (tmp_path / "p.json").write_text('{"colour": 1}')
    refused(call, tmp_path, 4, "no field of preprocessing", preprocessing=tmp_path / "p.json")


def test_files_that_are_no_networks(call: Call, tmp_path: Path) -> None:
    heads = ("--loc", "a", "--conf", "b")
    given = adopt_options(tmp_path)
    for name, content in {"empty": b"", "text": b"not ONNX", "zeros": bytes(100)}.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        call("adopt", path, *heads, *given).fails(4, "not a valid ONNX file")
    call("adopt", tmp_path / "none.onnx", *heads, *given).fails(4, "none.onnx")


def test_a_head_behind_another_tools_operator(call: Call, tmp_path: Path) -> None:
    refused(call, tmp_path, 4, "no operator of ONNX", form=CUSTOM, loc="detections")


def test_the_file_itself_is_not_written_over(call: Call, tmp_path: Path) -> None:
    path, heads = write_foreign(tmp_path)
    before = path.read_bytes()
    call("adopt", path, *heads, *adopt_options(tmp_path, output=path)).fails(
        2, "overwrite an input"
    )
    given = adopt_options(tmp_path, output=tmp_path / "priors.npy")
    call("adopt", path, *heads, *given).fails(2, "overwrite an input")
    assert path.read_bytes() == before


def test_a_graph_of_any_size_without_one(call: Call, tmp_path: Path) -> None:
    form = Form(any_size=True)
    refused(call, tmp_path, 2, "any size; pass --preprocessing FILE with height", form=form)
    (tmp_path / "p.json").write_text(json.dumps({"height": SIDE}))
    refused(call, tmp_path, 2, "add height", form=form, preprocessing=tmp_path / "p.json")
