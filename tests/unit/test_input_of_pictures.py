"""Preprocessing inside the network: the pixels that OpenCV gives, put in and taken out again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("cv2")

import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from ssd_small.export.picture_input import (  # noqa: E402
    prepend_preprocessing,
    strip_preprocessing,
)

from ssd_small.artefacts.build_options import BuildOptions  # noqa: E402
from ssd_small.artefacts.description import Description, description_from_spec  # noqa: E402
from ssd_small.artefacts.onnx_sizes import check_memory  # noqa: E402
from ssd_small.artefacts.tensors import BOUNDARY, INPUT  # noqa: E402
from ssd_small.errors import BadFile, UsageError  # noqa: E402
from ssd_small.models.registry import get_spec  # noqa: E402
from ssd_small.pictures.preprocessing import (  # noqa: E402
    PictureInput,
    Preprocessing,
    input_from_image,
)

RGB = Preprocessing(200, 320, "RGB", (123.7, 116.8, 103.9), (58.4, 57.1, 57.4))
#: height and width of pictures: smaller, larger, halved, one pixel, the network's own
SIZES = ((480, 640), (31, 17), (400, 640), (600, 600), (1, 1), (1, 9), (2, 2), (299, 301))


def _description(preprocessing: Preprocessing, pictures: PictureInput) -> Description:
    given = description_from_spec(get_spec("mobilenet_v1"), 3, 1.0)
    return replace(given, preprocessing=preprocessing, pictures=pictures)


def _model(description: Description, opset: int = 19) -> onnx.ModelProto:
    """A network that gives back what it is given, behind the preprocessing."""
    shape = ["batch", 3, description.preprocessing.height, description.preprocessing.width]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in (INPUT, "loc")]
    graph = helper.make_graph(
        [helper.make_node("Identity", [INPUT], ["loc"])], "g", *map(list, zip(ends))
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    prepend_preprocessing(model, description)
    onnx.checker.check_model(model, full_check=True)
    return model


def _run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level, settings.intra_op_num_threads = 3, 1
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, settings, ["CPUExecutionProvider"])
    return np.asarray(session.run(None, {INPUT: images})[0])


def _noise(height: int, width: int, number: int = 1) -> np.ndarray:
    random = np.random.default_rng(height + width)
    return random.integers(0, 256, (number, height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("preprocessing", [Preprocessing(), RGB], ids=["BGR", "RGB with std"])
def test_pixels_are_those_of_opencv(preprocessing: Preprocessing) -> None:
    """All but few: a weight that lies between two of OpenCV's 2048 parts may go to the other one.

    OpenCV takes the place of a pixel as float32, which is off by up to 2^-15 where it is near 640:
    of weights times 2048 that moves 1 in 8 at most over a half, by one part; a part of 255 levels
    is 1/8 of a level, which changes the whole level of at most that share. In noise 1 of 1000.
    """
    model = _model(_description(preprocessing, PictureInput()))
    levels = np.asarray(preprocessing.std, np.float32)[:, None, None]
    if preprocessing.color_order == "RGB":
        assert model.graph.node[-1].op_type == "Identity"
    for height, width in SIZES:
        (image,) = images = _noise(height, width)
        expected = input_from_image(image, preprocessing)
        differences = np.abs(_run(model, images)[0] - expected) * levels
        assert np.mean(differences > 1e-3) < 0.01, (height, width)
        assert differences.max() < 1.001, (height, width)


@pytest.mark.parametrize("preprocessing", [Preprocessing(), RGB], ids=["BGR", "RGB with std"])
def test_where_nothing_is_resized_every_pixel_is_the_same(preprocessing: Preprocessing) -> None:
    model = _model(_description(preprocessing, PictureInput()))
    images = _noise(preprocessing.height, preprocessing.width, 2)
    expected = np.stack([input_from_image(image, preprocessing) for image in images])
    np.testing.assert_array_equal(_run(model, images), expected)


def test_weights_at_the_ends_of_rows_are_of_one_pixel() -> None:
    """Enlarged, the first and last places lie outside of the picture."""
    model = _model(_description(Preprocessing(8, 8, mean=(0, 0, 0)), PictureInput()))
    images = np.array([[[[10] * 3, [200] * 3]]], np.uint8)
    row = _run(model, images)[0, 0, 0]
    assert row[:2].tolist() == [10, 10]
    assert row[-2:].tolist() == [200, 200]
    # (2 k + 1) * 2 - 8 of 16: at k = 2 an eighth, of 190: 10 + 23.75
    assert row[2] == 34


@pytest.mark.parametrize("opset", [18, 19, 25])
def test_each_operator_set_has_the_operators(opset: int) -> None:
    model = _model(_description(Preprocessing(30, 40), PictureInput()), opset)
    assert _run(model, _noise(50, 60)).shape == (1, 3, 30, 40)


def test_a_picture_of_one_size_is_in_the_file() -> None:
    model = _model(_description(Preprocessing(30, 40), PictureInput(50, 60)))
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims[1:]] == [50, 60, 3]
    assert dims[0].dim_param == "batch"


@pytest.mark.parametrize("interpolation", ["area", "cubic", "nearest", "lanczos4"])
def test_another_interpolation_is_refused(interpolation: str) -> None:
    preprocessing = replace(Preprocessing(), interpolation=interpolation)
    with pytest.raises(UsageError, match=f"resized by '{interpolation}'; expected linear"):
        _model(_description(preprocessing, PictureInput()))


def test_what_was_put_in_is_taken_out_again() -> None:
    description = _description(RGB, PictureInput())
    model = _model(description)
    strip_preprocessing(model, description, "x")
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Identity"]
    assert not model.graph.initializer
    images = np.random.default_rng(0).normal(size=(2, 3, 200, 320)).astype(np.float32)
    np.testing.assert_array_equal(_run(model, images), images)
    prepend_preprocessing(model, description)
    assert model.SerializeToString() == _model(description).SerializeToString()


def test_a_file_whose_tensor_has_lost_its_name_is_refused() -> None:
    description = _description(RGB, PictureInput())
    model = _model(description)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = "other" if name == BOUNDARY else name
    with pytest.raises(BadFile, match="y was exported with input uint8 and rewritten by another"):
        strip_preprocessing(model, description, "y")


def test_the_largest_picture_is_within_the_memory_of_a_graph() -> None:
    for pictures in (PictureInput(), PictureInput(8192, 8192), PictureInput(1024, 65536)):
        check_memory(_model(_description(Preprocessing(), pictures)), Path("x"))


def _grown(change: Callable[[onnx.ModelProto], None]) -> onnx.ModelProto:
    model = _model(_description(Preprocessing(), PictureInput()))
    change(model)
    return model


def _enlarge(model: onnx.ModelProto) -> None:
    """The picture joined to itself again and again."""
    model.graph.node.append(helper.make_node("Concat", ["pictures/float"] * 8, ["big"], axis=1))


def _declare(model: onnx.ModelProto) -> None:
    for dim in model.graph.input[0].type.tensor_type.shape.dim[1:3]:
        dim.dim_value = 1 << 20


@pytest.mark.parametrize("change", [_enlarge, _declare])
def test_a_graph_that_makes_more_of_the_largest_picture_is_refused(
    change: Callable[[onnx.ModelProto], None],
) -> None:
    with pytest.raises(BadFile, match=r"would have \d+ bytes in use"):
        check_memory(_grown(change), Path("x"))


@pytest.mark.parametrize(
    ("height", "width"), [(0, 1), (-1, 5), (5, None), (None, 5), (1.5, 2), (8193, 8192), (1, 65537)]
)
def test_a_size_that_no_network_takes_is_refused(height: object, width: object) -> None:
    with pytest.raises(UsageError, match=r"^pictures of .* pixels"):
        PictureInput(height, width)  # type: ignore[arg-type]


def test_a_picture_past_the_largest_is_refused() -> None:
    PictureInput().check(8192, 8192)
    with pytest.raises(UsageError, match=r"a picture of 8193x8192 pixels; .* at most 67108864"):
        PictureInput().check(8192, 8193)
    with pytest.raises(UsageError, match="a picture of 65537x1 pixels"):
        PictureInput().check(1, 65537)
    with pytest.raises(UsageError, match="takes pictures of 40x30 only"):
        PictureInput(30, 40).check(40, 30)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"opt_picture": (5000, 10)}, "opt-picture 10x5000: expected at most the max-picture"),
        ({"opt_picture": (0, 10)}, "opt-picture 10x0"),
        ({"max_picture": (0, 10)}, "max-picture 10x0: expected 1 to 67108864 pixels"),
        ({"max_picture": (8193, 8192)}, "max-picture 8192x8193"),
        ({"max_picture": (10, 10), "opt_picture": (10, 11)}, "opt-picture 11x10"),
    ],
)
def test_sizes_to_build_for_that_cannot_be_are_refused(
    given: dict[str, tuple[int, int]], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason.replace("-picture", "[-_]picture")):
        BuildOptions("tensorrt-rtx", **given)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="does not go with"):
        BuildOptions("onnxruntime", max_picture=(10, 10))


def test_the_usual_picture_is_no_larger_than_the_largest() -> None:
    assert BuildOptions("tensorrt", max_picture=(300, 4000)).pictures == {
        "min": (1, 1),
        "opt": (300, 1920),
        "max": (300, 4000),
    }


def test_other_means_inside_than_are_described_are_refused(tmp_path: Path) -> None:
    from ssd_small.artefacts.onnx_file import _check_preprocessing

    description = _description(RGB, PictureInput())
    model = _model(description)
    _check_preprocessing(model, description, tmp_path / "x")
    (mean,) = (t for t in model.graph.initializer if t.name == "pictures/mean")
    mean.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(mean) + 1, mean.name))
    with pytest.raises(BadFile, match="x makes other means of pictures than it describes"):
        _check_preprocessing(model, description, tmp_path / "x")
    model = _model(description)
    for other, words in (
        (replace(RGB, color_order="BGR"), "order of channels"),
        (replace(RGB, height=201, std=(1.0, 1.0, 1.0)), "deviations, height"),
    ):
        with pytest.raises(BadFile, match=f"x makes other {words} of pictures"):
            _check_preprocessing(model, replace(description, preprocessing=other), tmp_path / "x")
