"""A grid of tiles inside a network beside the same tiles, one by one, merged in numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for module in ("torch", "cv2", "onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(module, reason=f"needs {module}")

import cv2  # noqa: E402
from onnx import ModelProto  # noqa: E402
from ssd_small.export.build_engine import build_engine  # noqa: E402
from ssd_small.export.onnx_file import write_onnx  # noqa: E402
from ssd_small.export.prepare import plugin_onnx  # noqa: E402
from ssd_small.export.to_onnx import onnx_from_network  # noqa: E402
from traced import Traces  # noqa: E402

from ssd_small.artefacts.build_options import BuildOptions  # noqa: E402
from ssd_small.artefacts.description import Description  # noqa: E402
from ssd_small.artefacts.network import network_from_checkpoint  # noqa: E402
from ssd_small.artefacts.onnx_file import read_onnx  # noqa: E402
from ssd_small.artefacts.tiled import tiled_description  # noqa: E402
from ssd_small.detection.load import load  # noqa: E402
from ssd_small.models.priors import priors_from_shifts  # noqa: E402
from ssd_small.pictures.preprocessing import PictureInput, input_from_image  # noqa: E402
from ssd_small.pictures.tiles import Tiling  # noqa: E402
from ssd_small.postprocess import Detections, decode_nms  # noqa: E402
from ssd_small.runtimes import HeadOutputs, open_onnx  # noqa: E402

CELLS = Path(__file__).resolve().parents[2] / "benchmarks/results/cells.jpg"
#: columns, rows, overlap, and width and height of the picture: 300 + (n - 1) * round(300 * 0.8)
GRID, WIDTH, HEIGHT = (3, 2, 0.2), 780, 540
Exported = Callable[..., tuple[ModelProto, Description]]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(traces: Traces) -> Exported:
    """Function: the trained network of blood cells as ONNX, its description changed before."""

    def export(change: Callable[[Description], Description]) -> tuple[ModelProto, Description]:
        net, description = network_from_checkpoint("bccd/mobilenet_v1_s1l0")
        description = change(description)
        with traces():
            return onnx_from_network(net, description), description

    return export


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """The photograph in the size of the grid, and turned round."""
    picture = cv2.resize(cv2.imread(str(CELLS)), (WIDTH, HEIGHT))
    return [picture, np.ascontiguousarray(picture[::-1, ::-1])]


@pytest.fixture(scope="module")
def merged(
    exported: Exported, pictures: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> list[Detections]:
    """Each tile by itself through the network without a grid, then one NMS over all candidates."""
    model, description = exported(lambda one: one)
    path = tmp_path_factory.mktemp("plain") / "heads.onnx"
    write_onnx(model, path)
    tiling = Tiling(300, 300, GRID[2])
    windows = list(tiling.windows(HEIGHT, WIDTH))
    assert len(windows) == GRID[0] * GRID[1]
    shifts = np.array([(one.x / 300, one.y / 300) for one in windows], np.float32)
    priors = priors_from_shifts(description.priors, shifts)
    params = tiled_description(description, *GRID).postprocess
    scale = np.array([300 / WIDTH, 300 / HEIGHT] * 2, np.float32)
    found = []
    with open_onnx(path, threads=1) as runtime:
        for picture in pictures:
            heads = []
            for one in windows:
                cut = picture[one.y : one.y + one.height, one.x : one.x + one.width]
                given = input_from_image(cut, description.preprocessing)[None]
                outputs = runtime.infer(given)
                assert isinstance(outputs, HeadOutputs)
                heads.append(outputs)
            loc = np.concatenate([one.loc for one in heads], axis=1)
            conf = np.concatenate([one.conf for one in heads], axis=1)
            (one_,) = decode_nms(loc, conf, priors, params, backend="numpy")
            found.append(replace(one_, boxes=one_.boxes * scale))
    assert all(len(one) > 20 for one in found)
    return found


def tiled(inside: bool, *size: int, pictures: bool = False) -> Callable[[Description], Description]:
    def change(one: Description) -> Description:
        one = tiled_description(one.with_decode_nms(inside), *GRID)
        return replace(one, pictures=PictureInput(*size) if pictures else None)

    return change


def detected(path: Path, pictures: list[np.ndarray], max_batch: int = 2) -> list[Detections]:
    with load(path, threads=1, max_batch=max_batch) as detector:
        return [outcome.detections for outcome, _ in detector.outcomes(pictures)]


def assert_same(found: list[Detections], expected: list[Detections]) -> None:
    """The same labels and priors; scores and boxes but for rounding.

    A tile in a batch goes through other orders of sums than by itself: a relative error of some
    2^-23 a layer, of logits below 16 and after twenty layers under 1e-6 of a score. A coordinate is
    below 3 tiles; its offset is off by as much of a prior's side.
    """
    for one, wanted in zip(found, expected, strict=True):
        assert one.keys == wanted.keys
        order, other = (np.lexsort((d.prior_indices, d.labels)) for d in (one, wanted))
        np.testing.assert_allclose(one.scores[order], wanted.scores[other], rtol=0, atol=1e-6)
        np.testing.assert_allclose(one.boxes[order], wanted.boxes[other], rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("inside", [True, False], ids=["decode_nms", "heads"])
def test_detections_are_those_of_the_tiles_merged(
    inside: bool,
    batch: int,
    exported: Exported,
    merged: list[Detections],
    pictures: list[np.ndarray],
    tmp_path: Path,
) -> None:
    model, _ = exported(tiled(inside))
    write_onnx(model, tmp_path / "m.onnx")
    assert_same(detected(tmp_path / "m.onnx", pictures, batch), merged)


def test_pictures_as_they_are_need_no_resizing(
    exported: Exported, merged: list[Detections], pictures: list[np.ndarray], tmp_path: Path
) -> None:
    model, _ = exported(tiled(True, HEIGHT, WIDTH, pictures=True))
    write_onnx(model, tmp_path / "m.onnx")
    assert not [node for node in model.graph.node if node.op_type == "Floor"]
    assert_same(detected(tmp_path / "m.onnx", pictures), merged)


def test_pictures_of_another_size_are_resized_to_the_grid(
    exported: Exported, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    """What any network does with a picture: here the whole of it becomes the grid's size."""
    model, description = exported(tiled(True))
    write_onnx(model, tmp_path / "m.onnx")
    given = cv2.resize(pictures[0], (300, 700))
    size = description.preprocessing
    expected = detected(tmp_path / "m.onnx", [cv2.resize(given, (size.width, size.height))])
    assert_same(detected(tmp_path / "m.onnx", [given]), expected)


def test_half_precision_finds_what_whole_precision_finds(
    exported: Exported, merged: list[Detections], pictures: list[np.ndarray], tmp_path: Path
) -> None:
    """A hundredth of a logit, the limit of half precision, is at most 1/400 of a score here."""
    model, _ = exported(tiled(True, HEIGHT, WIDTH, pictures=True))
    write_onnx(model, tmp_path / "m.onnx")
    build_engine(tmp_path / "m.onnx", tmp_path / "m.engine", BuildOptions("onnxruntime", "fp16"))
    for one, wanted in zip(detected(tmp_path / "m.engine", pictures), merged, strict=True):
        sure = [int((d.scores > 0.5).sum()) for d in (one, wanted)]
        assert sure[1] > 10
        assert abs(sure[0] - sure[1]) <= 1
        np.testing.assert_allclose(one.scores[:10], wanted.scores[:10], atol=0.02)


def test_one_tile_is_the_plain_export_to_the_bit(exported: Exported) -> None:
    def alone(description: Description) -> Description:
        return tiled_description(description.with_decode_nms(True), 1, 1, 0.2)

    plain, _ = exported(lambda one: one.with_decode_nms(True))
    model, _ = exported(alone)
    assert model.SerializeToString(deterministic=True) == plain.SerializeToString(
        deterministic=True
    )


@pytest.mark.parametrize("name", ["tiles/rows", "tiles/columns", "tiles/box_scale"])
def test_other_tiles_than_are_described_are_refused(
    name: str, exported: Exported, tmp_path: Path
) -> None:
    from onnx import numpy_helper

    from ssd_small.errors import BadFile

    model, _ = exported(tiled(True))
    (tensor,) = (one for one in model.graph.initializer if one.name == name)
    value: Any = numpy_helper.to_array(tensor).copy()
    value.ravel()[-1] -= value.dtype.type(1) / (1 if value.dtype == np.int64 else 1000)
    tensor.CopyFrom(numpy_helper.from_array(value, name))
    write_onnx(model, tmp_path / "m.onnx")
    with pytest.raises(BadFile, match="cuts other tiles of pictures than it describes"):
        read_onnx(tmp_path / "m.onnx")


def test_other_builders_get_the_grid_with_the_node_alone(exported: Exported) -> None:
    model, description = exported(tiled(True))
    model = plugin_onnx(model, description)
    assert not model.functions
    (node,) = (one for one in model.graph.node if one.op_type == "DecodeNms")
    assert node.output[1] == "tiles/boxes"
    (scaling,) = (one for one in model.graph.node if "boxes" in one.output)
    assert scaling.op_type == "Mul"
