"""The effect of half precision on a network, measured on the CPU, with or without a user's data."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, helper, shape_inference

from ..artefacts.build_record import FlippedDetections, HeadError, PrecisionCheck
from ..artefacts.description import Description
from ..artefacts.tensors import HEADS
from ..errors import CheckFailed
from ..evaluation.differences import compare_detections
from ..evaluation.intervals import intervals_from_heads
from ..evaluation.limits import HEAD_LIMITS
from ..pictures.listing import list_images
from ..pictures.pixels import decoded_from_picture
from ..pictures.preprocessing import Preprocessing, input_from_image
from ..postprocess import decode_nms
from ..postprocess.detections import Detections
from ..requirements import require

FloatArray = npt.NDArray[np.float32]

#: number of synthetic pictures: uniform grey, overlapping boxes, and noise over the full range
PICTURES = 3
#: most pictures used from a user's folder
MOST_GIVEN = 32
#: factor by which the largest value seen must stay below the largest half, 65504
HEADROOM = 4.0


def check_pictures(preprocessing: Preprocessing) -> FloatArray:
    """Make deterministic network inputs ``[3, 3, H, W]``: plain grey, overlapping boxes, noise."""
    height, width = preprocessing.height, preprocessing.width
    rng = np.random.default_rng(20190909)
    pictures = np.full((PICTURES, height, width, 3), 128, np.uint8)
    for _ in range(60):
        top, left = rng.integers(0, (height - 8, width - 8))
        rows, columns = rng.integers(8, (height // 2, width // 2))
        pictures[1, top : top + rows, left : left + columns] = rng.integers(0, 256, 3)
    pictures[2] = rng.integers(0, 256, (height, width, 3))
    mean, std = (np.asarray(v, np.float32) for v in (preprocessing.mean, preprocessing.std))
    return np.ascontiguousarray(((pictures.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2))


def given_inputs(folder: Path, preprocessing: Preprocessing) -> list[FloatArray]:
    """Make network inputs ``[3, H, W]`` of ``MOST_GIVEN`` pictures at most, evenly from a folder.

    Raises:
        BadFile: the folder holds no picture, or one that cannot be read.
    """
    files = list_images(folder).files
    count = min(len(files), MOST_GIVEN)
    chosen = [files[i * len(files) // count] for i in range(count)]
    decoded = (decoded_from_picture(path, preprocessing=preprocessing) for path in chosen)
    return [input_from_image(one.pixels, preprocessing) for one in decoded]


def nodes_beyond_half(
    model: ModelProto, description: Description, given: Iterable[FloatArray] = ()
) -> list[str]:
    """Return the names of nodes that read or write values near or beyond the largest half.

    The float32 model runs on :func:`check_pictures` and the given inputs; a tensor counts if a
    value exceeds a quarter of 65504.

    Raises:
        CheckFailed: the outputs themselves exceed the largest half.
    """
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in shape_inference.infer_shapes(model).graph.value_info
    }
    probe = ModelProto()
    probe.CopyFrom(model)
    graph = probe.graph
    heads = [value.name for value in graph.output]
    made = [name for node in model.graph.node for name in node.output]
    names = heads + [name for name in made if types.get(name) == TensorProto.FLOAT]
    for name in names:
        graph.node.append(helper.make_node("Abs", [name], [f"{name}/size"]))
        graph.node.append(
            helper.make_node("ReduceMax", [f"{name}/size"], [f"{name}/largest"], keepdims=0)
        )
        graph.output.append(helper.make_tensor_value_info(f"{name}/largest", TensorProto.FLOAT, []))
    largest = np.zeros(len(names), np.float32)
    for outputs in _run(probe, [*check_pictures(description.preprocessing), *given]):
        largest = np.maximum(largest, np.asarray(outputs[len(heads) :], np.float32))
    limit = float(np.finfo(np.float16).max)
    beyond = {n for n, v in zip(names, largest, strict=True) if not v <= limit / HEADROOM}
    if not largest[: len(heads)].max() <= limit:
        raise CheckFailed(
            f"the heads reach {largest[: len(heads)].max():.3g}, beyond the largest half "
            f"({limit:g}); build with --precision fp32"
        )
    return sorted(n.name for n in model.graph.node if beyond & {*n.input, *n.output})


def compare_precisions(
    single: ModelProto,
    half: ModelProto,
    description: Description,
    given: Sequence[FloatArray] = (),
) -> PrecisionCheck:
    """Compare heads and detections of a half model with its float32 source, on the CPU.

    A detection that only one of them has is explained if it may result from a difference of the
    heads as large as the measured one, or as the limit for half precision if that is smaller. So
    all are explained if the heads are within their limit and decode + NMS is right. The given
    inputs, if there are any, are used instead of :func:`check_pictures`.

    Returns:
        Maximum and mean absolute difference of ``loc`` and ``conf``, the largest absolute
        value of each in float32, the number of detections (label, prior) that only one of them
        has (``flipped``), and how many of those the difference of the heads does not explain.

    Raises:
        CheckFailed: the half model gives NaN or infinity.
    """
    pictures = given or list(check_pictures(description.preprocessing))
    reference = list(_run(single, pictures))
    tried = list(_run(half, pictures))
    if not all(np.isfinite(b).all() for outputs in tried for b in outputs):
        raise CheckFailed("the fp16 network gives NaN or infinity; build with --precision fp32")
    errors, allowed = [], []
    for position in range(len(HEADS)):
        pairs = [(a[position], b[position]) for a, b in zip(reference, tried, strict=True)]
        differences = [np.abs(a - b.astype(np.float32)) for a, b in pairs]
        largest, scale = max(d.max() for d in differences), max(np.abs(a).max() for a, _ in pairs)
        mean = np.mean([d.mean(dtype=np.float64) for d in differences])
        errors.append(HeadError(_number(largest), _number(mean), _number(scale)))
        allowed.append(min(float(largest), HEAD_LIMITS["fp16"] * float(scale)))
    before, after = (_detections(outputs, description) for outputs in (reference, tried))
    flipped = sum(len(a.keys ^ b.keys) for a, b in zip(before, after, strict=True))
    unexplained = _unexplained(before, after, reference, description, *allowed)
    found = FlippedDetections(sum(map(len, before)), flipped, unexplained)
    loc, conf = errors
    return PrecisionCheck(
        len(pictures),
        loc,
        conf,
        found,
        images="given" if given else "synthetic",
        verdict="different" if unexplained else "equal",
    )


def check_verdict(check: PrecisionCheck, folder: Path) -> None:
    """Refuse half precision if the check on a user's pictures failed.

    Raises:
        CheckFailed: a detection that only one precision has is not explained by the heads.
    """
    if check.verdict == "different":
        found = check.detections
        raise CheckFailed(
            f"fp16 and fp32 are different on {check.pictures} pictures of {folder}: "
            f"{found.flipped} detections differ of {found.fp32}, and {found.unexplained} of them "
            "by more than the rounding of half precision may do; nothing was written: keep layers "
            "in fp32 with --keep-fp NAME, or build with --precision fp32"
        )


def _run(model: ModelProto, pictures: Iterable[FloatArray]) -> Iterator[list[Any]]:
    """Run a model on each picture, in batches of one."""
    ort = require("onnxruntime", "checking fp16 against fp32")
    settings = ort.SessionOptions()
    settings.log_severity_level = 4  # the exception reports failures
    session = ort.InferenceSession(model.SerializeToString(), settings, ["CPUExecutionProvider"])
    for picture in pictures:
        yield session.run(None, {session.get_inputs()[0].name: picture[None]})


def _detections(outputs: list[list[Any]], description: Description) -> list[Detections]:
    with warnings.catch_warnings():
        # a missing native library only makes this slower
        warnings.simplefilter("ignore", RuntimeWarning)
        return [
            decode_nms(
                *(loc, conf, description.priors, description.postprocess), edges=description.edges
            )[0]
            for loc, conf in (pair[:2] for pair in outputs)
        ]


def _unexplained(
    before: list[Detections],
    after: list[Detections],
    heads: list[list[Any]],
    description: Description,
    loc_error: float,
    conf_error: float,
) -> int:
    """Count the detections only one result has that these errors of the heads do not explain."""
    number = 0
    for one, other, (loc, conf, *_) in zip(before, after, heads, strict=True):
        intervals = intervals_from_heads(
            loc[0],
            conf[0],
            description.priors,
            description.postprocess,
            loc_error=loc_error,
            conf_error=conf_error,
            edges=description.edges,
        )
        number += len(compare_detections(one, other, intervals).unexplained)
    return number


def _number(value: Any) -> float:
    """Round to six significant digits: further ones depend on the machine's summation order."""
    return float(f"{float(value):.6g}")
